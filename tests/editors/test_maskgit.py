"""Our MaskGIT loop: by hand, against diffusers' AmusedScheduler, and on a tiny checkpoint in aMUSEd's layout."""
import math

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from regionedit.method.core import ModelNotAvailable, to_tensor
from regionedit.editors import maskgit, codes as vq
from regionedit.method.edits import edit_boxes, window_and_mask
from regionedit.models.pretrained import load_editor
from regionedit.editors.maskgit import (SCHEDULES, MaskGitEditor, cells_under, feathered,
                                        fill_tokens, in_passes, reveal, step_noise, tokens_left)
from regionedit.pocket.clip import train_tokenizer

MASK = 7        # of vocabularies of seven codes


def generator(seed=0): return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def tiny_amused(tmp_path_factory):
    "A checkpoint with random weights in aMUSEd's layout: 32 px, 8 x 8 tokens of 4 px, 32 codes."
    folder = tmp_path_factory.mktemp("tiny-amused")
    return folder, tiny.amused(folder)


@pytest.fixture(scope="module")
def windows():
    "Three windows, and masks that take 8, 32 and 60 of their 64 cells."
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]
    masks = []
    for box in ((8, 16, 24, 24), (0, 8, 32, 24), (0, 0, 32, 32)):
        mask = Image.new("L", (32, 32))
        mask.paste(255, box)
        masks.append(mask)
    masks[2].paste(0, (24, 24, 32, 32))
    return images, masks


# which cells

def test_cells_under_boxes_of_another_aspect():
    masks = torch.zeros(2, 1, 16, 40)
    masks[0, :, 8:16, 8:24] = 1
    masks[1, :, 6:8, 38:40] = 1         # 2 x 2 of 8 x 8 pixels: a sixteenth, but the fullest cell
    expected = torch.zeros(2, 2, 5, dtype=torch.bool)
    expected[0, 1, 1:3] = expected[1, 0, 4] = True
    assert torch.equal(cells_under(masks, 8), expected)
    grown = expected.clone()
    grown[0, :, :4] = True
    grown[1, :, 3:] = True
    assert torch.equal(cells_under(masks, 8, dilate=True), grown)


# schedules

def test_schedules_end_to_end():
    assert set(SCHEDULES) == {"cosine", "linear"}
    for share in SCHEDULES.values():
        assert share(0) == 1 and share(1) == pytest.approx(0, abs=1e-12)
    assert SCHEDULES["cosine"](1 / 2) == pytest.approx(2 ** -.5)
    assert SCHEDULES["linear"](1 / 4) == .75


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 12])
def test_each_image_counts_its_own_tokens(schedule, steps):
    start = torch.tensor([0, 1, 2, 9, 36, 64])
    now = start
    for i in range(steps):
        left = tokens_left(start, now, i, steps, schedule)
        alone = [tokens_left(start[j:j + 1], now[j:j + 1], i, steps, schedule).item()
                 for j in range(len(start))]
        assert left.tolist() == alone and (left <= now).all() and left[0] == 0
        if i < steps - 1: assert (left[1:] >= 1).all() and (left[2:] < now[2:])[now[2:] > 1].all()
        now = left
    assert not now.any()


def test_exact_products_are_not_lost_to_rounding():
    "36 cos(60 degrees) is 18, though not in floating point."
    n = torch.tensor([36])
    assert tokens_left(n, n, 1, 3, "cosine").item() == 18
    assert tokens_left(n, n, 0, 3, "linear").item() == 24


def test_unknown_schedule(tiny_amused):
    with pytest.raises(ValueError, match="expected a schedule out of cosine, linear, got 'sine'"):
        tokens_left(torch.ones(1), torch.ones(1), 0, 2, "sine")
    with pytest.raises(ValueError, match="expected a schedule"):
        MaskGitEditor(**tiny_amused[1], schedule="sine")


# one step

def test_two_by_two_by_hand():
    """Known: bottom right, code 1. Confidences log .7, log .5, log .8; two linear steps: 1 of 3
    left, the top right one."""
    p = torch.tensor([[.2, .7, .1], [.5, .1, .4], [.1, .1, .8], [.3, .6, .1]])
    tokens, start = torch.tensor([[[3, 3], [3, 1]]]), torch.tensor([3])
    left = tokens_left(start, start, 0, 2, "linear")
    step = reveal(p.log().T.reshape(1, 3, 2, 2), tokens, left, 3, torch.ones(4, 3), torch.zeros(4))
    assert left.tolist() == [1]
    assert step.tokens.tolist() == [[[1, 3], [2, 1]]]
    assert step.unknown.tolist() == [[[False, True], [False, False]]]
    torch.testing.assert_close(step.confidence,
                               torch.tensor([[[math.log(.7), math.log(.5)],
                                              [math.log(.8), math.inf]]]))
    last = reveal(p.log().T.reshape(1, 3, 2, 2), step.tokens, torch.tensor([0]), 3,
                  torch.ones(4, 3), torch.zeros(4))
    assert last.tokens.tolist() == [[[1, 0], [2, 1]]] and not last.unknown.any()


def test_tokens_are_drawn_from_the_distribution():
    p = torch.tensor([.1, .2, .7])
    cells = 20_000
    race, _ = step_noise(generator(), cells, 3)
    step = reveal(p.log().view(1, 3, 1, 1).expand(1, 3, 1, cells), torch.full((1, 1, cells), 3),
                  torch.tensor([0]), 3, race, torch.zeros(cells))
    assert torch.allclose(torch.bincount(step.tokens.flatten()) / cells, p, atol=.015)


def test_gumbel_noise_has_its_mean_and_variance():
    _, gumbel = step_noise(generator(), 50_000, 1)
    assert gumbel.mean().item() == pytest.approx(.5772, abs=.03)
    assert gumbel.var().item() == pytest.approx(math.pi**2 / 6, rel=.05)


# the loop

def grids():
    "Token grids 3 x 5 with 0, 3, 8 and 15 unknown, and a network that looks at all tokens."
    tokens = torch.randint(0, MASK, (4, 3, 5), generator=generator(1))
    tokens[1, 0, :3] = MASK
    tokens[2, 1:, 1:] = MASK
    tokens[3] = MASK
    table, mix = (torch.randn(MASK + 1, MASK, generator=generator(2)),
                  torch.randn(15, 15, generator=generator(3)))
    def predict(tokens):
        return torch.stack([(mix @ table[t.flatten()]).T.view(MASK, 3, 5) for t in tokens])
    return tokens, predict


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_known_tokens_are_never_rewritten(schedule):
    tokens, predict = grids()
    seen = [tokens]
    def look(i, step):
        before, known = seen[-1], seen[-1] != MASK
        assert torch.equal(step.tokens[known], before[known])
        assert step.confidence[known].isinf().all() and step.confidence[~known].isfinite().all()
        assert torch.equal(step.unknown, step.tokens == MASK)
        seen.append(step.tokens)
    result = fill_tokens(predict, tokens, MASK, generator(), 5, schedule, temperature=20.,
                         callback=look)
    assert len(seen) == 6 and (result != MASK).all() and torch.equal(result[0], tokens[0])


def test_alone_and_batched_are_the_same_tokens():
    tokens, predict = grids()
    together = fill_tokens(predict, tokens, MASK, generator(4), 6)
    for i in range(4):
        assert torch.equal(fill_tokens(predict, tokens[i:i + 1], MASK, generator(4), 6)[0],
                           together[i])
    assert not torch.equal(together, fill_tokens(predict, tokens, MASK, generator(5), 6))


@pytest.mark.parametrize("schedule, steps",
                         [("cosine", 5), ("cosine", 12), ("linear", 4), ("linear", 8)])
@pytest.mark.parametrize("which", [1, 2, 3])
def test_takes_the_steps_of_the_amused_scheduler(schedule, steps, which):
    """One image, the starting ratio its own: the same tokens after each step, from the same
    generator."""
    from diffusers import AmusedScheduler
    tokens, predict = grids()
    tokens = tokens[which:which + 1]
    ours = []
    fill_tokens(predict, tokens, MASK, generator(6), steps, schedule, temperature=2.,
                callback=lambda i, step: ours.append(step.tokens))
    scheduler, g, sample = AmusedScheduler(MASK, schedule), generator(6), tokens
    scheduler.set_timesteps(steps, (2, 0))
    ratio = (tokens == MASK).sum() / tokens.numel()
    for t, mine in zip(scheduler.timesteps, ours):
        sample = scheduler.step(predict(sample), t, sample, starting_mask_ratio=ratio,
                                generator=g).prev_sample
        assert torch.equal(mine, sample)


def test_passes_have_one_shape():
    shapes = []
    def network(x): shapes.append(tuple(x.shape)); return x + 1
    x = torch.arange(14.).view(7, 2)
    assert torch.equal(in_passes(network, x, 3), x + 1) and shapes == [(3, 2)] * 3


# the quantiser

def test_k_means_beats_its_start_and_refuses_too_few_points():
    points = torch.randn(400, 3, generator=generator())
    def error(steps):
        centres = vq.k_means(points, 8, steps)
        return torch.cdist(points, centres).min(1).values.square().mean().item()
    assert error(8) < error(2) < error(0)
    with pytest.raises(ValueError, match="expected at least 401 points"): vq.k_means(points, 401)


@pytest.mark.parametrize('count', [9, 64, 320])      # in groups where they go into groups of 64
def test_nearest_is_the_nearest(count):
    points, centres = (torch.randn(50, 4, generator=generator(1)),
                       torch.randn(count, 4, generator=generator(2)))
    assert torch.equal(vq.nearest(points, centres, chunk=7), torch.cdist(points, centres).argmin(1))


def test_block_tokens_know_their_own_block_only(tmp_path):
    pixels = torch.rand(6, 3, 24, 40, generator=generator())
    model = vq.quantiser_from_pictures(pixels, patch_size=8, latent_channels=20, num_vq_embeddings=16).eval()
    tokens, changed = vq.tokens_of(model, pixels), pixels.clone()
    assert tokens.shape == (6, 3, 5)
    changed[:, :, 8:16, 16:24] = 1 - changed[:, :, 8:16, 16:24]
    other = vq.tokens_of(model, changed)
    outside = torch.ones(3, 5, dtype=torch.bool)
    outside[1, 2] = False
    assert torch.equal(tokens[:, outside], other[:, outside]) and not torch.equal(tokens, other)
    with torch.no_grad():
        # z + (c - z) rounds
        torch.testing.assert_close(vq.pixels_of(model, tokens),
                                   model.decode(model.encode(pixels).latents).sample)
        model.save_pretrained(tmp_path)
        loaded = vq.BlockVq.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
        assert torch.equal(vq.tokens_of(loaded, pixels), tokens)


# the editor, on a checkpoint

def test_loads_the_folder_and_says_what_is_missing(tiny_amused, tmp_path):
    editor = load_editor("maskgit", tiny_amused[0], guidance_scale=3.)
    assert (editor.size, editor.cell, editor.name) == (32, 4, "maskgit")
    assert editor.config["guidance_scale"] == 3 and editor.config["schedule"] == "cosine"
    with pytest.raises(ModelNotAvailable, match="expected vqvae in"):
        load_editor("maskgit", tmp_path)


def test_half_precision_keeps_the_quantiser_whole(tiny_amused):
    editor = MaskGitEditor.from_pretrained(tiny_amused[0], dtype=torch.bfloat16)
    # force_upcast
    assert editor.vqvae.dtype == torch.float32
    assert editor.transformer.dtype == editor.text_encoder.dtype == torch.bfloat16


SMALL = dict(hidden_size=32, cond_embed_dim=8, micro_cond_encode_dim=2, micro_cond_embed_dim=10,
             encoder_hidden_size=8, vocab_size=9, codebook_size=8, in_channels=16,
             block_out_channels=32, num_res_blocks=1, downsample=True, upsample=True,
             block_num_heads=2, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
             sample_size=8)

def test_a_transformer_with_places_is_loaded_as_one(tiny_amused, tmp_path):
    import shutil
    shutil.copytree(tiny_amused[0], tmp_path/'other')
    torch.manual_seed(0)
    model = maskgit.PlacedUVit2DModel(**SMALL)
    model.save_pretrained(tmp_path/'other'/'transformer')
    loaded = MaskGitEditor.from_pretrained(tmp_path/'other').transformer
    assert type(loaded) is maskgit.PlacedUVit2DModel and loaded.config.sample_size == 8
    assert torch.equal(loaded.embed.places, model.embed.places)
    assert type(MaskGitEditor.from_pretrained(tiny_amused[0]).transformer).__name__ == 'UVit2DModel'

def test_places_are_added_to_what_the_library_computes():
    torch.manual_seed(0)
    model = maskgit.PlacedUVit2DModel(**SMALL).eval()
    tokens = torch.randint(0, 9, (2, 8, 8), generator=generator())
    plain = super(maskgit.PlacedEmbed, model.embed).forward(tokens)
    torch.testing.assert_close(model.embed(tokens) - plain, model.embed.places.expand_as(plain))

@pytest.mark.parametrize('code', ['BlockVq', 'PatchAutoencoder'])
def test_our_codes_stay_in_full_precision(code, tmp_path):
    from regionedit.editors.loading import load_part
    cls = getattr(vq, code)
    cls(patch_size=4, latent_channels=4, **dict(num_vq_embeddings=8) if code == 'BlockVq' else {}).save_pretrained(tmp_path/'code')
    assert load_part(tmp_path, 'code', cls, torch.bfloat16).dtype == torch.float32


def test_equals_the_pipeline_of_diffusers(tiny_amused, windows):
    "AmusedInpaintPipeline, one picture, the mask in whole cells: the same pixels in the box."
    from diffusers import AmusedInpaintPipeline
    folder, parts = tiny_amused
    image, mask = windows[0][1], windows[1][1]
    pipe = AmusedInpaintPipeline(**dict(parts,
                                        scheduler=parts["scheduler"].from_pretrained(
                                            folder / "scheduler")))
    pipe.set_progress_bar_config(disable=True)
    expected = pipe("a red apple", image, mask, num_inference_steps=4, guidance_scale=5.,
                    generator=generator(3), output_type="np").images[0]
    editor = MaskGitEditor.from_pretrained(folder, schedule="linear")
    ours = np.asarray(editor.fill([image], [mask], "a red apple", seed=3, num_inference_steps=4,
                                  guidance_scale=5.)[0], float)
    inside = np.asarray(mask) > 0
    assert np.abs(ours - expected * 255)[inside].max() <= .51       # rounding to 8 bits only
    assert (ours == np.asarray(image))[~inside].all()


@pytest.mark.parametrize("count", [1, 4])
def test_pixels_alone_and_in_company_are_identical(tiny_amused, windows, count):
    images, masks = windows
    editor = MaskGitEditor.from_pretrained(tiny_amused[0], num_inference_steps=5,
                                           windows_per_pass=count)
    together = editor.fill(images, masks, "a rocket", seed=1)
    for image, mask, edit in zip(images, masks, together):
        assert editor.fill([image], [mask], "a rocket", seed=1)[0].tobytes() == edit.tobytes()
    backwards = editor.fill(images[::-1], masks[::-1], "a rocket", seed=1)
    assert [e.tobytes() for e in backwards[::-1]] == [e.tobytes() for e in together]
    assert editor.fill(images, masks, "a rocket", seed=2)[2].tobytes() != together[2].tobytes()


def test_callback_sees_each_step(tiny_amused, windows):
    images, masks = windows
    editor, seen = MaskGitEditor.from_pretrained(tiny_amused[0]), []
    def look(e, i, t, values):
        assert e is editor and set(values) == {"tokens", "confidence", "unknown"}
        assert all(v.shape == (3, 8, 8) for v in values.values())
        seen.append((i, t, values["unknown"].flatten(1).sum(1).tolist()))
    editor.fill(images, masks, "a rocket", num_inference_steps=3, callback_on_step_end=look)
    # 8, 32, 60 times cos 30, cos 60
    assert seen == [(0, 2, [6, 27, 51]), (1, 1, [4, 16, 30]), (2, 0, [0, 0, 0])]


def test_dilation_and_guidance_change_the_edit(tiny_amused, windows):
    image, mask, folder = windows[0][0], windows[1][0], tiny_amused[0]
    def unknown(**kwargs):
        counts = []
        MaskGitEditor.from_pretrained(folder, **kwargs).fill(
            [image],
            [mask],
            "a rocket",
            num_inference_steps=2,
            callback_on_step_end=lambda e, i, t, v: counts.append(
                v["confidence"].isfinite().sum().item()
            ),
        )
        return counts[0]
    assert unknown() == 8 and unknown(dilate=True) == 24
    editor = MaskGitEditor.from_pretrained(folder, num_inference_steps=2)
    logits = editor.vqvae.config.num_vq_embeddings
    texts = maskgit.embed_texts(editor.text_encoder, editor.tokenizer, ["", "a rocket"])
    tokens = torch.randint(0, logits, (2, 4, 4), generator=generator())
    free, told, far = (maskgit.guided(editor.transformer, texts, w, 32)(tokens)
                       for w in (0., 1., 3.))
    torch.testing.assert_close(far, free + 3 * (told - free))
    assert not torch.allclose(free, told, atol=1e-4) and free.shape == (2, logits, 4, 4)


# compositing

def test_pixels_outside_the_box_are_the_sources(tiny_amused):
    editor = MaskGitEditor.from_pretrained(tiny_amused[0], num_inference_steps=2)
    source = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 90, 3), dtype=np.uint8))
    boxes = [(70, 5, 90, 30), (3, 20, 33, 29)]
    for (x0, y0, x1, y1), edit in zip(boxes, edit_boxes(editor, source, boxes, "a rocket")):
        changed = (np.asarray(edit.paste(source)) != np.asarray(source)).any(-1)
        inside = np.zeros_like(changed)
        inside[y0:y1, x0:x1] = True
        assert not changed[~inside].any() and changed[inside].mean() > .9


def test_boxes_of_other_sizes_do_not_change_an_edit(tiny_amused):
    editor = MaskGitEditor.from_pretrained(tiny_amused[0], num_inference_steps=4)
    source = Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    boxes = [(10, 10, 30, 30), (0, 0, 80, 60), (40, 5, 79, 15), (33, 31, 40, 60)]
    together = edit_boxes(editor, source, boxes, "a rocket", seed=5)
    assert [e.crop.tobytes() for e in together] == [
        edit_boxes(editor, source, [b], "a rocket", seed=5)[0].crop.tobytes() for b in boxes]


def test_feather_fades_in_inside_the_box():
    mask = torch.zeros(1, 1, 7, 14)
    mask[..., 6:] = 1  # a vertical edge, to the right border
    assert torch.equal(feathered(mask, 0), mask)
    torch.testing.assert_close(feathered(mask, 1)[0, 0, 3],
                               torch.tensor([0.] * 6 + [1 / 3] + [1.] * 7))
    soft = feathered(mask, 3)[0, 0, 3]
    torch.testing.assert_close(soft, torch.tensor([0.] * 6 + [1 / 7, 3 / 7, 5 / 7] + [1.] * 5))


def test_feathered_edit_is_between_edit_and_window(tiny_amused, windows):
    image, mask = windows[0][1], windows[1][1]
    hard, soft = (
        np.asarray(MaskGitEditor.from_pretrained(tiny_amused[0], num_inference_steps=2,
                                                 feather=f).fill([image], [mask], "a rocket")[0],
                   float) for f in (0, 2))
    source = np.asarray(image, float)
    assert (soft[:8] == source[:8]).all() and (soft[24:] == source[24:]).all()
    assert (soft[12:20] == hard[12:20]).all()
    assert np.abs(soft[8] - (.2 * hard[8] + .8 * source[8])).max() <= 1


# the recipes

@pytest.mark.slow
def test_recipes_write_a_checkpoint_that_the_editor_loads(tmp_path):
    from regionedit.pocket.maskgit import MaskGitRecipe, VqRecipe
    train_tokenizer(tmp_path / "tokenizer", ["a red apple on a table", "a rocket"] * 3,
                    num_merges=40)
    recipe = MaskGitRecipe(root=tmp_path)
    with pytest.raises(FileNotFoundError, match="expected a trained quantiser in"): recipe.build()
    quantiser = VqRecipe(codes=32, pictures=4)
    model = quantiser.build()
    quantiser.loss(model, quantiser.batch(quantiser.world('cpu'), 1), 0.).backward()
    assert model.decoder.high[-2].weight.grad.abs().sum() > 0
    assert model.quantize.embedding.weight.grad is None
    quantiser.save(model, tmp_path / "vq" / "weights")
    torch.manual_seed(0)
    model = recipe.build()
    recipe.loss(model, recipe.batch(recipe.world('cpu'), 2), 0.).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None
            or not p.grad.isfinite().all()] == []
    recipe.save(model, tmp_path / "weights")
    editor = MaskGitEditor.from_pretrained(tmp_path / "weights", num_inference_steps=2)
    image, mask = Image.new("RGB", (80, 80), "teal"), Image.new("L", (80, 80))
    mask.paste(255, (10, 10, 70, 50))
    tokens = []
    editor.fill([image], [mask], "a rocket",
                callback_on_step_end=lambda e, i, t, v: tokens.append(v["tokens"]))
    known = torch.ones(16, 16, dtype=torch.bool)
    known[2:10, 2:14] = False
    expected = vq.tokens_of(recipe.vq,
                            torch.from_numpy(np.array(image, np.float32) / 255).permute(2, 0, 1)[
                                None])
    # 96 cos 45
    assert torch.equal(tokens[-1][0][known], expected[0][known]) and (tokens[0] == 32).sum() == 67


def test_hidden_cells_are_of_the_box_and_follow_the_order():
    from regionedit.pocket.maskgit import hide_some
    cells = torch.zeros(3, 2, 4, dtype=torch.bool)
    cells[0, :, 1:3] = cells[1, 0] = True                      # the third has no box at all
    order = torch.tensor([[.0, .4, .3, .0], [.0, .2, .1, .0]]).expand(3, -1, -1)
    hidden = hide_some(cells, torch.tensor([.75, 0., 1.]), order)
    assert hidden[0].tolist() == [[False, False, True, False], [False, True, True, False]]
    assert hidden[1].tolist() == [[True, False, False, False], [False] * 4] and not hidden[2].any()


def test_soft_targets_prefer_the_nearest_code():
    from regionedit.pocket.maskgit import soft_targets
    # squared distances 1, 4, 2
    q = soft_targets(torch.tensor([[0., 1.]]), torch.tensor([[0., 0.], [0., 3.], [1., 2.]]),
                     softness=.5)[0]
    torch.testing.assert_close(q, torch.tensor([0., -6., -2.]).softmax(0))


# numbers that are none

def spoil_output(function, nth, of, place, value):
    "The function, its nth of every `of` results with a value put in a place."
    calls = []
    def call(*args):
        calls.append(1)
        out = function(*args)
        if len(calls) % of == nth: out[place] = value
        return out
    return call


def spoil_input(function, which, value):
    "The function, with a value put in the first pixel if it is given this picture."
    def call(model, x):
        return function(model, torch.where(torch.arange(x.numel()).view_as(x) == 0, value, x)
                        if torch.equal(x, which) else x)
    return call


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["predict_tokens", "pixels_of", "tokens_of"])
def test_a_window_of_numbers_that_are_none_costs_the_others_nothing(tiny_amused, windows,
                                                                    monkeypatch, part, value):
    "Logits, pixels or latents of the second of three windows, each in a pass of its own."
    editor, source, boxes = (load_editor("maskgit", tiny_amused[0], num_inference_steps=3),
                             windows[0][0], [(0, 0, 12, 12), (10, 8, 30, 28), (4, 4, 28, 28)])
    well, second = (edit_boxes(editor, source, boxes, "a rocket"),
                    to_tensor(window_and_mask(source, boxes[1], 32)[1])[None])
    spoilt = dict(predict_tokens=lambda f: spoil_output(f, 2, 3, (slice(None), 0), value),
                  pixels_of=lambda f: spoil_output(f, 2, 3, (0, 0, 9, 9), value),
                  tokens_of=lambda f: spoil_input(f, second, value))
    monkeypatch.setattr(maskgit, part, spoilt[part](getattr(maskgit, part)))
    made = edit_boxes(editor, source, boxes, "a rocket")
    assert [e.broken for e in made] == [False, True, False] and not any(e.broken for e in well)
    assert [made[i].crop.tobytes() for i in (0, 2)] == [well[i].crop.tobytes() for i in (0, 2)]

@pytest.mark.slow
def test_the_loss_of_some_hidden_cells_is_a_fair_sample_of_all():
    "All asked for: the plain formula on whole logits, to the bit's rounding. Few: its mean over many draws."
    from regionedit.editors.maskgit import predict_tokens
    from regionedit.pocket.compose import WINDOW
    from regionedit.pocket.maskgit import build_pooled_text_encoder, build_transformer, hidden_loss, hide_some, small_tokenizer, soft_targets
    torch.manual_seed(0)
    tokenizer, codes = small_tokenizer(), 64
    model = torch.nn.ModuleDict(dict(transformer=build_transformer(codes, width=64, layers=1, channels=32), text_encoder=build_pooled_text_encoder(tokenizer, layers=1))).eval()
    codebook, cells = torch.randn(codes, 4), torch.zeros(3, 16, 16, dtype=torch.bool)
    cells[:, 3:13, 4:12] = True
    batch = dict(tokens=torch.randint(codes, (3, 16, 16)), latents=torch.randn(3, 4, 16, 16), cells=cells, texts=tokenizer(['a cat', 'a dog', ''], padding='max_length', max_length=24, return_tensors='pt').input_ids)
    @torch.no_grad()
    def plainly():
        share, order = torch.cos(torch.rand(3)**2 * math.pi / 2), torch.rand(cells.shape)
        hidden = hide_some(cells, share, order)
        text = model['text_encoder'](batch['texts'], output_hidden_states=True)
        logits = predict_tokens(model['transformer'], batch['tokens'].masked_fill(hidden, codes), text.hidden_states[-2], text.text_embeds, WINDOW)
        q = soft_targets(batch['latents'].movedim(1, -1)[hidden], codebook)
        return -(q * logits.movedim(1, -1)[hidden].log_softmax(-1)).sum(-1).mean().item()
    last = model['transformer'].mlm_layer.conv2
    for seed in range(3):
        torch.manual_seed(seed); expected = plainly()
        torch.manual_seed(seed); assert hidden_loss(model, batch, codebook, judged=10_000).item() == pytest.approx(expected, rel=1e-4)
    assert model['transformer'].mlm_layer.conv2 is last
    some = []
    for seed in range(60):
        torch.manual_seed(seed)
        with torch.no_grad(): some.append((hidden_loss(model, batch, codebook, judged=8) - hidden_loss(model, batch, codebook, judged=10_000)).item())
    some = torch.tensor(some)
    assert abs(some.mean()) < 3 * some.std() / 60**.5 and some.std() > 0
