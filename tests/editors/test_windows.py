"""One window and its company, callbacks, schedulers that draw, texts beside the prompt: what an
editor returns depends on what it is told."""
import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from regionedit.editors.diffusion import DiffusionEditor
from regionedit.method.edits import edit_boxes
from regionedit.models.pretrained import load_editor
from stubs import picture

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp('sd'); tiny.stable_diffusion(found)
    return found

@pytest.fixture(scope='module')
def windows():
    masks = [Image.new('L', (64, 64)) for _ in range(5)]
    for i, m in enumerate(masks): m.paste(255, (4 * i, 8, 40 + 4 * i, 50 - 2 * i))
    return [picture(64, 64, seed) for seed in range(5)], masks

def pixels(pictures): return [p.tobytes() for p in pictures]

# company (A7)

@pytest.mark.slow
@pytest.mark.parametrize('kind, count',
                         [('diffusion', 1), ('diffusion', 4), ('diffusion', 8), ('pipeline', 2)])
def test_a_window_is_the_same_in_any_company(folder, windows, kind, count):
    editor, (images, masks) = load_editor(kind, folder, num_inference_steps=3,
                                          windows_per_pass=count), windows
    whole = pixels(editor.fill(images, masks, 'a cat', seed=1))
    for some in ([0], [4], [1, 3], [4, 2, 0], [3, 3, 3, 1]):
        assert pixels(editor.fill([images[i] for i in some], [masks[i] for i in some], 'a cat',
                                  seed=1)) == [whole[i] for i in some]

@pytest.mark.slow
def test_the_bundled_model_is_the_same_in_any_company(scene):
    from regionedit.models.bundled import weights_folder
    editor = DiffusionEditor.from_pretrained(weights_folder('diffusion'), num_inference_steps=2,
                                             guidance_scale=2.)
    boxes = [(5 * i, 4 * i, 40 + 6 * i, 44 + 5 * i) for i in range(11)]
    whole = [e.crop.tobytes() for e in edit_boxes(editor, scene.image, boxes, 'a rocket')]
    for some in ([3], [10, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8]):
        assert [e.crop.tobytes() for e in edit_boxes(editor, scene.image, [boxes[i] for i in some],
                                                     'a rocket')] == [whole[i] for i in some]

# callbacks (A8)

@pytest.mark.parametrize('kind', ['diffusion', 'pipeline'])
def test_latents_that_a_callback_returns_are_gone_on_with(folder, windows, kind):
    editor, (images, masks) = load_editor(kind, folder, num_inference_steps=3), windows
    def zero(owner, step, t, values): return dict(latents=values['latents'] * 0)
    def watch(owner, step, t, values): return None
    def same(owner, step, t, values): return values
    plain = pixels(editor.fill(images[:1], masks[:1], 'a cat'))
    assert pixels(editor.fill(images[:1], masks[:1], 'a cat', callback_on_step_end=zero)) != plain
    for harmless in (watch, same):
        assert pixels(editor.fill(images[:1], masks[:1], 'a cat',
                                  callback_on_step_end=harmless)) == plain

def test_both_editors_go_on_with_the_same_latents(folder, windows):
    images, masks = windows
    def halve(owner, step, t, values): return dict(latents=values['latents'] / 2)
    ours, theirs = (load_editor(kind, folder, num_inference_steps=3,
                                guidance_scale=5.).fill(images[:1], masks[:1], 'a cat', seed=2,
                                                        callback_on_step_end=halve)[0]
                    for kind in ('diffusion', 'pipeline'))
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1

# schedulers

@pytest.mark.slow
@pytest.mark.parametrize('name', ['DDIMScheduler', 'PNDMScheduler', 'EulerDiscreteScheduler',
                                  'EulerAncestralDiscreteScheduler', 'DPMSolverMultistepScheduler',
                                  'DDPMScheduler'])
def test_a_scheduler_may_be_swapped(folder, windows, name):
    """Pixels of diffusers' own pipeline with it, also where it draws noise; a second call, and
    another's random numbers, change nothing."""
    import diffusers
    images, masks = windows
    made = []
    for kind in ('diffusion', 'pipeline'):
        editor = load_editor(kind, folder, num_inference_steps=4, guidance_scale=5.)
        owner = getattr(editor, 'pipe', editor)
        more = dict(skip_prk_steps=True) if name == 'PNDMScheduler' else {}
        owner.scheduler = getattr(diffusers, name).from_config(owner.scheduler.config, **more)
        first = editor.fill(images[:1], masks[:1], 'a cat', seed=2)
        torch.rand(3)
        assert pixels(editor.fill(images[:1], masks[:1], 'a cat', seed=2)) == pixels(first)
        assert pixels(editor.fill(images[:1] * 2, masks[:1] * 2, 'a cat', seed=2)) == pixels(
            first * 2)
        made.append(np.asarray(first[0], int))
    assert np.abs(made[0] - made[1]).max() <= 1

def test_the_scheduler_is_left_as_it_was(folder, windows):
    editor, (images, masks) = load_editor('diffusion', folder), windows
    before = dict(vars(editor.scheduler))
    editor.fill(images[:1], masks[:1], 'a cat', num_inference_steps=2)
    assert vars(editor.scheduler).keys() == before.keys()
    assert editor.scheduler.num_inference_steps is before['num_inference_steps']

# texts beside the prompt (A4)

@pytest.mark.parametrize('count', [1, 2])
def test_a_negative_prompt(folder, windows, count):
    images, masks = windows
    plain, less = (load_editor('pipeline', folder, num_inference_steps=3, windows_per_pass=count,
                               **more).fill(images[:3], masks[:3], 'a cat')
                   for more in ({}, dict(negative_prompt='a rocket on a table')))
    assert all(a != b for a, b in zip(pixels(plain), pixels(less)))
    pipe = load_editor('pipeline', folder).pipe
    expected = pipe('a cat', negative_prompt='a rocket on a table', image=images[0],
                    mask_image=masks[0], height=64, width=64, num_inference_steps=3,
                    generator=torch.Generator().manual_seed(0)).images[0]
    assert np.abs(np.asarray(less[0], int) - np.asarray(expected, int)).max() <= 1

@pytest.mark.parametrize('kind', ['diffusion', 'pipeline'])
def test_a_callback_that_is_an_empty_list_is_called(folder, windows, kind):
    "What collects steps is false until it has one."
    class Steps(list):
        def __call__(self, editor, step, timestep, tensors): self.append(step); return tensors
    steps, (images, masks) = Steps(), windows
    load_editor(kind, folder).fill(images[:1], masks[:1], 'a cat', num_inference_steps=3,
                                   callback_on_step_end=steps)
    assert steps == [0, 1, 2]
