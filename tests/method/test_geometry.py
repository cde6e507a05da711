"""Boxes, windows and proposals of any picture, drawn by hypothesis and held against torchvision and
plain counting."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.ops import box_iou as reference

from regionedit.method.core import box_iou, contains, scale_box
from regionedit.method.edits import box_mask, crop_window, paste_edit
from regionedit.method.regions import proposal_sizes, propose, roi_features
from regionedit.method.regions import METHODS
from stubs import picture

SIDE = st.integers(1, 60) | st.integers(1, 5000)
SIZE = st.tuples(SIDE, SIDE)
QUICK = settings(max_examples=200)

@st.composite
def boxed(draw, size=SIZE, count=1):
    "A picture's size, and boxes inside it."
    w, h = draw(size)
    def box():
        x, y = (sorted(draw(st.tuples(st.integers(0, w), st.integers(0, w)))),
                sorted(draw(st.tuples(st.integers(0, h), st.integers(0, h)))))
        x0, y0 = min(x[0], w - 1), min(y[0], h - 1)
        return x0, y0, max(x[1], x0 + 1), max(y[1], y0 + 1)
    return (w, h), *(box() for _ in range(count))

def inside(box, size) -> bool:
    return 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]

SMALL = st.tuples(st.integers(1, 40), st.integers(1, 40))

@pytest.mark.slow
@given(boxed(SMALL, 2))
@QUICK
def test_iou_counts_pixels(case):
    size, a, b = case
    in_a, in_b = (np.asarray(box_mask(box, size)) > 0 for box in (a, b))
    assert box_iou(a, b) == pytest.approx((in_a & in_b).sum() / (in_a | in_b).sum())
    assert box_iou(a, b) == box_iou(b, a) and box_iou(a, a) == 1
    assert box_iou(a,
                   b) == pytest.approx(reference(torch.tensor([a]).float(),
                                                 torch.tensor([b]).float()).item(), abs=1e-5)
    assert contains(a, b[:2]) == bool(in_a[b[1], b[0]])

@given(boxed(), SIZE)
@QUICK
def test_a_scaled_box_is_whole_and_inside(case, target):
    size, box = case
    found = scale_box(box, size, target)
    assert all(type(v) is int for v in found) and inside(found, target)
    assert scale_box(box, size, size) == box
    assert all(abs(f - v * t / s) <= 1.5 for f, v, t, s in zip(found, box, target * 2, size * 2))

@given(boxed(), st.floats(0, 3))
@QUICK
def test_a_window_holds_its_box(case, context):
    size, box = case
    window = crop_window(box, size, context)
    assert inside(window, size) and window[0] <= box[0] and window[1] <= box[1]
    assert window[2] >= box[2] and window[3] >= box[3]

@given(boxed(SMALL), st.integers(0, 99))
@settings(max_examples=60)
def test_pasting_changes_the_box_only(case, seed):
    size, box = case
    source, edit = picture(*size, seed), picture(16, 16, seed + 1)
    result = np.asarray(paste_edit(source, edit, crop_window(box, size), box))
    assert (result == np.asarray(source))[np.asarray(box_mask(box, size)) == 0].all()

@given(SIZE, st.integers(1, 12), st.floats(.01, 1), st.floats(.01, 1),
       st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
@QUICK
def test_proposals_are_boxes_around_their_anchors(size, m, low, high, places):
    sizes = proposal_sizes(m, min(low, high), max(low, high))
    anchors = torch.tensor([[x * size[0], y * size[1]] for x, y in places])
    boxes = propose(anchors, sizes, size)
    assert boxes.shape == (len(places), m, 4)
    assert all(inside(b, size) for b in boxes.flatten(0, 1).tolist())
    for (x, y), row in zip(anchors.tolist(), boxes.tolist()):
        for small, large in zip(row, row[1:]):
            assert large[2] - large[0] >= small[2] - small[0]
            assert large[3] - large[1] >= small[3] - small[1]
        for b in row:
            assert b[0] - .5 <= min(x, size[0] - .5) and b[2] + .5 >= x
            assert b[1] - .5 <= min(y, size[1] - .5) and b[3] + .5 >= y

@given(boxed(), st.integers(1, 9), st.integers(1, 9), st.sampled_from(['pool', 'align']))
@QUICK
def test_features_of_any_box_are_numbers_of_the_map(case, gw, gh, method):
    size, box = case
    features = torch.randn(2, gh, gw, generator=torch.Generator().manual_seed(gw))
    found = roi_features(features, torch.tensor([[box]]), size, pool=3, method=method)
    assert found.shape == (1, 1, 2, 3, 3) and found.isfinite().all()
    if method == 'pool': assert set(found.flatten().tolist()) <= set(features.flatten().tolist())

@given(st.sampled_from(sorted(METHODS)), st.integers(1, 9), st.integers(1, 9), SIZE, st.data())
@QUICK
def test_anchors_of_any_map_lie_in_the_picture(method, gw, gh, size, data):
    k = data.draw(st.integers(1, gw * gh))
    values = data.draw(st.sampled_from(['constant', 'ramp', 'random']))
    attention = dict(constant=torch.full((gh, gw), .25),
                     ramp=torch.arange(gh * gw).view(gh, gw).float(),
                     random=torch.rand(gh, gw, generator=torch.Generator().manual_seed(k)))[values]
    anchors = METHODS[method](attention, k, size)
    assert anchors.shape == (k, 2) and len({tuple(a) for a in anchors.tolist()}) == k
    assert all(contains((0, 0, *size), a) for a in anchors.tolist())
