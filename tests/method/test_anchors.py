"Anchors: by hand, against brute force, and on grids whose cells are not square."
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from regionedit.method.regions import (METHODS, choose_anchors, shift_anchors, spread_anchors,
                                       top_anchors)
from regionedit.method.attention import Attention


def random_map(seed, gh=6, gw=9):
    return torch.from_numpy(np.random.default_rng(seed).random((gh, gw))).float()


def test_top_by_hand():
    m = torch.tensor([[0, 5, 0, 0], [0, 0, 0, 7], [6, 0, 0, 0]]).float()
    # cells of 20 x 20
    assert top_anchors(m, 3, (80, 60)).tolist() == [[70, 30], [10, 50], [30, 10]]
    assert top_anchors(m, 3, (40, 60)).tolist() == [[35, 30], [5, 50], [15, 10]]  # cells of 10 x 20
    assert top_anchors(m, 1, (80, 60)).dtype == torch.float32


@pytest.mark.parametrize('seed', range(5))
def test_top_against_numpy(seed):
    m = random_map(seed)
    rows, cols = np.unravel_index(np.argsort(-m.numpy(), axis=None)[:10], m.shape)
    assert np.allclose(top_anchors(m, 10, (90, 30)),
                       np.stack(((cols + .5) * 10, (rows + .5) * 5), 1))


def brute_force(m, k, size, share):
    "The rule in plain Python, written another way: walk, and start again at half the distance."
    gh, gw = m.shape
    points = [((c + .5) * size[0] / gw, (r + .5) * size[1] / gh) for r in range(gh)
              for c in range(gw)]
    points = [p for _, p in sorted(zip(m.flatten().tolist(), points), key=lambda pair: -pair[0])]
    taken, distance = [], share * min(size)
    while len(taken) < k:
        for p in points:
            if (len(taken) < k and p not in taken
                and all(np.hypot(p[0] - q[0], p[1] - q[1]) >= distance - 1e-6 for q in taken)):
                taken.append(p)
        distance /= 2
    return taken


@pytest.mark.parametrize('share', [0, .1, .12, .4, 3.])
@pytest.mark.parametrize('seed', range(3))
def test_spread_against_brute_force(seed, share):
    m = random_map(seed)
    assert np.allclose(spread_anchors(m, 12, (90, 30), share), brute_force(m, 12, (90, 30), share))


def test_spread_keeps_its_distance():
    for seed in range(5):
        anchors = spread_anchors(random_map(seed, 16, 16), 8, (128, 128), .2)
        assert pdist(anchors.numpy()).min() >= .2 * 128 - 1e-4
        assert torch.equal(anchors[0], top_anchors(random_map(seed, 16, 16), 1, (128, 128))[0])


def test_distance_is_a_share_of_the_shorter_side():
    m = torch.arange(20, 0, -1.).view(1, 20)
    assert spread_anchors(m, 3, (200, 10), 3.)[:, 0].tolist() == [5, 35, 65]    # 30 pixels, not 600


@pytest.mark.parametrize('rule', METHODS.values())
def test_constant_map_and_every_patch(rule):
    flat = torch.full((3, 4), .25)
    assert rule(flat, 1, (40, 30)).tolist() == [[5, 5]]
    everywhere = rule(flat, 12, (40, 30))
    assert len({tuple(p) for p in everywhere.tolist()}) == 12
    assert torch.equal(everywhere, rule(flat, 12, (40, 30)))
    assert torch.equal(rule(torch.full((16, 16), 1 / 256), 2, (128, 128))[0],
                       torch.tensor([4., 4.]))


def test_constant_map_top_is_reading_order():
    assert top_anchors(torch.ones(20, 30), 31,
                       (30, 20)).tolist() == [[i + .5, .5] for i in range(30)] + [[.5, 1.5]]


@pytest.mark.parametrize('rule', METHODS.values())
def test_refusals(rule):
    with pytest.raises(ValueError, match='1 to 12 anchors.*got 13'):
        rule(torch.ones(3, 4), 13, (40, 30))
    with pytest.raises(ValueError, match='got 0'): rule(torch.ones(3, 4), 0, (40, 30))
    with pytest.raises(ValueError, match='finite'):
        rule(torch.full((3, 4), float('nan')), 2, (40, 30))
    with pytest.raises(ValueError, match='gh gw'): rule(torch.ones(2, 3, 4), 2, (40, 30))


@pytest.mark.parametrize('distance', [-.1, float('nan'), float('inf')])
def test_distance_refused(distance):
    with pytest.raises(ValueError, match='min_distance'):
        spread_anchors(torch.ones(3, 4), 2, (40, 30), distance)


def test_choose_averages_heads():
    maps = torch.zeros(2, 2, 3)
    maps[0, 0, 0], maps[1, 0, 0] = .5, .5
    maps[0, 1, 2] = .9
    seen = Attention(maps, torch.zeros(1, 2, 3), (60, 20))
    assert choose_anchors(seen, 'topk', 2).tolist() == [[10, 5], [50, 15]]      # .5 beats .45
    assert torch.equal(choose_anchors(seen, k=3), spread_anchors(seen.mean, 3, (60, 20)))
    with pytest.raises(ValueError, match="'middle'"): choose_anchors(seen, 'middle', 2)


def thing_at(x, y, w, h, grid=(8, 16)):
    "Features of a ground and of one thing, in cells."
    features = torch.zeros(2, *grid); features[0] = 1
    features[:, y:y + h, x:x + w] = torch.tensor([0., 1.])[:, None, None]
    return Attention(torch.full((1, *grid), 1 / grid[0] / grid[1]), features,
                     (grid[1] * 10, grid[0] * 20))        # cells of 10 x 20


@pytest.mark.parametrize('x, y', [(3, 2), (10, 1), (7, 4)])
def test_shifted_anchors_meet_in_the_middle_of_the_thing(x, y):
    seen = thing_at(x, y, 3, 2)
    corners = torch.tensor([[10. * x + 5, 20 * y + 10], [10. * x + 25, 20 * y + 30]])
    moved = shift_anchors(seen, corners, steps=20)
    assert moved.shape == (1, 2)
    assert (moved[0] - torch.tensor([10. * x + 15, 20 * y + 20])).abs().max() < 1


def test_a_shifted_anchor_stays_in_the_picture_and_where_all_is_alike():
    flat = Attention(torch.full((1, 6, 9), 1 / 54), torch.ones(3, 6, 9), (90, 60))
    anchors = spread_anchors(random_map(1, 6, 9), 8, (90, 60))
    for seen in (flat, Attention(flat.maps, torch.zeros(3, 6, 9), (90, 60))):
        moved = shift_anchors(seen, anchors)
        assert moved.isfinite().all() and (moved > 0).all() and (moved < torch.tensor([90, 60])).all()
    assert torch.equal(choose_anchors(flat, 'shifted', 8),
                       shift_anchors(flat, spread_anchors(flat.mean, 8, (90, 60))))
