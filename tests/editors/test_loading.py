"""What an editor is made of, which class paints, what it can be told, and what a reader is told of
a part that cannot be read."""

import pytest
import torch

import tiny
from regionedit.editors.loading import (check_arguments, check_paints, inpainting_class, kind_of,
                                        load_part, named, quiet, read_index, reading)
from regionedit.method.core import ModelNotAvailable
from regionedit.method.edits import EDITORS, register_editor
from regionedit.models.pretrained import load_editor

# which class paints

@pytest.mark.parametrize('name, expected', [
    ('StableDiffusionPipeline', 'StableDiffusionInpaintPipeline'),
    ('FluxFillPipeline', 'FluxFillPipeline'),
    ('FluxPipeline', 'FluxInpaintPipeline'), ('FluxKontextPipeline', 'FluxKontextInpaintPipeline'),
    ('Flux2KleinPipeline', 'Flux2KleinInpaintPipeline'),
    ('QwenImageEditPipeline', 'QwenImageEditInpaintPipeline'),
    ('KandinskyV22Pipeline', 'KandinskyV22InpaintCombinedPipeline'),
    ('KandinskyV22InpaintPipeline', 'KandinskyV22InpaintCombinedPipeline'),
    ('LatentConsistencyModelPipeline', 'StableDiffusionInpaintPipeline'),
    ('ZImagePipeline', 'ZImageInpaintPipeline'), ('RePaintPipeline', None), ('torch', None),
    # a drawing to follow, a package that is not there, a sound
    ('FluxControlPipeline', None), ('AudioDiffusionPipeline', None), ('AudioLDM2Pipeline', None)])
def test_the_class_that_paints(name, expected):
    assert (found := inpainting_class(name)) is expected or found.__name__ == expected

def test_our_own_kinds_need_no_pipeline():
    check_paints(dict(_class_name='AmusedPipeline'), 'x')
    check_paints(dict(_class_name='X', vae=['diffusers', 'PatchAutoencoder']), 'x')

def test_a_class_that_diffusers_cannot_import(monkeypatch):
    "As where transformers is older than it expects."
    import diffusers
    whole = type(diffusers).__getattr__
    def get(self, name):
        if name == 'BrushPipeline': raise RuntimeError('Failed to import')
        return whole(self, name)
    monkeypatch.setattr(type(diffusers), '__getattr__', get)
    with pytest.raises(ValueError, match='x is a BrushPipeline, which diffusers .* cannot import'):
        check_paints(dict(_class_name='BrushPipeline'), 'x')

def test_a_part_of_a_class_that_is_not_here():
    "As in a checkpoint that a newer library saved; what is not loaded may be of any class."
    index = dict(_class_name='StableDiffusionInpaintPipeline',
                 unet=['diffusers', 'UNetOfTomorrow'], vae=['diffusers', 'AutoencoderKL'])
    with pytest.raises(ValueError, match='x is a StableDiffusionInpaintPipeline, whose unet is a '
                                         'UNetOfTomorrow, which diffusers .* does not know'):
        check_paints(index, 'x')
    check_paints(index | dict(unet=['diffusers', 'UNet2DConditionModel'],
                              feature_extractor=['transformers', 'OfYesterday'],
                              safety_checker=['stable_diffusion', 'X'], scheduler=[None, None]), 'x')

def test_kinds():
    for name, vae, kind in (('AmusedPipeline', None, 'maskgit'),
                            ('StableDiffusionInpaintPipeline', 'AutoencoderKL', 'pipeline'),
                            ('StableDiffusionInpaintPipeline', 'PatchAutoencoder', 'diffusion')):
        assert kind_of(dict(_class_name=name, **dict(vae=['diffusers', vae]) if vae
                            else {})) == kind

@pytest.mark.parametrize('text', ['{', '[1]', '3', None])
def test_an_index_that_cannot_be_read(tmp_path, text):
    if text: (tmp_path/'model_index.json').write_text(text)
    with pytest.raises(ModelNotAvailable,
                       match='expected the index of an editor in .*model_index.json'):
        read_index(tmp_path/'model_index.json')

# what it can be told

def test_arguments_with_a_default():
    def f(vae, steps=3, *, scale=1, **more): pass
    assert named(f, lambda seed=0: None) == {'steps', 'scale', 'seed'}

@pytest.mark.parametrize('given, told',
                         [('strenght', "did you mean 'strength'"),
                          ('torch_dtype', "did you mean 'dtype'"),
                                         ('zzz', 'leave it out')])
def test_what_nobody_reads_is_refused_with_the_nearest_name(given, told):
    with pytest.raises(ValueError, match=f"expected arguments that it has, got '{given}'; {told}"):
        check_arguments({given: 1}, {'strength', 'eta'}, 'it')
    check_arguments({given: 1}, None, 'it')

@pytest.mark.parametrize('kind, write',
                         [('diffusion', tiny.stable_diffusion), ('maskgit', tiny.amused),
                          ('pipeline', tiny.stable_diffusion)])
@pytest.mark.parametrize('name', ['strenght', 'torch_dtype', 'schedular', 'height', 'mask_image',
                                  'unet', 'vqvae'])
def test_every_editor_refuses_at_load_before_its_weights(tmp_path, monkeypatch, kind, write, name):
    write(tmp_path)
    for file in tmp_path.rglob('*.safetensors'): file.write_bytes(b'not opened')
    with pytest.raises(ValueError,
                       match=f"expected arguments that the {kind} editor has, got '{name}'"):
        load_editor(kind, tmp_path, **{name: 1})

def test_what_a_pipeline_knows_is_taken(tmp_path):
    tiny.stable_diffusion(tmp_path)
    editor = load_editor('pipeline', tmp_path, strength=.9, eta=.5, negative_prompt='grey',
                         memory='vae_tiling', windows_per_pass=2)
    assert editor.call == dict(strength=.9, eta=.5, negative_prompt='grey')

def test_an_editor_of_ones_own_with_any_or_no_arguments(monkeypatch):
    monkeypatch.setattr('regionedit.method.edits.EDITORS', EDITORS)
    @register_editor('any')
    class Any:
        def __init__(self, **kwargs): self.given = kwargs
    @register_editor('none')
    class Nothing: pass
    try:
        assert load_editor('any', magic=3).given == dict(magic=3)
        with pytest.raises(ValueError, match="none editor has, got 'magic'"):
            load_editor('none', magic=3)
    finally: del EDITORS['any'], EDITORS['none']

# what cannot be read

@pytest.mark.parametrize('error',
                         [torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB'),
                          MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory"),
                          OSError(12, 'Cannot allocate memory')], ids=repr)
def test_a_lack_of_memory_is_no_broken_file(tmp_path, error):
    with pytest.raises(type(error)):
        with reading('a part', tmp_path): raise error

def test_anything_else_is(tmp_path):
    with pytest.raises(ModelNotAvailable,
                       match='expected a part in .*could not read it .*a line.*cut.*; '
                             'fetch it again'):
        with reading('a part', tmp_path): raise KeyError('a line\n cut')

@pytest.mark.parametrize('kind, write, part', [('diffusion', tiny.stable_diffusion, 'text_encoder'), ('diffusion', tiny.stable_diffusion, 'unet'),
                                               ('maskgit', tiny.amused, 'text_encoder'), ('maskgit', tiny.amused, 'transformer')])
def test_weights_under_other_names_are_not_filled_with_noise(tmp_path, kind, write, part):
    "As an older transformers does with what a newer one saved."
    from safetensors.torch import load_file, save_file
    write(tmp_path)
    file, = (tmp_path/part).glob('*.safetensors')
    save_file({f'other.{k}' if 'norm' in k else k: v for k, v in load_file(file).items()}, file, {'format': 'pt'})
    with pytest.raises(ModelNotAvailable, match=f'expected {part} in .*could not read it .*weights under other names than '):
        load_editor(kind, tmp_path)

def test_a_part_without_the_variant_comes_in_full(tmp_path):
    parts = tiny.amused(tmp_path, 'fp16')
    (tmp_path/'vqvae'/'diffusion_pytorch_model.fp16.safetensors').rename(
        tmp_path/'vqvae'/'diffusion_pytorch_model.safetensors')
    for part in ('vqvae', 'transformer'):
        assert load_part(tmp_path, part, type(parts[part]), variant='fp16').dtype == torch.float32
    with pytest.raises(ModelNotAvailable, match='expected transformer in'):
        load_part(tmp_path, 'transformer', type(parts['transformer']))

def test_bars_come_back(capsys):
    import diffusers.utils.logging as one, transformers.utils.logging as two
    for library in (one, two): library.enable_progress_bar()
    two.disable_progress_bar()
    with pytest.raises(KeyError):
        with quiet():
            assert not one.is_progress_bar_enabled() and not two.is_progress_bar_enabled()
            raise KeyError
    assert one.is_progress_bar_enabled() and not two.is_progress_bar_enabled()
    two.enable_progress_bar()

def test_a_library_is_asked_for_its_names_once():
    "`dir(transformers)` takes a second, and a model is looked over twice before it is loaded."
    from regionedit.editors.loading import _names_in
    _names_in.cache_clear()
    index = dict(_class_name='FluxPipeline', vae=['diffusers', 'AutoencoderKL'],
                 text_encoder=['transformers', 'CLIPTextModel'])
    for _ in range(2): check_paints(index, 'a folder')
    assert _names_in.cache_info().misses == 2

@pytest.mark.parametrize('count', [0, -3, 1.5, 'many', True])
def test_windows_are_counted_from_one(tmp_path, count):
    "Before anything is read; zero ended in a sentence about `range`, less than zero in no edits."
    with pytest.raises(ValueError, match='expected windows_per_pass to be a whole number from 1'):
        load_editor('diffusion', tmp_path, windows_per_pass=count)
