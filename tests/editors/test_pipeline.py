"""Pipelines of diffusers as editors: their own pixels, the same noise for every window, safetensors
only."""
import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from regionedit.method.core import ModelNotAvailable
from regionedit.method.edits import EDITORS, check_editor, edit_boxes
from regionedit.models.pretrained import load_editor
from regionedit.editors.pipeline import MEMORY
from stubs import picture

WRITERS = dict(sd15=lambda folder: tiny.stable_diffusion(folder, 'PNDMScheduler'),
               sd2=tiny.stable_diffusion_2, sdxl=tiny.stable_diffusion_xl)

@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict:
    "Kind -> folder and the pipeline that was saved there."
    found = {}
    for name, write in WRITERS.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = folder, write(folder)
    return found

@pytest.fixture(scope='module')
def windows() -> tuple:
    masks = [Image.new('L', (64, 64)) for _ in range(2)]
    masks[0].paste(255, (8, 16, 56, 40)); masks[1].paste(255, (0, 0, 20, 64))
    return [picture(64, 64, seed) for seed in range(2)], masks

@pytest.mark.slow
def test_the_tokenizer_that_reads_most_is_asked(tmp_path):
    "Where a second text encoder reads more, a prompt that only the first cuts is read."
    tiny.stable_diffusion_xl(tmp_path)
    editor = load_editor('pipeline', tmp_path)
    assert editor.tokenizer.model_max_length == 64
    editor.pipe.tokenizer_2.model_max_length = 512
    assert editor.tokenizer is editor.pipe.tokenizer_2
    editor.pipe.tokenizer = editor.pipe.tokenizer_2 = None
    assert editor.tokenizer is None

# every registered editor

# an editor without weights needs no entry
WEIGHTS = dict(diffusion=tiny.stable_diffusion, maskgit=tiny.amused, pipeline=WRITERS['sd15'])

def kinds() -> list:
    try: load_editor('none of them')
    except ValueError: return sorted(EDITORS)

@pytest.mark.parametrize('kind', kinds())
def test_every_registered_editor_keeps_the_contract(kind, tmp_path):
    if kind in WEIGHTS: WEIGHTS[kind](tmp_path)
    editor = load_editor(kind, tmp_path if kind in WEIGHTS else None)
    check_editor(editor)
    source, boxes = picture(90, 50), [(70, 5, 90, 30), (0, 0, 50, 50)]
    for (x0, y0, x1, y1), edit in zip(boxes,
                                      edit_boxes(editor, source, boxes, 'a rocket',
                                                 num_inference_steps=1)):
        changed = (np.asarray(edit.paste(source)) != np.asarray(source)).any(-1)
        inside = np.zeros_like(changed); inside[y0:y1, x0:x1] = True
        assert not changed[~inside].any() and changed[inside].mean() > .5

# pixels

@pytest.mark.parametrize('name', WRITERS)
def test_pixels_are_the_pipelines(folders, windows, name):
    folder, pipe = folders[name]
    (image, _), (mask, _) = windows
    pipe.set_progress_bar_config(disable=True)
    expected = pipe('a red apple', image=image, mask_image=mask, height=64, width=64,
                    num_inference_steps=3, guidance_scale=5., strength=1.,
                    generator=torch.Generator().manual_seed(3)).images[0]
    editor = load_editor('pipeline', folder, guidance_scale=5.)
    assert editor.size == 64 and editor.config['pipeline'] == type(pipe).__name__
    assert editor.config['guidance_scale'] == 5.
    made = editor.fill([image], [mask], 'a red apple', seed=3, num_inference_steps=3)[0]
    # a saved and loaded weight may lie differently in memory
    assert np.abs(np.asarray(made, int) - np.asarray(expected, int)).max() <= 1

def test_our_loop_and_the_pipeline_agree(tmp_path, windows):
    tiny.stable_diffusion(tmp_path)
    images, masks = windows
    ours, theirs = (load_editor(kind, tmp_path, num_inference_steps=3,
                                guidance_scale=5.).fill(images[:1], masks[:1], 'a cat', seed=2)[0]
                    for kind in ('diffusion', 'pipeline'))
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1

@pytest.mark.parametrize('name', WRITERS)
def test_a_window_alone_and_in_company(folders, windows, name):
    editor, (images, masks) = (load_editor('pipeline', folders[name][0], num_inference_steps=2),
                               windows)
    together = editor.fill(images, masks, 'a cat', seed=1)
    assert [t.tobytes() for t in together] == [editor.fill([i], [m], 'a cat', seed=1)[0].tobytes()
                                               for i, m in zip(images, masks)]
    wide = load_editor('pipeline', folders[name][0], num_inference_steps=2,
                       windows_per_pass=2).fill(images * 2, masks * 2, 'a cat', seed=1)
    assert all(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1
               for a, b in zip(together * 2, wide))
    assert editor.fill(images[:1], masks[:1], 'a cat', seed=2)[0].tobytes() != together[0].tobytes()

@pytest.mark.slow
def test_arguments_of_the_pipeline(folders, windows):
    images, masks = windows
    plain, less = (load_editor('pipeline', folders['sd15'][0], num_inference_steps=4,
                               **more).fill(images[:1], masks[:1], 'a cat')[0]
                   for more in (dict(), dict(strength=.5)))
    assert plain.tobytes() != less.tobytes()

def test_callbacks(folders, windows):
    editor, (images, masks), seen = load_editor('pipeline', folders['sd2'][0]), windows, []
    def watch(pipe, step, t, values): seen.append((step, values['latents'].shape))
    watched = editor.fill(images[:1], masks[:1], 'a cat', num_inference_steps=2,
                          callback_on_step_end=watch)[0]
    assert watched.tobytes() == editor.fill(images[:1], masks[:1], 'a cat',
                                            num_inference_steps=2)[0].tobytes()
    assert [s for s, _ in seen] == list(range(len(seen))) and seen[0][1] == (1, 4, 8, 8)
    changed = editor.fill(images[:1], masks[:1], 'a cat', num_inference_steps=2,
                          callback_on_step_end=lambda pipe, i, t, v: dict(
                              latents=v['latents'] * 0))[0]
    # what diffusers' convention allows is passed through
    assert changed.tobytes() != watched.tobytes()

def test_numbers_that_are_none(folders, windows):
    editor, (images, masks) = load_editor('pipeline', folders['sd15'][0]), windows
    assert editor.fill(images[:1], masks[:1], 'a cat', num_inference_steps=1,
                       callback_on_step_end=lambda pipe, i, t, v: dict(latents=v['latents']
                                                                       * torch.nan)) == [None]

# loading

def test_a_text_to_image_checkpoint_can_inpaint(tmp_path, windows):
    from diffusers import StableDiffusionPipeline
    pipe = tiny.stable_diffusion(tmp_path/'nine')
    torch.manual_seed(0)
    parts = dict(pipe.components, unet=tiny.denoiser(in_channels=4))
    parts.pop('image_encoder', None)
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(tmp_path/'four')
    editor = load_editor('pipeline', tmp_path/'four')
    assert editor.config['pipeline'] == 'StableDiffusionInpaintPipeline'
    check_editor(editor)

def test_half_precision_weights_work_in_the_number_format_asked_for(tmp_path):
    tiny.stable_diffusion(tmp_path, variant='fp16')
    for dtype in (torch.float32, torch.bfloat16):
        editor = load_editor('pipeline', tmp_path, dtype=dtype, variant='fp16')
        assert {p.dtype for part in ('unet', 'vae', 'text_encoder')
                for p in getattr(editor.pipe, part).parameters()} == {dtype}

def test_nothing_is_unpickled(tmp_path, monkeypatch):
    tiny.stable_diffusion(tmp_path)
    def refuse(*args, **kwargs): raise AssertionError('not allowed')
    monkeypatch.setattr(torch, 'load', refuse)
    (tmp_path/'unet'/'diffusion_pytorch_model.bin').write_bytes(b'pickle')
    load_editor('pipeline', tmp_path)
    (tmp_path/'unet'/'diffusion_pytorch_model.safetensors').unlink()
    with pytest.raises(ModelNotAvailable, match='could not read'): load_editor('pipeline', tmp_path)

@pytest.mark.parametrize('kind', ['pipeline', 'diffusion'])
def test_a_cut_file_is_told(tmp_path, kind):
    tiny.stable_diffusion(tmp_path)
    path = tmp_path/'vae'/'diffusion_pytorch_model.safetensors'
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelNotAvailable, match='could not read'): load_editor(kind, tmp_path)

def test_a_checkpoint_of_another_trade(tmp_path):
    (tmp_path/'model_index.json').write_text('{"_class_name": "AudioLDMPipeline"}')
    with pytest.raises(ValueError, match='is a AudioLDMPipeline, which'):
        load_editor('pipeline', tmp_path)

def test_loading_and_painting_are_silent(folders, windows, capfd):
    (image, _), (mask, _) = windows
    load_editor('pipeline', folders['sdxl'][0]).fill([image], [mask], 'a cat',
                                                     num_inference_steps=2)
    assert capfd.readouterr() == ('', '')

# what a user of diffusers expects

def test_a_negative_prompt_is_heard(folders, windows):
    images, masks = windows
    usual, grey = (load_editor('pipeline', folders['sd15'][0], num_inference_steps=2, **more).fill(
        images[:1], masks[:1], 'a cat')[0] for more in (dict(), dict(negative_prompt='a red apple')))
    assert usual.tobytes() != grey.tobytes()

def test_another_scheduler(folders, windows):
    from diffusers import DDIMScheduler, EulerDiscreteScheduler
    folder, (images, masks) = folders['sd15'][0], windows
    usual = load_editor('pipeline', folder, num_inference_steps=3)
    euler = load_editor('pipeline', folder, num_inference_steps=3,
                        scheduler='EulerDiscreteScheduler')
    assert euler.config['scheduler'] == 'EulerDiscreteScheduler'
    assert euler.scheduler.config.beta_end == usual.scheduler.config.beta_end == .012
    a, b = (e.fill(images[:1], masks[:1], 'a cat')[0].tobytes() for e in (usual, euler))
    usual.scheduler = EulerDiscreteScheduler.from_config(usual.scheduler.config)
    assert a != b == usual.fill(images[:1], masks[:1], 'a cat')[0].tobytes()
    usual.scheduler = DDIMScheduler.from_config(usual.scheduler.config)
    assert usual.config['scheduler'] == type(usual.pipe.scheduler).__name__ == 'DDIMScheduler'
    for wrong in ('FlowMatchEulerDiscreteScheduler', 'nonsense', 3):
        with pytest.raises(ValueError, match='expected scheduler to be '):
            usual.scheduler = wrong

def test_another_scheduler_is_another_edit_and_few_steps_are_the_familys(folders):
    "The cache of edits is not fooled, and LCM's scheduler takes four steps without guidance."
    from regionedit.method.table import state_of
    editor = load_editor('pipeline', folders['sd15'][0])
    before = state_of(editor)
    editor.scheduler = 'LCMScheduler'
    assert state_of(editor) != before and editor.config['num_inference_steps'] == 4
    assert editor.config['guidance_scale'] == 1.

@pytest.mark.slow
def test_a_lora(folders, windows, tmp_path):
    peft = pytest.importorskip('peft')
    from regionedit.method.table import state_of
    pipe = load_editor('pipeline', folders['sd15'][0]).pipe
    pipe.unet.add_adapter(peft.LoraConfig(r=2, target_modules=['to_q', 'to_v'],
                                          init_lora_weights=False))
    type(pipe).save_lora_weights(tmp_path/'lora', peft.get_peft_model_state_dict(pipe.unet))
    images, masks = windows
    file, = (tmp_path/'lora').glob('*.safetensors')
    made, states = [], []
    for lora in (None, tmp_path/'lora', str(file)):
        editor = load_editor('pipeline', folders['sd15'][0], num_inference_steps=2, lora=lora)
        states.append(state_of(editor))
        made.append(editor.fill(images[:1], masks[:1], 'a cat')[0].tobytes())
    assert made[0] != made[1] == made[2] and states[0] != states[1]
    for lost in (tmp_path/'nowhere', tmp_path):
        with pytest.raises(ModelNotAvailable, match='expected a LoRA in'):
            load_editor('pipeline', folders['sd15'][0], lora=lost)

def test_without_peft_a_lora_is_refused_before_the_weights(folders, monkeypatch):
    monkeypatch.setattr('regionedit.editors.pipeline.find_spec', lambda name: None)
    monkeypatch.setattr('regionedit.editors.pipeline.load_pipeline', lambda *a: pytest.fail('read'))
    with pytest.raises(ValueError, match=r'package peft .*pip install "regionedit\[lora\]"'):
        load_editor('pipeline', folders['sd15'][0], lora='x')

def test_to_a_device_and_back(folders, windows):
    "`meta` stands for the device that a machine of tests does not have."
    editor, (_images, _masks) = load_editor('pipeline', folders['sd15'][0]), windows
    assert editor.to('meta') is editor
    assert {p.device.type for p in editor.pipe.unet.parameters()} == {'meta'}

# memory

def test_memory_switches(folders, windows):
    images, masks = windows
    plain = load_editor('pipeline', folders['sd15'][0], num_inference_steps=2)
    saving = load_editor('pipeline', folders['sd15'][0], num_inference_steps=2,
                         memory=('attention_slicing', 'vae_slicing', 'vae_tiling'))
    assert saving.pipe.vae.use_tiling and saving.pipe.vae.use_slicing
    assert not plain.pipe.vae.use_tiling
    a, b = (e.fill(images[:1], masks[:1], 'a cat')[0] for e in (plain, saving))
    assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1

def test_offload_goes_to_the_device_and_stays_off_it(folders, monkeypatch):
    pipe, calls = folders['sd15'][1], []
    from regionedit.editors.pipeline import save_memory
    monkeypatch.setattr(type(pipe), 'enable_model_cpu_offload',
                        lambda self, device: calls.append(('offload', device)))
    monkeypatch.setattr(type(pipe), 'to', lambda self, device: calls.append(('to', device)))
    save_memory(pipe, ('model_cpu_offload',), 'cuda'); save_memory(pipe, (), 'cuda')
    load_editor('pipeline', folders['sd15'][0]).enable_model_cpu_offload('cuda:1')
    assert calls == [('offload', 'cuda'), ('to', 'cuda'), ('to', 'cpu'), ('offload', 'cuda:1')]

def test_offload_paints_the_same_pixels(folders, windows):
    pytest.importorskip('accelerate')
    images, masks = windows
    a, b = (load_editor('pipeline', folders['sd15'][0], num_inference_steps=2, memory=memory).fill(
        images[:1], masks[:1], 'a cat')[0] for memory in ((), 'model_cpu_offload'))
    assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1

def test_without_accelerate_offloading_is_refused_in_one_sentence(folders, monkeypatch):
    monkeypatch.setattr('diffusers.pipelines.pipeline_utils.is_accelerate_available', lambda: False)
    with pytest.raises(ValueError, match='expected model_cpu_offload to be possible here, '
                                         '.*requires .accelerate.*leave it out'):
        load_editor('pipeline', folders['sd15'][0], memory='model_cpu_offload')

def test_a_switch_that_does_not_exist(folders):
    with pytest.raises(ValueError, match=f'expected memory .*{MEMORY[-1]}.*magic'):
        load_editor('pipeline', folders['sd15'][0], memory='magic')
