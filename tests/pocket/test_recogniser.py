"The second judge: its crops hold what they are named after, its weights are what the card says, it is no CLIP."
import json

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.method.core import ModelNotAvailable
from regionedit.pocket import CONCEPTS, draw_scene, weights_folder
from regionedit.pocket.compose import Composer
from regionedit.pocket.judge import SIDE, RecogniserRecipe, load_recogniser, recognise
from regionedit.pocket.scenes import HELD_OUT_STYLE, drawn_in

@pytest.fixture(scope='module')
def judge(): return load_recogniser()

@pytest.fixture(scope='module')
def world(): return Composer(1_003_000, places=2)

def true_boxes(seeds):
    "The inside of the true box of scenes with one thing, and its name."
    scenes = [draw_scene(s, num_objects=1) for s in seeds]
    return [(s.image.crop(s.objects[0].box), s.objects[0].name) for s in scenes]

def test_near_views_show_the_named_thing_and_repeat(world, judge):
    "Unworn, and cut to the thing's own outline or looser."
    world.g.manual_seed(5)
    pixels, concepts = world.near(200, SIDE, wear=False)
    world.g.manual_seed(5)
    assert torch.equal(pixels, world.near(200, SIDE, wear=False)[0])
    named = judge(pixels).argmax(1)
    assert pixels.shape == (200, 3, SIDE, SIDE) and (named == concepts).float().mean() > .9

def test_wear_keeps_the_picture_recognisable(world):
    world.g.manual_seed(6)
    fine = world.near(20, SIDE, wear=False)[0]
    for a, b in zip(fine, world.worn(fine)):
        assert not torch.equal(a, b)
        assert np.corrcoef(a.flatten(), b.flatten())[0, 1] > .8

def test_it_names_held_out_scenes(judge):
    crops = true_boxes(range(1_003_000, 1_003_060))
    named = recognise(judge, [c for c, _ in crops])
    assert np.mean([a == b for a, (_, b) in zip(named, crops)]) > .9

def test_nothing_is_learned_from_the_held_out_style():
    assert HELD_OUT_STYLE not in Composer(places=0).sprites.styles and drawn_in(HELD_OUT_STYLE)

def test_one_picture_or_many_at_any_size(judge):
    crops = [c for c, _ in true_boxes(range(1_003_000, 1_003_003))]
    together = recognise(judge, crops, batch_size=2)
    assert together == [recognise(judge, [c])[0] for c in crops] and set(together) <= set(CONCEPTS)
    assert recognise(judge, [crops[0].resize((200, 200), Image.BICUBIC)]) == together[:1]

def test_the_bundled_weights_are_small_and_say_where_they_come_from(judge):
    folder = weights_folder('recogniser')
    assert {'model.safetensors', 'config.json', 'card.json', 'README.md', 'log.jsonl'} >= {p.name for p in folder.iterdir()}
    assert (folder/'model.safetensors').stat().st_size < 1_200_000
    card = json.loads((folder/'card.json').read_text())
    assert card['parameters'] == sum(p.numel() for p in judge.parameters()) and 0 < card['held_out']['clean'] <= 1
    assert not any(isinstance(m, torch.nn.MultiheadAttention) for m in judge.modules()) and json.loads((folder/'config.json').read_text())['names'] == list(CONCEPTS)

def test_a_missing_folder_is_said(monkeypatch, tmp_path):
    from regionedit.models import bundled as weights
    monkeypatch.setattr(weights, '_MODELS', tmp_path)
    with pytest.raises(ModelNotAvailable, match='recogniser'): load_recogniser()

def test_what_is_saved_is_what_was_trained(tmp_path):
    recipe = RecogniserRecipe(batch_size=2)
    torch.manual_seed(0)
    model = recipe.build().eval()
    recipe.save(model, tmp_path)                                    # turns it into halves
    again = load_recogniser(tmp_path)
    x = torch.rand(2, 3, SIDE, SIDE)
    assert torch.allclose(again(x), model.float()(x), atol=1e-4) and again.names == CONCEPTS

@pytest.mark.slow
def test_the_loss_falls():
    recipe = RecogniserRecipe(batch_size=3)
    torch.manual_seed(0)
    model, batch = recipe.build(), recipe.batch(Composer(3, places=1), 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = recipe.loss(model, batch, 0.)
        optimizer.zero_grad(); loss.backward(); optimizer.step(); losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(len(CONCEPTS)), abs=1) and losses[-1] < losses[0] / 2
