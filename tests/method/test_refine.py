"Finer masks: compositing follows the patches bit for bit, everywhere an edit goes."

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from regionedit import RegionEditor
from regionedit import EditResult
from regionedit.method.edits import (Edit, GRID, closed, patch_difference, refine, paste_edit,
                                     patch_mask)
from regionedit.results.saved import _rows
from stubs import StubClip, StubEditor, picture, stub_vit

def test_a_patch_mask_by_hand():
    mask = np.asarray(patch_mask(((1, 0), (0, 1)), (1, 2, 5, 6), (7, 8))) > 0
    expected = np.zeros((8, 7), bool); expected[2:4, 1:3] = expected[4:6, 3:5] = True
    assert (mask == expected).all()

@pytest.mark.parametrize('box', [(3, 4, 40, 33), (0, 0, 48, 36), (5, 6, 6, 7), (10, 10, 13, 30)])
def test_outside_the_patches_every_pixel_is_the_sources(box):
    source, crop = picture(48, 36), picture(24, 24, 5)
    g = np.random.default_rng(0)
    patches = tuple(tuple(r)
                    for r in g.integers(0, 2,
                                        (min(8, box[3] - box[1]),
                                         min(8, box[2] - box[0]))).tolist())
    edit = Edit(box, (0, 0, 48, 36), crop, patches)
    whole, fine = (np.asarray(e.paste(source)) for e in (Edit(box, (0, 0, 48, 36), crop), edit))
    where = np.asarray(edit.painted(source.size)) > 0
    assert (fine[~where] == np.asarray(source)[~where]).all()
    assert (fine[where] == whole[where]).all()
    assert not where[:, :box[0]].any() and not where[:box[1]].any() and not where[:, box[2]:].any()
    assert not where[box[3]:].any()

def test_without_patches_nothing_is_new():
    source, edit = picture(48, 36), Edit((3, 4, 40, 33), (0, 0, 48, 36), picture(24, 24, 5))
    assert edit.paste(source).tobytes() == paste_edit(source, edit.crop, edit.window,
                                                      edit.box).tobytes()
    assert np.asarray(edit.painted((48, 36))).sum() == 255 * 37 * 29

def test_the_difference_is_of_mean_colours():
    "A box of 16 x 16 in 8 x 8 patches of 2 x 2 pixels; noise of mean 0 in each patch is not seen."
    source = Image.new('RGB', (16, 16), (100, 100, 100))
    pixels = np.full((16, 16, 3), 100, np.uint8)
    pixels[::2] += 40; pixels[1::2] -= 40                    # stripes: the mean of each patch stays
    pixels[4:6, 6:8] = (151, 100, 100)
    found = patch_difference(Edit((0, 0, 16, 16), (0, 0, 16, 16), Image.fromarray(pixels)), source,
                             grid=8)
    expected = np.zeros((8, 8)); expected[2, 3] = .2 / 3**.5
    assert np.allclose(found, expected, atol=1e-3)

def test_closing_is_scipys():
    mask = np.random.default_rng(2).random((8, 8)) < .4
    padded = np.pad(mask, 2)
    inside = ndimage.binary_closing(padded, np.ones((3, 3)))[3:-3, 3:-3]
    assert (closed(mask)[1:-1, 1:-1] == inside).all()

@pytest.mark.parametrize('box', [(0, 0, 1, 1), (2, 3, 5, 30), (0, 0, 48, 36)])
def test_boxes_of_any_size_are_refined_and_never_empty(box):
    source = picture(48, 36)
    same = Edit(box, (0, 0, 48, 36), source)                 # an edit that changes nothing
    found = refine(same, source)
    assert len(found.patches) == min(GRID, box[3] - box[1])
    assert len(found.patches[0]) == min(GRID, box[2] - box[0])
    assert any(v for row in found.patches for v in row)
    assert found.paste(source).tobytes() == source.tobytes()

def test_refining_twice_changes_nothing():
    source, edit = picture(48, 36), Edit((3, 4, 40, 33), (0, 0, 48, 36), picture(24, 24, 5))
    assert refine(refine(edit, source), source) == refine(edit, source)

@pytest.mark.parametrize('size', [(96, 64), (700, 300)])
def test_the_method_scores_what_it_shows_and_saves_it(tmp_path, size):
    models = RegionEditor(stub_vit(), StubClip(), StubEditor())
    source = Image.new('RGB', size, 'white')
    source.paste(picture(*size).crop((0, 0, size[0] // 2, size[1])))
    options = dict(num_anchors=2, num_proposals=2, learning_steps=2, progress=False)
    result = models(source, 'a rocket', 'a cat', mask='patches', **options)
    best = result.candidates[0]
    assert all(e.patches for e in result.table.edits)
    pixels, where = np.asarray(result.image), np.asarray(best.edit.painted(size)) > 0
    assert (pixels[~where] == np.asarray(source)[~where]).all()
    if size == (96, 64):
        text = models.clip.encode_texts(['a rocket'])[0]
        assert (best.s_t2i
                == pytest.approx(
                    (models.clip.encode_images([result.image]).pooled[0] @ text).item(), abs=1e-5))
    again = EditResult.load(result.save(tmp_path/'out'))
    assert again.image.tobytes() == result.image.tobytes()
    assert [e.patches for e in again.table.edits] == [e.patches for e in result.table.edits]
    boxes = models(source, 'a rocket', 'a cat', **options)
    assert not any(e.patches
                   for e in boxes.table.edits) and models.cache.hits, 'the same edits, shown whole'

def test_a_budget_is_refined_too():
    models = RegionEditor(stub_vit(), StubClip(), StubEditor())
    result = models(picture(96, 64), 'a rocket', 'a cat', mask='patches', budget=2, num_anchors=2,
                    num_proposals=2, learning_steps=2, progress=False)
    assert result.num_edits == 2 and all(e.patches for e in result.table.edits)

@pytest.mark.parametrize('wrong', [[], [[]], [[0, 1], [1]], [[2]], [['x']], 'no', [0, 1]])
def test_damaged_patches_are_refused(wrong):
    with pytest.raises((ValueError, TypeError)): _rows(wrong)
