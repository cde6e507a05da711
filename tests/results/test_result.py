"A result knows its candidates, draws itself, and every pixel outside a box is the source's."
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regionedit import EditResult
from regionedit.results.saved import draw_boxes
from stubs import stub_result

@pytest.fixture
def result() -> EditResult: return stub_result()

def test_a_candidates_picture_is_the_source_outside_its_box(result):
    for c in result.candidates:
        x0, y0, x1, y1 = c.box
        inside = np.zeros((21, 37), bool); inside[y0:y1, x0:x1] = True
        changed = (np.asarray(c.image) != np.asarray(result.source_image)).any(-1)
        assert not changed[~inside].any() and changed[inside].mean() > .9

def test_the_best_candidate_speaks_for_the_result(result):
    turned = replace(result, candidates=result.candidates[::-1])
    assert turned.box == (0, 0, 12, 12) and turned.score == .3
    assert turned.image.tobytes() == result.candidates[1].image.tobytes()

def test_boxes_are_drawn_where_they_are():
    result = stub_result()
    drawn = np.asarray(draw_boxes(replace(result, source_image=Image.new('RGB', (37, 21)),
                                          candidates=result.candidates[:1]), 210)).astype(int)
    assert drawn.shape == (210, 370, 3)
    yellow = (drawn == (255, 220, 0)).all(-1)
    ys, xs = yellow.nonzero()
    assert abs(xs.min() - 300) <= 1 and abs(xs.max() - 349) <= 1 and abs(ys.min() - 100) <= 1
    assert abs(ys.max() - 139) <= 1
    assert drawn[122:124, 325:327].reshape(-1, 3).tolist() == [[255, 60, 60]] * 4  # the anchor

def test_comparison_has_three_pictures_of_one_height(result):
    width = round(37 * 63 / 21)
    sheet = np.asarray(result.compare(63))
    assert sheet.shape == (63, 3 * width + 16, 3)
    assert (sheet[:, :width] == np.asarray(result.source_image.resize((width, 63)))).all()
    assert (sheet[:, width:width + 8] == 255).all()
    assert (sheet[:, -width:] == np.asarray(result.image.resize((width, 63)))).all()

@pytest.mark.parametrize('size, shown',
                         [((3000, 2), (4096, 3)), ((100_000, 1), (100_000, 1)),
                          ((1, 100_000), (1, 256)), ((1, 1), (256, 256))])
def test_extreme_pictures_are_not_blown_up(result, size, shown):
    strip = replace(result, source_image=Image.new('RGB', size), candidates=[])
    assert draw_boxes(strip, 256).size == shown
