"""The families that diffusers has today: each loads from a folder of its own classes, is told what its family needs,
paints its pipeline's own pixels, and keeps to its box."""
import shutil
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import families
import tiny
from regionedit import RegionEditor
from regionedit.editors.loading import inpainting_class
from regionedit.editors.pipeline import PipelineEditor, defaults_of, working_size
from regionedit.models.pretrained import load_clip, load_editor, load_vit
from stubs import picture

# class that paints; working size, and a smaller one for these tests; what its call is told
EXPECTED = dict(
    sd15=('StableDiffusionInpaintPipeline', 64, 64, dict(num_inference_steps=50, guidance_scale=7.5, strength=1.)),
    sd2=('StableDiffusionInpaintPipeline', 64, 64, dict(num_inference_steps=50, guidance_scale=7.5, strength=1.)),
    sdxl=('StableDiffusionXLInpaintPipeline', 64, 64, dict(num_inference_steps=50, guidance_scale=7.5, strength=.9999)),
    xl_turbo=('StableDiffusionXLInpaintPipeline', 64, 64, dict(num_inference_steps=4, guidance_scale=0., strength=1.)),
    sd3=('StableDiffusion3InpaintPipeline', 64, 32, dict(num_inference_steps=50, guidance_scale=7., strength=1.)),
    flux=('FluxInpaintPipeline', 256, 32, dict(num_inference_steps=28, guidance_scale=7., strength=1.)),
    flux_schnell=('FluxInpaintPipeline', 256, 32, dict(num_inference_steps=4, guidance_scale=0., strength=1., max_sequence_length=256)),
    flux_fill=('FluxFillPipeline', 256, 32, dict(num_inference_steps=50, guidance_scale=30., strength=1.)),
    kontext=('FluxKontextInpaintPipeline', 256, 32, dict(num_inference_steps=28, guidance_scale=3.5, strength=1.)),
    qwen=('QwenImageInpaintPipeline', 1024, 64, dict(num_inference_steps=50, true_cfg_scale=4., strength=1.)),
    qwen_edit=('QwenImageEditInpaintPipeline', 1024, 64, dict(num_inference_steps=50, true_cfg_scale=4., strength=1.)),
    z_image=('ZImageInpaintPipeline', 256, 32, dict(num_inference_steps=50, guidance_scale=5., strength=1.)),
    z_image_turbo=('ZImageInpaintPipeline', 256, 32, dict(num_inference_steps=8, guidance_scale=0., strength=1.)),
    kandinsky=('KandinskyV22InpaintCombinedPipeline', 64, 64, dict(num_inference_steps=100, guidance_scale=4.)),
    lcm=('StableDiffusionInpaintPipeline', 64, 64, dict(num_inference_steps=4, guidance_scale=8.5, strength=1.)))
TWICE = {'sd15', 'sd2', 'sdxl', 'sd3', 'qwen', 'qwen_edit', 'z_image', 'kandinsky'}      # guided by a text and by none
each = pytest.mark.parametrize('name', EXPECTED)

def test_all_families_are_here(): assert {*EXPECTED, 'amused'} == set(families.FAMILIES)

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A family's folder, written when it is first asked for."
    made = {}
    def of(name: str):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            families.FAMILIES[name](made[name])
        return made[name]
    return of

@pytest.fixture(scope='module')
def load(folder):
    "A family's editor at a small size, loaded once: `editor.call` stays empty."
    made = {}
    def of(name: str):
        if name not in made: made[name] = load_editor('pipeline', folder(name), size=EXPECTED[name][2])
        return made[name]
    return of

@pytest.fixture(scope='module')
def eyes(tmp_path_factory) -> Path:
    "A ViT and a CLIP to go with them."
    home = tmp_path_factory.mktemp('eyes')
    tiny.vit(home/'vit'); tiny.clip(home/'clip')
    return home

@pytest.fixture(autouse=True)
def small(monkeypatch):
    "Qwen-Image-Edit paints at 1024 x 1024 whatever it is told; here at 96 x 96."
    monkeypatch.setattr('diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_inpaint.calculate_dimensions', lambda area, ratio: (96, 96, None))

def windows(size: int, count: int = 2) -> tuple:
    masks = [Image.new('L', (size, size)) for _ in range(count)]
    for i, mask in enumerate(masks): mask.paste(255, (i, size // 4, size // 2 + i, size * 3 // 4))
    return [picture(size, size, seed) for seed in range(count)], masks

def distance(a, b) -> int: return np.abs(np.asarray(a, int) - np.asarray(b, int)).max()

# what it is told

@pytest.mark.slow
@each
def test_the_class_the_size_and_the_call_of_a_family(load, name):
    cls, size, _, call = EXPECTED[name]
    editor = load(name)
    assert type(editor.pipe).__name__ == editor.config['pipeline'] == cls and working_size(editor.pipe) == size
    assert {k: editor.config[k] for k in call} == call and editor.call == {}

@each
def test_a_family_edits_in_its_box_with_every_step(load, eyes, name):
    image, box, seen, rows = picture(90, 50), (20, 5, 60, 40), [], []
    editor = RegionEditor(load_vit(eyes/'vit'), load_clip(eyes/'clip'), load(name))
    pipe = editor.editor.pipe
    network = getattr(pipe, 'unet', None) or pipe.transformer
    hook = network.register_forward_pre_hook(lambda _, args, kwargs: rows.append(len(next(v for v in (*args, *kwargs.values()) if hasattr(v, '__len__')))), with_kwargs=True)
    result = editor(image, 'a rocket', 'a cat', box=box, num_inference_steps=3, progress=False, callback_on_step_end=lambda pipe, i, t, v: seen.append(i))
    hook.remove()
    changed = (np.asarray(result.image) != np.asarray(image)).any(-1)
    assert changed[5:40, 20:60].mean() > .5 and changed.sum() == changed[5:40, 20:60].sum()
    steps = 4 if 'PNDM' in editor.editor.config['scheduler'] else 3        # PNDM takes its second step twice
    assert seen == list(range(steps))
    assert sum(rows) == steps * (2 if name in TWICE else 1), 'one evaluation a step, or two where it is guided away from something'

@each
def test_the_work_of_a_family_is_what_hooks_count(load, name):
    "Of its own steps, guidance and strength; a preview asks once a step, at the editor's size."
    editor, (images, masks), rows = load(name), windows(EXPECTED[name][2], 1), []
    network, call = getattr(editor.pipe, 'unet', None) or editor.pipe.transformer, EXPECTED[name][3]
    hook = network.register_forward_pre_hook(lambda _, args, kwargs: rows.append(len(next(v for v in (*args, *kwargs.values()) if hasattr(v, '__len__')))), with_kwargs=True)
    extra = 'PNDM' in editor.config['scheduler']        # its second step is taken twice
    for painter, steps in ((editor, 3), (editor.preview(2), None)):
        rows.clear()
        painter.fill(images, masks, 'a cat', num_inference_steps=steps)
        assert painter.work(steps) == sum(rows) and painter.size == editor.size
    hook.remove()
    assert sum(rows) == 2 + extra
    steps = int(call['num_inference_steps'] * call.get('strength', 1)) + extra
    assert editor.work() == steps * (2 if name in TWICE else 1)

def test_a_part_that_a_checkpoint_left_out(tmp_path):
    "Stable Diffusion 3 works without its large text encoder, and is saved so."
    from diffusers import StableDiffusion3Pipeline
    families.stable_diffusion_3(tmp_path/'whole')
    pipe = StableDiffusion3Pipeline.from_pretrained(tmp_path/'whole', text_encoder_3=None, tokenizer_3=None)
    pipe.save_pretrained(tmp_path/'less')
    editor, (images, masks) = load_editor('pipeline', tmp_path/'less', size=32), windows(32, 1)
    assert editor.pipe.text_encoder_3 is None and editor.fill(images, masks, 'a cat', num_inference_steps=1)[0].size == (32, 32)

def test_a_strength_that_is_asked_for_stays(load):
    "Also with few steps, and where it happens to be the pipeline's own default."
    editor = PipelineEditor(load('sd3').pipe, size=32, strength=.6)
    told = editor.call_with(num_inference_steps=5, guidance_scale=None)
    assert told['strength'] == .6 and editor.work(5) == 6

@pytest.mark.slow
@each
def test_pixels_are_the_pipelines_own(load, name):
    cls, _, size, call = EXPECTED[name]
    (image, _), (mask, _), editor = *windows(size), load(name)
    made = editor.fill([image], [mask], 'a rocket', seed=3, num_inference_steps=2)[0]
    call = {k: v for k, v in call.items() if k != 'strength'} | dict(num_inference_steps=2)
    default = defaults_of(type(editor.pipe))
    if 'strength' in default: call['strength'] = 1.
    if 'true_cfg_scale' in call: call['negative_prompt'] = ' '
    if '_auto_resize' in default: call |= dict(_auto_resize=False, max_area=size * size)
    expected = editor.pipe(prompt='a rocket', image=image, mask_image=mask, height=size, width=size,
                           generator=torch.Generator().manual_seed(3), **call).images[0]
    if name == 'qwen_edit': assert expected.size == (96, 96); expected = expected.resize((size, size), Image.BICUBIC)
    assert made.size == (size, size) and distance(made, expected) <= 2

@pytest.mark.slow
@each
def test_a_window_does_not_see_its_company(load, name):
    images, masks = windows(EXPECTED[name][2])
    singly = [load(name).fill([i], [m], 'a cat', seed=1, num_inference_steps=2)[0] for i, m in zip(images, masks)]
    two = PipelineEditor(load(name).pipe, size=EXPECTED[name][2], windows_per_pass=2)
    assert all(distance(a, b) <= 2 for a, b in zip(singly, two.fill(images, masks, 'a cat', seed=1, num_inference_steps=2)))

@pytest.mark.parametrize('name', [*sorted(TWICE), 'lcm', 'flux', 'flux_fill', 'kontext'])
def test_a_guidance_that_is_asked_for(load, name):
    images, masks = windows(EXPECTED[name][2], 1)
    more = PipelineEditor(load(name).pipe, size=EXPECTED[name][2], guidance_scale=12.)
    assert more.call == {more.guidance: 12.}
    usual, strong = (load(name).fill(images, masks, 'a cat', guidance_scale=g, num_inference_steps=2)[0] for g in (None, 12.))
    assert usual.tobytes() != strong.tobytes() == more.fill(images, masks, 'a cat', num_inference_steps=2)[0].tobytes()

@pytest.mark.slow
def test_a_folder_with_the_rest_from_elsewhere(folder, eyes):
    editor = RegionEditor.from_pretrained(folder('sd3'), vit=eyes/'vit', clip=eyes/'clip', size=32, num_inference_steps=1, negative_prompt='grey')
    assert editor.editor.call == dict(num_inference_steps=1, negative_prompt='grey')
    assert editor(picture(60, 40), 'a rocket', 'a cat', num_anchors=2, num_proposals=2, progress=False).image.size == (60, 40)

def test_sizes_of_ones_own(folder):
    with pytest.raises(ValueError, match='expected size to be a multiple of 4, got 34; this model was trained on 256 pixels'):
        load_editor('pipeline', folder('flux'), size=34)
    for wrong in (0, -4, 2.5, 'big'):
        with pytest.raises(ValueError, match='expected size'): load_editor('pipeline', folder('flux'), size=wrong)

@pytest.mark.parametrize('pixels, parts, expected', [
    (8, dict(unet=dict(sample_size=64)), 512), (8, dict(unet={}), 512), (8, dict(transformer={}), 1024), (8, dict(transformer=dict(sample_size=64)), 512),
    (2, dict(transformer=dict(axes_lens=[256, 32, 32])), 128), (8, dict(transformer=dict(axes_lens=[1536, 512, 512])), 1024),
    (None, dict(unet=dict(sample_size=64)), 64), (None, dict(unet=dict(sample_size=64), movq=dict(block_out_channels=(1, 2, 3, 4))), 512), (16, dict(unet=dict(sample_size=1)), 32)])
def test_the_size_that_a_configuration_means(pixels, parts, expected):
    "Of a latent, of a UNet and of a transformer, of a quantiser, of a model of pixels, of one with so many places."
    pipe = SimpleNamespace(**dict(vae_scale_factor=pixels) if pixels else {}, **{name: SimpleNamespace(config=config) for name, config in parts.items()})
    assert working_size(pipe) == expected

@pytest.mark.slow
def test_qwen_edit_at_its_own_size(folder, monkeypatch):
    monkeypatch.undo()
    images, masks = windows(64, 1)
    assert load_editor('pipeline', folder('qwen_edit'), size=64).fill(images, masks, 'a cat', num_inference_steps=1)[0].size == (64, 64)

# without an entry

def test_a_pipeline_that_nobody_here_has_heard_of(folder, monkeypatch, tmp_path):
    "Half of the noise by default, no size to be told, another word for guidance, no callback."
    import diffusers
    base = diffusers.StableDiffusionInpaintPipeline
    class BrushInpaintPipeline(base):
        @torch.no_grad()
        def __call__(self, prompt=None, image=None, mask_image=None, strength=.5, num_inference_steps=7, true_cfg_scale=3., negative_prompt=None, generator=None, output_type='pil'):
            assert negative_prompt == [' '], 'guided away from nothing in particular'
            return base.__call__(self, prompt, image, mask_image, strength=strength, num_inference_steps=num_inference_steps, guidance_scale=true_cfg_scale, negative_prompt=negative_prompt,
                                 generator=generator, output_type=output_type)
    monkeypatch.setattr(diffusers, 'BrushInpaintPipeline', BrushInpaintPipeline, raising=False)
    monkeypatch.setattr(diffusers, 'BrushPipeline', object, raising=False)
    shutil.copytree(folder('sd2'), tmp_path/'brush')
    index = tmp_path/'brush'/'model_index.json'
    index.write_text(index.read_text().replace('StableDiffusionInpaintPipeline', 'BrushPipeline'))
    editor, rows = load_editor('pipeline', tmp_path/'brush'), []
    assert {k: editor.config[k] for k in ('num_inference_steps', 'true_cfg_scale', 'strength')} == dict(num_inference_steps=7, true_cfg_scale=3., strength=1.)
    editor.pipe.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    images, masks = windows(64, 1)
    made, = editor.fill(images, masks, 'a cat', callback_on_step_end=lambda *step: None)
    assert rows == [2] * 8 and distance(made, images[0]) > 9       # PNDM takes its second step twice

def test_every_class_of_diffusers_that_takes_a_mask_says_what_it_is_told():
    "A strength of 1, or nearly; no required argument besides ours; no picture to follow."
    import diffusers
    found = {cls for name in dir(diffusers) if name.endswith('Pipeline') and (cls := inpainting_class(name))}
    assert len(found) >= 15 and {c for c, *_ in EXPECTED.values()} <= {cls.__name__ for cls in found}
    for cls in found:
        given = {'self', 'prompt', 'image', 'mask_image', 'kwargs'} | set(defaults_of(cls))
        assert set(signature(cls.__call__).parameters) <= given and 'control_image' not in given
    assert inpainting_class('FluxControlPipeline') is inpainting_class('StableDiffusionControlNetPipeline') is inpainting_class('PaintByExamplePipeline') is None
