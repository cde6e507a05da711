"Batches of the world on a device: the seed decides, boxes hold what they are said to hold."
import pytest
import torch

from regionedit.pocket.compose import (WINDOW, Composer, cut_boxes, hole_masks, over, place_layers,
                                       shared)
from regionedit.pocket.scenes import CONCEPTS, HAND

@pytest.fixture(scope='module')
def world(): return Composer(0, concepts=CONCEPTS[:8], places=1)

def test_a_layer_lands_in_its_box_and_nowhere_else():
    "A full layer of 96 pixels whose inner half (48) goes into the box."
    layer = torch.zeros(1, 4, 96, 96)
    layer[:, :, 24:72, 24:72] = 1
    box, share = torch.tensor([[10., 20., 34., 44.]]), torch.tensor([[.5, .5]])
    shown = place_layers(layer, box, share, (64, 50), torch.tensor([False]))[0, 3]
    expected = torch.zeros(64, 50)
    expected[20:44, 10:34] = 1
    assert shown.shape == (64, 50) and (shown - expected).abs().max() < 1e-4

def test_a_flipped_layer_is_mirrored():
    layer, box = torch.rand(1, 4, 32, 32), torch.tensor([[0., 0., 32., 32.]])
    plain, flipped = (place_layers(layer, box, torch.ones(1, 2), (32, 32), torch.tensor([f]))
                      for f in (False, True))
    assert torch.allclose(plain.flip(-1), flipped, atol=1e-5)
    assert torch.allclose(plain, layer, atol=1e-5)

def test_over_is_the_formula_of_multiplied_colours():
    canvas = torch.full((1, 3, 2, 2), .8)
    layer = torch.tensor([.1, .2, .3, .5]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    expected = torch.tensor([.5, .6, .7]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert torch.allclose(over(canvas, layer), expected)

def test_shared_area_of_boxes():
    a = torch.tensor([[0., 0., 10., 10.], [0., 0., 10., 10.], [0., 0., 10., 10.]])
    b = torch.tensor([[5., 0., 15., 10.], [2., 2., 4., 4.], [20., 0., 30., 10.]])
    assert torch.allclose(shared(a, b), torch.tensor([.5, 1., 0.]))

def test_masks_are_their_boxes():
    masks = hole_masks(torch.tensor([[3., 5., 10., 7.]]), 16)
    assert masks.shape == (1, 1, 16, 16) and masks.sum() == 14 and masks[0, 0, 5:7, 3:10].all()

def test_the_seed_decides_a_batch(world):
    world.g.manual_seed(3)
    first = world.scenes(4, 2)
    world.g.manual_seed(3)
    again, other = world.scenes(4, 2), world.scenes(4, 2)
    assert all(map(torch.equal, first[:3], again[:3])) and first[3] == again[3]
    assert not torch.equal(first[0], other[0])

@pytest.mark.parametrize('things, size', [(1, (128, 128)), (2, (96, 160)), (3, (200, 128))])
def test_scenes_of_any_size_hold_their_boxes(world, things, size):
    pixels, concepts, boxes, said = world.scenes(6, things, size)
    assert pixels.shape == (6, 3, *size) and concepts.shape == (6, things) and len(said) == 6
    assert 0 <= pixels.min() and pixels.max() <= 1
    assert (boxes[..., :2] >= 0).all() and (boxes[..., 2] <= size[1] + .01).all()
    assert (boxes[..., 3] <= size[0] + .01).all()

def test_a_thing_changes_its_box_only(world):
    canvas, boxes = torch.full((1, 3, 64, 64), .5), torch.tensor([[16., 8., 48., 40.]])
    icon = torch.tensor([0])
    drawn = world.draw(canvas, icon, icon, world.fit(icon, icon, boxes, (1, 1)))
    changed = (drawn != canvas).any(1)[0].nonzero()
    assert len(changed) > 100 and torch.equal(canvas, torch.full_like(canvas, .5))
    assert changed.min(0).values[0] >= 7 and changed.max(0).values[0] <= 40
    assert changed.min(0).values[1] >= 15 and changed.max(0).values[1] <= 48

def test_windows_hold_one_thing_in_the_hole_by_the_painters_hand(world):
    pixels, masks, concepts = world.windows(12)
    assert pixels.shape == (12, 3, WINDOW, WINDOW) and masks.shape == (12, 1, WINDOW, WINDOW)
    assert set(masks.unique().tolist()) == {0, 1} and concepts.max() < 8
    assert (.2 < masks.mean((1, 2, 3))).all() and HAND in world.sprites.styles

def test_cut_is_a_crop_where_nothing_is_scaled():
    pixels = torch.rand(1, 3, 40, 40)
    part = cut_boxes(pixels, torch.tensor([[8., 4., 24., 20.]]), 16)
    assert torch.allclose(part, pixels[..., 4:20, 8:24], atol=1e-5)
