"""Our denoising loop against diffusers' own StableDiffusionInpaintPipeline, on a tiny 9-channel checkpoint in the real layout."""
import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from regionedit.method.core import ModelNotAvailable
from regionedit.method.edits import edit_boxes
from regionedit.models.pretrained import load_editor
from regionedit.editors.diffusion import DiffusionEditor


@pytest.fixture(scope="session")
def tiny_stable_diffusion(tmp_path_factory):
    """A Stable Diffusion inpainting checkpoint with random weights: 4 latent channels, a UNet of 9
    input channels, 64 px."""
    folder = tmp_path_factory.mktemp("tiny-sd")
    return folder, tiny.stable_diffusion(folder)


@pytest.fixture(scope="module")
def window():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (64, 64), Image.BICUBIC)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 16, 56, 40))    # not symmetric
    return image, mask


def test_equals_the_pipeline_of_diffusers(tiny_stable_diffusion, window):
    folder, pipe = tiny_stable_diffusion
    image, mask = window
    pipe.set_progress_bar_config(disable=True)
    expected = pipe("a red apple", image=image, mask_image=mask, height=64, width=64,
                    num_inference_steps=4, guidance_scale=5.,
                    generator=torch.Generator().manual_seed(3), output_type="np").images[0]
    ours = DiffusionEditor.from_pretrained(folder).fill([image], [mask], "a red apple", seed=3,
                                                        num_inference_steps=4, guidance_scale=5.)[0]
    assert np.abs(np.asarray(ours, float) - expected * 255).max() <= .51  # rounding to 8 bits only


def test_a_decoder_that_sees_the_surroundings_is_shown_them(tiny_stable_diffusion, window):
    "diffusers' `AsymmetricAutoencoderKL` in its pipeline, and in our loop."
    from diffusers import AsymmetricAutoencoderKL, StableDiffusionInpaintPipeline
    torch.manual_seed(0)
    old = tiny_stable_diffusion[1]
    widths = tuple(old.vae.config.block_out_channels)
    vae = AsymmetricAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths), down_block_out_channels=widths,
        up_block_types=("UpDecoderBlock2D",) * len(widths), up_block_out_channels=widths,
        norm_num_groups=4, sample_size=64, latent_channels=4).eval()
    pipe = StableDiffusionInpaintPipeline(**{**old.components, "vae": vae})
    pipe.set_progress_bar_config(disable=True)
    image, mask = window
    expected = pipe("a red apple", image=image, mask_image=mask, height=64, width=64,
                    num_inference_steps=3, guidance_scale=5.,
                    generator=torch.Generator().manual_seed(3), output_type="np").images[0]
    editor = DiffusionEditor(vae, pipe.unet, pipe.text_encoder, pipe.tokenizer, pipe.scheduler)
    ours = editor.fill([image], [mask], "a red apple", 3, 3, 5.)[0]
    assert np.abs(np.asarray(ours, float) - expected * 255).max() <= .51
    shown = np.asarray(ours, int)
    vae.decoder.condition_encoder.requires_grad_(False).apply(
        lambda m: [p.zero_() for p in m.parameters(recurse=False)])
    blind = np.asarray(editor.fill([image], [mask], "a red apple", 3, 3, 5.)[0], int)
    assert np.abs(shown - blind).max() > 2      # the surroundings are not passed over


def test_every_window_gets_the_same_noise(tiny_stable_diffusion, window):
    image, mask = window
    editor = DiffusionEditor.from_pretrained(tiny_stable_diffusion[0], num_inference_steps=2)
    alone = editor.fill([image], [mask], "a rocket", seed=1)[0]
    both = editor.fill([image, image], [mask, mask], "a rocket", seed=1)
    assert both[0].tobytes() == both[1].tobytes()
    assert np.abs(np.asarray(both[0], int) - np.asarray(alone, int)).max() <= 1


def test_pixels_outside_the_box_are_the_sources(tiny_stable_diffusion):
    editor = DiffusionEditor.from_pretrained(tiny_stable_diffusion[0], num_inference_steps=1)
    source = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 90, 3), dtype=np.uint8))
    box = (70, 5, 90, 30)
    edited = np.asarray(edit_boxes(editor, source, [box], "a rocket")[0].paste(source))
    changed = (edited != np.asarray(source)).any(-1)
    inside = np.zeros_like(changed)
    inside[5:30, 70:90] = True
    assert not changed[~inside].any() and changed[inside].mean() > .9


def test_callback_sees_each_step(tiny_stable_diffusion, window):
    image, mask = window
    editor, seen = DiffusionEditor.from_pretrained(tiny_stable_diffusion[0]), []
    editor.fill([image], [mask], "a rocket", num_inference_steps=3,
                callback_on_step_end=lambda e, i, t, values: seen.append(
                    (i, values["latents"].shape)))
    assert seen == [(i, (1, 4, 8, 8)) for i in range(3)]


def test_missing_checkpoint_is_one_sentence(tmp_path):
    with pytest.raises(ModelNotAvailable, match="expected vae in"):
        load_editor("diffusion", tmp_path)


def test_large_matrices_are_stored_in_bytes_and_read_as_numbers(tmp_path):
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file
    from regionedit.pocket.diffusion import save_small
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=4, in_channels=3, out_channels=1, block_out_channels=(64, 128), layers_per_block=1,
                                down_block_types=('DownBlock2D',) * 2, up_block_types=('UpBlock2D',) * 2, norm_num_groups=8)
    before = {k: v.clone() for k, v in unet.state_dict().items()}
    save_small(unet, tmp_path)
    stored = load_file(tmp_path/'diffusion_pytorch_model.safetensors')
    assert {v.dtype for k, v in stored.items() if v.ndim > 1 and v.numel() >= 2**16} == {torch.float8_e4m3fn}
    assert {v.dtype for k, v in stored.items() if v.ndim < 2 or v.numel() < 2**16} == {torch.float16}
    loaded = UNet2DConditionModel.from_pretrained(tmp_path).state_dict()
    assert {v.dtype for v in loaded.values()} == {torch.float32}
    assert max((loaded[k] - v).norm() / v.norm() for k, v in before.items() if v.norm() > 0) < .05
