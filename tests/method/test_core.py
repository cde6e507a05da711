"Pictures of every kind come in upright and as 8-bit RGB; boxes agree with torchvision."
import io, warnings

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.method.core import (box_iou, contains, open_image, scale_box, to_image, to_rgb,
                                    to_tensor)

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)       # 9 wide, 5 high
GREY = np.arange(45, dtype=np.uint8).reshape(5, 9) * 5


def opened(image) -> np.ndarray:
    out = open_image(image)
    assert out.mode == 'RGB'
    return np.asarray(out).astype(int)

def grey(values) -> np.ndarray: return np.repeat(np.asarray(values, int)[..., None], 3, 2)

# modes

def test_rgb_is_left_as_it_is(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path/'a.png')
    for given in (Image.fromarray(PIXELS), tmp_path/'a.png', str(tmp_path/'a.png')):
        assert (opened(given) == PIXELS).all()

def test_grey_and_black_and_white():
    assert (opened(Image.fromarray(GREY)) == grey(GREY)).all()
    bits = Image.fromarray(GREY > 100)
    assert bits.mode == '1' and (opened(bits) == grey((GREY > 100) * 255)).all()

def test_palette():
    indexed = Image.fromarray(GREY // 5).convert('L')
    p = Image.new('P', (9, 5)); p.putdata(list(indexed.tobytes())); p.putpalette(PIXELS.tobytes())
    assert (opened(p).reshape(-1, 3) == PIXELS.reshape(-1, 3)).all()

def test_transparency_becomes_white():
    rgba = Image.fromarray(PIXELS)
    alpha = Image.new('L', (9, 5)); alpha.paste(255, (0, 0, 4, 2)); rgba.putalpha(alpha)
    expected = np.full((5, 9, 3), 255); expected[:2, :4] = PIXELS[:2, :4]
    assert (opened(rgba) == expected).all() and (opened(rgba.convert('RGBa')) == expected).all()

def test_half_transparency_is_mixed_with_white():
    half = Image.new('LA', (3, 2), (100, 128))
    assert np.abs(opened(half) - (100 * 128 + 255 * 127) / 255).max() <= 1

@pytest.mark.parametrize('suffix', ['png', 'gif'])
def test_a_transparent_palette_entry_becomes_white(tmp_path, suffix):
    p = Image.new('P', (9, 5)); p.putpalette([10, 20, 30, 200, 100, 50]); p.paste(1, (6, 1, 8, 4))
    p.save(tmp_path/f'a.{suffix}', transparency=0)
    expected = np.full((5, 9, 3), 255); expected[1:4, 6:8] = (200, 100, 50)
    assert (opened(tmp_path/f'a.{suffix}') == expected).all()

def test_a_transparent_colour_of_an_rgb_file_becomes_white(tmp_path):
    image = Image.new('RGB', (9, 5), (1, 2, 3)); image.paste((9, 8, 7), (0, 0, 2, 5))
    image.save(tmp_path/'a.png', transparency=(1, 2, 3))
    expected = np.full((5, 9, 3), 255); expected[:, :2] = (9, 8, 7)
    assert (opened(tmp_path/'a.png') == expected).all()

def test_cmyk():
    c = np.random.default_rng(1).integers(0, 256, (5, 9, 4), dtype=np.uint8)
    expected = (255 - c[..., :3].astype(int)) * (255 - c[..., 3:].astype(int)) / 255
    assert np.abs(opened(Image.fromarray(c, 'CMYK')) - expected).max() <= 1

@pytest.mark.parametrize('mode', ['YCbCr', 'HSV'])
def test_other_colour_spaces(mode):
    ramp = np.stack(np.broadcast_arrays(np.linspace(60, 200, 9), np.linspace(90, 160, 5)[:, None],
                                        120), -1).astype(np.uint8)
    assert np.abs(opened(Image.fromarray(ramp).convert(mode)) - ramp).max() <= 4

# more than 8 bits

@pytest.mark.parametrize('mode', ['I;16', 'I;16B', 'I;16L', 'I'])
def test_sixteen_bits_are_scaled(mode):
    wide = GREY.astype(np.uint32) * 257
    raw = {'I;16B': '>u2', 'I': '<i4'}.get(mode, '<u2')
    image = Image.frombytes(mode, (9, 5), wide.astype(raw).tobytes())
    assert (opened(image) == grey(GREY)).all()

def test_sixteen_bit_file(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path/'a.png')
    assert Image.open(tmp_path/'a.png').mode.startswith('I')
    assert (opened(tmp_path/'a.png') == grey(GREY)).all()

def test_a_dark_sixteen_bit_picture_stays_dark():
    assert opened(Image.fromarray(np.full((5, 9), 250, np.uint16))).max() == 1

@pytest.mark.parametrize('image, expected', [
    (Image.fromarray(np.float32([[0, .5, 1]])), [[0, 128, 255]]),
    (Image.fromarray(np.float32([[0, 128, 300]])), [[0, 128, 255]]),
    (Image.fromarray(np.int32([[0, 128, 255]])), [[0, 128, 255]]),
    (Image.fromarray(np.int32([[-40, 100, 65535]])), [[0, 0, 255]])])
def test_floats_and_long_integers(image, expected): assert (opened(image) == grey(expected)).all()

# upright

UPRIGHT = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
           5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
           7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}

@pytest.mark.parametrize('orientation', UPRIGHT)
def test_the_cameras_orientation_is_applied(tmp_path, orientation):
    image = Image.fromarray(PIXELS)
    exif = image.getexif(); exif[0x0112] = orientation
    image.save(tmp_path/'a.png', exif=exif)
    expected = UPRIGHT[orientation](PIXELS)
    found = opened(tmp_path/'a.png')
    assert found.shape == expected.shape and (found == expected).all()

@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_picture_that_is_upright_is_not_turned_again(tmp_path, orientation):
    "The command line opens a picture, and the editor opens what it is given."
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8))
    image.getexif()[0x0112] = orientation
    image.save(tmp_path/'a.png', exif=image.getexif())
    once = open_image(tmp_path/'a.png')
    assert once.size == ((5, 9) if orientation > 4 else (9, 5))
    assert open_image(once).tobytes() == once.tobytes() and open_image(once).size == once.size
    given = Image.open(tmp_path/'a.png')
    assert open_image(given).tobytes() == once.tobytes() and given.getexif()[0x0112] == orientation

def test_the_given_picture_is_not_changed():
    image = Image.fromarray(PIXELS).convert('RGBA'); image.putalpha(7)
    before = image.tobytes(), image.mode
    to_rgb(image)
    assert (image.tobytes(), image.mode) == before

# what cannot be opened

def encoded(kind: str) -> bytes:
    b = io.BytesIO()
    Image.fromarray(PIXELS).save(b, kind)
    return b.getvalue()

def one_sentence(error) -> bool:
    return (str(error.value).startswith('expected a picture') and ';' in str(error.value)
            and '\n' not in str(error.value))

@pytest.mark.parametrize('content',
                         [b'', b'not a picture\n', encoded('PNG')[:-30], encoded('JPEG')[:200],
                          encoded('GIF')[:30], encoded('TIFF')[:40],
                                     encoded("PPM")[:6], encoded("PPM").replace(b"255", b"2x5", 1)],
                         ids=['empty', 'text', 'png', 'jpeg', 'gif', 'tiff', 'ppm', 'ppm-header'])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    (tmp_path/'a.png').write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')         # Pillow warns of damaged TIFF tags
        with pytest.raises(ValueError) as error: open_image(tmp_path/'a.png')
    assert one_sentence(error) and 'a.png' in str(error.value)

def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as error: open_image(tmp_path/'none.png')
    assert one_sentence(error) and 'none.png' in str(error.value)
    with pytest.raises(ValueError) as error: open_image(tmp_path)
    assert one_sentence(error)

@pytest.mark.parametrize('thing', [None, 3, b'a.png', PIXELS],
                         ids=['none', 'number', 'bytes', 'array'])
def test_other_things_are_named(thing):
    with pytest.raises(ValueError, match=f'got {type(thing).__name__}') as error: open_image(thing)
    assert '\n' not in str(error.value)

def test_a_picture_of_absurd_size_is_refused(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path/'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    with pytest.raises(ValueError) as error: open_image(tmp_path/'a.png')
    assert one_sentence(error)

def test_a_picture_that_breaks_when_it_is_read(tmp_path):
    (tmp_path/'a.png').write_bytes(encoded('PNG')[:-30])
    with Image.open(tmp_path/'a.png') as lazy, pytest.raises(ValueError) as error: open_image(lazy)
    assert one_sentence(error)

@pytest.mark.parametrize('mode', ['RGB', 'I', 'F'])
def test_a_picture_without_pixels_is_refused(mode):
    with pytest.raises(ValueError) as error: open_image(Image.new(mode, (0, 5)))
    assert one_sentence(error)

def test_premultiplied_grey():
    assert (opened(Image.new('LA', (3, 2), (100, 255)).convert('La')) == 100).all()

# tensors

def test_tensors_are_channels_rows_columns():
    t = to_tensor(Image.fromarray(PIXELS))
    assert t.shape == (3, 5, 9) and t.dtype == torch.float32
    assert t[2, 4, 1].item() == pytest.approx(PIXELS[4, 1, 2] / 255)
    assert (np.asarray(to_image(t)) == PIXELS).all()

def test_values_are_clamped_and_rounded():
    t = torch.tensor([-1., 2., 99.4 / 255, 99.6 / 255]).expand(3, 2, 4)
    assert np.asarray(to_image(t))[0, :, 0].tolist() == [0, 255, 99, 100]

# boxes

def random_boxes(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.integers(0, 30, (n, 2)), 1), np.sort(rng.integers(0, 12, (n, 2)), 1)
    return np.stack((x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1), 1)

def test_iou_is_torchvisions():
    from torchvision.ops import box_iou as reference
    boxes = random_boxes(30)
    expected = reference(torch.tensor(boxes).double(), torch.tensor(boxes).double()).numpy()
    found = np.array([[box_iou(tuple(a), tuple(b)) for b in boxes.tolist()]
                      for a in boxes.tolist()])
    assert np.allclose(found, expected, atol=1e-9) and (found == 0).any()
    assert (found.diagonal() == 1).all()

def test_iou_by_hand():
    assert box_iou((0, 0, 4, 2), (2, 1, 6, 3)) == pytest.approx(2 / 14)
    assert box_iou((0, 0, 4, 2), (4, 0, 8, 2)) == 0  # they touch: half-open boxes share nothing
    # apart on both axes: no negative times negative
    assert box_iou((0, 0, 2, 2), (3, 3, 5, 5)) == 0
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0

def test_a_box_holds_its_first_and_not_its_last_edge():
    box = (2, 5, 9, 7)
    assert contains(box, (2, 5)) and contains(box, (8.9, 6.9))
    assert not contains(box, (9, 6)) and not contains(box, (5, 7)) and not contains(box, (1.9, 6))
    assert not contains(box, (6, 4.9))

def test_scaled_box_by_hand():
    assert scale_box((10, 4, 20, 8), (100, 16), (50, 64)) == (5, 16, 10, 32)
    assert scale_box((3, 1, 4, 2), (9, 5), (9, 5)) == (3, 1, 4, 2)

@pytest.mark.parametrize('target', [(300, 31), (3, 200), (1, 1), (31, 13)])
def test_scaled_boxes_are_whole_not_empty_and_inside(target):
    for box in random_boxes(100).tolist():
        x0, y0, x1, y1 = found = scale_box(tuple(box), (31, 13), target)
        assert all(type(v) is int for v in found) and 0 <= x0 < x1 <= target[0]
        assert 0 <= y0 < y1 <= target[1]
        exact = [v * t / s for v, t, s in zip(box, target * 2, (31, 13) * 2)]
        # rounding, and a whole pixel where nothing was left
        assert max(abs(f - e) for f, e in zip(found, exact)) <= 1.5
