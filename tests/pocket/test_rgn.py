"The oracle paints what it says, its tables are the method's tables, and the network learns from them."
from dataclasses import replace

import numpy as np
import pytest
import torch

from regionedit.method.amortised import Sight, TextRegionNetwork, moves_between
from regionedit.method.attention import Attention
from regionedit.method.config import Config, Task
from regionedit.pocket import rgn
from regionedit.pocket.rgn import (KEPT_OUT, SEEN, STYLES_SEEN, RgnRecipe, TriedScene, losses_of,
                                   lowest_near, oracle_edits, outcome, prepare, rules,
                                   sample_boxes, texts_for, wanted)
from regionedit.pocket.scenes import CONCEPTS, STYLES, SYNONYMS, Object, draw_scene, render, sprite
from regionedit.method.table import EditTable, table_of, measure, seen_in
from stubs import StubClip

def numbers(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

def test_what_is_held_out_is_never_seen():
    assert len(KEPT_OUT) == 22 and set(SEEN) | set(KEPT_OUT) == set(CONCEPTS)
    assert not set(SEEN) & set(KEPT_OUT) and set(STYLES) - set(STYLES_SEEN) == {'noto'}
    for seed in range(2_000_000, 2_000_040):
        scene = draw_scene(seed, concepts=SEEN, styles=STYLES_SEEN)
        what = wanted(np.random.default_rng(seed), scene, SEEN, STYLES_SEEN)
        assert not {*(o.name for o in scene.objects), what['name']} & set(KEPT_OUT) and what['name'] not in {o.name for o in scene.objects}
        assert {*(o.style for o in scene.objects), what['style']} <= set(STYLES_SEEN)

def test_the_oracle_in_the_whole_picture_draws_the_new_thing_alone():
    scene = draw_scene(5, num_objects=2, clutter=True)
    edit, = oracle_edits(scene, [(0, 0, 128, 128)], 'bus', 'noto', fill=.5)
    size = sprite('bus', 'noto', 64).size
    box = ((128 - size[0]) // 2, (128 - size[1]) // 2)
    expected = render(replace(scene.layout, clutter=(), objects=(Object('bus', 'noto', (*box, box[0] + size[0], box[1] + size[1]), 64),)))
    assert edit.paste(scene.image).tobytes() == expected.tobytes()

def test_the_oracle_changes_the_box_only_and_removes_what_was_there():
    scene = draw_scene(8, num_objects=1, clutter=False)
    x0, y0, x1, y1 = box = scene.objects[0].box
    shown = np.asarray(oracle_edits(scene, [box], 'bus', 'noto', fill=.1)[0].paste(scene.image))
    source, clean = np.asarray(scene.image), np.asarray(render(replace(scene.layout, objects=())))
    outside = np.ones((128, 128), bool); outside[y0:y1, x0:x1] = False
    assert (shown == source)[outside].all()
    assert (shown == clean).all(-1)[y0:y1, x0:x1].mean() > .8 > .5 > (source == clean).all(-1)[y0:y1, x0:x1].mean()

def test_texts_name_the_new_thing_and_the_old():
    for seed in range(60):
        layout = draw_scene(seed, num_objects=2, concepts=SEEN).layout
        name = next(c for c in CONCEPTS if c not in {o.name for o in layout.objects})
        for whole in (True, False, None):
            prompt, source, number = texts_for(np.random.default_rng(seed), layout, name, whole)
            old, other = layout.objects[number].name, layout.objects[1 - number].name
            def told(concept, text): return any(n in text for n in (concept, *SYNONYMS[concept]))
            assert told(name, prompt) and told(old, source)
            if whole is not None: assert told(other, prompt) == whole or told(other, name), prompt

def test_losses_from_kept_features_are_those_of_the_table():
    scene = draw_scene(5, num_objects=1)
    boxes = [(0, 0, 60, 60), (20, 30, 80, 90), (64, 64, 128, 128)]
    edits, clip = oracle_edits(scene, boxes, 'bus', 'noto'), StubClip()
    task = Task(scene.image, 'a bus', 'a cat')
    rows = measure(clip, task, edits, seen_in(clip, task, boxes))
    seen = clip.encode_images([scene.image] + [e.paste(scene.image) for e in edits])
    prompt, source = clip.encode_texts(['a bus', 'a cat'])
    crops = clip.encode_images([scene.image.crop(b) for b in boxes]).pooled
    kept = dict(edits=seen.pooled[None, 1:], clip=crops[None], picture=seen.pooled[None, 0], str=rows[None, :, 2])
    table = table_of(torch.tensor([boxes]), torch.arange(3)[None], dict(enumerate(zip(edits, rows))))
    torch.testing.assert_close(losses_of(kept, prompt[None], source[None])[0], table.loss(Config())[0])
    assert table.s_src.ne(0).all()

def test_tables_are_made_once(tmp_path, monkeypatch):
    made = []
    def observe(seed, vit, clip): made.append(seed); return dict(wanted=torch.tensor(seed), str=torch.full((3,), float(seed)))
    monkeypatch.setattr(rgn, 'observe_seed', observe)
    path = tmp_path/'rgn'/'tables.safetensors'
    assert prepare(path, list(range(5)), None, None, chunk=2)['wanted'].tolist() == [0, 1, 2, 3, 4] == made
    again = prepare(path, list(range(7)), None, None, chunk=2)
    assert again['wanted'].tolist() == list(range(7)) == made and again['str'].dtype == torch.float16 and again['str'][6].tolist() == [6.] * 3
    assert prepare(path, [0, 1], None, None)['wanted'].tolist() == [0, 1] and len(made) == 7

def test_it_learns_where_the_text_points():
    "Two kinds of boxes; the loss is lowest where the box agrees with the source text. A fresh picture is answered right."
    torch.manual_seed(0)
    network, recipe = TextRegionNetwork(8, 16, width=16, layers=1, heads=2), RgnRecipe(floor=.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=.01)
    def batch(n, seed):
        clip, texts = torch.nn.functional.normalize(numbers(n, 8, 16, seed=seed), dim=-1), numbers(n, 16, seed=seed + 1)
        source = torch.nn.functional.normalize(texts, dim=-1)
        return dict(vit=numbers(n, 8, 8, seed=seed + 2), clip=clip, place=numbers(n, 8, 5, seed=seed + 3), picture=source.flip(0), prompt=source.roll(1, 0), source=source,
                    losses=-(clip @ source[:, :, None])[..., 0])
    for step in range(60):
        loss = recipe.loss(network, batch(32, 10 * step), 0.)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    fresh = batch(64, 10_000)
    logits = network(**{k: fresh[k] for k in Sight._fields})
    assert (logits.argmax(1) == fresh['losses'].argmin(1)).float().mean() > .6      # by chance 1/8

def test_rules_and_outcome_by_hand():
    boxes = torch.tensor([[[0, 0, 4, 4], [0, 0, 8, 8], [0, 0, 12, 12]], [[20, 20, 24, 24], [18, 18, 26, 26], [16, 16, 28, 28]]])
    terms = dict(clip=torch.tensor([[.3, .2, .9], [.4, .1, .3]]), dir=torch.zeros(2, 3), str=torch.zeros(2, 3))
    table = EditTable(boxes, torch.arange(6).view(2, 3), (), terms, torch.tensor([[.1, .2, .3], [.1, .25, .2]]), torch.full((2, 3), .5), s_src=torch.tensor([[.1, .2, .3], [.1, .2, .1]]))
    trial = TriedScene((18, 18, 26, 26), table, torch.tensor([[0., 5., 0.], [0., 0., 1.]]), table)
    found = {name: (a.tolist(), j.tolist()) for name, (a, j) in rules(trial).items()}
    assert found['full table'] == ([0, 1], [1, 1]) and found['amortised, 1 edit'] == ([0], [1]) and found['amortised'] == ([0, 1], [1, 2]) == found['amortised, 2 edits']
    assert found['crop similarity, 1 edit'] == ([0], [2]) and found['middle box, first anchor'] == ([0], [1])
    full = outcome(trial, *rules(trial)['full table'])      # score 2 * .25 + .5 + 4 * .2 = 1.8 of at most 2.3
    mean = (1.1 + 1.7 + 2.3 + 1.1 + 1.8 + 1.3) / 6
    assert full == pytest.approx(dict(of_best=1.8 / 2.3, of_full=1, above_mean=(1.8 - mean) / (2.3 - mean), on_named=1, iou=1, edits=2))
    assert outcome(trial, *rules(trial)['amortised, 1 edit'])['on_named'] == 0
    moved_there = replace(trial, own=replace(table, boxes=boxes + 14))
    assert outcome(moved_there, *rules(trial)['amortised, 1 edit'], own=True)['on_named'] == 1

@pytest.mark.slow
def test_it_learns_to_move_to_the_lowest_loss():
    "The box that should be taken lies where the place says; after learning the moves lead there."
    torch.manual_seed(0)
    network, recipe = TextRegionNetwork(8, 16, width=32, layers=1, heads=2, moves=True), RgnRecipe(floor=.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=.003)
    def batch(n, seed):
        low = torch.rand(n, 8, 2, generator=torch.Generator().manual_seed(seed)) * .2
        boxes = torch.cat([low, low + .4], -1)
        boxes[:, 0] = torch.tensor([.1, .1, .5, .5])        # the best one, always
        unit = torch.nn.functional.normalize(numbers(n, 16, seed=seed), dim=-1)
        return dict(vit=numbers(n, 8, 8, seed=seed), clip=unit[:, None].expand(-1, 8, -1), place=torch.cat([boxes, boxes[..., :1]], -1) * 4, picture=unit, prompt=unit, source=unit,
                    boxes=boxes, losses=torch.cat([torch.zeros(n, 1), torch.ones(n, 7)], 1))
    for step in range(126):
        loss = recipe.loss(network, batch(32, 10 * step), 0.)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    fresh = batch(64, 10_000)
    moves, wanted = network.look(**{k: fresh[k] for k in Sight._fields})[1], moves_between(fresh['boxes'], lowest_near(fresh['boxes'], fresh['losses']))
    assert (moves - wanted).abs().mean() < .5 * wanted.abs().mean()

def test_boxes_of_the_training_are_those_of_the_method():
    scene = draw_scene(2_000_003, num_objects=1)
    seen = Attention(torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)), numbers(8, 16, 16), (128, 128))
    drawn = [sample_boxes(np.random.default_rng(s), scene.image, seen) for s in range(12)]
    assert all(b.shape == (4, 4, 4) and (b[..., :2] < b[..., 2:]).all() and (b >= 0).all() and (b <= 128).all() for b in drawn)
    square = [((b[..., 2] - b[..., 0]) == (b[..., 3] - b[..., 1])).float().mean().item() for b in drawn]
    assert min(square) < .4 < .6 < max(square), 'fitted ones and squares'
