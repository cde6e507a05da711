"Boxes and pooled features: by hand, by plain loops, and by torchvision on another path."
import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from PIL import Image, ImageDraw
from regionedit.method.attention import Attention
from regionedit.method.config import Config
from regionedit.method.core import box_iou, covered
from regionedit.method.regions import (RegionGenerator, all_boxes, cell_words, fit_boxes,
                                       proposal_sizes, propose, propose_for, roi_features, sharpen,
                                       stand_out, visual_words)


def test_sizes():
    assert np.allclose(proposal_sizes(7, .2, .6), np.geomspace(.2, .6, 7))
    assert np.allclose(proposal_sizes(1, .2, .8), [.4])
    for bad in ((0, .2, .8), (7, 0, .8), (7, .9, .8), (7, .2, 1.2), (7, float('nan'), .8),
                (7, .2, float('nan'))):
        with pytest.raises(ValueError, match='min_size'): proposal_sizes(*bad)


def test_boxes_by_hand():
    boxes = propose(torch.tensor([[50., 20.], [2., 39.5]]), torch.tensor([.25, 1.]), (100, 40))
    assert boxes.dtype == torch.long
    assert boxes.tolist() == [[[45, 15, 55, 25], [30, 0, 70, 40]],
                              [[0, 35, 7, 40], [0, 20, 22, 40]]]


@pytest.mark.parametrize('size', [(128, 128), (97, 61), (30, 200), (1, 5), (1, 1)])
def test_boxes_hold_their_anchor_and_lie_inside(size):
    rng = np.random.default_rng(0)
    anchors = torch.from_numpy(rng.random((200, 2)) * size).float().clamp(
        max=torch.tensor(size) - 1e-3)
    sizes = proposal_sizes()
    boxes = propose(anchors, sizes, size)
    x0, y0, x1, y1 = boxes.unbind(-1)
    x, y = anchors[:, None].unbind(-1)
    assert ((0 <= x0) & (x0 < x1) & (x1 <= size[0]) & (0 <= y0) & (y0 < y1) & (y1 <= size[1])).all()
    assert ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).all()
    side = (sizes * min(size)).round().clamp(min=1).long().expand_as(x0)
    inner = (x0 > 0) & (x1 < size[0])
    assert torch.equal((x1 - x0)[inner], side[inner]) and (x1 - x0 <= side).all()
    if inner.any(): assert ((x0 + x1) / 2 - x).abs()[inner].max() <= .5 + 1e-4


def plain_pool(features, box, size, pool):
    """Maximum over bins of the cells a box touches, with loops: bins as in Fast R-CNN (floor of the
    start, ceiling of the end)."""
    d, gh, gw = features.shape
    cols = [c for c in range(gw) if c * size[0] < box[2] * gw and (c + 1) * size[0] > box[0] * gw]
    rows = [r for r in range(gh) if r * size[1] < box[3] * gh and (r + 1) * size[1] > box[1] * gh]
    out = torch.empty(d, pool, pool)
    for i in range(pool):
        for j in range(pool):
            r = rows[i * len(rows) // pool:-(-(i + 1) * len(rows) // pool)]
            c = cols[j * len(cols) // pool:-(-(j + 1) * len(cols) // pool)]
            out[:, i, j] = features[:, r][:, :, c].amax((1, 2))
    return out


@pytest.mark.parametrize('size, grid',
                         [((40, 80), (4, 4)), ((128, 96), (16, 21)), ((97, 61), (7, 13))])
def test_pool_against_loops(size, grid):
    features = torch.randn(3, *grid, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(1)
    x, y = (np.sort(rng.integers(0, size[0], (40, 2)), 1),
            np.sort(rng.integers(0, size[1], (40, 2)), 1))
    boxes = torch.from_numpy(np.stack((x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1), 1))
    for pool in (1, 4):
        out = roi_features(features, boxes, size, pool)
        for box, pooled in zip(boxes.tolist(), out):
            assert torch.equal(pooled, plain_pool(features, box, size, pool)), box


def test_pool_by_hand_on_cells_that_are_not_square():
    F = torch.arange(16.).view(1, 4, 4)
    def extremes(*box):
        return [roi_features(s * F, torch.tensor(box), (40, 80), 1).item() * s for s in (-1, 1)]
    assert extremes(10, 20, 30, 80) == [5, 14]
    assert extremes(10, 20, 31, 80) == [5, 15]
    assert extremes(9, 20, 30, 80) == [4, 14]
    assert extremes(10, 19, 30, 60) == [1, 10]
    assert extremes(21, 41, 22, 42) == [10, 10]
    assert extremes(0, 0, 40, 80) == [0, 15]
    assert roi_features(F, torch.tensor([20, 0, 40, 80]), (40, 80),
                        2)[0].tolist() == [[6, 7], [14, 15]]


def test_align_against_torchvision_at_full_resolution():
    """Square cells: torchvision's own scale does what ours does by hand, given a batch index
    instead of a list."""
    features = torch.randn(5, 6, 12, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[3, 5, 50, 40], [0, 0, 96, 48], [90, 1, 96, 7]])
    reference = roi_align(features[None], torch.cat((torch.zeros(3, 1), boxes), 1).float(), 7,
                          spatial_scale=1 / 8, aligned=True)
    assert torch.allclose(roi_features(features, boxes, (96, 48), method='align'), reference,
                          atol=1e-5)


def test_align_scales_each_axis_by_itself():
    columns = (torch.arange(8.) + .5).expand(1, 4, 8)
    rows = (torch.arange(4.) + .5)[:, None].expand(1, 4, 8)
    box = torch.tensor([20, 40, 60, 120])       # cells of 10 x 40: columns 2 to 6, rows 1 to 3
    assert torch.allclose(roi_features(columns, box, (80, 160), 2, 'align')[0, 0],
                          torch.tensor([3., 5.]))
    assert torch.allclose(roi_features(rows, box, (80, 160), 2, 'align')[0, :, 0],
                          torch.tensor([1.5, 2.5]))


@pytest.mark.parametrize('method', ['pool', 'align'])
def test_roi_shape_and_order(method):
    features = torch.randn(5, 6, 9, generator=torch.Generator().manual_seed(0))
    boxes = propose(torch.tensor([[10., 12.], [80., 50.], [44., 3.]]), proposal_sizes(2), (90, 60))
    out = roi_features(features, boxes, (90, 60), method=method)
    assert out.shape == (3, 2, 5, 7, 7)
    assert torch.equal(out[2, 1], roi_features(features, boxes[2, 1], (90, 60), method=method))
    with pytest.raises(ValueError, match="'crop'"):
        roi_features(features, boxes, (90, 60), method='crop')


def test_network_reads_channels_of_one_anchor():
    "The first convolution sees the M boxes side by side, and no other anchor."
    network = RegionGenerator(dim=4, num_proposals=3, hidden=8, pool=5)
    features = torch.randn(6, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    logits = network(features)
    assert logits.shape == (6, 3) and network.convolutions[0].in_channels == 12
    joined = torch.stack([torch.cat(list(f)) for f in features])
    assert torch.allclose(network.linears(network.convolutions(joined)), logits)
    other = features.clone()
    other[2] += 1
    moved = (network(other) - logits).abs().amax(1) > 1e-6
    assert moved.tolist() == [False, False, True, False, False, False]
    assert not torch.allclose(network(features.flip(1)), logits)  # the order of the boxes matters


def test_network_layers_are_the_papers():
    kinds = [type(m).__name__ for m in RegionGenerator(4, 3).modules() if not list(m.children())]
    assert kinds == ['Conv2d', 'ReLU', 'Conv2d', 'ReLU', 'Flatten', 'Linear', 'ReLU', 'Linear']


def test_network_from_a_seed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = RegionGenerator(4, 3, seed=1)
    assert torch.equal(torch.rand(3), expected)       # the caller's random numbers are untouched
    torch.rand(10)
    again, other = RegionGenerator(4, 3, seed=1), RegionGenerator(4, 3, seed=2)
    for name, p in first.named_parameters():
        assert torch.equal(p, again.get_parameter(name))
        assert not torch.equal(p, other.get_parameter(name))


def test_network_refuses_and_every_parameter_gets_a_gradient():
    network = RegionGenerator(4, 3, hidden=8)
    with pytest.raises(ValueError, match='roi_features'): network(torch.zeros(2, 4, 3, 7, 7))
    network(torch.randn(5, 3, 4, 7, 7,
                        generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def blind(size=(128, 128), grid=(16, 16)):
    "Features that say nothing."
    return Attention(torch.full((1, *grid), 1 / grid[0] / grid[1]), torch.ones(4, *grid), size)


def test_words_are_groups_of_like_cells():
    features = torch.zeros(2, 3, 4); features[0, :, 2:] = 5; features[1, 1:, 2:] = 9
    words = visual_words(features, 3)
    assert words.shape == (3, 3, 4) and (words.sum(0) == 1).all()
    groups = {frozenset(map(tuple, w.nonzero().tolist())) for w in words}
    assert groups == {frozenset((y, x) for y in range(3) for x in range(2)),
                      frozenset([(0, 2), (0, 3)]), frozenset((y, x) for y in (1, 2) for x in (2, 3))}
    assert (visual_words(torch.ones(2, 3, 4)).sum(0) == 1).all()        # all alike


def test_how_a_box_stands_out_against_loops():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (32, 48, 3), np.uint8))
    seen = Attention(torch.full((1, 8, 12), 1 / 96), torch.randn(
        3, 8, 12, generator=torch.Generator().manual_seed(0)), (48, 32))
    grid, boxes, said = (32, 48), all_boxes((32, 48)), cell_words(image, seen)
    assert [tuple(w.shape) for w in said] == [(8, 32, 48)] * 2
    z = stand_out(said, boxes)
    colours = torch.from_numpy(np.asarray(image, np.float32) / 255).movedim(2, 0)
    features = torch.nn.functional.interpolate(
        torch.nn.functional.normalize(seen.features, dim=0)[None], grid, mode='bilinear')[0]
    for i in rng.integers(len(boxes), size=20):
        x0, y0, x1, y1 = boxes[i].tolist()
        mx, my = (max(1, round(.15 * s)) for s in (x1 - x0, y1 - y0))
        frame = torch.zeros(grid, dtype=torch.bool)
        frame[max(y0 - my, 0):y1 + my, max(x0 - mx, 0):x1 + mx] = True
        frame[y0:y1, x0:x1] = False
        value = 0
        for words in (visual_words(colours), visual_words(features)):
            h, g = words[:, y0:y1, x0:x1].mean((1, 2)), words[:, frame].mean(1)
            value += ((h - g)**2 / (h + g).clamp(min=1e-6)).sum().item()
        assert abs(value * ((x1 - x0) * (y1 - y0))**.2 - z[i]) < 1e-4


@pytest.mark.parametrize('truth', [(40, 60, 80, 80), (8, 20, 44, 68), (64, 64, 120, 120)])
def test_the_box_of_a_plain_thing_is_found(truth):
    image = Image.new('RGB', (128, 128), 'white')
    ImageDraw.Draw(image).rectangle((*truth[:2], truth[2] - 1, truth[3] - 1), fill='navy')
    at = torch.tensor([[truth[0] + 9., truth[1] + 9.], [125., 3.]])
    boxes = fit_boxes(image, blind(), at)
    assert max(box_iou(b, truth) for b in boxes[0].tolist()) == 1
    centred = propose(at, proposal_sizes(), image.size)[0].tolist()
    assert max(box_iou(b, truth) for b in centred) < .8, 'which squares about this anchor miss'


def test_sharpened_edges_find_those_of_the_thing():
    image = Image.new('RGB', (128, 128), 'white')
    ImageDraw.Draw(image).rectangle((40, 60, 79, 89), fill='navy')
    words = cell_words(image, blind(), 128)
    rng = np.random.default_rng(0)
    off = torch.tensor([40, 60, 80, 90]) + torch.from_numpy(rng.integers(-3, 4, (30, 4)))
    assert (sharpen(words, off) == torch.tensor([40, 60, 80, 90])).all()
    flat = cell_words(Image.new('RGB', (128, 128)), blind(), 128)
    edge = torch.tensor([[0, 0, 1, 1], [126, 126, 128, 128]])
    found = sharpen(flat, edge)
    assert (found[:, :2] >= 0).all() and (found[:, :2] < found[:, 2:]).all() and (found <= 128).all()


@pytest.mark.slow
def test_fitted_boxes_differ_hold_their_anchor_and_grow():
    rng = np.random.default_rng(0)
    for size, grid in (((128, 128), (16, 16)), ((160, 100), (16, 26)), ((60, 120), (32, 16))):
        image = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8))
        seen = Attention(torch.rand(1, *grid, generator=torch.Generator().manual_seed(1)),
                         torch.randn(6, *grid, generator=torch.Generator().manual_seed(2)), size)
        anchors = torch.from_numpy(rng.random((8, 2)) * size).float()
        boxes = fit_boxes(image, seen, anchors)
        assert boxes.shape == (8, 7, 4) and torch.equal(boxes, fit_boxes(image, seen, anchors))
        x0, y0, x1, y1 = boxes.unbind(-1)
        assert ((0 <= x0) & (x0 < x1) & (x1 <= size[0]) & (0 <= y0) & (y0 < y1)
                & (y1 <= size[1])).all()
        x, y = anchors[:, None].unbind(-1)
        near = 1 + 6 * min(size) / 128       # as far as an edge may have moved
        assert ((x0 - near <= x) & (x <= x1 + near) & (y0 - near <= y) & (y <= y1 + near)).all()
        area = (x1 - x0) * (y1 - y0)
        assert (area.diff(dim=1) >= 0).all()
        flat = list({tuple(b) for b in boxes.flatten(0, 1).tolist()})
        assert len(flat) > 40
        assert sorted(box_iou(a, b) for i, a in enumerate(flat) for b in flat[:i])[-20] < .8


@pytest.mark.parametrize('size', [(1, 1), (3, 2), (5, 40), (400, 30)])
def test_fitted_boxes_of_tiny_and_long_pictures(size):
    image = Image.new('RGB', size, 'teal')
    boxes = fit_boxes(image, blind(size, (4, 8)), torch.tensor([[.5, .5], [size[0] - .5, size[1] - .5]]))
    low, high = boxes[..., :2], boxes[..., 2:]
    assert boxes.shape == (2, 7, 4) and (low >= 0).all() and (low < high).all()
    assert (high <= torch.tensor(size)).all()


def test_more_boxes_than_there_are():
    image, seen = Image.new('RGB', (64, 64)), blind((64, 64))
    boxes = fit_boxes(image, seen, torch.tensor([[1., 1.]]), 64)
    assert boxes.shape == (1, 64, 4) and 1 < len({tuple(b) for b in boxes[0].tolist()}) < 64


def test_every_box_lies_on_the_grid():
    boxes = all_boxes((32, 40))
    assert len({tuple(b) for b in boxes.tolist()}) == len(boxes) > 20_000
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= torch.tensor([40, 32])).all()
    w, h = (boxes[:, 2:] - boxes[:, :2]).T
    assert min(w.min(), h.min()) == 5 and max(w.max(), h.max()) == 29


def test_proposals_by_name():
    image, seen, at = Image.new('RGB', (128, 128)), blind(), torch.tensor([[30., 40.]])
    assert torch.equal(propose_for(image, seen, at, Config(proposals='fitted', num_proposals=3)),
                       fit_boxes(image, seen, at, 3))
    assert torch.equal(propose_for(image, seen, at, Config(proposals='centred', min_size=.3, max_size=.5)),
                       propose(at, proposal_sizes(7, .3, .5), image.size))


def test_covered():
    assert covered((0, 0, 10, 10), (5, 5, 15, 15)) == .25 and covered((0, 0, 4, 4), (4, 0, 8, 4)) == 0
    assert covered((0, 0, 9, 9), (2, 3, 4, 5)) == 1


def test_an_edit_with_fitted_boxes_at_shifted_anchors():
    "Fewer anchors than asked for, and still one candidate each; boxes follow the picture's size."
    from regionedit import RegionEditor
    from regionedit.method.config import working_copy
    from stubs import StubClip, StubEditor, picture, stub_vit
    large = picture(512, 300).resize((1024, 600), Image.NEAREST)
    options = dict(prompt='a rocket', source='a cat', anchors='shifted', proposals='fitted',
                   ranking='all', num_proposals=3, learning_steps=2, progress=False)
    small, big = (RegionEditor(stub_vit(), StubClip(), StubEditor())(im, **options)
                  for im in (working_copy(large), large))
    k = len(small.table.boxes)
    assert 1 <= k <= 8 and small.table.boxes.shape == (k, 3, 4) == (len(small.candidates), 3, 4)
    assert torch.equal(big.table.boxes, 2 * small.table.boxes)
    assert small.num_edits == len({tuple(b) for b in small.table.boxes.flatten(0, 1).tolist()})
    assert [c.score for c in small.candidates] == sorted((c.score for c in small.candidates),
                                                         reverse=True)
