"The second judge: its crops hold what they are named after, its weights are what the card says, it is no CLIP."
import json

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.method.core import ModelNotAvailable
from regionedit.pocket import CONCEPTS, draw_scene, weights_folder
from regionedit.pocket.recogniser import SIDE, Recogniser, RecogniserRecipe, load_recogniser, loose_box, named_crops, recognise, worn

@pytest.fixture(scope='module')
def judge(): return load_recogniser()

def test_loose_boxes_lie_in_the_picture_and_hold_most_of_the_object():
    rng, box = np.random.default_rng(0), (30, 40, 70, 60)
    shares = []
    for _ in range(500):
        x0, y0, x1, y1 = loose_box(rng, box, (128, 128))
        assert 0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 128
        w, h = min(x1, 70) - max(x0, 30), min(y1, 60) - max(y0, 40)
        shares.append(max(w, 0) * max(h, 0) / 800)
    assert np.quantile(shares, .05) > .6 and np.mean(shares) > .85

def test_crops_are_of_the_named_objects_and_repeat():
    scene, seed = draw_scene(1_000_001, num_objects=None), 1_000_001
    names = [o.name for o in scene.objects]
    found = named_crops(seed, 2)
    assert [n for _, n in found] == names * 2 and all(c.size == (SIDE, SIDE) for c, _ in found)
    assert all(a.tobytes() == b.tobytes() for (a, _), (b, _) in zip(found, named_crops(seed, 2)))
    tight = named_crops(seed, tight=True)[0][0]
    assert tight.tobytes() == scene.image.crop(scene.objects[0].box).resize((SIDE, SIDE), Image.BICUBIC).tobytes()

def test_wear_keeps_the_picture_recognisable():
    crop = named_crops(1_000_004, tight=True)[0][0]
    a, b = (np.asarray(im, float).ravel() for im in (crop, worn(np.random.default_rng(1), crop)))
    assert not np.array_equal(a, b) and np.corrcoef(a, b)[0, 1] > .8

def test_it_names_held_out_objects(judge):
    crops = [c for s in range(1_003_000, 1_003_040) for c in named_crops(s, tight=True)]
    assert np.mean([a == b for a, (_, b) in zip(recognise(judge, [c for c, _ in crops]), crops)]) > .9

def test_one_picture_or_many_at_any_size(judge):
    crops = [c for s in range(1_003_000, 1_003_003) for c, _ in named_crops(s, tight=True)]
    together = recognise(judge, crops, batch_size=2)
    assert together == [recognise(judge, [c])[0] for c in crops] and set(together) <= set(CONCEPTS)
    assert recognise(judge, [crops[0].resize((200, 200), Image.BICUBIC)]) == together[:1]

def test_the_bundled_weights_are_small_and_say_where_they_come_from(judge):
    folder = weights_folder('recogniser')
    assert {'model.safetensors', 'config.json', 'card.json', 'README.md'} == {p.name for p in folder.iterdir()}
    assert (folder/'model.safetensors').stat().st_size < 1_000_000
    card = json.loads((folder/'card.json').read_text())
    assert card['parameters'] == sum(p.numel() for p in judge.parameters()) and 0 < card['held_out']['top1_true_box'] <= 1
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

def test_the_loss_falls():
    recipe = RecogniserRecipe(batch_size=3)
    torch.manual_seed(0)
    model, batch = recipe.build(), recipe.batch([2_000_000, 2_000_001, 2_000_002])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = recipe.loss(model, batch, 0.)
        optimizer.zero_grad(); loss.backward(); optimizer.step(); losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(len(CONCEPTS)), abs=1) and losses[-1] < losses[0] / 2
