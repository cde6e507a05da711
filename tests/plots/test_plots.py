"Plots: what is drawn lies where the numbers say; axes go in and come out."
import numpy as np
import pytest
import torch
from PIL import Image

import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt

from regionedit.plots import base as plots, attention as plots_attention, choice as plots_choice, editors as plots_editors

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
    'show_mass': lambda ax: plots_attention.show_mass(WIDE, torch.rand(3, 6), .6, ax),
    'show_heads': lambda ax: plots_attention.show_heads(WIDE, torch.rand(7, 3, 6), ax),
    'show_chosen': lambda ax: plots_choice.show_chosen(WIDE, torch.zeros(2, 3, 4).long(), torch.tensor([2, 0]), ax=ax),
    'show_path': lambda ax: plots_choice.show_path(WIDE, torch.zeros(5, 2, 4).long(), 3, ax),
    'show_curves': lambda ax: plots_choice.show_curves(dict(a=torch.rand(5), b=[1., 2.]), ax, step=3),
    'show_probabilities': lambda ax: plots_choice.show_probabilities(torch.rand(5, 3), ax),
    'show_scores': lambda ax: plots_choice.show_scores([.1, .2], [.5, -.1], ax=ax),
    'show_winners': lambda ax: plots_choice.show_winners([[0, 1], [0, 0]], [0, 1], [0, 1], ax, at=(.5, .5)),
    'show_grid': lambda ax: plots_editors.show_grid(torch.arange(6).view(2, 3), 'tokens', ax, mask_token_id=4),
    'show_maskgit': lambda ax: plots_editors.show_maskgit([dict(tokens=torch.ones(2, 2), confidence=torch.full((2, 2), np.inf), unknown=torch.zeros(2, 2))] * 3, 9, ax, [WIDE] * 3),
    'show_steps': lambda ax: plots_editors.show_steps([WIDE] * 10, ax),
}

def test_every_public_plot_is_listed_here():
    public = [name for module in (plots, plots_attention, plots_choice, plots_editors) for name in module.__all__]
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

@pytest.mark.parametrize('mass', [.05, .6, .95, 1.])
def test_a_mass_region_is_what_dino_keeps(mass):
    "DINO's rule (visualize_attention.py): sort upwards, keep what lies above 1 - mass of the running sum."
    values = torch.rand(5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    ascending, order = (values.flatten() / values.sum()).sort()
    kept = torch.zeros(35, dtype=torch.bool)
    kept[order] = ascending.cumsum(0) > 1 - mass + 1e-9
    assert plots_attention.mass_region(values, mass).ravel().tolist() == kept.tolist()

def test_outside_the_mass_region_the_picture_is_dark(ax):
    attention = torch.zeros(3, 6); attention[0, 4] = 1.
    plots_attention.show_mass(WIDE, attention, .6, ax)
    assert pixel_at(ax, 9, 1) == (0, 0, 128) and sum(pixel_at(ax, 1, 5)) < 40

def test_heads_lie_in_rows_of_tiles(ax):
    plots_attention.show_heads(WIDE, torch.rand(3, 3, 6), ax, columns=2)
    corners = [im.get_extent()[0::3] for im in ax.images]
    assert corners[0] == corners[1] and corners[2][1] == corners[0][1] and corners[4][0] == corners[0][0] and corners[4][1] > corners[0][1]

def test_chosen_boxes_are_those_of_the_choice(ax):
    boxes = torch.arange(24).view(2, 3, 4)
    plots_choice.show_chosen(WIDE, boxes, torch.tensor([2, 0]), ax=ax)
    assert [p.get_bbox().extents.tolist() for p in ax.patches[6:]] == [[8, 9, 10, 11], [12, 13, 14, 15]]

def test_a_path_shows_the_box_of_its_step_and_pale_ones_of_the_past(ax):
    a, b, c = (0, 0, 2, 2), (1, 1, 5, 5), (2, 2, 9, 6)
    plots_choice.show_path(WIDE, torch.tensor([a, a, b, b, c])[:, None], 3, ax)
    drawn = [(tuple(p.get_bbox().extents.tolist()), p.get_alpha()) for p in ax.patches]
    assert drawn == [(a, .5), (b, 1)]

def test_scores_stand_best_first_and_end_where_they_should(ax):
    plots_choice.show_scores([.1, .3, .2], [.9, .2, .6], 2, 1, ax, ['x', 'y', 'z'])
    assert [t.get_text() for t in ax.get_yticklabels()] == ['x', 'z', 'y']                 # 1.1, 1.0, .8
    ends = [p.get_x() + p.get_width() for p in ax.patches]
    assert ends == pytest.approx([.2, .4, .6, 1.1, 1., .8])

def test_the_map_of_winners_has_alpha_across_and_beta_up(ax):
    plots_choice.show_winners([[0, 0, 1], [0, 0, 0]], [0, 1, 2], [0, 1], ax)
    assert pixel_at(ax, 1.9, .1) != pixel_at(ax, 1.9, .9) == pixel_at(ax, .1, .1)
    assert [t.get_text() for t in ax.texts] == ['0', '1']

def test_unknown_tokens_are_white_and_equal_tokens_look_equal(ax):
    plots_editors.show_grid(torch.tensor([[3, 8, 3], [9, 9, 1]]), 'tokens', ax, mask_token_id=8)
    a, hole, same, other = (pixel_at(ax, x, y) for x, y in ((.2, .2), (1.2, .2), (2.2, .2), (.2, 1.2)))
    assert a == same != other and hole == (255, 255, 255)

def test_known_cells_have_no_confidence(ax):
    plots_editors.show_grid(torch.tensor([[np.inf, -3.], [-1., np.inf]]), 'confidence', ax)
    known, low, high = pixel_at(ax, .5, .5), pixel_at(ax, 1.5, .5), pixel_at(ax, .5, 1.5)
    assert len(set(known)) == 1 and sum(low) < sum(high)
