"Files are looked for by name, the cache before the hub; what is missing is told in one sentence and soon."
import shlex, socket, subprocess, sys, time
from pathlib import Path

import pytest

import tiny
from regionedit.models import hub
from regionedit.method.core import ModelNotAvailable
from regionedit.models.hub import LAYOUTS, Card, find_folder, find_model, find_models, hub_answers, hub_id, missing_files
from regionedit.editors.loading import quiet

WRITERS = dict(vit=tiny.vit, clip=tiny.clip, editor=tiny.amused)
SHA = 'a' * 40

@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'

@pytest.fixture
def online(monkeypatch):
    "As if the variable HF_HUB_OFFLINE were not set; sockets are closed all the same."
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    def refuse(*args, **kwargs): raise OSError('no network here')
    for name in ('create_connection', 'getaddrinfo'): monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, 'connect', refuse)

def weights(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.suffix in ('.safetensors', '.json') and 'tokenizer/' not in p.as_posix())

@pytest.mark.parametrize('kind', LAYOUTS)
def test_every_file_is_missed(tmp_path, kind):
    WRITERS[kind](tmp_path)
    assert missing_files(tmp_path, kind) == [] and find_folder(tmp_path, kind) == (tmp_path, None)
    for name in weights(tmp_path):
        (tmp_path/name).rename(tmp_path/'gone')
        assert missing_files(tmp_path, kind)[0] == name, name
        (tmp_path/'gone').rename(tmp_path/name)
    assert missing_files(tmp_path, kind) == []

def test_variants_and_pickles(tmp_path):
    tiny.amused(tmp_path, 'fp16')
    (tmp_path/'transformer'/'diffusion_pytorch_model.bin').touch()
    assert 'transformer/diffusion_pytorch_model.safetensors' in missing_files(tmp_path, 'editor')
    assert find_folder(tmp_path, 'editor') == (tmp_path, 'fp16')
    with pytest.raises(ModelNotAvailable, match='no transformer/diffusion_pytorch_model.safetensors'): find_folder(tmp_path, 'editor', None)
    with pytest.raises(ModelNotAvailable, match='no text_encoder/model.bf16.safetensors|bf16'): find_folder(tmp_path, 'editor', 'bf16')

def test_a_broken_index_is_told(tmp_path):
    (tmp_path/'model_index.json').write_text('{')
    with pytest.raises(ModelNotAvailable, match='could not read'): find_folder(tmp_path, 'editor')

@pytest.mark.parametrize('source, expected', [('org/name', 'org/name'), ('hf-hub:org/na.me-1', 'org/na.me-1'), ('./name', None), ('/org/name', None), ('../name', None), ('name', None),
                                              ('a/b/c', None), ('org/na me', None), (Path('org/name'), None)])
def test_hub_ids(source, expected): assert hub_id(source) == expected

def test_a_folder_wins_over_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.clip(tmp_path/'org'/'name')
    assert hub_id('org/name') is None and find_model('org/name', 'clip') == (Path('org/name'), None)

@pytest.mark.parametrize('revision', ['main', SHA])
def test_the_cache_needs_no_network(cache, online, revision):
    card = Card('org/name', 'vit', revision=revision)
    folder = tiny.put_in_cache(cache, card, tiny.vit)
    assert find_models([card]) == [folder] and find_model(card, 'vit') == (folder, None)

def test_what_is_missing_is_told_at_once(cache, online):
    cards = [Card('org/eyes', 'vit'), Card('org/brush', 'editor', revision=SHA, variant='fp16')]
    tiny.put_in_cache(cache, cards[1], lambda folder: tiny.amused(folder))       # complete, but of another variant
    start = time.perf_counter()
    with pytest.raises(ModelNotAvailable) as error: find_models(cards)
    told, *commands = str(error.value).split('\n  ')
    assert time.perf_counter() - start < 2 and '\n' not in told and len(told) < 300 + len(str(cache)) and told.startswith('expected model.safetensors of org/eyes in ') and 'does not answer' in told
    assert commands == [c.command for c in cards] and all(way in told for way in ('a folder of the same layout', 'preset "pocket"', 'fetch it where there is a network'))
    with pytest.raises(ModelNotAvailable, match='expected .*fp16.safetensors of org/brush'): find_models(cards[1:])

def test_told_why(cache, monkeypatch):
    card = Card('org/eyes', 'vit')
    with pytest.raises(ModelNotAvailable, match='local_files_only'): find_models([card], local_files_only=True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(ModelNotAvailable, match='HF_HUB_OFFLINE'): find_models([card])

def test_a_network_that_swallows_everything(monkeypatch):
    def wait(*args, **kwargs): time.sleep(2); raise OSError
    monkeypatch.setattr(socket, 'create_connection', wait)
    start = time.perf_counter()
    assert not hub_answers(.1) and time.perf_counter() - start < 1

def test_the_proxy_is_what_must_answer(monkeypatch):
    asked = []
    monkeypatch.setattr(hub, 'getproxies', lambda: dict(https='http://user:secret@proxy.example:3128'))
    monkeypatch.setattr(socket, 'create_connection', lambda address, timeout: asked.append(address) or socket.socket())
    assert hub_answers() and asked == [('proxy.example', 3128)]

def test_a_download(cache, online, monkeypatch):
    import huggingface_hub
    card, real, asked = Card('org/brush', 'editor', revision=SHA, variant='fp16'), huggingface_hub.snapshot_download, []
    def download(repo, revision, local_files_only=False, **patterns):
        if local_files_only: return real(repo, revision=revision, local_files_only=True)
        asked.append(patterns)
        tiny.put_in_cache(cache, card, lambda folder: tiny.amused(folder, 'fp16'))
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', download); monkeypatch.setattr(hub, 'hub_answers', lambda: True)
    assert find_model('org/brush', 'editor', SHA, 'fp16')[0] == find_models([card])[0]
    assert asked == [card.patterns] and not any('bin' in p or p == '*' for p in card.patterns['allow_patterns'])

def test_a_hub_without_the_files(cache, online, monkeypatch):
    monkeypatch.setattr(hub, 'hub_answers', lambda: True)
    with pytest.raises(ModelNotAvailable, match='expected org/eyes from https.*could not get it'): find_models([Card('org/eyes', 'vit')])

@pytest.mark.parametrize('card', [Card('org/x', kind, variant=v) for kind, v in (('vit', None), ('clip', None), ('editor', None), ('editor', 'fp16'))], ids=str)
def test_what_a_pattern_takes(card):
    from huggingface_hub.utils import filter_repo_objects
    files = ['README.md', 'big.ckpt', 'config.json', 'model.safetensors', 'pytorch_model.bin', 'open_clip_config.json', 'open_clip_model.safetensors', 'open_clip_pytorch_model.bin',
             'model_index.json', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors', 'unet/diffusion_pytorch_model.fp16.safetensors', 'unet/diffusion_pytorch_model.bin',
             'unet/diffusion_pytorch_model.non_ema.safetensors', 'safety_checker/model.fp16.safetensors', 'tokenizer/merges.txt']
    unet = {'model_index.json', 'unet/config.json', 'tokenizer/merges.txt'}
    expected = {('vit', None): {'config.json', 'model.safetensors'}, ('clip', None): {'open_clip_config.json', 'open_clip_model.safetensors', 'tokenizer/merges.txt'},
                ('editor', None): unet | {'unet/diffusion_pytorch_model.safetensors'}, ('editor', 'fp16'): unet | {'unet/diffusion_pytorch_model.fp16.safetensors'}}
    assert set(filter_repo_objects(files, **card.patterns)) == expected[card.kind, card.variant]

def test_the_command_is_one_that_hf_understands():
    pytest.importorskip('huggingface_hub', '1.0')
    words = shlex.split(Card('org/x', 'editor', variant='fp16').command)
    run = subprocess.run([Path(sys.executable).parent/words[0], *words[1:], '--dry-run'], capture_output=True, text=True)
    assert run.returncode != 2 and 'Usage' not in run.stderr and 'offline' in (run.stdout + run.stderr).lower()       # understood, then refused for want of a network

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
