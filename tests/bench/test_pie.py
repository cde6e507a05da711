"""PIE-Bench's measures against a computation of their own from its evaluator's text, and folders in
its layout: read, edited, resumed, named where they are wrong."""
import csv, json, math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate1d

from regionedit import RegionEditor
from regionedit.batch.engine import keep
from regionedit.bench import data, metrics
from regionedit.bench.data import (COLUMNS, data_markdown, data_report, place_of, read_data,
                                   run_data, source_of)
from regionedit.cli import main
from regionedit.method.core import ModelNotAvailable, Note
from stubs import StubClip, StubEditor, picture, stub_vit

def runs_of(mask) -> list:
    "Run-length code of a mask, start and length, as the mapping file has it."
    flat, found, at = mask.ravel().tolist(), [], 0
    while at < len(flat):
        end = at
        while end < len(flat) and flat[end]: end += 1
        if end > at: found += [at, end - at]
        at = max(end, at) + (end == at)
    return found

def a_mask(width, height, box):
    mask = np.zeros((height, width), np.uint8)
    mask[box[1]:box[3], box[0]:box[2]] = 1
    return mask

def test_masks_come_back(rng=np.random.default_rng(0)):
    for w, h in ((9, 5), (16, 16), (3, 3)):
        mask = (rng.random((h, w)) > .5).astype(np.uint8)
        expected = mask.copy()
        for y in range(h):
            for x in range(w):
                if y in (0, h - 1) or x in (0, w - 1): expected[y, x] = 1
        assert np.array_equal(metrics.decode_mask(tuple(runs_of(mask)), (w, h)), expected)
        ys, xs = np.nonzero(mask)
        assert metrics.mask_box(tuple(runs_of(mask)), (w, h)) == (
            xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert metrics.mask_box((), (4, 4)) is None
    # a last run that is too long ends with the picture, as in the evaluator
    assert metrics.decode_mask((20, 99), (5, 5)).sum() == metrics.decode_mask((20, 5), (5, 5)).sum()

@pytest.mark.parametrize('runs', [(1,), (30, 2), (-1, 2), (1, 2.), ('a', 1), (1, True)])
def test_masks_of_another_picture(runs):
    with pytest.raises(ValueError, match='expected a mask as starts and lengths'):
        metrics.decode_mask(runs, (5, 5))

# measures

def cosine(a, b): return a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))

def keys_by_hand(vit, image):
    "Patches and [CLS] through all blocks but the last, then that one's keys, from its weights."
    pixels = torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)[None]
    short, p = min(image.size), 8
    h, w = (224 * v // short // p * p for v in (image.height, image.width))
    x = torch.nn.functional.interpolate(pixels, (h, w), mode='bilinear', antialias=True)
    x = (x - torch.tensor([.485, .456, .406]).view(3, 1, 1)) / torch.tensor(
        [.229, .224, .225]).view(3, 1, 1)
    with torch.no_grad():
        t = vit.norm_pre(vit._pos_embed(vit.patch_embed(x)))
        for block in vit.blocks[:-1]: t = block(t)
        last = vit.blocks[-1]
        wide = torch.nn.functional.linear(last.norm1(t), last.attn.qkv.weight, last.attn.qkv.bias)
    d = wide.shape[-1] // 3
    return wide[0, :, d:2 * d].numpy()

@pytest.mark.parametrize('size', [(64, 64), (80, 56)])
def test_structure_by_hand(size):
    vit, a, b = stub_vit(), picture(*size, 1), picture(*size, 2)
    x, y = (cosine(k, k) for k in (keys_by_hand(vit, a), keys_by_hand(vit, b)))
    assert metrics.pie_structure(vit, a, b) == pytest.approx(((x - y) ** 2).mean(), rel=1e-3)
    assert metrics.pie_structure(vit, a, a) == 0
    assert not any(m._forward_hooks for m in vit.modules())

def ssim_by_hand(x, y):
    "Gaussian windows of 11 pixels, deviation 1.5; torchmetrics mirrors the border."
    g = np.exp(-.5 * (np.arange(-5, 6) / 1.5) ** 2); g /= g.sum()
    def blur(z): return correlate1d(correlate1d(z, g, 0, mode='mirror'), g, 1, mode='mirror')
    values = []
    for a, b in zip(np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0)):
        ma, mb = blur(a), blur(b)
        va, vb, ab = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        values.append((2 * ma * mb + 1e-4) * (2 * ab + 9e-4) / (
            (ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return np.mean(values)

def test_outside_by_hand():
    a, b, mask = picture(40, 32, 1), picture(40, 32, 2), a_mask(40, 32, (5, 6, 20, 25))
    x, y = (np.asarray(im, float) / 255 * (1 - mask)[..., None] for im in (a, b))
    error = ((x - y) ** 2).mean()
    seen = []
    found = metrics.pie_outside(a, b, mask, lambda p, q: seen.append((p, q)) or torch.tensor(.25))
    assert found['pie_mse'] == pytest.approx(error, rel=1e-5)
    assert found['pie_psnr'] == pytest.approx(10 * math.log10(1 / error), rel=1e-5)
    assert found['pie_ssim'] == pytest.approx(ssim_by_hand(x, y), abs=1e-3)
    assert found['pie_lpips'] == .25
    assert np.allclose(seen[0][0][0].permute(1, 2, 0), 2 * x - 1, atol=1e-6)
    # inside the mask anything may change
    other = b.copy(); other.paste((9, 9, 9), (5, 6, 20, 25))
    assert metrics.pie_outside(a, other, mask)['pie_mse'] == found['pie_mse']
    everything = metrics.pie_outside(a, b, np.ones_like(mask))
    assert all(math.isnan(v) for v in everything.values())
    assert math.isnan(metrics.pie_outside(a, b, mask)['pie_lpips'])

def test_texts_by_hand():
    clip, edit, mask = StubClip(), picture(40, 32, 3), a_mask(40, 32, (5, 6, 20, 25))
    part = Image.fromarray(np.where(mask[..., None], np.asarray(edit), 0).astype(np.uint8))
    for prompt in ('a cat', 'a rocket', 'a dog'):
        found, text = metrics.pie_clip(clip, edit, prompt, mask), clip.encode_texts([prompt])[0]
        for name, image in (('pie_clip', edit), ('pie_clip_edited', part)):
            c = torch.nn.functional.cosine_similarity(clip.encode_images([image]).pooled[0], text,
                                                      dim=0)
            assert found[name] == pytest.approx(max(100 * c.item(), 0), abs=1e-3)

# folders

SCENES = [((40, 32), (5, 6, 20, 25)), ((48, 48), (10, 10, 30, 40)), ((64, 40), (0, 0, 20, 20))]

def entry(i, size, box, **more):
    return dict(image_path=f'{i}_kind/{i:012}.png', original_prompt='a [cat] on a table',
                editing_prompt='a [rocket] on a table', editing_instruction='do it',
                editing_type_id=str(i), blended_word='cat rocket',
                mask=runs_of(a_mask(*size, box)), **more)

@pytest.fixture
def folder(tmp_path):
    "PIE-Bench's layout, three pictures."
    home, said = tmp_path/'pie', {}
    for i, (size, box) in enumerate(SCENES):
        said[f'{i:012}'] = entry(i, size, box)
        path = home/'annotation_images'/said[f'{i:012}']['image_path']
        path.parent.mkdir(parents=True)
        picture(*size, i).save(path)
    (home/'mapping_file.json').write_text(json.dumps(said))
    return home

@pytest.fixture
def table(tmp_path):
    "A CSV, one box of two known."
    home = tmp_path/'own'; home.mkdir()
    for i in range(2): picture(40, 32, i).save(home/f'{i}.png')
    (home/'list.csv').write_text('image,source,prompt,box\n0.png,a cat,"a rocket, red",5 6 20 25\n'
                                 '1.png,a dog,a cat,\n', encoding='utf-8-sig')
    return home

MADE = []

class Counting(StubEditor):
    def fill(self, images, *args, **kwargs):
        MADE.append(len(images)); return super().fill(images, *args, **kwargs)

def load():
    models = RegionEditor(stub_vit(), StubClip(), Counting(), preset='stub')
    return models, (models.vit, models.clip, None)

FEW = dict(num_anchors=2, num_proposals=2, learning_steps=2)

def run(folder, out, load=load, **more):
    out.mkdir(exist_ok=True)
    return run_data(keep(load), read_data(folder), out, options=FEW, **more)

def test_what_a_mapping_file_says(folder):
    items = read_data(folder)
    assert [i.source for i in items] == ['cat'] * 3
    assert {i.prompt for i in items} == {'a rocket on a table'}
    assert [place_of(i, size) for i, (size, _) in zip(items, SCENES)] == [b for _, b in SCENES]

@pytest.mark.parametrize('words, before, expected', [
    ('cat dog', 'a [cat] there', 'cat'), ('', 'a [black cat] there', 'black cat'),
    (None, 'a cat there', 'a cat there'), ('', 'a [] cat', 'a  cat')])
def test_what_is_edited_in_pie_benchs_words(words, before, expected):
    assert source_of(dict(original_prompt=before, blended_word=words)) == expected

def test_a_folder_is_edited_and_measured(folder, tmp_path):
    rows, failed, judges = run(folder, tmp_path/'out')
    assert not failed and judges == dict(comparable=False, lpips=False) and len(rows) == 3
    vit, clip = stub_vit(), StubClip()
    for row, (size, box), item in zip(rows, SCENES, read_data(folder)):
        source = Image.open(item.path)
        edit = Image.open(tmp_path/'out'/'ours'/'annotation_images'/item.image)
        expected = metrics.pie_measures(vit, clip, None, source, edit, item.prompt,
                                    metrics.decode_mask(item.runs, size))
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-4, nan_ok=True), name
        chosen = tuple(map(int, row['box'].split()))
        x, y = np.asarray(source), np.asarray(edit)
        changed = np.argwhere((x != y).any(-1))
        assert (changed.min(0)[::-1] >= chosen[:2]).all()
        assert (changed.max(0)[::-1] < chosen[2:]).all()
        inter = [max(0, min(chosen[i + 2], box[i + 2]) - max(chosen[i], box[i])) for i in (0, 1)]
        area = lambda b: (b[2] - b[0]) * (b[3] - b[1])
        assert row['iou'] == pytest.approx(
            inter[0] * inter[1] / (area(chosen) + area(box) - inter[0] * inter[1]), rel=1e-4)

def test_what_is_measured_is_what_the_file_has(folder, tmp_path):
    "PIE-Bench's pictures are JPEG, which rounds everywhere: its evaluator reads the rounded edit."
    said = json.loads((folder/'mapping_file.json').read_text())
    entry = said['000000000000']
    path = folder/'annotation_images'/entry['image_path']
    entry['image_path'] = entry['image_path'].replace('.png', '.jpg')
    picture(*SCENES[0][0], 0).save(path.with_suffix('.jpg'), quality=90)
    (folder/'mapping_file.json').write_text(json.dumps({'000000000000': entry}))
    (row,), failed, _ = run(folder, tmp_path/'out')
    source, edit = (Image.open(home/'annotation_images'/entry['image_path'])
                    for home in (folder, tmp_path/'out'/'ours'))
    mask = metrics.decode_mask(tuple(entry['mask']), SCENES[0][0])
    expected = metrics.pie_measures(stub_vit(), StubClip(), None, source, edit,
                                    'a rocket on a table', mask)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-4, nan_ok=True), name
    assert not failed and row['mse'] != row['pie_mse'] > 0

@pytest.mark.slow
def test_it_goes_on_where_it_was(folder, tmp_path):
    out = tmp_path/'out'
    rows, _, _ = run(folder, out)
    MADE.clear()
    assert len(run(folder, out)[0]) == 3 and MADE == []
    lines = (out/'data.csv').read_text().splitlines(keepends=True)
    (out/'data.csv').write_text(''.join(lines[:2]) + lines[2][:20])      # killed in the middle
    again, _, _ = run(folder, out)
    assert sum(MADE) > 0 and [r['id'] for r in again] == [r['id'] for r in rows]
    for a, b in zip(rows, again):
        for k in set(COLUMNS) - {'seconds'}:
            assert a[k] == b[k] or a[k] != a[k], k
    MADE.clear()
    run(folder, out, names=('ours', 'whole'))
    assert sum(MADE) == 3       # one edit of the whole picture each
    MADE.clear()
    before = (out/'data.csv').read_bytes()
    with pytest.raises(ValueError, match='got 6 of 6 rows of others'): run(folder, out, seed=1)     # another noise
    assert not MADE and (out/'data.csv').read_bytes() == before

def test_a_table_with_and_without_boxes(table, tmp_path):
    rows, failed, _ = run(table, tmp_path/'out')
    assert not failed and [r['source'] for r in rows] == ['a cat', 'a dog']
    assert rows[0]['prompt'] == 'a rocket, red'
    assert not math.isnan(rows[0]['iou']) and math.isnan(rows[1]['iou'])
    assert rows[1]['pie_psnr'] == math.inf      # nothing changes outside the chosen box
    found = data_report(rows, failed, dict(comparable=False, lpips=False))
    assert found['pictures'] == 2 and found['methods']['ours']['iou'][0] == pytest.approx(
        rows[0]['iou'], abs=1e-4)
    text = data_markdown(found)
    assert '| pie_structure |' in text and 'pie_lpips' not in text and 'LPIPS is left out' in text

def test_a_bad_picture_stops_nobody(folder, tmp_path):
    path = next((folder/'annotation_images').rglob('*1.png'))
    path.write_bytes(b'no picture')
    rows, failed, _ = run(folder, tmp_path/'out')
    assert len(rows) == 2 and list(failed) == ['000000000001'] and 'expected' in failed[list(failed)[0]]

def wrong(change):
    def apply(home):
        said = json.loads((home/'mapping_file.json').read_text())
        change(said['000000000001'])
        (home/'mapping_file.json').write_text(json.dumps(said))
    return apply

@pytest.mark.parametrize('change, told', [
    (wrong(lambda e: e.update(image_path='../../x.png')), 'expected a picture inside'),
    (wrong(lambda e: e.update(image_path='gone.png')), 'found no file'),
    (wrong(lambda e: e.pop('mask')), "something is missing \\('mask'\\)"),
    (lambda home: (home/'mapping_file.json').write_text('{'), 'expected JSON in'),
    (lambda home: (home/'mapping_file.json').write_text('[]'), 'at least one picture'),
    (lambda home: (home/'mapping_file.json').unlink(), 'with no CSV')])
def test_folders_that_are_wrong(folder, change, told):
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=told): read_data(folder)

@pytest.mark.parametrize('text, told', [
    ('picture,prompt\n0.png,x\n', 'found no image, source'), ('image,source,prompt\n', 'found no'),
    ('image,source,prompt,box\n0.png,a,b,1 2 3\n', 'expected a box as x0 y0 x1 y1 in row 1')])
def test_tables_that_are_wrong(table, text, told):
    (table/'list.csv').write_text(text)
    with pytest.raises(ValueError, match=told): read_data(table)

@pytest.mark.slow
def test_the_command(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, 'load_for_data', lambda preset: load())
    out = tmp_path/'out'
    assert main(['bench', '--data', str(folder), '--out', str(out), '--json']) == 0
    said = json.loads(capsys.readouterr().out)['pocket']
    assert said['pictures'] == 3 and said['failed'] == {} and (out/'data.csv').exists()
    with open(out/'data.csv') as f: assert len(list(csv.DictReader(f))) == 3
    MADE.clear()
    assert main(['bench', '--data', str(folder), '--out', str(out), '--resume']) == 0
    assert '| pie_ssim |' in capsys.readouterr().out and MADE == []
    assert main(['bench', '--data', str(tmp_path/'none')]) == 2
    assert main(['bench', '--budget', '3']) == 2
    assert main(['bench', '--data', str(folder), '--budget', 'much']) == 2
    next((folder/'annotation_images').rglob('*1.png')).write_bytes(b'')
    assert main(['bench', '--data', str(folder), '--out', str(out)]) == 3

def test_lpips_where_its_weights_are(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    models, _ = load()
    with pytest.warns(Note, match='LPIPS is left out: expected the weights of SqueezeNet'):
        assert data.judges_for(models, True) == (models.vit, models.clip, None)
    (tmp_path/'checkpoints').mkdir(); (tmp_path/'checkpoints'/'squeezenet1_1-b8a52dc0.pth').touch()
    monkeypatch.setattr(metrics, '_squeeze', lambda: 'lpips')
    assert data.judges_for(models, True)[2] == 'lpips'

def test_published_networks_judge_where_they_are(monkeypatch):
    "ViT-B/8 and ViT-L/14 for public models; else their own, and a note."
    models, asked = load()[0], []
    monkeypatch.setattr(data, 'find_lpips', lambda: None)
    monkeypatch.setattr(data, 'load_vit', lambda name, device: asked.append(name) or 'vit')
    monkeypatch.setattr(data, 'load_clip', lambda name, device: asked.append(name) or 'clip')
    assert data.judges_for(models, False) == ('vit', 'clip', None)
    assert 'patch8' in asked[0] and 'large_patch14' in asked[1]
    def gone(*args): raise ModelNotAvailable('expected a network')
    monkeypatch.setattr(data, 'load_clip', gone)
    with pytest.warns(Note, match='not comparable with published ones'):
        assert data.judges_for(models, False) == (models.vit, models.clip, None)
