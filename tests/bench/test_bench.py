"Metrics against values worked without the package, baselines against their definition, intervals against scipy."
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from scipy.ndimage import gaussian_filter

from regionedit.bench.baselines import BASELINES, CONSTANTS, BenchTask, random_sizes, run_baseline, run_method
from regionedit.bench.metrics import bootstrap, paired
from regionedit.bench.metrics import clip_scores, feature_distance, lpips, mse, outside, placed, preserved, psnr, replaced, seam, ssim, structure_distance, uncomposited
from regionedit.method.attention import attend
from regionedit.method.config import Config
from regionedit import RegionEditor
from regionedit.method.edits import Edit
from stubs import StubClip, StubEditor, picture, stub_vit

BOX = (10, 5, 30, 25)

@pytest.fixture(scope='module')
def pair():
    "Two pictures 48 x 36, alike but for noise and a changed box."
    a = np.asarray(picture(48, 36).resize((48, 36)), float)
    b = np.clip(a + np.random.default_rng(1).normal(0, 20, a.shape), 0, 255).round()
    b[BOX[1]:BOX[3], BOX[0]:BOX[2]] = 128
    return Image.fromarray(a.astype(np.uint8)), Image.fromarray(b.astype(np.uint8))

# metrics

def test_mse_and_psnr_outside_the_box(pair):
    a, b = (np.asarray(im, float) / 255 for im in pair)
    keep = np.ones((36, 48), bool); keep[5:25, 10:30] = False
    where = outside(BOX, (48, 36))
    assert (where.numpy() == keep).all()
    assert mse(*pair, where) == pytest.approx(((a - b) ** 2)[keep].mean(), rel=1e-5)
    assert psnr(*pair, where) == pytest.approx(10 * np.log10(1 / ((a - b) ** 2)[keep].mean()), abs=1e-3)

def test_ssim_by_scipy(pair):
    a, b = (np.asarray(im, float) / 255 for im in pair)
    blur = lambda x: np.stack([gaussian_filter(x[..., c], 1.5, truncate=3.5, mode='reflect') for c in range(3)], -1)      # 11 pixels
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    values = (2 * ma * mb + .01**2) * (2 * cov + .03**2) / ((ma**2 + mb**2 + .01**2) * (va + vb + .03**2))
    where = outside(BOX, (48, 36))
    assert ssim(*pair, where) == pytest.approx(values[where.numpy()].mean(), abs=1e-6)
    assert ssim(*pair, torch.ones(36, 48, dtype=torch.bool)) == pytest.approx(values.mean(), abs=1e-6)

@pytest.mark.parametrize('size', [(1, 1), (3, 40), (7, 5)])
def test_small_pictures_have_an_ssim(size):
    assert ssim(picture(*size), picture(*size), torch.ones(size[::-1], dtype=torch.bool)) == pytest.approx(1)

def test_a_box_that_is_the_whole_picture_leaves_nothing_to_compare(pair):
    found = preserved(stub_vit(), *pair, (0, 0, 48, 36))
    assert found == dict(mse=0, psnr=float('inf'), ssim=1, features=0)

def test_what_changed_inside_the_box_is_not_counted(pair):
    a = pair[0]
    b = a.copy(); b.paste((255, 0, 0), BOX)
    found = preserved(stub_vit(), a, b, BOX)
    assert found['mse'] == 0 and found['psnr'] == float('inf') and found['ssim'] == pytest.approx(1, abs=1e-9) and found['features'] == pytest.approx(0, abs=1e-6)
    assert ssim(a, b, outside(BOX, a.size)) < .999 and b.getpixel((12, 7)) == (255, 0, 0), 'the windows look in, and the edit is left alone'

def test_uncomposited_shows_what_the_editor_did_outside_the_box():
    source, window = picture(48, 36), (6, 2, 34, 30)
    edit = Edit(BOX, window, Image.new('RGB', (16, 16), 'red'))
    raw, clean = (np.asarray(im) for im in (uncomposited(source, edit), edit.paste(source)))
    keep = outside(BOX, (48, 36)).numpy()
    assert (clean == np.asarray(source))[keep].all()
    assert (raw[2:30, 6:34] == (255, 0, 0)).all() and (raw[:, 34:] == np.asarray(source)[:, 34:]).all()

def test_features_by_hand(pair):
    vit, where = stub_vit(), outside((0, 0, 24, 36), (48, 36))
    x, y = (attend(vit, im).features.numpy() for im in pair)
    cosine = (x * y).sum(0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0)
    assert feature_distance(vit, *pair, where) == pytest.approx(1 - cosine[:, cosine.shape[1] // 2:].mean(), abs=1e-5)
    assert feature_distance(vit, pair[0], pair[0], where) == pytest.approx(0, abs=1e-6)
    flat = [v.reshape(len(v), -1) / np.linalg.norm(v.reshape(len(v), -1), axis=0) for v in (x, y)]
    assert structure_distance(vit, *pair) == pytest.approx(((flat[0].T @ flat[0] - flat[1].T @ flat[1]) ** 2).mean(), abs=1e-6)

def test_clip_scores_by_hand(pair):
    clip = StubClip()
    before, after = clip.encode_images(list(pair)).pooled.numpy()
    text, source = clip.encode_texts(['a rocket', 'a cat']).numpy()
    unit = lambda v: v / np.linalg.norm(v)
    found = clip_scores(clip, *pair, 'a rocket', 'a cat')
    assert found['clip_t'] == pytest.approx(after @ text, abs=1e-5)
    assert found['clip_dir'] == pytest.approx(unit(after - before) @ unit(text - source), abs=1e-4)

def test_lpips_is_asked_for_and_downloads_nothing(pair, monkeypatch, tmp_path):
    "With an AlexNet of chance in place of the trained one: torchmetrics' own weights lie on top of it."
    import torchvision
    from regionedit.bench import metrics
    from regionedit.method.core import ModelNotAvailable
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    a, b = (im.resize((96, 72)) for im in pair)
    with pytest.raises(ModelNotAvailable, match='AlexNet'): preserved(stub_vit(), a, b, BOX, perceptual=True)
    (tmp_path/'checkpoints').mkdir(); (tmp_path/'checkpoints'/'alexnet-owt-7be5be79.pth').touch()
    make = torchvision.models.alexnet
    monkeypatch.setattr(torchvision.models, 'alexnet', lambda weights: make(weights=None))
    metrics._alexnet.cache_clear()
    try:
        assert lpips(a, a) == 0 < lpips(a, b)
        assert preserved(stub_vit(), a, b, BOX, perceptual=True)['lpips'] > 0 and 'lpips' not in preserved(stub_vit(), a, b, BOX)
    finally: metrics._alexnet.cache_clear()

def test_placed():
    assert placed((0, 0, 10, 10), (5, 0, 15, 10)) == dict(iou=pytest.approx(1 / 3), covered=.5, hit=1)
    assert placed((0, 0, 10, 10), (6, 0, 16, 10))['hit'] == 0

@pytest.mark.parametrize('there, gone, share, expected', [(1, 1, .7, 1), (1, 1, 1., 1), (1, 1, .699, 0), (0, 1, 1., 0), (1, 0, 1., 0), (0, 0, 0., 0)])
def test_replaced_asks_for_all_three(there, gone, share, expected): assert replaced(bool(there), bool(gone), share) == expected

def test_seam_by_loops():
    rng = np.random.default_rng(0)
    a, b = (Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)) for _ in range(2))
    for box in ((3, 2, 8, 7), (0, 2, 8, 9), (0, 0, 12, 4)):
        x0, y0, x1, y1 = box
        def step(image):
            v, found = np.asarray(image, float), []
            for y in range(y0, y1):
                found += [v[y, x] - v[y, x - 1] for x in (x0, x1) if 0 < x < 12]
            for x in range(x0, x1):
                found += [v[y, x] - v[y - 1, x] for y in (y0, y1) if 0 < y < 9]
            return np.abs(found).mean()
        assert seam(a, b, box) == pytest.approx(step(b) / step(a))
        assert seam(a, a, box) == 1
    assert seam(a, b, (0, 0, 12, 9)) == 1, 'no border, no seam'
    flat = Image.new('RGB', (9, 9))
    assert seam(flat, Image.new('RGB', (9, 9), 'white'), (2, 2, 5, 5)) == 1

# baselines

def test_constant_boxes_are_the_squares_of_one_size_at_the_methods_anchors():
    from regionedit.method.regions import choose_anchors, proposal_sizes, propose
    models, task = RegionEditor(stub_vit(), StubClip(), StubEditor()), BenchTask(picture(96, 64), 'a', 'b', (0, 0, 1, 1))
    config = Config(num_anchors=5, anchors='topk', num_proposals=2)
    squares = propose(choose_anchors(attend(models.vit, task.image), 'topk', 5), proposal_sizes(), (96, 64))
    assert len(CONSTANTS) == 7
    for j, name in enumerate(CONSTANTS): assert torch.equal(BASELINES[name](models, task, config, None), squares[:, j])

def test_random_sizes_lie_in_the_methods_range():
    models, task, g = RegionEditor(stub_vit(), StubClip(), StubEditor()), BenchTask(picture(200, 200), 'a', 'b', (0, 0, 1, 1)), torch.Generator().manual_seed(0)
    config = Config(num_anchors=9, min_size=.1, max_size=.4)
    boxes = torch.cat([BASELINES['random-size'](models, task, config, g) for _ in range(100)])
    whole = boxes[(boxes[:, 0] > 0) & (boxes[:, 1] > 0) & (boxes[:, 2] < 200) & (boxes[:, 3] < 200)]
    sides = (whole[:, 2] - whole[:, 0]).double()
    assert torch.equal(sides.long(), whole[:, 3] - whole[:, 1]) and 20 <= sides.min() < 23 and sides.max() <= 80
    assert abs(sides.log().mean() - np.log(40)) < .2, 'uniform in the ratio'

def test_edit_free_choices_ask_for_one_edit():
    from PIL import ImageDraw
    class Red(StubClip):
        "Text is red; a crop is as like it as it is red."
        def encode_images(self, images):
            found = super().encode_images(images)
            red = torch.tensor([np.asarray(im, float)[..., 0].mean() / 255 for im in images], dtype=torch.float)
            unit = torch.zeros_like(found.pooled); unit[:, 0], unit[:, 1] = red, (1 - red**2).clamp(min=0).sqrt()
            return type(found)(unit, found.tokens)
        def encode_texts(self, texts): return torch.eye(StubClip().encode_texts(['a']).shape[1])[[0] * len(texts)]
    image = Image.new('RGB', (128, 128)); ImageDraw.Draw(image).rectangle((70, 60, 109, 99), fill='red')
    task, config = BenchTask(image, 'a', 'b', (70, 60, 110, 100)), Config(num_anchors=8)
    models = RegionEditor(stub_vit(), Red(), StubEditor())
    seen = BASELINES['evidence'](models, task, config, None)
    share = lambda b: np.asarray(image.crop(b), float)[..., 0].mean()
    from regionedit.method.regions import choose_anchors, propose_for
    attention = attend(models.vit, image)
    every = propose_for(image, attention, choose_anchors(attention), config).flatten(0, 1).tolist()
    assert share(seen[0].tolist()) == max(map(share, every))
    assert len(seen) == len(BASELINES['similar'](models, task, config, None)) == 1

def test_random_sizes_are_uniform_and_cut_at_the_border():
    g = torch.Generator().manual_seed(3)
    inside = random_sizes(torch.tensor([[400., 100.]]).expand(3000, 2), (800, 200), g)
    sides = (inside[:, 2:] - inside[:, :2]).double().numpy()
    for values, side in zip(sides.T, (800, 200)): assert stats.kstest(values / side, 'uniform').statistic < .03
    assert abs(np.corrcoef(sides.T)[0, 1]) < .06, 'height and width are drawn apart'
    corner = random_sizes(torch.zeros(3000, 2), (800, 200), g)
    assert (corner[:, :2] == 0).all() and abs((corner[:, 2]).double().mean() - 200) < 8, 'half of the box is cut away'

def test_random_centres_are_uniform():
    models = RegionEditor(stub_vit(), StubClip(), StubEditor())
    task, g = BenchTask(picture(300, 200), 'a', 'b', (0, 0, 1, 1)), torch.Generator().manual_seed(0)
    boxes = torch.cat([BASELINES['random-random'](models, task, Config(num_anchors=200), g) for _ in range(20)]).double()
    whole = boxes[(boxes[:, 0] > 0) & (boxes[:, 2] < 300)]
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= 300).all() and (boxes[:, 3] <= 200).all()
    assert abs((whole[:, 0] + whole[:, 2]).mean() / 2 - 150) < 5

def test_dino_random_shares_the_methods_anchors():
    from regionedit.method.regions import choose_anchors
    models = RegionEditor(stub_vit(), StubClip(), StubEditor())
    task = BenchTask(picture(96, 64), 'a', 'b', (0, 0, 1, 1))
    boxes = BASELINES['dino-random'](models, task, Config(num_anchors=5, anchors='topk'), torch.Generator().manual_seed(0))
    anchors = choose_anchors(attend(models.vit, task.image), 'topk', 5)
    assert all(x0 - 1 <= x <= x1 + 1 and y0 - 1 <= y <= y1 + 1 for (x0, y0, x1, y1), (x, y) in zip(boxes.tolist(), anchors.tolist()))

@pytest.mark.parametrize('name', BASELINES)
def test_a_baseline_edits_its_boxes_and_returns_the_best(name):
    models = RegionEditor(stub_vit(), StubClip(), StubEditor())
    task, config = BenchTask(picture(96, 64), 'a rocket', 'a cat', (3, 4, 50, 60), seed=5), Config(num_anchors=4, alpha=1.5, source_weight=0)
    found, again = (run_baseline(name, models, task, config) for _ in range(2))
    assert (found.box, found.score, found.num_edits) == (again.box, again.score, again.num_edits) and models.editor.windows == found.num_edits, 'the second time every edit was known'
    boxes = BASELINES[name](models, task, config, torch.Generator().manual_seed(5))
    assert found.num_edits == len({tuple(b) for b in boxes.tolist()}) and list(found.box) in boxes.tolist()
    if name in ('whole', 'truth'): assert found.box == ((0, 0, 96, 64) if name == 'whole' else task.truth)
    pictures = models.clip.encode_images([task.image, found.edit.paste(task.image)])
    text, (before, after) = models.clip.encode_texts(['a rocket'])[0], (torch.nn.functional.normalize(t, dim=-1) for t in pictures.tokens)
    assert found.score == pytest.approx((1.5 * pictures.pooled[1] @ text + (before * after).sum(-1).mean()).item(), abs=1e-5)

def test_the_method_runs_with_the_tasks_seed():
    models = RegionEditor(stub_vit(), StubClip(), StubEditor())
    config = Config(num_anchors=3, num_proposals=2, learning_steps=2, source_weight=0)
    found = run_method(models, BenchTask(picture(96, 64), 'a rocket', 'a cat', (3, 4, 50, 60), seed=5), config)
    direct = models(picture(96, 64), 'a rocket', 'a cat', seed=5, num_anchors=3, num_proposals=2, learning_steps=2, source_weight=0, progress=False)
    assert (found.box, found.num_edits) == (direct.box, direct.num_edits) and found.score == pytest.approx(direct.score)

# intervals

def test_ours_less_another_is_scipys_and_pairs_scenes():
    rng = np.random.default_rng(0)
    ours, other = rng.random(40), rng.random(40) - .1
    mean, low, high, chance = paired(ours, other)
    assert mean == pytest.approx((ours - other).mean()) and low < mean < high
    assert chance == pytest.approx(stats.ttest_rel(ours, other).pvalue, abs=.02)
    hard = rng.normal(0, 9, 40)
    assert paired(ours + hard, other + hard)[:3] == pytest.approx((mean, low, high)), 'what is common goes'
    assert paired(other, other) == (0, 0, 0, 1)
    assert paired([1.], [0.]) == (1, 1, 1, 1), 'one scene tells nothing from chance'
    with pytest.raises(ValueError, match='same scenes'): paired(ours, other[1:])

def test_the_interval_is_scipys():
    values = np.random.default_rng(0).exponential(size=60)
    mean, low, high = bootstrap(values, draws=20_000)
    by_scipy = stats.bootstrap((values,), np.mean, n_resamples=20_000, method='percentile', rng=1).confidence_interval
    assert mean == pytest.approx(values.mean()) and (low, high) == pytest.approx(tuple(by_scipy), abs=.02)

def test_scenes_are_resampled_whole():
    "Two columns that always sum to one still do in every draw."
    values = np.random.default_rng(0).random((30, 1)) * [1, -1] + [0, 1]
    assert bootstrap(values, lambda a, b, axis: (a + b).mean(axis)) == pytest.approx((1, 1, 1))

def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [low <= .7 <= high for low, high in (bootstrap(rng.random(100) < .7, draws=300, seed=i)[1:] for i in range(200))]
    assert .88 <= np.mean(covered) <= .99

def test_one_scene_is_its_own_interval(): assert bootstrap([.25]) == (.25, .25, .25)

@pytest.mark.parametrize('call', [lambda: bootstrap([]), lambda: paired([1], [1, 2])])
def test_bad_values_are_refused(call):
    with pytest.raises(ValueError, match='expected'): call()
