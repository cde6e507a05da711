"From a name to three models: public ones from tiny checkpoints in the hub's cache, without a cache, from folders, from a file of the user's."
import json, os, re, shutil, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest
import torch

import regionedit.editors.diffusion, regionedit.editors.maskgit, regionedit.editors.pipeline     # noqa: F401 (registered before any test looks)
import tiny
from regionedit.cli import main
from regionedit.method.config import Config
from regionedit.method.core import ModelNotAvailable, Note
from regionedit import RegionEditor
from regionedit.method.edits import EDITORS
from regionedit.models.presets import BUNDLED, CLIP, CLIPS, EDITOR_CARDS, PRESETS, VIT, VITS, choose_device, look_up_preset, get_preset
from stubs import picture

FEW = dict(num_anchors=2, num_proposals=2, learning_steps=3, num_inference_steps=2, progress=False)

@pytest.fixture
def no_network(offline): offline()

@pytest.fixture(scope='module')
def filled(tmp_path_factory) -> Path:
    "A hub cache with tiny models under the names of all public ones."
    cache = tmp_path_factory.mktemp('hub')
    for name, card in VITS.items(): tiny.put_in_cache(cache, card, tiny.dinov2 if 'v2' in name else tiny.vit)
    for card in CLIPS.values(): tiny.put_in_cache(cache, card, tiny.clip)
    for name, card in EDITOR_CARDS.items(): tiny.put_in_cache(cache, card, lambda folder: tiny.EDITORS[name](folder, 'fp16'))
    return cache

@pytest.fixture
def cache(filled, monkeypatch, no_network): monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(filled))

@pytest.fixture
def empty(tmp_path, monkeypatch, no_network): monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path/'empty'))

# the public presets

def test_names_fixed_by_the_interface():
    assert set(PRESETS) == {'pocket', 'pocket-maskgit', 'sd2-inpainting', 'sd15-inpainting', 'sdxl-inpainting', 'amused-256', 'amused-512'} == set(BUNDLED) | set(EDITOR_CARDS)
    for card in (*VITS.values(), *CLIPS.values(), *EDITOR_CARDS.values()): assert card.licence and card.megabytes and re.fullmatch('main|[0-9a-f]{40}', card.revision)

@pytest.fixture(scope='module')
def published(served):
    "Tiny checkpoints under all public names, among the files that real repositories have."
    for name, card in VITS.items(): served.publish(card, tiny.dinov2 if 'v2' in name else tiny.vit)
    for card in CLIPS.values(): served.publish(card, tiny.clip)
    for name, card in EDITOR_CARDS.items(): served.publish(card, lambda folder: tiny.EDITORS[name](folder, 'fp16'))

@pytest.mark.slow
@pytest.mark.parametrize('name', EDITOR_CARDS)
def test_a_public_preset_is_fetched_edits_and_works_again_without_a_network(name, hub, published, tmp_path, capsys, monkeypatch):
    image = picture(90, 50); image.save(tmp_path/'in.png')
    editor = RegionEditor.from_pretrained(name, **{} if 'amused' in name else dict(memory='vae_tiling'))
    asked = hub.asked()
    assert sum(path.endswith('.safetensors') for path in asked) == len([p for p in asked if p.endswith('config.json') and 'tokenizer' not in p and 'scheduler' not in p])
    assert not any(word in path for path in asked for word in ('.bin', 'checker', 'non_ema', 'ckpt', 'README', 'onnx', 'flax'))
    assert 'models on cpu, the editor in float32' in capsys.readouterr().err
    assert editor.editor.name == ('maskgit' if 'amused' in name else 'pipeline') and editor.editor.size == (32 if 'amused' in name else 64)
    hub.forget()
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    results = [editor(image, 'a rocket', 'a cat', **FEW), RegionEditor.from_pretrained(name)(tmp_path/'in.png', 'a rocket', 'a cat', **FEW)]
    assert hub.asked() == []
    assert results[0].image.tobytes() == results[1].image.tobytes() and results[0].image.size == (90, 50) and results[0].preset == name
    (x0, y0, x1, y1), changed = results[0].box, (np.asarray(results[0].image) != np.asarray(image)).any(-1)
    assert changed[y0:y1, x0:x1].mean() > .5 and changed.sum() == changed[y0:y1, x0:x1].sum()

@pytest.mark.slow
def test_a_public_preset_from_the_shell(hub, published, tmp_path):
    "As a reader has it: the first run fetches, the second has no network; standard output holds the result and nothing else."
    picture(60, 60).save(tmp_path/'in.png')
    options = [v for k, n in FEW.items() if k != 'progress' for v in (f'--{k}', str(n))]
    words = ['edit', 'in.png', '--source', 'a cat', '--prompt', 'a rocket', '--preset', 'sd15-inpainting', '--json', *options]
    told = []
    for offline in '01':
        env = dict(os.environ, HF_HUB_OFFLINE=offline, HF_HUB_CACHE=str(tmp_path/'cache'))
        run = subprocess.run([sys.executable, '-m', 'regionedit.cli', *words], capture_output=True, text=True, env=env, cwd=tmp_path)
        assert run.returncode == 0 and 'Traceback' not in run.stderr, run.stderr
        told.append(json.loads(run.stdout))
        hub.forget()
    assert told[0]['box'] == told[1]['box'] and told[0]['preset'] == 'sd15-inpainting'

@pytest.mark.parametrize('name', [*VITS, *CLIPS])
def test_every_vit_and_clip_is_fetched(name, hub, published):
    preset = get_preset('pocket', **{'vit' if name in VITS else 'clip': name})
    card = (VITS | CLIPS)[name]
    assert hub.asked() and not preset.bundled and card.repo.replace('/', '--') in f'{preset.vit} {preset.clip}'

@pytest.mark.slow
def test_a_public_preset_at_the_command_line(cache, tmp_path, capsys):
    picture(60, 60).save(tmp_path/'in.png')
    options = [v for k in ('num_anchors', 'num_proposals', 'learning_steps', 'num_inference_steps') for v in (f'--{k}', str(FEW[k]))]
    assert main(['edit', str(tmp_path/'in.png'), '--source', 'a cat', '--prompt', 'a rocket', '--preset', 'sd2-inpainting', '--out', str(tmp_path/'out'), '--json', *options,
                 '--vit', 'dinov2-vitb14', '--device', 'cpu', '--dtype', 'bfloat16', '--memory', 'attention_slicing', '--memory', 'vae_tiling', '--local_files_only']) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)['preset'] == 'sd2-inpainting' and 'the editor in bfloat16' in err
    for wrong in (['--memory', 'magic'], ['--device', 'toaster'], ['--dtype', 'int8'], ['--vit', 'no/where'], ['--clip', 'nowhere'], ['--revision', 'old']):
        assert main(['edit', str(tmp_path/'in.png'), '--source', 'a cat', '--prompt', 'a rocket', '--preset', 'sd2-inpainting', '--out', str(tmp_path/'no'), *wrong]) == 2
        out, err = capsys.readouterr()
        assert out == '' and err.splitlines()[-1].startswith('regionedit: expected') and 'Traceback' not in err
    assert main(['edit', '--demo', '--memory', 'vae_tiling', '--out', str(tmp_path/'no')]) == 2         # the pocket editor has no such switch

@pytest.mark.parametrize('name', EDITOR_CARDS)
def test_without_network_and_cache_one_sentence_and_soon(name, empty, tmp_path, capsys):
    picture(60, 60).save(tmp_path/'in.png')
    start = time.perf_counter()
    status = main(['edit', str(tmp_path/'in.png'), '--source', 'a cat', '--prompt', 'a rocket', '--preset', name, '--out', str(tmp_path/'out')])
    seconds, (out, err) = time.perf_counter() - start, capsys.readouterr()
    assert status == 2 and out == '' and err.count('\n') == 1 and seconds < 2
    for told in (VITS[VIT].command, CLIPS[CLIP].command, EDITOR_CARDS[name].command, f'expected model_index.json of {EDITOR_CARDS[name].repo}', 'does not answer', 'a folder of the same layout', 'preset "pocket"'):
        assert told in err

@pytest.mark.parametrize('load', ['vit', 'clip'])
def test_vit_and_clip_alone_say_so_too(load, empty):
    from regionedit.models.pretrained import load_vit
    from regionedit.models.pretrained import load_clip
    start = time.perf_counter()
    with pytest.raises(ModelNotAvailable, match='(?s)pocket.*a folder of the same layout.*hf download timm/'):
        load_vit('vit_base_patch16_224.dino') if load == 'vit' else load_clip('hf-hub:timm/vit_base_patch16_clip_224.openai')
    assert time.perf_counter() - start < 2

def test_a_part_that_is_missing_is_named(cache, filled):
    folder = filled/'models--amused--amused-512'/'snapshots'/EDITOR_CARDS['amused-512'].revision/'vqvae'
    folder.rename(folder.with_name('away'))
    try:
        with pytest.raises(ModelNotAvailable, match=r'expected vqvae/\*\.json of amused/amused-512') as error: get_preset('amused-512')
        assert 'timm/' not in str(error.value)      # only what is missing is to be fetched
    finally: folder.with_name('away').rename(folder)

# other models in their place

@pytest.mark.parametrize('vit, clip', [('dino-vitb8', 'laion-vitb16'), ('dinov2-vitb14', 'openai-vitb16'), ('dino-vits8', None)])
def test_another_vit_and_clip(vit, clip, cache):
    preset = get_preset('sd2-inpainting', vit=vit, clip=clip)
    assert VITS[vit].repo.replace('/', '--') in str(preset.vit) and CLIPS[clip or CLIP].repo.replace('/', '--') in str(preset.clip)
    assert not get_preset('pocket', vit=vit).bundled and get_preset('pocket').bundled

def test_revision_and_variant_are_the_editors(cache, filled, tmp_path, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(shutil.copytree(filled, tmp_path/'hub')))
    from dataclasses import replace
    card = replace(EDITOR_CARDS['amused-256'], revision='b' * 40)
    folder = tiny.put_in_cache(tmp_path/'hub', card, tiny.amused)
    preset = get_preset('amused-256', revision='b' * 40, variant=None)
    assert preset.editor_weights == folder and preset.editor_args == {} and preset.vit == get_preset('amused-256').vit
    with pytest.warns(Note, match='has no fp16 weights; its plain ones'):       # the card's variant
        assert get_preset('amused-256', revision='b' * 40).editor_args == {}

def test_any_model_on_the_hub(cache, filled):
    from regionedit.models.hub import Card
    folder = tiny.put_in_cache(filled, Card('someone/brush', 'editor'), tiny.stable_diffusion)
    preset = get_preset('someone/brush')
    assert preset.editor_weights == folder and preset.editor == 'pipeline' and not preset.bundled

# folders

def test_a_folder_with_three_models(no_network, tmp_path):
    tiny.vit(tmp_path/'vit'); tiny.clip(tmp_path/'clip'); tiny.amused(tmp_path/'maskgit', 'fp16')
    preset = get_preset(tmp_path)
    assert (preset.vit, preset.clip, preset.editor_weights, preset.editor) == (tmp_path/'vit', tmp_path/'clip', tmp_path/'maskgit', 'maskgit') and preset.editor_args == dict(variant='fp16')
    assert RegionEditor.from_pretrained(str(tmp_path))(picture(60, 40), 'a rocket', 'a cat', **FEW).image.size == (60, 40)
    with pytest.raises(ModelNotAvailable, match='no open_clip_config.json'): get_preset(tmp_path, clip=tmp_path/'vit')

def test_a_folder_of_diffusers(cache, tmp_path):
    tiny.stable_diffusion_xl(tmp_path)
    preset = get_preset(tmp_path)
    assert preset.editor_weights == tmp_path and preset.editor == 'pipeline' and 'dino' in str(preset.vit)

def test_an_empty_folder(tmp_path):
    with pytest.raises(ModelNotAvailable, match="expected a ViT in timm's layout in .*found no folder"): get_preset(tmp_path)

def test_a_home_in_a_preset(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    tiny.vit(tmp_path/'mine'/'vit'); tiny.clip(tmp_path/'mine'/'clip'); tiny.amused(tmp_path/'mine'/'maskgit')
    preset = get_preset('~/mine')
    assert (preset.vit, preset.editor_weights) == (tmp_path/'mine'/'vit', tmp_path/'mine'/'maskgit')
    (tmp_path/'own.py').write_text(OWN.format(kind='own'))
    assert get_preset('~/own.py').editor == 'own' and get_preset('~/mine/maskgit', preset.vit, preset.clip).editor == 'maskgit'

def test_unknown_names():
    for name in ('no-such-preset', 'a/b/c', '', 'pipeline'):       # a kind that needs weights is no preset
        with pytest.raises(ValueError, match='expected a preset out of pocket, .*ORG/NAME.*folder.*\\.py'): get_preset(name)

# bundled

def test_pocket_points_at_the_bundled_models(monkeypatch, tmp_path):
    from regionedit.models import bundled as weights
    monkeypatch.setattr(weights, '_MODELS', tmp_path)
    for name in weights.NAMES: (tmp_path/name).mkdir(); (tmp_path/name/'model.safetensors').touch()
    for name, (kind, model, args) in BUNDLED.items():
        p = look_up_preset(name)
        assert (p.vit, p.clip, p.editor_weights, p.editor, p.editor_args, p.bundled) == (tmp_path/'vit', tmp_path/'clip', tmp_path/model, kind, args, True)

@pytest.mark.parametrize('name, missing', [('pocket', 'vit'), ('pocket-maskgit', 'maskgit')])
def test_bundled_models_that_are_not_there(monkeypatch, tmp_path, name, missing):
    from regionedit.models import bundled as weights
    for n in weights.NAMES[:2] if missing == 'maskgit' else (): (tmp_path/n).mkdir(); (tmp_path/n/'model.safetensors').touch()
    monkeypatch.setattr(weights, '_MODELS', tmp_path)
    with pytest.raises(ModelNotAvailable, match=f'bundled {missing} model'): get_preset(name)

@pytest.mark.slow
@pytest.mark.parametrize('name', BUNDLED)
def test_bundled_presets_ask_no_network(name, no_network, scene, monkeypatch, capsys):
    monkeypatch.setattr('huggingface_hub.snapshot_download', lambda *args, **kwargs: pytest.fail('asked the hub'))
    try: preset = get_preset(name)
    except ModelNotAvailable as error: pytest.skip(str(error))
    result = RegionEditor.from_pretrained(preset)(scene.image, 'a rocket', 'a cat', **FEW)
    assert result.image.size == scene.image.size and capsys.readouterr().err == ''

# an editor of one's own

OWN = '''
from PIL import Image
from regionedit.method.edits import register_editor

@register_editor('{kind}')
class Own:
    name, size, config = '{kind}', 32, {{}}
    def fill(self, images, masks, prompt, seed=0, **kwargs): return [Image.composite(Image.new('RGB', im.size, 'orange'), im, m) for im, m in zip(images, masks)]
'''

@pytest.fixture(autouse=True)
def leave_no_editor():
    kept = dict(EDITORS)
    yield
    for kind in set(EDITORS) - set(kept): del EDITORS[kind]

@pytest.mark.slow
def test_an_editor_from_a_file(tmp_path, no_network):
    (tmp_path/'own.py').write_text(OWN.format(kind='own'))
    for _ in range(2):      # a second run of the file is the same editor anew
        preset = get_preset(tmp_path/'own.py')
        assert preset.editor == 'own' and preset.editor_weights is None and preset.bundled
    picture(60, 40).save(tmp_path/'in.png')
    assert main(['edit', str(tmp_path/'in.png'), '--source', 'a cat', '--prompt', 'a rocket', '--preset', str(tmp_path/'own.py'), '--out', str(tmp_path/'out'), '--num-anchors', '2']) == 0
    assert RegionEditor.from_pretrained('own')(picture(60, 40), 'a rocket', 'a cat', **FEW).preset == 'own'     # registered by now

@pytest.mark.parametrize('text, told', [('1 / 0', 'ZeroDivisionError'), ('x = 1', 'registered 0'), (OWN.format(kind='a') + OWN.format(kind='b'), 'registered 2')])
def test_a_file_that_brings_no_editor(tmp_path, text, told):
    (tmp_path/'own.py').write_text(text)
    with pytest.raises(ValueError, match=told): get_preset(tmp_path/'own.py')

def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match='FileNotFoundError'): get_preset(tmp_path/'own.py')

# device and number format

@pytest.mark.parametrize('cuda, mps, bundled, expected', [(True, False, False, ('cuda', torch.float16)), (True, True, False, ('cuda', torch.float16)), (False, True, False, ('mps', torch.float32)),
                                                         (False, False, False, ('cpu', torch.float32)), (True, True, True, ('cpu', torch.float32))])
def test_the_rule_for_devices(cuda, mps, bundled, expected, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    monkeypatch.setattr(torch, 'empty', lambda *args, **kwargs: None)
    monkeypatch.setattr('regionedit.models.presets.bf16_is_fast', lambda device: False)
    assert choose_device(bundled=bundled) == expected
    assert capsys.readouterr().err == ('' if bundled else f'regionedit: models on {expected[0]}, the editor in {str(expected[1])[6:]}\n')

@pytest.mark.parametrize('number, scheduler, expected', [('float32', 'DDIMScheduler', 'float16'), ('float16', 'DDIMScheduler', 'float16'), ('bfloat16', 'DDIMScheduler', 'bfloat16'),
                                                         ('float32', 'FlowMatchEulerDiscreteScheduler', 'bfloat16'), ('float16', 'FlowMatchEulerDiscreteScheduler', 'float16')])
def test_on_cuda_the_checkpoints_own_half(number, scheduler, expected, tmp_path, monkeypatch):
    from safetensors.torch import save_file
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    empty = torch.empty
    monkeypatch.setattr(torch, 'empty', lambda *args, device=None, **kwargs: empty(*args, **kwargs))
    for part, size, dtype in (('vae', 2, torch.float32), ('transformer', 99, getattr(torch, number))):
        (tmp_path/part).mkdir(); save_file(dict(a_norm=torch.zeros(2), w=torch.zeros(size, dtype=dtype), x=torch.zeros(size, dtype=dtype)), tmp_path/part/'x.safetensors')
    (tmp_path/'model_index.json').write_text(json.dumps(dict(scheduler=['diffusers', scheduler])))
    assert choose_device(weights=tmp_path) == ('cuda', getattr(torch, expected))
    assert choose_device('cpu', weights=tmp_path)[1] == torch.float32 and choose_device(dtype='float32', weights=tmp_path)[1] == torch.float32

def test_bundled_painters_work_in_bfloat16_where_it_is_fast(monkeypatch):
    asked = []
    monkeypatch.setattr('regionedit.models.presets.bf16_is_fast', lambda device: not asked.append(device))
    assert choose_device(bundled=True) == ('cpu', torch.bfloat16) and asked == ['cpu']
    assert choose_device(dtype='float32', bundled=True)[1] == torch.float32 == choose_device('cpu')[1]

def test_bfloat16_counts_as_fast_only_with_instructions_for_it(monkeypatch):
    from regionedit.models.presets import bf16_is_fast
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert not bf16_is_fast('cpu') and bf16_is_fast('cuda:1')

def test_what_is_asked_for_is_taken(monkeypatch):
    assert choose_device('cpu', 'bfloat16') == ('cpu', torch.bfloat16) and choose_device('cpu', torch.float16, bundled=True) == ('cpu', torch.float16)
    for wrong in (dict(dtype='int8'), dict(dtype='load'), dict(dtype=3), dict(device='toaster'), dict(device='cuda:77')):
        with pytest.raises(ValueError, match='expected (dtype|a device)'): choose_device(**wrong)

@pytest.mark.slow
def test_public_presets_look_at_previews(cache):
    "A tenth of the paper's way with Stable Diffusion; aMUSEd's 12 steps leave more to paint."
    for name, expected in {'sd15-inpainting': 5, 'sdxl-inpainting': 5, 'amused-256': 23}.items():
        models = RegionEditor.from_pretrained(name)
        config = models.config()
        assert (config.budget, config.preview_steps) == (expected, 4), name
        full = models.config(budget='full')
        assert full.budget is full.preview_steps is None
    assert RegionEditor.from_pretrained('pocket').config().as_dict() == Config().as_dict()

@pytest.mark.slow
def test_windows_and_parts_of_previews_from_the_command_line(cache, tmp_path, capsys):
    picture(60, 40).save(tmp_path/'a.png')
    run = ['edit', str(tmp_path/'a.png'), '--source', 'a cat', '--prompt', 'a rocket', '--preset', 'sd15-inpainting', '--out', str(tmp_path/'out'), '--json',
           '--num-anchors', '2', '--num-proposals', '3', '--learning-steps', '2', '--num-inference-steps', '8']
    assert main([*run, '--budget', '3', '--preview-steps', '2', '--windows-per-pass', '3', '--preview-scheduler', 'LCMScheduler']) == 0
    said = json.loads(capsys.readouterr().out)
    assert said['config']['budget'] == 3 and said['previews'] >= 1 and said['evaluations'] == 2 * (len(said['edits'])) + 18 * said['previews']
    assert main([*run, '--budget', 'full']) == 0
    said = json.loads(capsys.readouterr().out)
    assert said['config']['budget'] is None and said['previews'] == 0 and said['evaluations'] == 18 * len(said['edits'])
    assert main([*run, '--budget', 'much']) == 2
    assert 'expected --budget to be a whole number or full, got ' in capsys.readouterr().err
    assert main([*run, '--preview-scheduler', 'Nothing']) == 2
    assert 'expected preview_scheduler to be a scheduler' in capsys.readouterr().err

@pytest.mark.slow
def test_arguments_of_a_pipeline_from_the_command_line(cache, tmp_path, capsys):
    picture(60, 40).save(tmp_path/'a.png')
    run = ['edit', str(tmp_path/'a.png'), '--source', 'a cat', '--prompt', 'a rocket',
           '--out', str(tmp_path/'out'), '--json', '--num-anchors', '1', '--num-proposals', '2',
           '--learning-steps', '2', '--num-inference-steps', '4', '--budget', 'full']
    def painted(*more):
        assert main([*run, '--preset', 'sd15-inpainting', *more]) == 0
        capsys.readouterr()
        return (tmp_path/'out'/'edit.png').read_bytes()
    pixels = painted()
    for more in (('--noise-scheduler', 'LCMScheduler'), ('--negative-prompt', 'a dog'), ('--size', '32')):
        assert painted(*more) != pixels, more
    for name, value, told in (('noise-scheduler', 'Nothing', 'expected scheduler to be the name'),
                              ('size', '33', 'expected size to be a multiple of'),
                              ('lora', str(tmp_path/'none'), 'expected a LoRA in')):
        assert main([*run, '--preset', 'sd15-inpainting', f'--{name}', value]) == 2
        assert told in capsys.readouterr().err.splitlines()[-1]
    assert main([*run, '--preset', 'pocket', '--size', '64']) == 2
    assert 'size' in capsys.readouterr().err

# afterwards

def test_all_three_move(filled, cache, monkeypatch):
    moved = []
    monkeypatch.setattr('diffusers.DiffusionPipeline.to', lambda self, device: moved.append(device))
    monkeypatch.setattr('diffusers.DiffusionPipeline.enable_model_cpu_offload', lambda self, device: moved.append(f'offload {device}'))
    editor = RegionEditor.from_pretrained('sd15-inpainting')
    assert editor.to('meta') is editor and moved == ['cpu', 'meta']
    assert {p.device.type for part in (editor.vit, editor.clip.model) for p in part.parameters()} == {'meta'}
    editor.enable_model_cpu_offload('meta')
    assert moved[2:] == ['offload meta']
    for way in (editor.to, editor.enable_model_cpu_offload):
        with pytest.raises(ValueError, match='expected a device of this machine, got .toaster'): way('toaster')

def test_the_pocket_models_move_too_but_are_not_offloaded():
    editor = RegionEditor.from_pretrained('pocket').to('meta')
    assert {p.device.type for part in (editor.vit, editor.clip.model, editor.editor.unet, editor.editor.vae, editor.editor.text_encoder) for p in part.parameters()} == {'meta'}
    with pytest.raises(ValueError, match="expected an editor that is a pipeline of diffusers, this one is 'diffusion'"): editor.enable_model_cpu_offload('cpu')
