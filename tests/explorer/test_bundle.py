"What goes to the page: results of every kind, whose row is whose, words before everything else."
import base64, io, json, math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit import EditResult, RegionEditor
from regionedit.explorer.bundle import (anchor_points, attention_bundle, chosen_proposals, entries,
                                        make_bundle, packed, webp, words_of)
from regionedit.explorer.record import attend_layers, learn_again, painter_steps
from regionedit.method.attention import attend
from regionedit.method.core import Note
from stubs import StubClip, StubEditor, picture, stub_result, stub_vit

@pytest.fixture(scope='module')
def result():
    "Three anchors and four proposals on a picture of 60 x 40."
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor())
    return editor(picture(60, 40), 'a rocket', 'a cat', num_anchors=3, num_proposals=4,
                  learning_steps=12, min_size=.3, max_size=.9, source_weight=0, progress=False)

def pixels(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.split(',')[1])))

def values(there: dict) -> torch.Tensor:
    kind = getattr(torch, there['dtype'])
    return torch.frombuffer(bytearray(base64.b64decode(there['data'])), dtype=kind).view(
        there['shape'])

# whose row is whose

def test_anchors_come_back_in_their_own_order(result):
    best = [(tuple(c.anchor), c.box) for c in result.candidates]
    points = anchor_points(result)
    assert sorted(map(tuple, points.tolist())) == sorted(a for a, _ in best)
    for k, point in enumerate(points.tolist()):
        assert (tuple(point), tuple(result.trajectory.boxes[-1, k].tolist())) in best
    alone = replace(result, candidates=result.candidates[:1])
    assert anchor_points(alone).isfinite().all(1).sum() == 1

def test_two_anchors_that_chose_the_same_box_stay_apart():
    result = stub_result()
    first, second = (replace(c, box=(0, 0, 37, 21), score=.5) for c in result.candidates[::-1])
    path = replace(result.trajectory, boxes=result.trajectory.boxes.clone())
    path.boxes[-1] = torch.tensor([0, 0, 37, 21])
    same = replace(result, candidates=[first, second], trajectory=path)
    assert anchor_points(same).tolist() == [[4.125, 5.5], [32.5, 12.25]]

# results of every kind

def one_state(result):
    "As the amortised network leaves it: one look, few edits."
    keep = torch.zeros(3, 4, dtype=torch.bool)
    keep[torch.arange(3), result.trajectory.chosen[-1]] = torch.tensor([True, True, False])
    table = replace(result.table, index=result.table.index.masked_fill(~keep, -1),
                    **{f: getattr(result.table, f).masked_fill(~keep, math.nan)
                       for f in ('s_t2i', 's_i2i')},
                    terms={t: v.masked_fill(~keep, math.nan)
                           for t, v in result.table.terms.items()})
    boxes = [tuple(b) for b in result.trajectory.boxes[-1].tolist()]
    path = replace(result.trajectory,
                   **{f: getattr(result.trajectory, f)[-1:]
                      for f in ('probabilities', 'chosen', 'boxes', 'terms', 'expected_loss')})
    return replace(result, table=table, trajectory=path,
                   candidates=[c for c in result.candidates if c.box in boxes[:2]])

def random_boxes(result):
    """One random box an anchor, ranked, nothing learned: the baseline of the paper's region
    ablation."""
    from regionedit.bench.baselines import random_sizes
    from regionedit.method.config import Config, Task
    from regionedit.method.editor import Candidate
    from regionedit.method.table import EditCache, fill_table
    points = torch.tensor([[9., 8.], [30., 20.], [55., 35.]])
    models = SimpleNamespace(editor=StubEditor(), clip=StubClip(), cache=EditCache())
    boxes = random_sizes(points, (60, 40), torch.Generator().manual_seed(4))[:, None]
    task = Task(result.source_image, 'a rocket', 'a cat', Config(source_weight=0))
    table = fill_table(models, task, boxes)
    score = (2 * table.s_t2i + table.s_i2i)[:, 0]
    candidates = [Candidate(tuple(table.boxes[k, 0].tolist()), tuple(points[k].tolist()),
                            float(score[k]), float(table.s_t2i[k, 0]), float(table.s_i2i[k, 0]),
                            {t: float(v[k, 0]) for t, v in table.terms.items()},
                            table.edits[table.index[k, 0]], result.source_image)
                  for k in score.argsort(descending=True).tolist()]
    return replace(result, table=table, candidates=candidates, trajectory=None)

def made(clip=None, size=(60, 40), **options):
    editor = RegionEditor(stub_vit(), clip or StubClip(), StubEditor())
    return editor(picture(*size), 'a rocket', 'a cat', progress=False,
                  **{**dict(num_anchors=3, num_proposals=3, learning_steps=5), **options})

KINDS = {       # name -> what makes it of the learned result; learning steps that it has
    'learned': (lambda r: r, 13), 'without its learning': (lambda r: replace(r, trajectory=None), 0),
    'in one look': (one_state, 1), 'random boxes': (random_boxes, 0),
    'learned again': (lambda r: replace(r, trajectory=learn_again(r, 'released')), 13),
    'one box': (lambda r: made(num_anchors=1, num_proposals=1), 6),
    'random search': (lambda r: made(budget=4, search='random'), 6),
    'tall': (lambda r: made(size=(20, 120)), 6), 'flat': (lambda r: made(size=(150, 20)), 6)}

@pytest.mark.parametrize('name', KINDS)
def test_every_kind_of_result_goes_into_a_bundle(result, name, tmp_path):
    make, steps = KINDS[name]
    kind = make(result)
    if kind.trajectory is not None: kind = EditResult.load(kind.save(tmp_path/'saved'))
    bundle = make_bundle(kind)
    json.dumps(bundle, allow_nan=False)
    assert [r['shape'][0] for r in bundle['runs'].values()] == [steps] * bool(steps)
    for (k, m), c in zip(entries(kind), kind.candidates):
        assert tuple(kind.table.boxes[k, m].tolist()) == c.box
        assert list(c.anchor) in anchor_points(kind).tolist()
    assert values(bundle['chosen']).tolist() == chosen_proposals(kind).tolist()
    chosen = {c.box for c in kind.candidates}
    for edit, sent in zip(kind.table.edits, bundle['edits']):
        whole, got = edit.paste(kind.source_image).crop(edit.box), pixels(sent['picture'])
        if edit.box in chosen: assert got.convert('RGB').tobytes() == whole.tobytes()
        else:       # noise, whose colours a lossy picture halves: its light must be there
            light = [np.asarray(p.convert('L'), float) for p in (whole, got)]
            assert got.size == whole.size and np.abs(light[0] - light[1]).mean() < 12

class HoleClip(StubClip):
    "Has no number for the second picture of a batch that follows the source."
    def encode_images(self, images):
        found = super().encode_images(images)
        if len(images) > 2: found.pooled[2] = math.nan
        return found

def test_a_candidate_that_is_no_number():
    with pytest.warns(Note, match='not a number'):
        kind = made(HoleClip(), num_proposals=1, source_weight=0.)
    bundle, ((k, m),) = make_bundle(kind), kind.left_out
    assert len(values(bundle['candidates'])) == 2
    assert values(bundle['terms']['clip'])[k, m].isnan()

def test_wrong_results_are_refused(result):
    path = result.trajectory
    for wrong in (replace(path, probabilities=path.probabilities[:, :2]),
                  replace(path, expected_loss=path.expected_loss[:0])):
        with pytest.raises(ValueError, match='expected learning steps of 3 anchors and 4 proposals'):
            make_bundle(replace(result, trajectory=wrong))
    elsewhere = replace(result.candidates[0], box=(0, 0, 2, 2))
    with pytest.raises(ValueError, match='out of the table'):
        make_bundle(replace(result, candidates=[elsewhere]))
    with pytest.raises(ValueError, match='EditResult.load'): make_bundle('out/apple')

# words

def test_a_note_of_the_result_comes_first(result, tmp_path):
    noted = replace(result, notes=('unlike those that these models know; see there.',))
    noted = EditResult.load(noted.save(tmp_path/'noted'))
    assert make_bundle(noted, notes=('More.',))['words']['notes'] == [
        'Unlike those that these models know; see there.', 'More.']

def test_old_results_have_nothing_to_say_first():
    old = EditResult.load(Path(__file__).parents[1]/'data'/'result-schema-1')
    assert old.notes == () and make_bundle(old)['words']['notes'] == []

SEEN = dict(drawn=.1, source_anywhere=.2, source_seen=.2, moved=.9, change=.3, texts=.1,
            text_lost=0., source_lost=0.)

@pytest.mark.parametrize('change, answer, words', [
    ({}, 'yes', 'It succeeded'), (dict(drawn=-.1), 'no', 'It failed'),
    (dict(source_seen=-.1), 'partly', 'beside the thing'),
    (dict(source_seen=-.2, source_anywhere=-.1), 'no', 'not the edit that was asked for')])
def test_success_is_not_claimed_where_the_source_was_not_found(change, answer, words):
    "An emoji on a cat's nose: CLIP sees the prompt, and saw no source there."
    said = words_of(SEEN | change)
    assert said['answer'] == answer and words in said['verdict']
    assert said['verdict'].startswith('It succeeded') == (answer == 'yes')

def test_a_yes_of_models_that_do_not_know_the_picture_is_none():
    said = words_of(SEEN, ('foreign',), sure=False)
    assert said['answer'] == 'unsure' and 'counts for little' in said['verdict']
    assert words_of(SEEN | dict(drawn=-.1), sure=False)['answer'] == 'no'

# what only the models know

@pytest.fixture(scope='module')
def deep_vit():
    from timm.models.vision_transformer import VisionTransformer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vit = VisionTransformer(img_size=48, patch_size=8, embed_dim=24, depth=3, num_heads=2,
                                num_classes=0, dynamic_img_size=True).eval()
        with torch.no_grad():
            for block in vit.blocks: block.attn.qkv.weight.mul_(20)
    return vit

def test_attention_of_a_layer_is_that_of_the_network_cut_off_above_it(deep_vit):
    maps, blocks = attend_layers(deep_vit, picture(60, 40)), deep_vit.blocks
    try:
        for depth in (1, 2, 3):
            deep_vit.blocks = blocks[:depth]
            assert torch.equal(maps[depth - 1], attend(deep_vit, picture(60, 40)).maps)
    finally: deep_vit.blocks = blocks
    assert not torch.allclose(maps[0], maps[1])
    bundle = attention_bundle(picture(60, 40), maps)
    assert torch.allclose(values(bundle['attention']['mean']), maps[-1].mean(0))
    with pytest.raises(ValueError, match='editor.vit'): attend_layers(picture(60, 40), None)

def test_learning_again_asks_no_editor_and_finds_the_best(result):
    config, best = result.config, result.table.loss(result.config).argmin(1)
    longer = replace(result, config=replace(config, learning_steps=60))
    assert learn_again(longer, 'exact').chosen[-1].tolist() == best.tolist()
    with pytest.raises(ValueError, match='clip='): learn_again(result, 'gumbel')

def test_with_the_vit_learning_again_is_learning_the_same(result):
    again = learn_again(result, 'exact', stub_vit())
    assert torch.allclose(again.probabilities, result.trajectory.probabilities, atol=.01)

class TellingEditor(StubEditor):
    "Tells MaskGIT's steps: one token more each time; its pictures are as bright as its tokens."
    def fill(self, images, masks, prompt, callback_on_step_end=None, **steps):
        tokens = torch.full((1, 2, 2), 9)
        for i in range(4):
            tokens.view(-1)[i] = i
            unknown = tokens == 9
            score = torch.full((1, 2, 2), -1.).masked_fill(~unknown, math.inf)
            if callback_on_step_end:
                callback_on_step_end(self, i, 3 - i, dict(tokens=tokens.clone(), unknown=unknown,
                                                          confidence=score))
        return [Image.new('RGB', (24, 24), (90, 90, 90))]
    def pictures(self, tokens, window, mask): return (tokens[:, None] / 10).repeat(1, 3, 12, 12)

def test_the_painters_steps_are_what_it_tells(result):
    steps = painter_steps(TellingEditor(), result, (4, 4, 20, 24))
    assert [s['sentence'] for s in steps] == [f'Step {i + 1} of 4: {3 - i} of 4 tokens are unknown '
                                              'still.' for i in range(4)]
    assert steps[1]['maps']['tokens'].tolist() == [[0, 1], [-1, -1]]
    assert steps[1]['maps']['confidence'].isnan().tolist() == [[True, True], [False, False]]
    before, after = (s['image'].getpixel((12, 12)) for s in (steps[0], steps[3]))
    assert before != after and steps[0]['image'].getpixel((2, 2)) == picture(60, 40).getpixel((2, 2))
    assert len(painter_steps(TellingEditor(), result, most=2)) == 2
    assert painter_steps(StubEditor(), result) == []        # it tells nothing of the kind

def test_a_picture_arrives_as_it_is():
    image = picture(50, 30)
    assert pixels(webp(image)).convert('RGB').tobytes() == image.tobytes()
    assert values(packed([[1.5, -2]])).tolist() == [[1.5, -2]]
