"""The road to public models, against a hub on this machine that lists what nobody fetches: downloads, the cache
without a network, variants, and the sentences for whatever stands in the way."""
import json, os, shlex, subprocess, sys
from dataclasses import replace
from pathlib import Path

import pytest

import families
import tiny
from regionedit.method.core import ModelNotAvailable, Note
from regionedit.models.hub import (LAYOUTS, Card, find_folder, find_model, find_models, hub_id, missing_files,
                                   weights_variant)

WRITERS = dict(vit=tiny.vit, clip=tiny.clip, editor=tiny.amused)
SHA = 'a' * 40
CARDS = dict(vit=Card('org/eyes', 'vit', revision=SHA), clip=Card('org/judge', 'clip'),
             editor=Card('org/brush', 'editor', variant='fp16'))
PLAIN = Card('org/plain', 'editor')

@pytest.fixture(scope='module')
def published(served):
    "One model of each kind on the hub."
    for kind, card in CARDS.items():
        served.publish(card, (lambda f: tiny.amused(f, 'fp16')) if kind == 'editor' else WRITERS[kind])
    served.publish(PLAIN, tiny.stable_diffusion)

def strip(folder: Path, keep) -> None:
    "Remove the weights whose name `keep` does not want."
    for file in folder.rglob('*.safetensors'):
        if not keep(file.relative_to(folder).as_posix()): file.unlink()

# folders

def weights(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*')
                  if p.suffix in ('.safetensors', '.json') and 'tokenizer/' not in p.as_posix())

@pytest.mark.parametrize('kind', LAYOUTS)
def test_every_file_is_missed(tmp_path, kind):
    WRITERS[kind](tmp_path)
    assert missing_files(tmp_path, kind) == [] and find_folder(tmp_path, kind) == (tmp_path, None)
    for name in weights(tmp_path):
        (tmp_path/name).rename(tmp_path/'gone')
        missed, = missing_files(tmp_path, kind)
        assert (tmp_path/name).match(missed), name
        with pytest.raises(ModelNotAvailable, match='found no .* there'): find_folder(tmp_path, kind)
        (tmp_path/'gone').rename(tmp_path/name)
    assert missing_files(tmp_path, kind) == []

@pytest.mark.parametrize('index', ['{', '[1]', '3'])
def test_a_broken_index_is_told(tmp_path, index):
    (tmp_path/'model_index.json').write_text(index)
    with pytest.raises(ModelNotAvailable, match='could not read'): find_folder(tmp_path, 'editor')

def test_a_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    tiny.vit(tmp_path/'eyes')
    assert find_folder('~/eyes', 'vit') == (tmp_path/'eyes', None)

@pytest.mark.parametrize('source, expected', [
    ('org/name', 'org/name'), ('hf-hub:org/na.me-1', 'org/na.me-1'), ('./name', None), ('/org/name', None),
    ('../name', None), ('name', None), ('a/b/c', None), ('org/na me', None), ('~/name', None), (Path('org/name'), None)])
def test_hub_ids(source, expected): assert hub_id(source) == expected

def test_a_folder_wins_over_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.clip(tmp_path/'org'/'name')
    assert hub_id('org/name') is None and find_model('org/name', 'clip') == (Path('org/name'), None)

# variants

@pytest.mark.parametrize('files, wanted, expected', [
    (['unet/a.safetensors'], None, None), (['unet/a.safetensors'], 'fp16', None),
    (['unet/a.fp16.safetensors'], None, 'fp16'), (['unet/a.fp16.safetensors', 'vae/b.safetensors'], None, 'fp16'),
    (['unet/a.fp16.safetensors', 'unet/a.safetensors', 'vae/b.safetensors'], None, None),
    (['unet/a.fp16.safetensors', 'unet/a.safetensors', 'vae/b.safetensors'], 'fp16', 'fp16'),
    (['unet/a.bf16.safetensors', 'vae/b.bf16.safetensors'], 'fp16', 'bf16'),
    (['unet/a.fp16-00001-of-00002.safetensors', 'unet/a.fp16-00002-of-00002.safetensors'], None, 'fp16'),
    (['unet/a-00001-of-00002.safetensors', 'safety_checker/m.fp16.safetensors'], 'fp16', None)])
def test_the_variant_that_can_be_loaded(tmp_path, files, wanted, expected):
    for name in files: (tmp_path/name).parent.mkdir(exist_ok=True); (tmp_path/name).touch()
    assert weights_variant(tmp_path, wanted) == expected

def test_weights_that_the_index_does_not_name_are_no_matter(tmp_path, recwarn):
    "Stable Diffusion XL's repository has an older autoencoder in a folder of its own."
    for name in ('unet/a.fp16.safetensors', 'vae_1_0/b.safetensors'):
        (tmp_path/name).parent.mkdir(); (tmp_path/name).touch()
    (tmp_path/'model_index.json').write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    assert weights_variant(tmp_path, 'fp16', 'org/name') == 'fp16' and not recwarn.list

@pytest.mark.parametrize('keep, wanted, told, loads', [
    (lambda name: 'fp16' in name, None, 'has no plain weights; its fp16', 'fp16'),
    (lambda name: 'fp16' not in name, 'fp16', 'has no fp16 weights; its plain', None),
    (lambda name: ('fp16' in name) != name.startswith('vqvae'), 'fp16', 'some parts only; vqvae in full', 'fp16')])
def test_one_variant_and_mixtures_load_and_are_told(hub, keep, wanted, told, loads):
    from regionedit.models.pretrained import load_editor
    card = Card('org/mixed', 'editor', variant=wanted)
    def write(folder): tiny.amused(folder, 'fp16'); tiny.amused(folder); strip(folder, keep)
    hub.publish(card, write)
    with pytest.warns(Note, match=told): (folder, variant), = find_models([card])
    assert variant == loads
    with pytest.warns(Note, match=told): assert find_models([card], local_files_only=True) == [(folder, variant)]
    assert load_editor('maskgit', folder, variant=variant).size == 32

def test_pickles_alone_are_no_weights(hub, recwarn):
    card = Card('org/pickled', 'editor')
    def write(folder):
        tiny.amused(folder)
        for file in folder.rglob('*.safetensors'): file.rename(file.with_suffix('.bin'))
    hub.publish(card, write)
    with pytest.raises(ModelNotAvailable, match='no weights as safetensors'): find_models([card])

# the hub and the cache

@pytest.mark.parametrize('kind', LAYOUTS)
def test_a_download_takes_what_is_needed_and_works_again_without_a_network(hub, published, kind, offline):
    card = CARDS[kind]
    folder, variant = find_model(card, kind)
    assert missing_files(folder, kind) == [] and variant == card.variant
    repo = hub.repos[card.repo]
    extra = {name for name, data in repo.files.items() if data.startswith((b'nobody', b'nor this'))}
    assert len(extra) > 8 and not extra & set(repo.asked) and set(repo.asked) == set(repo.files) - extra
    assert list(folder.parent.parent.glob('trees/*.json')), 'the client keeps a list of all files, fetched or not'
    hub.forget(); offline()
    assert find_model(card, kind) == find_models([card], local_files_only=True)[0] == (folder, variant)
    assert hub.asked() == []

def test_only_what_is_missing_is_fetched(hub, published):
    card = CARDS['editor']
    (folder, _), = find_models([card])
    gone = folder/'vqvae'/'diffusion_pytorch_model.fp16.safetensors'
    gone.resolve().unlink(); gone.unlink(); hub.forget()
    with pytest.raises(ModelNotAvailable, match='expected vqvae/diffusion_pytorch_model.fp16.safetensors of org/brush'):
        find_models([card], local_files_only=True)
    assert find_models([card])[0][0] == folder and hub.asked() == ['vqvae/diffusion_pytorch_model.fp16.safetensors']

@pytest.mark.parametrize('kind', LAYOUTS)
def test_a_cache_that_another_program_filled(hub, tmp_path, offline, kind):
    "Without the client's list of files, as older clients left it."
    offline()
    folder = tiny.put_in_cache(tmp_path/'cache', Card('org/name', kind), WRITERS[kind])
    assert find_model('org/name', kind) == (folder, None)

def test_without_a_network_one_sentence_with_every_command(hub, tmp_path, offline):
    offline()
    with pytest.raises(ModelNotAvailable) as error: find_models(list(CARDS.values()))
    told, *commands = str(error.value).split('\n  ')
    assert told.startswith(f'expected model_index.json of org/brush in {tmp_path}/cache, found none, and http://127')
    assert 'does not answer (' in told and len(told) < 320 + len(str(tmp_path))
    assert commands == [c.command for c in CARDS.values()]
    for way in ('a folder of the same layout', 'preset "pocket"', 'where there is a network'): assert way in told

def test_told_why(hub, published, monkeypatch):
    card = CARDS['vit']
    with pytest.raises(ModelNotAvailable, match='config.json of org/eyes.*local_files_only'):
        find_models([card], local_files_only=True)
    hub.down = True
    with pytest.raises(ModelNotAvailable, match='could not get it.*418'): find_models([card])
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(ModelNotAvailable, match='HF_HUB_OFFLINE'): find_models([card])

def test_names_and_revisions_that_do_not_exist(hub, published):
    with pytest.raises(ModelNotAvailable, match='knows no such model .*hf auth login'):
        find_models([Card('nobody/nothing', 'editor')])
    with pytest.raises(ModelNotAvailable, match=f'has no revision {"b" * 40}'):
        find_models([replace(CARDS['editor'], revision='b' * 40)])
    with pytest.raises(ModelNotAvailable, match='expected config.json of org/judge'):
        find_models([Card('org/judge', 'vit')])         # a CLIP is no ViT

@pytest.mark.parametrize('kind', LAYOUTS)
def test_a_licence_that_waits_is_told_with_its_page(hub, kind):
    card = Card('org/gated', kind)
    repo = hub.publish(card, WRITERS[kind], gated=True)
    with pytest.raises(ModelNotAvailable) as error: find_models([card])
    assert f'agree on {os.environ["HF_ENDPOINT"]}/org/gated' in str(error.value) and 'hf auth login' in str(error.value)
    assert repo.asked == []

@pytest.mark.parametrize('name, told', [('StableDiffusionUpscalePipeline', 'cannot paint into a mask'),
                                        ('BrushOfTomorrowPipeline', 'diffusers .* does not know'), (None, 'does not know')])
def test_a_model_that_cannot_paint_is_refused_before_its_weights(hub, published, name, told):
    card = Card('org/upscaler', 'editor')
    def write(folder):
        tiny.stable_diffusion(folder)
        index = json.loads((folder/'model_index.json').read_text())
        (folder/'model_index.json').write_text(json.dumps(dict(index, _class_name=name)))
    repo = hub.publish(card, write)
    for _ in range(2):      # from the hub, then from the cache
        with pytest.raises(ValueError, match=f'org/upscaler is a {name}, .*{told}'): find_models([CARDS['vit'], card])
    assert repo.asked == ['model_index.json'] and hub.repos['org/eyes'].asked == []

@pytest.mark.parametrize('way', ['a mirror with a path', 'a proxy', 'a proxy without a scheme', 'ALL_PROXY'])
def test_the_client_finds_its_own_way(hub, published, tmp_path, way):
    port = os.environ['HF_ENDPOINT'].removeprefix('http://')
    proxies = {'a proxy': dict(HTTP_PROXY=f'http://{port}'), 'a proxy without a scheme': dict(HTTP_PROXY=port),
               'ALL_PROXY': dict(ALL_PROXY=f'http://{port}')}
    env = {k: v for k, v in os.environ.items() if not k.upper().endswith('_PROXY')}
    env |= dict(HF_HUB_OFFLINE='0', HF_HUB_CACHE=str(tmp_path/'cache'), HF_ENDPOINT='http://hub.invalid') | proxies.get(way, {})
    if way not in proxies: env['HF_ENDPOINT'] = f'http://{port}/mirror'
    code = f'from regionedit.models.hub import *; print(find_models([{CARDS["vit"]!r}])[0][0])'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(tmp_path/'cache') and sorted(hub.asked()) == ['config.json', 'model.safetensors']

# what a reader types

@pytest.mark.parametrize('card', [*CARDS.values(), PLAIN], ids=str)
def test_the_command_fills_the_cache(hub, published, card, tmp_path):
    words, cache = shlex.split(card.command), tmp_path/'cache'
    env = dict(os.environ, HF_HUB_OFFLINE='0', HF_HUB_CACHE=str(cache))
    run = subprocess.run([Path(sys.executable).parent/words[0], *words[1:]], capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    hub.forget()
    (folder, variant), = find_models([card], local_files_only=True)
    assert cache in folder.parents and variant == card.variant
    assert not any('ckpt' in path or path.startswith(('safety', 'onnx')) for path in hub.asked())

# the families of today

@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in families.FAMILIES if name not in ('sd15', 'sd2', 'sdxl', 'amused')])
def test_every_family_comes_by_its_id_and_works_again_without_a_network(hub, name, offline):
    from regionedit.editors.loading import kind_of, read_index
    from regionedit.models.pretrained import load_editor
    card = Card(f'org/{name}', 'editor')
    repo = hub.publish(card, families.FAMILIES[name])
    (folder, variant), = find_models([card])
    extra = {path for path, data in repo.files.items() if data.startswith((b'nobody', b'nor this'))}
    assert 'model_index.json' in repo.asked and not set(repo.asked) & extra - {'README.md'} and missing_files(folder, 'editor') == []
    hub.forget(); offline()
    assert find_models([card]) == [(folder, variant)] and hub.asked() == []
    assert load_editor(kind_of(read_index(folder/'model_index.json')), folder).size >= 64

def test_a_model_whose_other_half_lies_elsewhere(hub, offline):
    "Kandinsky: the page of the decoder says where its prior is."
    from regionedit.models.pretrained import load_editor
    card = Card('org/decoder', 'editor')
    hub.publish(card, families.kandinsky_decoder)
    hub.publish(Card('org/prior', 'editor'), families.kandinsky_prior)
    (folder, _), = find_models([card])
    assert 'prior/config.json' in hub.repos['org/prior'].asked and 'unet/config.json' in hub.repos['org/decoder'].asked
    hub.forget(); offline()
    assert find_models([card])[0][0] == folder
    editor = load_editor('pipeline', folder)
    assert editor.config['pipeline'] == 'KandinskyV22InpaintCombinedPipeline' and editor.pipe.prior_prior is not None and hub.asked() == []

def test_weights_in_many_files(hub, offline):
    from regionedit.models.pretrained import load_editor
    card = Card('org/large', 'editor')
    def write(folder):
        pipe = families.flux(folder)
        for file in (folder/'transformer').glob('*'): file.unlink()
        pipe.transformer.save_pretrained(folder/'transformer', max_shard_size='50KB')
        assert len([*(folder/'transformer').glob('*.safetensors')]) > 1
    hub.publish(card, write)
    (folder, _), = find_models([card])
    hub.forget(); offline()
    assert find_models([card])[0][0] == folder and load_editor('pipeline', folder).size == 256
    lost = sorted((folder/'transformer').glob('*.safetensors'))[1]
    lost.unlink()
    with pytest.raises(ModelNotAvailable, match=f'expected .*{lost.name}'): find_folder(folder, 'editor')

@pytest.mark.parametrize('status', [401, 403])
def test_a_gated_model_answers_in_one_of_two_ways(hub, status, monkeypatch):
    "With a login that has no consent, and without one."
    import loopback
    refuse = loopback.Handler.refuse
    monkeypatch.setattr(loopback.Handler, 'refuse', lambda self, code, *args, **more: refuse(self, status if args[0] == 'GatedRepo' else code, *args, **more))
    hub.publish(Card('org/gated', 'editor'), tiny.amused, gated=True)
    with pytest.raises(ModelNotAvailable, match='its licence waits for your consent.*org/gated.*hf auth login'): find_models([Card('org/gated', 'editor')])
