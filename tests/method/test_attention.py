"Attention maps against timm's own slow path, on pictures that are not square."
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.ndimage import uniform_filter
from timm.models.vision_transformer import VisionTransformer

import tiny
from regionedit.method.attention import Attention, attend, grid_size, local_contrast, vit_input
from regionedit.models.pretrained import load_vit
from regionedit.method.core import ModelNotAvailable

ARGS = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0)


def picture(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3),
                                                                dtype=np.uint8))


@pytest.fixture(scope='module')
def vit():
    "A tiny ViT with attention far from uniform, registers, and query/key norms."
    torch.manual_seed(0)
    vit = VisionTransformer(**ARGS, dynamic_img_size=True, reg_tokens=2, qk_norm=True).eval()
    with torch.no_grad():
        for block in vit.blocks: block.attn.qkv.weight.mul_(20)
    return vit


def save_vit(folder, **config):
    torch.manual_seed(1)
    vit = VisionTransformer(**ARGS)
    save_file({k: v.half() for k, v in vit.state_dict().items()}, folder/'model.safetensors')
    cfg = dict(mean=[.1, .2, .3], std=[.5, .25, 1.], input_size=[3, 32, 32], num_classes=0)
    (folder/'config.json').write_text(
        json.dumps(dict(architecture='vit_tiny_patch16_224', num_classes=0, model_args=ARGS,
                        pretrained_cfg=cfg) | config))
    return vit


@pytest.mark.parametrize('size', [(40, 40), (60, 40), (40, 70)])
def test_maps_equal_the_slow_path(vit, size):
    image, weights, attn = picture(*size), [], vit.blocks[-1].attn
    seen = attend(vit, image)
    fused, attn.fused_attn = attn.fused_attn, False
    hook = attn.attn_drop.register_forward_hook(lambda module, args, out: weights.append(out))
    with torch.no_grad(): vit(vit_input(vit, image))
    hook.remove()
    attn.fused_attn = fused
    rows = weights[0][0, :, 0, 3:]      # [CLS] and two registers come first
    assert torch.allclose((rows / rows.sum(1, keepdim=True)).view_as(seen.maps), seen.maps,
                          atol=1e-6)
    assert seen.maps.std() > .001       # not uniform: the comparison says something


def test_features_are_the_normed_patch_tokens(vit):
    image = picture(60, 40)
    seen = attend(vit, image)
    [reference] = vit.forward_intermediates(vit_input(vit, image), indices=1, norm=True,
                                            intermediates_only=True)
    assert seen.features.shape == (24, 4, 6)
    assert torch.allclose(seen.features, reference[0], atol=1e-5)


def test_heads_sum_to_one_and_nothing_stays_behind(vit):
    hooks = len(vit.blocks[-1].attn._forward_pre_hooks)
    seen = attend(vit, picture(60, 40))
    assert seen.maps.shape == (3, 4, 6) and seen.size == (60, 40) and seen.cell == (10, 10)
    assert torch.allclose(seen.maps.sum((1, 2)), torch.ones(3))
    assert torch.allclose(seen.mean.sum(), torch.tensor(1.))
    assert not seen.maps.requires_grad and not seen.maps.is_inference()
    assert len(vit.blocks[-1].attn._forward_pre_hooks) == hooks


def test_a_bright_patch_lands_in_its_row_and_column(vit):
    "One odd patch changes the features most where it lies: row 1, column 4 of 4 x 6."
    plain, marked = Image.new('RGB', (48, 32), 'grey'), Image.new('RGB', (48, 32), 'grey')
    marked.paste((255, 0, 0), (32, 8, 40, 16))
    change = (attend(vit, marked).features - attend(vit, plain).features).norm(dim=0)
    assert divmod(change.argmax().item(), 6) == (1, 4)


@pytest.mark.parametrize('size, grid',
                         [((32, 32), (4, 4)), ((640, 320), (4, 8)), ((320, 480), (6, 4)),
                          ((9, 900), (8, 4)), ((1, 1), (4, 4))])
def test_grid(vit, size, grid):
    assert grid_size(vit, size) == grid
    assert vit_input(vit, Image.new('RGB', size)).shape == (1, 3, grid[0] * 8, grid[1] * 8)


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', '1'])
def test_any_mode(vit, mode):
    image = picture(50, 40).convert(mode)
    assert torch.equal(attend(vit, image).maps, attend(vit, image.convert('RGB')).maps)


@pytest.mark.parametrize('kind', [str, Path])
def test_load_folder(tmp_path, kind):
    saved = save_vit(tmp_path)
    vit = load_vit(kind(tmp_path))
    assert not vit.training
    assert all(torch.equal(v.half(), vit.state_dict()[k].half())
               for k, v in saved.state_dict().items())
    pixels = vit_input(vit, Image.new('RGB', (64, 32), (255, 0, 51)))
    # (1-.1)/.5, (0-.2)/.25, (.2-.3)/1
    assert torch.allclose(pixels[0, :, 3, 5], torch.tensor([1.8, -.8, -.1]))
    assert attend(vit, picture(64, 32)).maps.shape == (3, 4, 8)


@pytest.mark.parametrize('missing', ['config.json', 'model.safetensors'])
def test_missing_file_is_named(tmp_path, missing):
    save_vit(tmp_path)
    (tmp_path/missing).unlink()
    with pytest.raises(ModelNotAvailable, match=f'no {missing}') as error: load_vit(tmp_path)
    assert str(tmp_path) in str(error.value) and 'hf download' in str(error.value)
    assert 'pocket' in str(error.value)


def test_pickled_weights_are_not_a_way_round(tmp_path):
    vit = save_vit(tmp_path)
    (tmp_path/'model.safetensors').unlink()
    torch.save(vit.state_dict(), tmp_path/'pytorch_model.bin')
    with pytest.raises(ModelNotAvailable): load_vit(tmp_path)


def test_broken_file(tmp_path):
    save_vit(tmp_path)
    (tmp_path/'model.safetensors').write_text('version https://git-lfs.github.com/spec/v1')
    with pytest.raises(ModelNotAvailable, match='could not load'): load_vit(tmp_path)


def test_wrong_names_and_kinds(tmp_path, monkeypatch):
    with pytest.raises(ModelNotAvailable, match='nowhere/at/all'): load_vit('nowhere/at/all')
    with pytest.raises(ValueError, match='list_models'): load_vit('vit_of_my_dreams')
    save_vit(tmp_path, architecture='resnet18', model_args={})
    with pytest.raises(ValueError, match='VisionTransformer'): load_vit(tmp_path)
    save_vit(tmp_path, model_args=ARGS | dict(class_token=False, global_pool='avg'))
    monkeypatch.setattr(timm.models._builder, 'load_pretrained', lambda *args, **kwargs: None)
    with pytest.raises(ValueError, match='CLS'): load_vit(tmp_path)


def by_hand(weights: dict, pixels: torch.Tensor, heads: int) -> tuple:
    """The [CLS] query's attention over the patches, head by head, and the normed patch tokens:
    textbook formulas on a state dict."""
    w = weights
    x = F.conv2d(pixels, w['patch_embed.proj.weight'], w['patch_embed.proj.bias'],
                 stride=w['patch_embed.proj.weight'].shape[-1]).flatten(2).mT
    x = torch.cat([w['cls_token'], x], 1) + w['pos_embed']
    n, d = x.shape[1:]
    norm = lambda x, name: F.layer_norm(x, (d,), w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)
    linear = lambda x, name: x @ w[f'{name}.weight'].T + w[f'{name}.bias']
    for i in range(2):
        b, scale = f'blocks.{i}', lambda name: w.get(f'{b}.{name}.gamma', 1.)
        q, k, v = linear(norm(x, f'{b}.norm1'),
                         f'{b}.attn.qkv').view(1, n, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT / (d // heads)**.5).softmax(-1)
        x = x + scale('ls1') * linear((attention @ v).transpose(1, 2).reshape(1, n, d),
                                      f'{b}.attn.proj')
        x = x + scale('ls2') * linear(F.gelu(linear(norm(x, f'{b}.norm2'), f'{b}.mlp.fc1')),
                                      f'{b}.mlp.fc2')
    rows = attention[0, :, 0, 1:]
    return rows / rows.sum(1, keepdim=True), norm(x, 'norm')[0, 1:].T


@pytest.mark.parametrize('write, patch', [(tiny.vit, 16), (tiny.dinov2, 14)])
def test_attention_of_public_layouts_by_hand(tmp_path, write, patch):
    write(tmp_path)
    vit, image = load_vit(tmp_path), picture(90, 90)
    assert vit.patch_embed.patch_size == (patch, patch) and grid_size(vit, image.size) == (4, 4)
    seen = attend(vit, image)
    maps, features = by_hand(load_file(tmp_path/'model.safetensors'), vit_input(vit, image),
                             heads=3)
    assert torch.allclose(seen.maps.flatten(1), maps, atol=1e-6) and maps.std() > .001
    assert torch.allclose(seen.features.flatten(1), features, atol=1e-5)
    # positions are interpolated for other grids
    assert attend(vit, picture(90, 50)).maps.shape == (3, 4, 7)


def test_local_contrast_against_scipy():
    image = picture(30, 20, seed=4).convert('L')
    y = np.asarray(image, float) / 255
    # 3 x 3 patches of 4 x 5 pixels
    var = uniform_filter(y**2, (12, 15), origin=0) - uniform_filter(y, (12, 15))**2
    assert abs(local_contrast(image, (5, 6))[2, 3].item() - np.sqrt(y[4:16, 10:25].var())) < 1e-6
    assert abs(local_contrast(image, (5, 6))[2, 3].item() - np.sqrt(var[10, 17])) < 1e-6
    # a corner: four patches
    assert abs(local_contrast(image, (5, 6))[0, 5].item() - np.sqrt(y[:8, 20:].var())) < 1e-6
    assert local_contrast(Image.new('RGB', (30, 20), 'teal'), (5, 6)).max() < 1e-6


def test_draws_itself():
    maps = torch.zeros(1, 2, 4)
    maps[0, 0, 3] = 1
    import io
    png = np.asarray(
        Image.open(io.BytesIO(Attention(maps, torch.zeros(1, 2, 4), (80, 40))._repr_png_())))
    assert png.shape == (128, 256) and png[10, 250] == 255 and png[120, 250] == 0
    assert png[10, 5] == 0
