"The file of what is known: the words of the world, and a detector that tells leaves from drawings."
import json

from PIL import Image
import pytest
import torch

from regionedit.models.pretrained import Known
from regionedit.pocket import vocabulary
from regionedit.pocket.scenes import CONCEPTS, SYNONYMS
from regionedit.pocket.vocabulary import (cut_squares, dead_leaves, drawn_squares, fit_detector, found,
                                          learned_words, nearest_things, with_threshold)

@pytest.fixture(scope='module')
def small():
    "A detector of 60 drawings and 60 pictures of leaves."
    return fit_detector(drawn_squares(2_000_000, 60), dead_leaves(0, 60, leaves=30), steps=300)

def test_leaves_are_pictures_and_the_seed_decides():
    a, b = dead_leaves(3, 2, side=64), dead_leaves(3, 2, side=64)
    assert a.shape == (2, 3, 64, 64) and torch.equal(a, b) and 0 <= a.min() and a.max() <= 1
    assert not torch.equal(a, dead_leaves(4, 2, side=64))

@pytest.mark.slow
def test_a_small_detector_tells_leaves_from_drawings(small):
    assert found(small, dead_leaves(9, 30, leaves=30)) > .8
    assert found(small, drawn_squares(9, 40)) < .2

@pytest.mark.slow
def test_the_threshold_leaves_the_asked_share_above(small):
    images = [Image.fromarray((p.movedim(0, -1) * 255).byte().numpy()) for p in drawn_squares(11, 40)]
    moved = with_threshold(small, images, mistaken=.25)
    assert sum(moved(im) > 0 for im in images) == pytest.approx(10, abs=1)

def test_squares_are_cut_from_each_photograph_equally_often():
    red, blue = Image.new('RGB', (300, 200), 'red'), Image.new('RGB', (90, 200), 'blue')
    squares = cut_squares(0, [red, blue], 6)
    assert squares.shape == (6, 3, 128, 128)
    assert (squares[::2, 0] == 1).all() and (squares[1::2, 2] == 1).all()

def test_every_name_is_known_and_what_is_near_is_a_thing(small, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, 'make_detector', lambda photographs: small)
    vocabulary.write_known(tmp_path/'known.json', [])
    known = Known.read(tmp_path/'known.json')
    names = [n for c in CONCEPTS for n in (c, *SYNONYMS[c])]
    assert all(known.unknown_words(n) == [] for n in names)
    assert set(nearest_things().values()) <= set(CONCEPTS)
    assert known.unknown_words(' '.join(learned_words())) == []
    assert json.loads((tmp_path/'known.json').read_text())['detector'] == vars(small)
