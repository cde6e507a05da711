"Each distinct box edited once, measured once, remembered."
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.method.config import Config
from regionedit.method.table import (EditCache, EditTable, cached_edits, distinct, edit_key,
                                     fill_table)

class Plain:
    "Fills the mask with one colour and notes what it was asked."
    def __init__(self, colour='orange'):
        self.name, self.size, self.config, self.asked = 'plain', 32, dict(colour=colour), []
    def fill(self, images, masks, prompt, seed=0, num_inference_steps=None, guidance_scale=None,
             callback_on_step_end=None):
        self.asked += [(prompt, seed, num_inference_steps, guidance_scale)] * len(images)
        return [Image.composite(Image.new('RGB', im.size, self.config['colour']), im, m)
                for im, m in zip(images, masks)]

class Flood(Plain):
    "Paints over the whole window; what lies outside the box must not arrive."
    def fill(self, images, masks, prompt, **kwargs):
        return [Image.new('RGB', im.size, self.config['colour']) for im in images]

class ColourClip:
    "A picture's features are its mean colour, its tokens the four quarters; texts are given."
    texts = {'an orange': (1., .5, 0.), 'a sky': (0., 0., 1.)}
    def __init__(self): self.pictures = 0
    def encode_images(self, images):
        self.pictures += len(images)
        x = torch.stack([torch.from_numpy(np.asarray(im, np.float32) / 255).permute(2, 0, 1)
                         for im in images])
        unit = torch.nn.functional.normalize
        return SimpleNamespace(pooled=unit(x.mean((2, 3)), dim=-1),
                               tokens=torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(
                                   2).transpose(1, 2))
    def encode_texts(self, texts):
        return torch.nn.functional.normalize(torch.tensor([self.texts[t] for t in texts]), dim=-1)

BOXES = torch.tensor([[[0, 0, 10, 10], [0, 0, 30, 20]], [[0, 0, 10, 10], [20, 5, 48, 30]],
                      [[20, 5, 48, 30], [40, 0, 48, 8]]])

@pytest.fixture
def picture():
    "48 wide, 30 high, blue with noise."
    noise = np.random.default_rng(0).integers(0, 60, (30, 48, 3)) + (40, 60, 160)
    return Image.fromarray(noise.astype(np.uint8))

def fill(picture, editor, cache=None, clip=None, **kwargs):
    return fill_table(picture, BOXES, 'an orange', 'a sky', editor, clip or ColourClip(),
                      **dict(dict(seed=3, cache=cache, progress=False), **kwargs))

def test_equal_boxes_share_an_edit():
    unique, index = distinct(BOXES)
    assert unique == [(0, 0, 10, 10), (0, 0, 30, 20), (20, 5, 48, 30), (40, 0, 48, 8)]
    assert index.tolist() == [[0, 1], [0, 2], [2, 3]]

def test_every_distinct_box_is_edited_and_encoded_once(picture):
    editor, clip = Plain(), ColourClip()
    table = fill(picture, editor, clip=clip, num_inference_steps=4, guidance_scale=2.)
    assert editor.asked == [('an orange', 3, 4, 2.)] * 4 and clip.pictures == 5
    assert table.num_edits == 4
    for k in range(3):
        for m in range(2): assert table.edits[table.index[k, m]].box == tuple(BOXES[k, m].tolist())

def test_losses_against_numbers_worked_without_the_package(picture):
    table = fill(picture, Flood())
    source = np.asarray(picture, float)
    unit = lambda v: v / np.linalg.norm(v)
    prompt, sky = unit(np.array([1, .5, 0])), unit(np.array([0, 0, 1.]))
    before = unit(source.mean((0, 1)))
    quarters = lambda x: [unit(part.mean((0, 1))) for half in np.array_split(x, 2)
                          for part in np.array_split(half, 2, axis=1)]
    for k, m in ((0, 1), (2, 0), (2, 1)):
        x0, y0, x1, y1 = BOXES[k, m].tolist()
        edited = source.copy()
        edited[y0:y1, x0:x1] = (255, 165, 0)
        after = unit(edited.mean((0, 1)))
        assert table.s_t2i[k, m].item() == pytest.approx(after @ prompt, abs=1e-5)
        assert table.s_i2i[k,
                           m].item() == pytest.approx(
                               np.mean([a @ b for a, b in zip(quarters(edited), quarters(source))]),
                               abs=1e-5)
        assert table.terms['clip'][k, m].item() == pytest.approx(1 - after @ prompt, abs=1e-5)
        assert table.terms['dir'][k, m].item() == pytest.approx(1 - unit(after - before)
                                                                @ unit(prompt - sky), abs=1e-4)

def test_entries_that_share_an_edit_share_its_numbers(picture):
    table = fill(picture, Plain())
    for values in (*table.terms.values(), table.s_t2i, table.s_i2i):
        assert values.shape == (3, 2) and values[0, 0] == values[1, 0]
        assert values[1, 1] == values[2, 0] and values[0, 0] != values[0, 1]

def test_the_loss_is_the_weighted_sum():
    one = torch.ones(1, 2)
    table = EditTable(BOXES[:1], torch.zeros(1, 2).long(), (),
                      dict(clip=one, dir=10 * one, str=100 * one), one, one)
    assert table.loss(Config(lambda_clip=1, lambda_dir=2, lambda_str=.5)).tolist() == [[71, 71]]

def test_a_second_table_costs_no_edit_and_is_the_same(picture):
    editor, cache = Plain(), EditCache()
    first, again = fill(picture, editor, cache), fill(picture, editor, cache)
    assert len(editor.asked) == 4 and (cache.hits, cache.misses) == (4, 4)
    assert all(torch.equal(first.terms[t], again.terms[t]) for t in first.terms)
    assert again.num_edits == 4

@pytest.mark.parametrize('change',
                         [dict(seed=4), dict(num_inference_steps=5), dict(guidance_scale=1.)])
def test_other_circumstances_are_other_edits(picture, change):
    editor, cache = Plain(), EditCache()
    fill(picture, editor, cache), fill(picture, editor, cache, **change)
    assert len(editor.asked) == 8

def test_the_key_tells_pictures_prompts_and_editors_apart(picture):
    def key(image=picture, editor=Plain(), prompt='a', seed=0):
        return edit_key(image, editor, prompt, seed, None, None)
    changed = picture.copy(); changed.putpixel((47, 29), (0, 0, 0))
    turned = Image.frombytes('RGB', (30, 48), picture.tobytes())  # the same bytes, another shape
    assert len({key(), key(changed), key(turned), key(editor=Plain('red')), key(prompt='b'),
                key(seed=1)}) == 6

def test_a_full_cache_forgets_the_oldest_and_never_what_is_being_used(picture):
    cache, editor = EditCache(limit=2), Plain()
    boxes = [(0, 0, 8, 8), (0, 0, 9, 9), (5, 5, 20, 20)]
    cached_edits(editor, picture, boxes[:2], 'a', 0, cache)
    # making room for the third drops the first
    edits = cached_edits(editor, picture, boxes, 'a', 0, cache)
    assert [e.box for e in edits] == boxes and len(cache) == 2 and len(editor.asked) == 3

def test_it_draws_itself(picture):
    image = Image.open(io.BytesIO(fill(picture, Plain())._repr_png_()))
    assert image.format == 'PNG' and image.width > image.height

# losses that are no numbers

class Sick(ColourClip):
    "Features of some pictures overflow: index of the picture shown -> value; 0 is the source."
    def __init__(self, part, bad): super().__init__(); self.part, self.bad = part, bad
    def encode_images(self, images):
        found = super().encode_images(images)
        for i, value in self.bad.items(): getattr(found, self.part)[i, 0] = value
        return found

@pytest.mark.parametrize('part', ['pooled', 'tokens'])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_a_loss_that_is_no_number_costs_its_proposals_only(picture, part, value):
    well = fill(picture, Plain())
    with pytest.warns(UserWarning, match='2 of 6 proposals have a loss that is not a number '
                                         'and are left out') as told:
        table = fill(picture, Plain(), clip=Sick(part, {3: value}))
    assert len(told) == 1 and table.valid.tolist() == [[True, True], [True, False], [False, True]]
    assert well.valid.all()
    loss, expected = table.loss(Config()), well.loss(Config())
    # the worst that is left
    assert torch.equal(loss[table.valid], expected[table.valid])
    assert loss[1].tolist() == [expected[1, 0]] * 2 and loss[2].tolist() == [expected[2, 1]] * 2
    assert table._repr_png_()[:4] == b'\x89PNG'

def test_an_anchor_without_any_number_has_an_even_loss(picture):
    with pytest.warns(UserWarning, match='4 of 6'):
        table = fill(picture, Plain(), clip=Sick('tokens', {1: float('nan'), 3: float('nan')}))
    assert table.valid.tolist() == [[False, True], [False, False], [False, True]]
    assert table.loss(Config())[1].tolist() == [0, 0]

@pytest.mark.parametrize('bad', [{0: float('nan')}, {i: float('inf') for i in range(1, 5)}])
def test_nothing_left_is_one_sentence(picture, bad):
    with pytest.raises(ValueError, match='expected losses that are numbers, got NaN or infinity '
                                         'for all 6 proposals; load'):
        fill(picture, Plain(), clip=Sick('pooled', bad))

def test_memory_of_the_cache_is_bounded(): assert EditCache().limit <= 1000
