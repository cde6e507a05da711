"CLIP: pictures go in whole, features are the library's, nothing but safetensors is read."
import json, shutil, socket, warnings, time

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from regionedit.method.clip import Clip, to_input, tokenize
from regionedit.models.pretrained import load_clip
from regionedit.method.core import ModelNotAvailable
from regionedit.models.bundled import weights_folder

@pytest.fixture(scope='module')
def clip() -> Clip: return load_clip(weights_folder('clip'))

@pytest.fixture(scope='module')
def pictures() -> list:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
            for h, w in ((40, 90), (128, 128), (70, 50), (9, 200), (64, 64))]

@pytest.fixture
def folder(tmp_path):
    "A copy of the bundled CLIP that a test may damage."
    return shutil.copytree(weights_folder('clip'), tmp_path/'clip')

# pictures

def test_input_agrees_with_torchvision(pictures):
    functional = pytest.importorskip('torchvision.transforms.functional')
    # not square, so that height and width cannot be exchanged
    mean, std, size = (.48, .46, .41), (.27, .26, .28), (32, 48)
    for im in pictures:
        resized = functional.resize(im, size, functional.InterpolationMode.BICUBIC)
        expected = functional.normalize(functional.to_tensor(resized), mean, std)
        assert torch.allclose(to_input([im], size, mean, std)[0], expected, atol=1e-6)

def test_nothing_of_a_wide_picture_is_cut_off():
    wide = Image.new('RGB', (300, 100), 'black')
    wide.paste((255, 0, 0), (0, 0, 30, 100))            # the left tenth
    wide.paste((0, 0, 255), (270, 0, 300, 100))         # the right tenth
    pixels = to_input([wide], (64, 64), (0., 0., 0.), (1., 1., 1.))[0]
    assert (pixels[0, :, :4] > .9).all() and (pixels[2, :, -4:] > .9).all()
    assert (pixels[1] < .1).all()
    assert (pixels[:, :, 16:48] < .1).all()

def test_features_are_the_librarys(clip, pictures):
    from open_clip.transform import PreprocessCfg, image_transform_v2
    config = PreprocessCfg(**{**clip.model.visual.preprocess_cfg, 'resize_mode': 'squash'})
    pixels = torch.stack([image_transform_v2(config, is_train=False)(im) for im in pictures])
    found = clip.encode_images(pictures)
    with torch.no_grad():
        assert torch.allclose(found.pooled, clip.model.encode_image(pixels, normalize=True),
                              atol=1e-4)
    grids = []
    hook = clip.model.visual.layer3.register_forward_hook(
        lambda module, inputs, output: grids.append(output))
    with torch.no_grad(): clip.model.visual(pixels)
    hook.remove()
    # row by row
    tokens = torch.stack([grids[0][:, :, y, x] for y in range(8) for x in range(8)], 1)
    assert found.tokens.shape == tokens.shape == (5, 64, 512)
    assert torch.allclose(found.tokens, tokens, atol=1e-3)
    assert torch.allclose(found.pooled.norm(dim=1), torch.ones(5), atol=1e-5)

@pytest.mark.parametrize('config', [dict(), dict(quick_gelu=False)], ids=['openai', 'laion'])
def test_a_public_layout_gives_the_models_own_features(tmp_path, pictures, config):
    saved = tiny.clip(tmp_path, **config)
    loaded = load_clip(tmp_path)
    assert loaded.size == (32, 32) and loaded.context_length == 77
    assert loaded.mean == pytest.approx(tiny.MEAN)
    found, pixels = loaded.encode_images(pictures), to_input(pictures, (32, 32), tiny.MEAN,
                                                             tiny.STD)
    texts = ['a cat', 'a photograph of two wooden chairs']
    with torch.no_grad():
        assert torch.allclose(found.pooled, saved.encode_image(pixels, normalize=True), atol=1e-6)
        assert torch.allclose(loaded.encode_texts(texts),
                              saved.encode_text(loaded.tokenizer(texts), normalize=True), atol=1e-6)
    assert found.tokens.shape == (5, 4, 64)

def test_batches_do_not_matter(clip, pictures):
    small = Clip(clip.model, clip.tokenizer, batch_size=2)
    a, b = clip.encode_images(pictures), small.encode_images(pictures)
    assert torch.allclose(a.pooled, b.pooled, atol=1e-5)
    assert torch.allclose(a.tokens, b.tokens, atol=1e-4)
    texts = ['a cat', 'a red apple on a wooden table', 'a key']
    assert torch.allclose(clip.encode_texts(texts), small.encode_texts(texts), atol=1e-5)
    assert len(a) == 5 and torch.equal(a[1:3].tokens, a.tokens[1:3])
    assert torch.equal(a[4].pooled, a.pooled[4])

def test_modes_of_pictures(clip, pictures):
    opaque = pictures[0].convert('RGBA')
    assert torch.equal(clip.encode_images([opaque]).pooled,
                       clip.encode_images([pictures[0]]).pooled)
    grey = pictures[0].convert('L')
    assert torch.equal(clip.encode_images([grey]).pooled,
                       clip.encode_images([grey.convert('RGB')]).pooled)

def test_features_can_be_used_in_a_loss(clip, pictures):
    features, weight = clip.encode_images(pictures[:2]), torch.ones(2, 1, requires_grad=True)
    assert not features.pooled.requires_grad
    (weight * features.pooled).sum().backward()         # refused for tensors made in inference mode
    assert torch.allclose(weight.grad[:, 0], features.pooled.sum(1))

# texts

def test_a_text_that_just_fits_is_not_reported(clip):
    from open_clip import SimpleTokenizer
    for tokenizer, length in ((clip.tokenizer, 64), (SimpleTokenizer(), 77)):
        assert tokenizer.context_length == length
        fits, long = 'a ' * (length - 2), 'a ' * (length - 1)      # start and end take two places
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            whole = tokenize(tokenizer, [fits, 'a cat', ''])
        with pytest.warns(UserWarning, match=f'first {length} were used') as caught:
            cut = tokenize(tokenizer, ['a cat', long])
        assert len(caught) == 1 and torch.equal(cut[1], whole[0]) and torch.equal(cut[0], whole[1])

@pytest.mark.parametrize('text',
                         ['a cat ' * 20_000, 'a cat' + ' ' * 100_000 + 'and' + ' a dog' * 90,
                          '猫' * 50_000,
                          'a cat ' + ''.join(chr(97 + i * i % 26 * (i % 7 + 1) % 26)
                                             for i in range(50_000))],
                         ids=['words', 'gap', 'no spaces', 'endless word'])
def test_of_a_very_long_text_only_the_beginning_is_tokenised(clip, text):
    from open_clip import SimpleTokenizer
    for tokenizer in (clip.tokenizer, SimpleTokenizer()):
        length, start = tokenizer.context_length, time.time()
        with pytest.warns(UserWarning, match=f'reads {length} tokens') as caught:
            cut = tokenize(tokenizer, [text])
        # open_clip's own needs minutes for an endless word
        assert len(caught) == 1 and time.time() - start < 10
        whole = tokenizer([text[:3000] if ' ' * 9 not in text else ' '.join(text.split())],
                          context_length=length)
        assert torch.equal(cut, whole)

def test_texts_are_the_librarys(clip):
    texts = ['a cat', 'A Zeppelin  over naïve 猫']
    with torch.no_grad(): expected = clip.model.encode_text(clip.tokenizer(texts), normalize=True)
    assert torch.allclose(clip.encode_texts(texts), expected, atol=1e-6)

@pytest.mark.parametrize('values', ['a cat', [], None, [Image.new('RGB', (2, 2))], ['a cat', None]])
def test_texts_must_be_a_list_of_texts(clip, values):
    with pytest.raises(ValueError, match='expected a list of at least one text'):
        clip.encode_texts(values)

@pytest.mark.parametrize('values', [Image.new('RGB', (2, 2)), [], 'a.png', ['a.png']])
def test_images_must_be_a_list_of_pictures(clip, values):
    with pytest.raises(ValueError, match='expected a list of at least one picture'):
        clip.encode_images(values)

# loading

def test_loads_without_network_and_without_pickle(folder, monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('not allowed')
    for name in ('connect', 'connect_ex'): monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setattr(torch, 'load', refuse)
    (folder/'open_clip_pytorch_model.bin').write_bytes(b'not a pickle')
    loaded = load_clip(folder)
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    assert next(loaded.model.parameters()).dtype == torch.float32 and loaded.size == (128, 128)
    assert loaded.name == 'clip'

def test_the_files_weights_are_in_the_model(folder, clip):
    from safetensors.torch import load_file, save_file
    path = folder/'open_clip_model.safetensors'
    weights = load_file(path)
    assert torch.equal(clip.model.text_projection, weights['text_projection'].float())
    # stored in 8 bits
    assert torch.equal(clip.model.visual.attnpool.q_proj.weight,
                       weights['visual.attnpool.q_proj.weight'].float())
    weights['text_projection'] = weights['text_projection'] * 0 + 1
    save_file(weights, path)
    assert (load_clip(folder).model.text_projection == 1).all()

@pytest.mark.parametrize('gone, told',
                         [('open_clip_config.json', 'open_clip_config.json'),
                          ('open_clip_model.safetensors', r'open_clip\*.safetensors'),
                                        ('tokenizer.json', 'tokenizer.json')])
def test_a_missing_file_is_named(folder, gone, told):
    (folder/'open_clip_pytorch_model.bin').write_bytes(b'would be unpickled')
    (folder/gone).unlink()
    for other in ('vocab.json', 'merges.txt'): (folder/other).unlink(missing_ok=True)
    with pytest.raises(ModelNotAvailable, match=f'(?s)found no {told} there.*bundled.*a folder of '
                                                'the same layout.*hf download'):
        load_clip(folder)

@pytest.mark.parametrize('name, content',
                         [('open_clip_config.json', b'{"model_cfg": 3}'),
                          ('open_clip_config.json', b'{'),
                                           ('open_clip_model.safetensors', b'cut off'),
                          ('tokenizer.json', b'{}')])
def test_a_damaged_file_is_reported(folder, name, content):
    (folder/name).write_bytes(content)
    with pytest.raises(ModelNotAvailable, match='could not read it'): load_clip(folder)

def test_weights_of_another_model_are_reported(folder):
    config = json.loads((folder/'open_clip_config.json').read_text())
    config['model_cfg']['vision_cfg']['layers'] = 4
    (folder/'open_clip_config.json').write_text(json.dumps(config))
    with pytest.raises(ModelNotAvailable, match='could not read it'): load_clip(folder)

def test_no_such_folder(tmp_path):
    with pytest.raises(ModelNotAvailable, match='found no folder there'):
        load_clip(tmp_path/'nowhere')
