"A hundred scenes by other means: the same everywhere, with true boxes, and nothing of the training."
import numpy as np
import pytest

from regionedit.pocket.scenes import CONCEPTS, HELD_OUT, HELD_OUT_STYLE, STYLES, article
from regionedit.pocket import vocabulary as module
from regionedit.pocket.vocabulary import COUNT, SIZES, stranger, strangers

@pytest.fixture(scope='module')
def everyone(): return strangers()

def test_a_number_is_a_scene(everyone):
    assert len(everyone) == COUNT == 100
    for i in (0, 41, 99):
        again = stranger(i)
        assert again == everyone[i] and again.image.tobytes() == everyone[i].image.tobytes()

def test_half_are_things_that_no_model_met(everyone):
    assert all(s.name in HELD_OUT for s in everyone[1::2])
    assert all(s.name in CONCEPTS for s in everyone[::2])
    assert all(s.wanted in CONCEPTS and s.wanted != s.name for s in everyone)
    assert all(s.prompt == article(s.wanted) and s.source == article(s.name) for s in everyone)
    assert {s.image.size for s in everyone} == set(SIZES)

def test_only_the_held_out_style_is_used_for_known_things(monkeypatch):
    asked = []
    real = module.sprite
    monkeypatch.setattr(module, 'sprite', lambda n, s, *a: asked.append((n, s)) or real(n, s, *a))
    for i in range(20): stranger(i)
    assert all(s == HELD_OUT_STYLE for n, s in asked[::2])
    assert all(s in STYLES for n, s in asked[1::2])

def test_the_box_is_the_outline_of_what_is_there(monkeypatch, everyone):
    "The ground alone differs inside the box only, and up to each of its sides."
    drawn = everyone[7]
    real = module.sprite
    def nothing(*args):
        clear = real(*args).copy()
        clear.putalpha(0)
        return clear
    monkeypatch.setattr(module, 'sprite', nothing)
    changed = (np.asarray(stranger(7).image) != np.asarray(drawn.image)).any(-1)
    y, x = np.nonzero(changed)
    x0, y0, x1, y1 = drawn.box
    assert (x.min(), y.min()) >= (x0, y0) and x.max() < x1 and y.max() < y1
    assert x.min() - x0 < 3 and y.min() - y0 < 3 and x1 - x.max() < 4 and y1 - y.max() < 4
