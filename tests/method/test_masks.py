"Windows hold their box and lie in the picture; a paste changes the box and nothing else."
import numpy as np
import pytest
from PIL import Image

from regionedit.method.edits import (CONTEXT, box_mask, crop_window, harmonic, paste_edit,
                                     without_seam)
from stubs import picture

def random_boxes(size: tuple, n: int = 300) -> list:
    rng = np.random.default_rng(0)
    x, y = (np.sort(rng.integers(0, s, (n, 2)), 1) for s in size)
    return [(int(a), int(b), int(c) + 1, int(d) + 1) for (a, c), (b, d) in zip(x, y)]

SIZES = [(40, 90), (131, 17), (64, 64), (1, 9), (1, 1)]

def test_mask_is_white_in_the_box_only():
    mask = np.asarray(box_mask((6, 1, 9, 3), (10, 4)))
    expected = np.zeros((4, 10)); expected[1:3, 6:9] = 255
    assert mask.dtype == np.uint8 and (mask == expected).all()

@pytest.mark.parametrize('context', [0, CONTEXT, 3.7])
@pytest.mark.parametrize('size', SIZES)
def test_the_window_holds_the_box_and_lies_inside(size, context):
    for box in random_boxes(size):
        x0, y0, x1, y1 = window = crop_window(box, size, context)
        assert all(type(v) is int for v in window)
        assert 0 <= x0 <= box[0] and box[2] <= x1 <= size[0] and 0 <= y0 <= box[1] and box[
            3] <= y1 <= size[1], (box, window)

def test_the_window_is_square_and_as_wide_as_asked():
    for box in random_boxes((200, 150)):
        longer = max(box[2] - box[0], box[3] - box[1])
        x0, y0, x1, y1 = crop_window(box, (200, 150), .5)
        for length, limit in ((x1 - x0, 200), (y1 - y0, 150)):
            # a square where one fits
            expected = min(longer * 1.5, 150) if longer <= 150 else min(longer * 1.5, limit)
            assert length == pytest.approx(expected, abs=1), (box, x0, y0, x1, y1)

def test_windows_by_hand():
    # 12 wide, 16 shown, centred on (46, 13)
    assert crop_window((40, 10, 52, 16), (100, 30)) == (38, 5, 54, 21)
    # pushed back at the left and at the bottom
    assert crop_window((0, 24, 12, 30), (100, 30)) == (0, 14, 16, 30)
    # the picture is not as high as the window
    assert crop_window((10, 0, 70, 30), (100, 30)) == (0, 0, 80, 30)
    assert crop_window((10, 70, 30, 90), (30, 100), 0) == (10, 70, 30, 90)

@pytest.mark.parametrize('size', SIZES)
def test_a_paste_leaves_every_pixel_outside_the_box(size):
    source, edit = picture(*size), Image.new('RGB', (24, 24), (1, 2, 3))
    for box in random_boxes(size, 30):
        result = np.asarray(paste_edit(source, edit, crop_window(box, size), box))
        expected = np.array(source); expected[box[1]:box[3], box[0]:box[2]] = (1, 2, 3)
        assert result.shape == expected.shape and (result == expected).all()

def test_an_edit_of_the_windows_size_is_copied_pixel_by_pixel():
    source, window, box = picture(40, 25), (8, 3, 31, 20), (12, 5, 29, 11)
    edit = picture(23, 17, seed=1)
    expected = np.array(source); expected[5:11, 12:29] = np.asarray(edit)[2:8, 4:21]
    assert (np.asarray(paste_edit(source, edit, window, box)) == expected).all()

def test_an_edit_of_another_size_keeps_its_place():
    "The left half of the window red, the right half green, in an edit that is not square."
    edit = Image.new('RGB', (64, 32), (255, 0, 0)); edit.paste((0, 255, 0), (32, 0, 64, 32))
    found = np.asarray(paste_edit(picture(50, 30), edit, (10, 6, 34, 30),
                                  (14, 8, 30, 28)))[8:28, 14:30].astype(int)
    assert (found[:, :6, 0] > 230).all() and (found[:, -6:, 1] > 230).all()

def test_the_source_itself_is_not_changed():
    source = picture(20, 12); before = source.tobytes()
    paste_edit(source, Image.new('RGB', (8, 8)), (0, 0, 20, 12), (3, 2, 9, 10))
    assert source.tobytes() == before

# the seam

def test_the_harmonic_inside_against_a_linear_system():
    "Every pixel is the mean of its four neighbours: solved as one dense system."
    rng, (h, w) = np.random.default_rng(0), (4, 7)
    top, bottom, left, right = (rng.normal(size=(n, 2)) for n in (w, w, h, h))
    framed = np.zeros((h + 2, w + 2, 2))
    framed[0, 1:-1], framed[-1, 1:-1], framed[1:-1, 0], framed[1:-1, -1] = top, bottom, left, right
    matrix, known = np.zeros((h * w, h * w)), np.zeros((h * w, 2))
    for y in range(h):
        for x in range(w):
            matrix[y * w + x, y * w + x] = 4
            for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= b < h and 0 <= a < w: matrix[y * w + x, b * w + a] = -1
                else: known[y * w + x] += framed[b + 1, a + 1]
    expected = np.linalg.solve(matrix, known).reshape(h, w, 2)
    assert np.allclose(harmonic(top, bottom, left, right), expected)

@pytest.mark.parametrize('size', [(64, 64), (96, 96)])
def test_a_ground_of_another_shade_is_fitted_and_a_thing_at_the_border_is_not(size):
    image, mask = Image.new('RGB', (64, 64), (120, 90, 60)), box_mask((16, 12, 48, 40), (64, 64))
    made = Image.new('RGB', size, (108, 99, 66))
    k = size[0] / 64
    made.paste((250, 250, 250), tuple(round(v * k) for v in (28, 12, 38, 26)))
    fitted = np.asarray(without_seam(made, image, mask), int)
    rows = {y: fitted[round(y * k), round(20 * k)] for y in (13, 26, 38)}
    for y, pixel in rows.items(): assert np.abs(pixel - (120, 90, 60)).max() <= 3, (y, pixel)
    assert np.abs(fitted[round(16 * k), round(33 * k)] - 250).max() <= 12
    outside = np.asarray(mask.resize(size, Image.NEAREST)) == 0
    assert (fitted[outside] == np.asarray(made)[outside]).all()

def test_what_needs_no_fitting_stays_bit_for_bit():
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    assert without_seam(image, image, box_mask((5, 6, 40, 30), (48, 48))).tobytes() == image.tobytes()
    dark = image.point(lambda v: v // 2)
    assert without_seam(dark, image, box_mask((0, 0, 48, 48), (48, 48))).tobytes() == dark.tobytes()
