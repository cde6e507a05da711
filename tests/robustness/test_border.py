"What a person may give, by hand and by hypothesis: a clean value or one sentence, and nothing is hung on, written or decoded in vain."
import io, os, shutil, struct, tempfile, time, warnings, zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from regionedit.method import core
from regionedit.method.config import RANGES, Config
from regionedit.method.core import MAX_PIXELS, MAX_TEXT, check_file, check_out, check_text, open_image, shown, to_image, to_images
from regionedit.batch.jobs import Job, parse_jobs
from stubs import picture

def sentence(error) -> str:
    "Expected, got, what to do; on one line."
    text = str(error.value)
    assert text.startswith('expected ') and '; ' in text and text.isprintable() and len(text) < 600, text
    return text

# texts

@pytest.mark.parametrize('text', ['a', 'ein Apfel', 'яблоко', 'تفاحة', '一个红苹果', '🍎', '👩‍👩‍👧', 'e\u0301', 'two\nlines\tand a tab', '../../etc/passwd', '-rf', '%s {0}', 'x' * (MAX_TEXT - 2)])
def test_texts_pass_as_they_are(text): assert check_text('prompt', f' {text}\n') == text

@pytest.mark.parametrize('text', [None, 3, b'bytes', ['a'], '', '   ', '\n\t', '\u200b\u2060', '\u3000', '\x00', 'a\x00b', 'a\x1b[31m', 'a\x7f', 'a\x85b', 'a\ud83c', '\udce4', 'x' * (MAX_TEXT + 1)])
def test_texts_that_say_nothing_or_cannot_be_written(text):
    with pytest.raises(ValueError) as error: check_text('source', text)
    assert sentence(error).startswith('expected source ')

@given(st.text(st.characters(), max_size=40))
@settings(max_examples=300)
def test_a_text_that_passes_can_be_written_and_shown(text):
    try: passed = check_text('prompt', text)
    except ValueError: return
    assert passed == text.strip() and passed.encode('utf8') and all(c.isprintable() or c in '\n\r\t' or ord(c) > 127 for c in passed)

@pytest.mark.slow
@given(st.recursive(st.none() | st.text() | st.binary() | st.floats() | st.integers(), st.lists))
@settings(max_examples=200)
def test_anything_can_be_shown_on_one_line(value):
    assert shown(value).isprintable() and 0 < len(shown(value)) <= 80

def test_what_cannot_even_be_written_is_shown():
    class Silent:
        def __repr__(self): raise RuntimeError
    assert shown(Silent()) == 'a Silent' and shown(10**9999) == 'a int'

# numbers

@given(st.sampled_from(sorted(RANGES)), st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.none(), st.booleans(), st.complex_numbers(), st.lists(st.integers(), max_size=2)))
@settings(max_examples=500)
def test_a_number_is_in_its_range_or_refused(name, value):
    kind, low, high = RANGES[name]
    try: found = getattr(Config(**dict(dict(min_size=.01, max_size=1.), **{name: value})), name)
    except ValueError as error: assert str(error).startswith(f'expected {name} ') or 'min_size <= max_size' in str(error)
    else: assert found is None and getattr(Config(), name) is None or type(found) is kind and low <= found <= high and found == value

def test_numbers_of_numpy_become_pythons():
    import json
    config = Config(seed=np.int64(3), alpha=np.float32(.5), beta=1)
    assert json.loads(json.dumps(config.as_dict()))['seed'] == 3 and (type(config.seed), type(config.alpha), type(config.beta)) == (int, float, float)
    assert config == Config(seed=3, alpha=.5, beta=1.)

@pytest.mark.parametrize('options', [dict(seed=10**9999), dict(alpha='1' * 10**6), dict(roi=['pool']), dict(anchors=np.array(['a', 'b'])), dict(lr=np.ones((30, 30)))])
def test_odd_values_are_refused_briefly(options):
    with pytest.raises(ValueError, match='expected') as error: Config(**options)
    assert len(str(error.value)) < 300 and '\n' not in str(error.value)

# files and folders

@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path

PLACES = dict(missing='none.png', below_a_file='file/none.png', folder='folder', here='.', empty_name='', pipe='pipe', device='/dev/zero', long_name='x' * 300, long_path='x/' * 3000, null='a\0b', surrogate='a\udce4', loop='loop', newline='a\nb.png', escape='\x1b[2J.png')

@pytest.mark.parametrize('place', PLACES)
def test_a_place_without_a_file_is_told_at_once(here, place):
    (here/'file').touch(); (here/'folder').mkdir(); os.mkfifo(here/'pipe'); os.symlink('loop', here/'loop')
    for check in (check_file, open_image):
        start = time.time()
        with pytest.raises((ValueError, FileNotFoundError)) as error: check(PLACES[place])
        sentence(error)
        assert time.time() - start < 5
    assert sorted(os.listdir(here)) == ['file', 'folder', 'loop', 'pipe']

def test_an_empty_file_is_called_empty(here):
    (here/'a.png').touch()
    with pytest.raises(ValueError, match="'a.png' is an empty file") as error: open_image('a.png')
    sentence(error)

def test_names_that_are_only_odd_are_opened(here):
    for name in ('a\nb.png', ' ', '-rf', 'ü漢🍎.png', 'x' * 250, os.fsdecode(b'\xe4.png')):
        picture(4, 3).save(here/name, 'PNG')
        assert open_image(name).size == (4, 3) == open_image(Path(name)).size

@pytest.mark.parametrize('place', ['file', 'file/below', 'x' * 300, 'a\0b', '/proc/nowhere', '/dev/null'])
def test_a_folder_that_cannot_be_written_is_told(here, place):
    (here/'file').write_text('mine')
    with pytest.raises(ValueError) as error: check_out(place)
    sentence(error)
    assert os.listdir(here) == ['file'] and (here/'file').read_text() == 'mine'

@pytest.mark.parametrize('number', [13, 28, 30, 122])
def test_a_disk_that_is_full_or_locked_is_told(here, monkeypatch, number):
    class Full(io.BytesIO):
        def write(self, data): raise OSError(number, os.strerror(number))
    monkeypatch.setattr(core.tempfile, 'TemporaryFile', lambda dir: Full())
    with pytest.raises(ValueError, match=os.strerror(number)): check_out(here)

@pytest.fixture
def nobody():
    "A folder of everybody's, and a user who may not do everything; root becomes one for a moment."
    root, me = Path(tempfile.mkdtemp()), os.geteuid()
    root.chmod(0o777); picture(3, 3).save(root/'warm.png'); open_image(root/'warm.png')     # what is imported late is imported now
    if me == 0: os.seteuid(65534)
    try: yield root
    finally:
        if me == 0: os.seteuid(0)
        for folder in (root, *root.glob('*/')): folder.chmod(0o700)
        shutil.rmtree(root)

def test_a_folder_without_permission(nobody):
    (nobody/'locked').mkdir(mode=0o500); (nobody/'unseen').mkdir(); picture(3, 3).save(nobody/'unseen'/'a.png'); (nobody/'unseen').chmod(0)
    picture(3, 3).save(nobody/'mine.png'); (nobody/'mine.png').chmod(0)
    with pytest.raises(ValueError, match='Permission denied'): check_out(nobody/'locked')
    with pytest.raises(ValueError, match='Permission denied'): check_out(nobody/'locked'/'below')
    for path in ('unseen/a.png', 'mine.png'):
        with pytest.raises(ValueError, match='Permission denied') as error: open_image(nobody/path)
        sentence(error)

def test_a_folder_is_made_and_left_empty(here):
    assert check_out('new/folder') == Path('new/folder') and check_out('new/folder').is_dir() and os.listdir('new/folder') == []

# pictures

def encoded(image, form, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()

def claiming(width: int, height: int) -> bytes:
    "A PNG of one pixel whose header claims another size."
    head = struct.pack('>II5B', width, height, 8, 2, 0, 0, 0)
    small = encoded(Image.new('RGB', (1, 1)), 'PNG')
    return small[:12] + b'IHDR' + head + struct.pack('>I', zlib.crc32(b'IHDR' + head)) + small[33:]

@pytest.mark.parametrize('size', [(8001, 8000), (10_000, 10_000), (1, MAX_PIXELS + 1), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(here, monkeypatch, size):
    (here/'bomb.png').write_bytes(claiming(*size))
    monkeypatch.setattr(Image.Image, 'convert', lambda *a: pytest.fail('decoded'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(ValueError) as error: open_image('bomb.png')
    assert '64,000,000 pixels' in sentence(error)

def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(core, 'MAX_PIXELS', 12)
    assert open_image(picture(4, 3)).size == (4, 3)
    with pytest.raises(ValueError, match='at most 12 pixels'): open_image(picture(13, 1))

MODES = ('1', 'L', 'P', 'RGB', 'RGBA', 'RGBX', 'RGBa', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I', 'F', 'LA', 'La', 'PA', 'I;16', 'I;16L', 'I;16B', 'I;16N')

@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('size', [(1, 1), (5, 3), (1, 3000), (70_000, 1)])
def test_every_mode_and_shape(mode, size):
    found = open_image(Image.new(mode, size))
    assert (found.mode, found.size) == ('RGB', size)

def test_these_are_all_the_modes_that_pillow_has():
    assert set(Image.MODES) <= set(MODES)

NOTES = b'Exif\0\0MM\0*' + struct.pack('>IH', 8, 1)      # EXIF data with one entry, which follows

@pytest.mark.parametrize('turn', range(10))
def test_a_picture_is_turned_as_pillow_would(here, turn):
    from PIL import ImageOps
    image = picture(6, 4)
    image.save('a.png', exif=NOTES + struct.pack('>HHIHHI', 0x0112, 3, 1, turn, 0, 0))
    assert open_image('a.png').tobytes() == ImageOps.exif_transpose(Image.open('a.png')).tobytes()
    assert (open_image('a.png').tobytes() == image.tobytes()) is (turn in (0, 1, 9)) and open_image('a.png').size == ((4, 6) if 5 <= turn <= 8 else (6, 4))

@pytest.mark.parametrize('notes', [b'Exif\0\0', b'Exif\0\0MM', b'Exif\0\0noise', NOTES, NOTES[:-1], NOTES + bytes(5), NOTES + struct.pack('>HHII', 0x0112, 3, 9, 2**31), NOTES + struct.pack('>HHII', 0x0112, 5, 1, 0)])
@pytest.mark.parametrize('form', ['PNG', 'WEBP', 'JPEG'])
def test_broken_notes_of_a_camera_spoil_no_picture(here, notes, form):
    (here/'a').write_bytes(encoded(picture(6, 4), form, exif=notes))
    with warnings.catch_warnings():
        warnings.simplefilter('error')          # nor is the reader told what Pillow thinks of them
        assert open_image('a').size == (6, 4)

@pytest.mark.parametrize('form', ['GIF', 'PNG', 'WEBP', 'TIFF'])
def test_of_several_frames_the_first_is_used_and_that_is_said(here, form):
    frames = [Image.new('RGB', (6, 4), c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    (here/'a').write_bytes(encoded(frames[0], form, save_all=True, append_images=frames[1:], **(dict(lossless=True) if form == 'WEBP' else {})))
    with pytest.warns(UserWarning, match='several frames or pages; the first is used'): assert open_image('a').getpixel((0, 0)) == (255, 0, 0)
    (here/'b').write_bytes(encoded(frames[0], form))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        open_image('b')

@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers(value):
    image = Image.fromarray(np.float32([[0, value, 1]]))
    with pytest.raises(ValueError, match='not numbers') as error: open_image(image)
    sentence(error)
    pixels = torch.tensor([.5, value]).expand(3, 1, 2)
    with pytest.raises(ValueError, match='NaN or infinity') as error: to_image(pixels)
    sentence(error)
    assert [made and made.size for made in to_images(torch.stack([torch.zeros(3, 1, 2), pixels, torch.ones(3, 1, 2)]))] == [(2, 1), None, (2, 1)]

@pytest.mark.parametrize('given', [None, 3, b'a.png', ['a.png'], np.zeros((4, 4, 3))])
def test_neither_a_path_nor_a_picture(given):
    with pytest.raises(ValueError, match='expected a path or a PIL image') as error: open_image(given)
    sentence(error)

FORMS = ['PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'PPM', 'ICO', 'TGA']

@pytest.mark.slow
@given(st.sampled_from(FORMS), st.integers(0, 2**32 - 1), st.sampled_from(['cut', 'flip', 'swap', 'noise', 'head']))
@settings(max_examples=150)
def test_a_damaged_file_is_a_picture_or_a_sentence(tmp_path_factory, form, seed, damage):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(picture(*rng.integers(1, 40, 2).tolist(), seed), form))
    at = rng.integers(0, len(data), 8)
    if damage == 'cut': data = data[:at[0]]
    elif damage == 'flip': data[at[0]] ^= 1 << int(rng.integers(8))
    elif damage == 'swap': data[at[0]:at[0] + 8] = rng.bytes(8)
    elif damage == 'noise':
        for i in at: data[i] = int(rng.integers(256))
    else: data = data[:20] + bytearray(rng.bytes(60))
    path = tmp_path_factory.getbasetemp()/'damaged'
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try: assert open_image(path).mode == 'RGB'
        except ValueError as error: assert str(error).startswith('expected a picture') and str(error).isprintable()

# job files

@pytest.mark.slow
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode('utf8', 'surrogatepass')), st.sampled_from(['.json', '.jsonl', '.csv']))
@settings(max_examples=300)
def test_any_text_is_jobs_or_a_line(data, form):
    try: text = data.decode()
    except UnicodeDecodeError: return
    for told in (text, f'[["a.png", "b", "c"],\n{text}]', '{"a.png": ' + text + '}', f'image,source,prompt\n{text}'):
        try: assert all(isinstance(j, Job) for j in parse_jobs(told, form))
        except ValueError as error: assert str(error).startswith('line ') and ': expected ' in str(error) and '\n' not in str(error)
