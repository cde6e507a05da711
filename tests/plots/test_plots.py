"Plots: what is drawn lies where the numbers say; axes go in and come out."
import numpy as np
import pytest
import torch
from PIL import Image

import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt

from regionedit.plots import base as plots

WIDE = Image.new('RGB', (12, 6), 'navy')        # not square: a swap of x and y would show

@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)

CALLS = {
    'show_image': lambda ax: plots.show_image(WIDE, ax),
    'show_boxes': lambda ax: plots.show_boxes(WIDE, [(1, 2, 3, 4)], ax),
    'show_attention': lambda ax: plots.show_attention(WIDE, torch.rand(3, 6), ax),
    'show_anchors': lambda ax: plots.show_anchors(WIDE, torch.tensor([[1., 2.]]), ax),
    'show_proposals': lambda ax: plots.show_proposals(WIDE, torch.zeros(2, 3, 4).long(), ax=ax),
    'show_terms': lambda ax: plots.show_terms(torch.rand(2, 3), ax),
    'show_trajectory': lambda ax: plots.show_trajectory([2., 1.], ax=ax),
    'show_candidates': lambda ax: plots.show_candidates([WIDE, WIDE], ax=ax),
    'show_before_after': lambda ax: plots.show_before_after(WIDE, WIDE, ax=ax),
    'show_grid': lambda ax: plots.show_grid(torch.arange(6).view(2, 3), 'tokens', ax, mask_token_id=4),
    'show_maskgit': lambda ax: plots.show_maskgit([dict(tokens=torch.ones(2, 2), confidence=torch.full((2, 2), np.inf), unknown=torch.zeros(2, 2))] * 3, 9, ax, [WIDE] * 3),
    'show_steps': lambda ax: plots.show_steps([WIDE] * 10, ax),
}

def test_every_public_plot_is_listed_here():
    public = plots.__all__
    assert set(CALLS) == {name for name in public if name.startswith('show_')} and len(public) == len(set(public))

@pytest.mark.parametrize('name', CALLS)
def test_the_axis_that_is_given_comes_back(name, ax):
    count = len(plt.get_fignums())
    assert CALLS[name](ax) is ax and ax.has_data() and len(plt.get_fignums()) == count

@pytest.mark.parametrize('name', CALLS)
def test_without_an_axis_one_figure_is_made(name):
    before = set(plt.get_fignums())
    made = CALLS[name](None)
    assert set(plt.get_fignums()) - before == {made.figure.number}
    made.figure.canvas.draw()       # draws without an error
    plt.close(made.figure)

def pixel_at(ax, x, y):
    "The colour (RGB) that is drawn at data coordinates."
    ax.figure.canvas.draw()
    column, row = ax.transData.transform((x, y))
    drawn = np.asarray(ax.figure.canvas.buffer_rgba())
    return tuple(int(v) for v in drawn[drawn.shape[0] - 1 - int(row), int(column), :3])

def test_a_pixel_covers_its_half_open_stretch(ax):
    image = Image.new('RGB', (12, 6), (0, 0, 128))
    image.putpixel((7, 2), (255, 200, 0))
    plots.show_image(image, ax)
    for x, y in ((7.1, 2.1), (7.9, 2.9)): assert pixel_at(ax, x, y) == (255, 200, 0)
    for x, y in ((6.9, 2.5), (8.1, 2.5), (7.5, 1.9), (7.5, 3.1), (2.5, 3.5)): assert pixel_at(ax, x, y) == (0, 0, 128)

def test_boxes_stand_at_their_numbers(ax):
    patch, = plots.show_boxes(WIDE, torch.tensor([[1, 2, 9, 5]]), ax, labels=['a']).patches
    assert patch.get_bbox().extents.tolist() == [1, 2, 9, 5] and ax.texts[0].get_text() == 'a'

def test_attention_cells_lie_over_their_patches(ax):
    attention = torch.zeros(3, 6); attention[0, 4] = 1.      # row 0, column 4: pixels 8..10, 0..2
    plots.show_attention(WIDE, attention, ax, alpha=1.)
    bright, dark = pixel_at(ax, 9, 1), pixel_at(ax, 1, 5)
    assert sum(bright) > 500 and sum(dark) < 30 and pixel_at(ax, 3, 3) == dark

def test_plots_lie_over_each_other(ax):
    attention = torch.zeros(3, 6); attention[0, 4] = 1.
    plots.show_attention(WIDE, attention, ax, alpha=1.)
    before = pixel_at(ax, 9, 1)
    plots.show_boxes(WIDE, [(1, 1, 2, 2)], plots.show_anchors(WIDE, [(2, 5)], ax))
    assert pixel_at(ax, 9, 1) == before and len(ax.patches) == len(ax.lines) == 1

def test_proposals_share_the_colour_of_their_anchor(ax):
    boxes = torch.tensor([[[0, 0, 2, 2], [0, 0, 4, 4]], [[5, 1, 9, 5], [6, 2, 8, 4]]])
    plots.show_proposals(WIDE, boxes, torch.tensor([[1, 1], [7, 3]]), ax)
    edges = [p.get_edgecolor() for p in ax.patches]
    assert edges[0] == edges[1] != edges[2] == edges[3]
    assert [tuple(float(v) for v in line.get_xydata()[0]) for line in ax.lines] == [(1, 1), (7, 3)]
    assert matplotlib.colors.to_rgba(ax.lines[1].get_color()) == edges[2]

def test_terms_stand_in_rows_of_anchors(ax):
    terms = torch.tensor([[.11, .22, .33], [.44, .55, .66]])
    plots.show_terms(terms, ax, chosen=torch.tensor([2, 0]))
    at = {t.get_position(): t.get_text() for t in ax.texts}
    assert at[(2, 0)] == '0.33' and at[(0, 1)] == '0.44'
    assert [p.get_bbox().extents.tolist() for p in ax.patches] == [[1.5, -.5, 2.5, .5], [-.5, .5, .5, 1.5]]

def test_trajectory_follows_the_proposal_chosen_last(ax):
    probabilities = torch.tensor([[[.5, .5], [.6, .4]], [[.2, .8], [.9, .1]]])       # (t k m)
    plots.show_trajectory(torch.tensor([3., 1.]), probabilities, ax)
    assert ax.lines[0].get_ydata().tolist() == [3, 1]
    twin = next(a for a in ax.figure.axes if a is not ax)
    assert [np.round(line.get_ydata(), 6).tolist() for line in twin.lines] == [[.5, .8], [.6, .9]]

def test_the_edited_box_is_drawn_on_both_pictures(ax):
    plots.show_before_after(WIDE, WIDE, (3, 0, 9, 6), ax)
    (x0, y0, x1, y1), second = (p.get_bbox().extents.tolist() for p in ax.patches)
    assert (x0, y0, x1, y1) == pytest.approx((.5, 0, 1.5, 1))     # heights are 1, so 6 of 12 columns are one unit wide
    left, right = ax.images[1].get_extent()[:2]
    assert second[0] == pytest.approx(left + (right - left) * .25) and second[2] == pytest.approx(left + (right - left) * .75)

def test_unknown_tokens_are_white_and_equal_tokens_look_equal(ax):
    plots.show_grid(torch.tensor([[3, 8, 3], [9, 9, 1]]), 'tokens', ax, mask_token_id=8)
    a, hole, same, other = (pixel_at(ax, x, y) for x, y in ((.2, .2), (1.2, .2), (2.2, .2), (.2, 1.2)))
    assert a == same != other and hole == (255, 255, 255)

def test_known_cells_have_no_confidence(ax):
    plots.show_grid(torch.tensor([[np.inf, -3.], [-1., np.inf]]), 'confidence', ax)
    known, low, high = pixel_at(ax, .5, .5), pixel_at(ax, 1.5, .5), pixel_at(ax, .5, 1.5)
    assert len(set(known)) == 1 and sum(low) < sum(high)

def as_seen_without_green(colours) -> np.ndarray:      # (n 3), CIE Lab
    "Colours to a deuteranope (Machado et al. 2009, severity 1)."
    rgb = np.array([matplotlib.colors.to_rgb(c) for c in colours])
    light = np.where(rgb <= .04045, rgb / 12.92, ((rgb + .055) / 1.055)**2.4)
    eye = np.array([[.367322, .860646, -.227968], [.280085, .672501, .047413], [-.01182, .04294, .968881]])
    to_xyz = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]])
    xyz = (light @ eye.T).clip(0, 1) @ to_xyz.T / [.9505, 1, 1.089]
    f = np.where(xyz > .008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)

def nearest_pair(colours) -> float:
    lab = as_seen_without_green(colours)
    return min(np.linalg.norm(a - b) for i, a in enumerate(lab) for b in lab[:i])

def test_anchors_look_different_to_who_sees_no_green():
    "Of matplotlib's own colours the third and the fourth do not."
    usual = matplotlib.rcParamsDefault['axes.prop_cycle'].by_key()['color'][:7]
    assert nearest_pair(plots.COLOURS[:7]) > 15 > 8 > nearest_pair(usual)
