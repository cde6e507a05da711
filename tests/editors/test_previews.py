"""A preview costs what it says it costs, counted by hooks on tiny checkpoints in the real layouts, and
leaves the editor as it was."""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tiny
from regionedit import RegionEditor
from regionedit.editors.previews import (NEED, PromptOnly, noise_levels, set_previews, wearing,
                                         windows_at_once)
from regionedit.method.core import ModelNotAvailable
from regionedit.method.table import state_of
from regionedit.models.pretrained import load_editor
from stubs import StubClip, picture, stub_vit

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp('sd15')
    tiny.stable_diffusion(found, 'PNDMScheduler')       # as the hub's 1.5
    return found

@pytest.fixture(scope='module')
def amused(tmp_path_factory):
    found = tmp_path_factory.mktemp('amused'); tiny.amused(found)
    return found

@pytest.fixture(scope='module')
def small(tmp_path_factory):
    "A folder with an autoencoder of another kind."
    found = tmp_path_factory.mktemp('taesd')
    torch.manual_seed(3)
    diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, latent_channels=4,
        num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1)).save_pretrained(found)
    return found

def windows(count: int, side: int = 64):
    masks = [Image.new('L', (side, side)) for _ in range(count)]
    for i, m in enumerate(masks): m.paste(255, (i, side // 8, side // 2 + i, side // 2))
    return [picture(side, side, i) for i in range(count)], masks

class Counter:
    "Rows that networks and methods are asked for."
    def __init__(self, **parts):
        self.asked = dict.fromkeys(parts, 0)
        for name, part in parts.items():
            if isinstance(part, tuple): self.wrap(name, *part)
            else: part.register_forward_pre_hook(
                lambda m, args, kw, name=name: self.add(name, [*args, *kw.values()][0]),
                with_kwargs=True)

    def add(self, name, x): self.asked[name] += len(x)

    def wrap(self, name, owner, method):
        was = getattr(owner, method)
        def counted(x, *args, **kwargs): self.add(name, x); return was(x, *args, **kwargs)
        setattr(owner, method, counted)

    def take(self):
        found, self.asked = self.asked, dict.fromkeys(self.asked, 0)
        return found

def of(editor) -> Counter:
    if hasattr(editor, 'transformer'): return Counter(network=editor.transformer)
    owner = getattr(editor, 'pipe', editor)
    return Counter(network=owner.unet, encoder=(owner.vae, 'encode'), decoder=(owner.vae, 'decode'))

# work

@pytest.mark.slow
@pytest.mark.parametrize('kind, options', [
    ('pipeline', {}), ('pipeline', dict(guidance_scale=1.)), ('pipeline', dict(strength=.5)),
    ('diffusion', {}), ('maskgit', {})])
@pytest.mark.parametrize('scheduler', ['PNDMScheduler', 'DDIMScheduler', 'HeunDiscreteScheduler'])
def test_the_work_is_what_hooks_count(folder, amused, kind, options, scheduler):
    if kind == 'maskgit' and scheduler != 'DDIMScheduler': pytest.skip('its own schedule')
    if kind == 'diffusion' and scheduler == 'HeunDiscreteScheduler': pytest.skip('keeps a state')
    editor = load_editor(kind, amused if kind == 'maskgit' else folder, num_inference_steps=6,
                         **options)
    owner = getattr(editor, 'pipe', editor)
    if kind != 'maskgit':
        more = dict(skip_prk_steps=True) if scheduler == 'PNDMScheduler' else {}
        owner.scheduler = getattr(diffusers, scheduler).from_config(owner.scheduler.config, **more)
    images, masks = windows(4, editor.size)
    for painter in (editor, editor.preview(3, 4)):
        counter = of(editor)
        painter.fill(images, masks, 'a cat')
        assert counter.take()['network'] == 4 * painter.work() > 0
    counter = of(editor)
    editor.fill(images, masks, 'a cat', num_inference_steps=5)
    assert counter.take()['network'] == 4 * editor.work(5)

@pytest.mark.slow
@pytest.mark.parametrize('kind', ['pipeline', 'diffusion', 'maskgit'])
def test_a_preview_is_the_editor_with_fewer_steps_and_no_guidance(folder, amused, kind):
    editor = load_editor(kind, amused if kind == 'maskgit' else folder, num_inference_steps=8)
    images, masks = windows(3, editor.size)
    before, state = [p.tobytes() for p in editor.fill(images, masks, 'a cat')], state_of(editor)
    made = editor.preview(3, 3).fill(images, masks, 'a cat', seed=0)
    plain = editor.fill(images, masks, 'a cat', num_inference_steps=3, guidance_scale=1.)
    assert all(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1
               for a, b in zip(made, plain))
    assert [p.tobytes() for p in editor.fill(images, masks, 'a cat')] == before
    assert state_of(editor) == state != state_of(editor.preview(3, 3))

def test_prompt_only_hands_on_what_is_not_a_batch():
    class Network(nn.Module):
        dtype, config = torch.float16, dict(a=1)
        def forward(self, x, t, *, states, table):
            assert len(x) == len(states) == 2 and t.ndim == 0 and len(table) == 3
            return x + states
    told = PromptOnly(Network())
    x = torch.arange(4.)[:, None]
    out = told(x, torch.tensor(7), states=10 * x, table=torch.zeros(3))
    assert out.flatten().tolist() == [22, 33, 22, 33]
    assert told.dtype == torch.float16 and told.config == dict(a=1)
    with pytest.raises(AttributeError): _ = told.nothing

def test_a_scheduler_that_wants_to_know_more_is_taken_at_its_word():
    flow = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    assert noise_levels(flow, 28) == 28

# the whole search, as Stable Diffusion 1.5 does it

@pytest.mark.slow
def test_a_tenth_of_the_work(folder, small):
    """8 anchors, 7 sizes, 50 guided steps: 5,712 evaluations (PNDM takes 51 steps) become 484; the
    chosen ones are encoded and decoded by the large autoencoder, all others by the small one."""
    editor = load_editor('pipeline', folder, preview_vae=small)
    models = RegionEditor(stub_vit(), StubClip(), editor, public=True)
    options = dict(num_anchors=8, num_proposals=7, learning_steps=2, progress=False)
    big, little = of(editor), editor.preview_parts['vae']
    tiny_ = Counter(encoder=(little, 'encode'), decoder=(little, 'decode'))
    result = models(picture(200, 150), 'a rocket', 'a cat', **options)
    boxes, painted = len(result.table.edits), result.table.previews
    asked = big.take()
    assert boxes > 40 and painted == 2
    assert asked == dict(network=5 * boxes + 102 * painted, encoder=painted, decoder=painted)
    assert tiny_.take() == dict(encoder=boxes, decoder=boxes)
    assert result.evaluations == asked['network'] <= 560
    assert editor.work() * boxes > 10 * result.evaluations
    # what is returned is what the paper's way paints in that box
    again = models(picture(200, 150), 'a rocket', 'a cat', box=result.box, progress=False)
    assert again.image.tobytes() == result.image.tobytes()

# parts

def test_a_distilled_scheduler(folder):
    editor = load_editor('pipeline', folder, num_inference_steps=8, preview_scheduler='LCMScheduler')
    cheap = editor.preview(4)
    assert type(cheap.pipe.scheduler).__name__ == 'LCMScheduler' and cheap.work() == 4
    assert type(editor.pipe.scheduler).__name__ == 'PNDMScheduler'
    assert cheap.pipe.unet is editor.pipe.unet
    images, masks = windows(2)
    a, b = (e.fill(images, masks, 'a cat')[0].tobytes() for e in (cheap, editor.preview(4)))
    assert a == b != editor.fill(images, masks, 'a cat', num_inference_steps=4)[0].tobytes()

class Dressed:
    "What a pipeline with adapters does, and what it has on."
    def __init__(self, on): self.on, self.active, self.enabled = on, list(on), bool(on)
    def get_active_adapters(self): return list(self.active)
    def set_adapters(self, names): self.active = list(names)
    def enable_lora(self): self.enabled = True
    def disable_lora(self): self.enabled = False

@pytest.mark.parametrize('before', [[], ['style']])
def test_a_lora_is_worn_for_a_while(before):
    pipe = Dressed(before)
    for _ in range(2):
        with pytest.raises(RuntimeError), wearing(pipe, 'preview'):
            assert pipe.active == [*before, 'preview'] and pipe.enabled
            raise RuntimeError
        assert pipe.enabled == bool(before) and (not before or pipe.active == before)

def test_a_lora_goes_on_for_previews_only(folder, monkeypatch):
    editor = load_editor('pipeline', folder, num_inference_steps=2)
    pipe, on = editor.pipe, []
    dressed = Dressed([])
    for name in ('get_active_adapters', 'set_adapters', 'enable_lora', 'disable_lora'):
        monkeypatch.setattr(type(pipe), name, lambda self, *a, name=name: getattr(dressed, name)(*a),
                            raising=False)
    monkeypatch.setattr(type(pipe), 'load_lora_weights', lambda self, where, adapter_name:
                        dressed.set_adapters([adapter_name]), raising=False)
    set_previews(editor, preview_lora='somewhere')
    assert not dressed.enabled
    pipe.unet.register_forward_pre_hook(lambda *a: on.append(dressed.enabled))
    images, masks = windows(1)
    editor.preview(2).fill(images, masks, 'a cat'); editor.fill(images, masks, 'a cat')
    assert on == [True] * 3 + [False] * 3

@pytest.mark.parametrize('wrong, error', [
    (dict(preview_scheduler='AutoencoderKL'), 'expected preview_scheduler'),
    (dict(preview_scheduler='NoSuch'), 'expected preview_scheduler'),
    (dict(preview_scheduler='FlowMatchEulerDiscreteScheduler'), 'expected preview_scheduler'),
    (dict(preview_vae='/no/such/folder'), 'expected an AutoencoderTiny'),
    (dict(preview_lora='/no/such/folder'), 'expected a LoRA')])
def test_parts_that_are_none(folder, wrong, error):
    with pytest.raises((ValueError, ModelNotAvailable), match=error):
        load_editor('pipeline', folder, **wrong)

def test_parts_for_another_editor(folder):
    with pytest.raises(ValueError, match='for a pipeline of diffusers, got the diffusion editor'):
        load_editor('diffusion', folder, preview_scheduler='LCMScheduler')

# memory

@pytest.mark.parametrize('free, count, expected', [
    (100, 56, 28), (15, 56, 12), (1, 56, 1), (0, 3, 1), (1000, 56, 28), (1000, 7, 7)])
def test_windows_by_the_memory_that_is_free(monkeypatch, free, count, expected):
    "Passes of equal size, none larger than memory or 32 windows."
    need = NEED * 512**2
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (free * need, 0))
    assert windows_at_once(512, count, torch.device('cuda'), torch.float16) == expected
    assert windows_at_once(512, count, torch.device('cpu'), torch.float32) == 1

def test_too_little_memory_after_all(folder, monkeypatch):
    "Half as many windows, until it fits; one window that does not fit is an error."
    editor = load_editor('pipeline', folder, windows_per_pass=8)
    cheap, sizes = editor.preview(2, 8), []
    def sick(limit):
        def hook(module, args, kwargs):
            sizes.append(len(args[0]))
            if len(args[0]) > limit: raise torch.OutOfMemoryError('memory')
        return editor.pipe.unet.register_forward_pre_hook(hook, with_kwargs=True)
    handle, (images, masks) = sick(2), windows(8)
    made = cheap.fill(images, masks, 'a cat')
    assert sizes[:3] == [8, 4, 2] and set(sizes[2:]) == {2} and len(made) == 8
    assert cheap.batch_size == 2
    handle.remove()
    with pytest.raises(torch.OutOfMemoryError): sick(0), cheap.fill(images, masks, 'a cat')

def test_no_pass_is_filled_up(folder):
    editor = load_editor('pipeline', folder, windows_per_pass=4)
    counter, (images, masks) = of(editor), windows(3)
    cheap = editor.preview(2, 3)
    cheap.fill(images, masks, 'a cat')
    assert counter.take()['network'] == 3 * cheap.work() and cheap.batch_size == 4
