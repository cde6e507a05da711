"""Explorers driven as a mouse would: set a value, click a button, look at the state, the picture
and the numbers."""
import io, math, subprocess, sys
from dataclasses import replace

import pytest
import torch
from PIL import Image

import ipywidgets
from regionedit import EditResult, RegionEditor
from regionedit.method.attention import attend
from regionedit.widgets.attention import AttentionExplorer, attend_layers
from regionedit.widgets.base import Panel, png
from regionedit.widgets.explore import BeforeAfter, Explorer, curtain
from regionedit.widgets.learning import LearningPlayer, learn_again
from regionedit.widgets.ranking import RankingExplorer, flips, winners
from regionedit.widgets.regions import RegionExplorer, anchor_points, shades
from stubs import StubClip, StubEditor, picture, stub_result, stub_vit

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A result of three anchors and four proposals on a picture of 60 x 40, saved."
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor())
    made = editor(picture(60, 40), 'a rocket', 'a cat', num_anchors=3, num_proposals=4,
                  learning_steps=12, min_size=.3, max_size=.9, source_weight=0, progress=False)
    return made.save(tmp_path_factory.mktemp('result'))

@pytest.fixture(scope='module')
def result(folder): return EditResult.load(folder)

@pytest.fixture(scope='module')
def deep_vit():
    from timm.models.vision_transformer import VisionTransformer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vit = VisionTransformer(img_size=48, patch_size=8, embed_dim=24, depth=3, num_heads=2,
                                num_classes=0, dynamic_img_size=True).eval()
        with torch.no_grad():
            for block in vit.blocks: block.attn.qkv.weight.mul_(20)
    return vit

def changed(panel, act) -> list:
    "For each view in turn: does it show something else after `act()`?"
    views = [view for line in panel.rows for view in line]
    before = [view.value for view in views]
    act()
    for view in views: assert Image.open(io.BytesIO(view.value)).format == 'PNG'
    return [view.value != old for view, old in zip(views, before)]

def setter(control, value): return lambda: setattr(control, 'value', value)

# --- attention

def test_attention_of_a_layer_is_that_of_the_network_cut_off_above_it(deep_vit):
    maps, blocks = attend_layers(deep_vit, picture(60, 40)), deep_vit.blocks
    try:
        for depth in (1, 2, 3):
            deep_vit.blocks = blocks[:depth]
            assert torch.equal(maps[depth - 1], attend(deep_vit, picture(60, 40)).maps)
    finally: deep_vit.blocks = blocks
    assert not torch.allclose(maps[0], maps[1])

def test_attention_controls_change_what_they_should(deep_vit, monkeypatch):
    panel = AttentionExplorer(deep_vit, picture(60, 40), num_anchors=3)
    # no control may ask the network again
    monkeypatch.setattr(type(deep_vit), 'forward_features', None)
    assert changed(panel, setter(panel.mass, .3)) == [False, True, False]
    assert changed(panel, setter(panel.layer, 1)) == [True, True, True]
    assert changed(panel, setter(panel.head, 1)) == [True, True, False]
    assert torch.equal(panel.attention_shown(), panel.maps[0, 1])
    panel.head.value = -1
    assert torch.allclose(panel.attention_shown(), panel.maps[0].mean(0))
    assert changed(panel, setter(panel.x, 3)) == [True, True, False]

def test_anchors_by_rule_and_by_hand(deep_vit):
    panel = AttentionExplorer(deep_vit, picture(60, 40), num_anchors=3)
    start = panel.anchors
    peak = panel.attention_shown().argmax().item()
    columns, rows = panel.maps.shape[3], panel.maps.shape[2]
    assert start[0].tolist() == pytest.approx([(peak % columns + .5) * 60 / columns,
                                               (peak // columns + .5) * 40 / rows])
    panel.hold(x=7, y=35)
    assert changed(panel, panel.add.click) == [True, True, False]
    assert panel.anchors[-1].tolist() == [7.5, 35.5] and len(panel.anchors) == 4
    panel.remove.click()
    assert torch.equal(panel.anchors, start)
    for _ in range(5): panel.remove.click()
    assert panel.anchors.shape == (0, 2)
    panel.renew.click()
    assert torch.equal(panel.anchors, start)

def test_attention_numbers(deep_vit):
    panel = AttentionExplorer(deep_vit, picture(60, 40), num_anchors=1)
    panel.hold(x=59, y=0, mass=.05)
    a = panel.attention_shown()
    facts = dict(panel.facts())
    assert facts['attention at the cross'] == f'{a[0, -1] * a.numel():.1f} x the mean'
    count = int((a.flatten().sort(descending=True).values.cumsum(0) < .05).sum()) + 1
    assert facts['patches that hold 5%'] == f'{count} of {a.numel()}'
    assert facts['anchors among them'] == '1 of 1'

def test_a_click_puts_an_anchor_on_a_patch_or_takes_it_away(deep_vit):
    panel = AttentionExplorer(deep_vit, picture(60, 40), num_anchors=2)
    rows, columns = panel.maps.shape[2:]
    assert (len(panel.patches), len(panel.patches[0])) == (rows, columns)
    start, free = panel.anchors, next((i, j) for i in range(rows) for j in range(columns)
                                      if not any((int(x * columns / 60),
                                                  int(y * rows / 40)) == (j, i)
                                                 for x, y in panel.anchors.tolist()))
    middle = [(free[1] + .5) * 60 / columns, (free[0] + .5) * 40 / rows]
    assert changed(panel, panel.patches[free[0]][free[1]].click) == [True, True, False]
    assert panel.anchors[-1].tolist() == pytest.approx(middle)
    assert [panel.x.value, panel.y.value] == [int(v) for v in middle]
    # the cross is there already
    assert changed(panel, panel.patches[free[0]][free[1]].click) == [True, True, False]
    assert torch.equal(panel.anchors, start)
    x, y = start[0].tolist()
    panel.patches[int(y * rows / 40)][int(x * columns / 60)].click()
    assert torch.equal(panel.anchors, start[1:])
    panel.patches[0][0].click(); panel.patches[-1][-1].click()
    assert panel.anchors[-1][0] > 60 - 60 / columns

@pytest.mark.parametrize('size', [(60, 40), (20, 90), (200, 40)])
def test_the_buttons_lie_on_the_picture(deep_vit, size):
    "Their margins against the place of the picture on the drawing, shares of the width."
    panel = AttentionExplorer(deep_vit, picture(*size))
    layout = panel.panel.children[1].children[0].children[0].children[0].children[1].layout
    top, side, bottom = (float(v.strip('%')) for v in layout.padding.split())
    from regionedit.widgets.base import ground, new_axis
    ax = ground(panel.image, new_axis(*panel.shape, top=.3))
    ax.apply_aspect()
    figure, place = ax.figure.bbox, ax.get_window_extent()
    assert (100 * (figure.height - place.y1) / figure.width, 100 * place.x0 / figure.width,
            100 * place.y0 / figure.width) == pytest.approx((top, side, bottom), abs=.02)

def test_a_fine_grid_has_at_most_400_buttons():
    from timm.models.vision_transformer import VisionTransformer
    fine = VisionTransformer(img_size=100, patch_size=4, embed_dim=8, depth=1, num_heads=2,
                             num_classes=0, dynamic_img_size=True).eval()
    panel = AttentionExplorer(fine, picture(100, 100), num_anchors=1)
    assert panel.maps.shape[2:] == (25, 25) and sum(map(len, panel.patches)) == 400
    panel.patches[19][0].click()
    assert panel.anchors[-1].tolist() == pytest.approx([2.5, 97.5])

def test_an_explorer_of_the_wrong_thing_says_so(result):
    with pytest.raises(ValueError, match='editor.vit'): AttentionExplorer(picture(60, 40), None)
    for panel in (RegionExplorer, RankingExplorer, BeforeAfter, Explorer):
        with pytest.raises(ValueError, match='EditResult.load'): panel('out/apple')

# --- regions

def test_anchors_come_back_in_their_own_order(result):
    best = [(tuple(c.anchor), c.box) for c in result.candidates]
    points = anchor_points(result)
    assert sorted(map(tuple, points.tolist())) == sorted(a for a, _ in best)
    for k, point in enumerate(points.tolist()):
        assert (tuple(point), tuple(result.trajectory.boxes[-1, k].tolist())) in best
    alone = replace(result, candidates=result.candidates[:1])
    assert anchor_points(alone).isfinite().all(1).sum() == 1

def test_two_anchors_that_chose_the_same_box_stay_apart():
    result = stub_result()
    first, second = (replace(c, box=(0, 0, 37, 21), score=.5) for c in result.candidates[::-1])
    same = replace(result.trajectory,
                   boxes=result.trajectory.boxes.clone().index_fill_(0, torch.tensor([2]), 0))
    same.boxes[-1] = torch.tensor([0, 0, 37, 21])
    assert anchor_points(replace(result, candidates=[first, second], trajectory=same)).tolist() == [
        [4.125, 5.5], [32.5, 12.25]]

def test_every_entry_shows_the_numbers_and_the_edit_of_the_table(result):
    panel, table = RegionExplorer(result), result.table
    loss = sum(table.terms.values())
    for (k, m), u in zip([(k, m) for k in range(3) for m in range(4)],
                         table.index.flatten().tolist()):
        panel.buttons[k][m].click()
        assert panel.entry == (k, m)
        facts = {name.split(' (')[0]: rest for name, *rest in panel.facts()}
        assert facts['dir'] == [float(table.terms['dir'][k, m]), float(table.terms['dir'][k].min()),
                                float(table.terms['dir'].min())]
        assert facts['text similarity'] == [float(table.s_t2i[k, m]), float(table.s_t2i[k].max()),
                                            float(table.s_t2i.max())]
        assert facts['loss'][0] == pytest.approx(float(loss[k, m]))
        assert facts['probability'][0] == float(result.trajectory.probabilities[-1, k, m])
        assert panel.edit_shown().tobytes() == table.edits[u].paste(result.source_image).tobytes()
        assert ('The network chose it' in panel.sentence()) == (m
                                                                == result.trajectory.chosen[-1, k])
        assert ('lowest loss of its anchor' in panel.sentence()) == (m == loss[k].argmin())

def test_the_map_shows_the_term_that_is_asked_for(result):
    panel = RegionExplorer(result)
    for name in ('str', 'source similarity'):
        panel.term.value = name
        values = result.table.terms['str'] if name == 'str' else result.table.s_i2i
        shown = [[float(b.description.removeprefix('✓ ')) for b in line] for line in panel.buttons]
        assert torch.allclose(torch.tensor(shown), values, atol=.0051)
        k, m = divmod(int((values if name == 'source similarity' else -values).argmax()), 4)
        assert panel.buttons[k][m].style.button_color == '#58be78'
    marked = [[b.description.startswith('✓') for b in line].index(True) for line in panel.buttons]
    assert marked == result.trajectory.chosen[-1].tolist()

def test_regions_pictures_follow_the_entry(result):
    panel = RegionExplorer(result)
    assert tuple(result.table.boxes[panel.entry].tolist()) == result.box
    assert changed(panel, setter(panel.anchor, (panel.anchor.value + 1) % 3)) == [True, True]
    assert changed(panel, setter(panel.whole, True)) == [False, True]
    border = [(i, j) for i, line in enumerate(panel.buttons) for j, b in enumerate(line)
              if 'black' in str(b.layout.border)]
    assert border == [panel.entry]

def test_walking_by_arrows_and_to_the_best(result):
    panel = RegionExplorer(result)
    panel.hold(anchor=0, proposal=0)
    for name, entry in (('up', (0, 0)), ('left', (0, 0)), ('right', (0, 1)), ('down', (1, 1)),
                        ('left', (1, 0)), ('up', (0, 0))):
        panel.moves[name].click()
        assert panel.entry == entry, name
        assert [(i, j) for i, line in enumerate(panel.buttons) for j, b in enumerate(line)
                if 'black' in str(b.layout.border)] == [entry]
    for _ in range(4): panel.moves['down'].click(); panel.moves['right'].click()
    assert panel.entry == (2, 3)
    panel.moves['best'].click()
    assert panel.values['loss'][panel.entry] == panel.values['loss'].min()

def test_shared_and_missing_edits_are_said():
    panel = RegionExplorer(stub_result())
    panel.hold(anchor=0, proposal=2)
    assert 'the same edit, as (1, 2)' in panel.sentence()
    result = stub_result()
    holes = {t: v.clone().index_fill_(1, torch.tensor([1]), math.nan)
             for t, v in result.table.terms.items()}
    table = replace(result.table, index=torch.tensor([[0, -1, 2], [3, -1, 2]]), terms=holes)
    panel = RegionExplorer(replace(result, table=table))
    panel.hold(anchor=0, proposal=1)
    assert panel.edit_shown() is None and 'It was not edited.' in panel.sentence()
    assert panel.buttons[0][1].description.endswith('–')
    panel.picture()

def test_many_entries_are_a_drawing_instead_of_buttons(result, monkeypatch):
    monkeypatch.setattr('regionedit.widgets.regions.MOST_BUTTONS', 11)
    panel = RegionExplorer(result)
    before = panel.map.value
    panel.proposal.value = (panel.proposal.value + 1) % 4
    assert panel.buttons == [] and panel.grid is panel.map and panel.map.value != before

def test_shades_of_a_flat_or_an_empty_map():
    assert shades(torch.ones(1, 2)) == [['#ffffff'] * 2]
    assert shades(torch.full((1, 1), math.nan)) == [['#dddddd']]

# --- learning

def test_playing_moves_the_step_and_the_pictures(result):
    player = LearningPlayer(result)
    assert player.step.value == 12 and changed(player, setter(player.play, 0))[2:] == [True, True]
    assert player.step.value == 0
    moved = changed(player, setter(player.step, 12))
    assert player.play.value == 12 and moved[0] and moved[2]

def test_learning_again_asks_no_editor_and_finds_the_best(result):
    config, best = result.config, result.table.loss(result.config).argmin(1)
    longer = replace(result, config=replace(config, learning_steps=60))
    assert learn_again(longer, 'exact').chosen[-1].tolist() == best.tolist()
    with pytest.raises(ValueError, match='clip='): learn_again(result, 'gumbel')

def test_with_the_vit_learning_again_is_learning_the_same(result):
    again = learn_again(result, 'exact', stub_vit())
    assert torch.allclose(again.probabilities, result.trajectory.probabilities, atol=.01)

def test_the_buttons_add_runs_against_the_one_that_is_shown(result):
    player = LearningPlayer({'mine': result})
    assert player.again['gumbel'].disabled and player.against.value == 'nothing'
    moved = changed(player, player.again['released'].click)
    assert player.run.value == 'mine' and player.against.value == 'released, again' and moved[1]
    assert moved[2]
    rows = {name: rest for name, *rest in player.facts()}
    assert rows['mine'][0] == float(result.trajectory.expected_loss[-1])
    first = player.runs['released, again'].expected_loss
    assert (first == first[0]).all() and rows['released, again'][0] == float(first[0])
    player.again['rloo'].click(); player.again['rloo'].click()
    assert list(player.runs) == ['mine', 'released, again', 'rloo, again'] == list(
        player.run.options)

def test_learning_numbers_are_those_of_the_step(result):
    player = LearningPlayer(result)
    player.step.value = 3
    (name, loss, sure, at_best), = player.facts()
    t, table = result.trajectory, result.table.loss(result.config)
    assert loss == float((t.probabilities[3] * table).sum(-1).mean())
    assert sure == pytest.approx(float(t.probabilities[3].max(-1).values.mean()))
    assert (
        at_best
        == f'{sum(int(table[k, j] == table[k].min()) for k, j in enumerate(t.chosen[3].tolist()))}'
        ' of 3'
    )

def test_anchors_without_an_edit_do_not_count(result):
    "Two of three anchors have losses; their expected loss by hand."
    index, hole = result.table.index.clone(), torch.zeros(3, 4, dtype=torch.bool)
    hole[1], hole[2, 3] = True, True
    index[hole] = -1
    table = replace(result.table, index=index,
                    terms={t: v.masked_fill(hole, math.nan) for t, v in result.table.terms.items()})
    chosen = result.trajectory.chosen.clone()
    # a proposal that was not edited is not the best, however its loss is filled in
    chosen[-1, 2] = 3
    player = LearningPlayer(replace(result, table=table,
                                    trajectory=replace(result.trajectory, chosen=chosen)))
    loss, p = sum(table.terms.values()), result.trajectory.probabilities[-1]
    loss[2, 3] = loss[2, :3].max()
    (_, value, sure, at_best), = player.facts()
    assert value == pytest.approx(float(((p * loss)[0].sum() + (p * loss)[2].sum()) / 2), rel=1e-5)
    assert sure == pytest.approx(float((p[0].max() + p[2].max()) / 2))
    assert at_best == f'{int(chosen[-1, 0] == loss[0].argmin())} of 2'

def test_estimators_stand_against_each_other(result):
    short = replace(result,
                    trajectory=replace(result.trajectory,
                                       **{f: getattr(result.trajectory, f)[:5]
                                          for f in ('probabilities', 'chosen', 'boxes', 'terms',
                                                    'expected_loss')}))
    player = LearningPlayer({'long': result, 'short': short})
    assert player.against.value == 'short' and player.step.max == 12
    for curves in player.curves.options:
        # beyond the end of the short run
        for anchor in (-1, 2): player.hold(curves=curves, anchor=anchor, step=9)
    assert changed(player, setter(player.run, 'short'))[0]
    for wrong in ({}, [result], 'out/apple', None):
        with pytest.raises(ValueError, match='expected an EditResult, or a dict'):
            LearningPlayer(wrong)
    with pytest.raises(ValueError, match='expected an EditResult, got'):
        LearningPlayer({'mine': result.trajectory})

@pytest.mark.parametrize('low, high', [(1.04249, 1.04251), (-.00002, .00003), (123456., 123457.)])
def test_no_label_is_cut_off(result, low, high, monkeypatch):
    from regionedit.widgets import learning
    drawn = []
    monkeypatch.setattr(learning, 'png', lambda ax: drawn.append(ax) or png(ax))
    player = LearningPlayer(result)
    monkeypatch.setattr(player, 'expected',
                        lambda name: torch.linspace(low, high, 13, dtype=torch.double))
    drawn.clear()
    player.curves.value = 'loss terms'
    for ax in drawn[-2:]:
        seen, whole = ax.get_tightbbox(), ax.figure.bbox
        assert ax.get_ylabel() and seen.x0 >= 0 and seen.y0 >= 0 and seen.y1 <= whole.height
        assert ax.get_position().width > .5

# --- ranking

def test_at_rest_the_order_is_the_results_own(result):
    panel = RankingExplorer(result)
    assert [tuple(result.table.boxes[e].tolist()) for e in panel.candidates()] == [
        c.box for c in result.candidates]

@pytest.mark.parametrize('seed', range(20))
def test_flips_are_where_brute_force_changes_its_winner(seed):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 6, generator=g, dtype=torch.double)
    found, edges, (a, b) = flips(a, b), [0.], (a.tolist(), b.tolist())
    for ratio, below, above in found:
        assert ratio > edges[-1]
        just_below, just_above = (max(range(6), key=lambda i: a[i] * ratio * (1 - 1e-9) + b[i]),
                                  max(range(6), key=lambda i: a[i] * ratio * (1 + 1e-9) + b[i]))
        assert (just_below, just_above) == (below, above)
        edges.append(ratio)
    # between two flips nothing changes
    for low, high in zip(edges, edges[1:] + [edges[-1] * 2 + 1]):
        seen = {max(range(6), key=lambda i: a[i] * r + b[i])
                for r in torch.linspace(low, high, 52)[1:-1].tolist()}
        assert len(seen) == 1
    assert max(range(6), key=lambda i: a[i] * 1e9 + b[i]) == (found[-1][2] if found
                                                              else b.index(max(b)))

def test_the_map_of_winners_is_brute_force():
    g = torch.Generator().manual_seed(3)
    a, b, alphas, betas = (torch.rand(5, generator=g), torch.rand(5, generator=g),
                           torch.linspace(0, 4, 7), torch.linspace(0, 2, 5))
    slow = [[max(range(5), key=lambda i: ((x * a[i] + y * b[i]).item(), -i)) for x in alphas]
            for y in betas]
    assert winners(a, b, alphas, betas).tolist() == slow

def test_weights_of_the_score_sort_again(result):
    panel, table = RankingExplorer(result), result.table
    panel.hold(alpha=0., beta=1.)
    kept = [(k, m) for k, m in enumerate(result.trajectory.chosen[-1].tolist())]
    assert panel.candidates() == sorted(kept, key=lambda e: -float(table.s_i2i[e]))
    assert panel.boxes.value == 'learned'
    panel.hold(alpha=1., beta=0.)
    assert panel.candidates() == sorted(kept, key=lambda e: -float(table.s_t2i[e]))
    assert 'beta = 0' in panel.sentence()
    assert f'anchor {panel.candidates()[0][0]} wins' in panel.sentence()

def test_weights_of_the_losses_choose_other_boxes(result):
    panel, table = RankingExplorer(result), result.table
    order = panel.candidates()
    moved = changed(panel,
                    lambda: [setattr(panel.weights[t], 'value', v)
                             for t, v in dict(clip=0., dir=0., str=2.).items()])
    assert moved[0] and panel.boxes.value == 'best of the table'
    assert dict(panel.candidates()) == dict(enumerate(table.terms['str'].argmin(1).tolist()))
    panel.reset.click()
    assert panel.boxes.value == 'learned' and panel.candidates() == order
    assert panel.weights['str'].value == 1.

def test_an_anchor_without_an_edit_is_no_candidate():
    result = stub_result()
    terms = {t: v.clone() for t, v in result.table.terms.items()}
    for v in terms.values(): v[0] = math.nan
    panel = RankingExplorer(replace(result,
                                    table=replace(result.table,
                                                  index=torch.tensor([[-1, -1, -1], [3, 4, 2]]),
                                                  terms=terms)))
    assert [k for k, _ in panel.candidates()] == [1]
    assert 'It wins at every ratio' in panel.sentence()
    panel.boxes.value = 'best of the table'
    assert [k for k, _ in panel.candidates()] == [1]

# --- results of every kind

def one_state(result):
    "As the amortised network leaves it: one look, few edits."
    keep = torch.zeros(3, 4, dtype=torch.bool)
    keep[torch.arange(3), result.trajectory.chosen[-1]] = torch.tensor([True, True, False])
    table = replace(result.table, index=result.table.index.masked_fill(~keep, -1),
                    **{f: getattr(result.table, f).masked_fill(~keep, math.nan)
                       for f in ('s_t2i', 's_i2i')},
                    terms={t: v.masked_fill(~keep, math.nan)
                           for t, v in result.table.terms.items()})
    boxes = [tuple(b) for b in result.trajectory.boxes[-1].tolist()]
    path = replace(result.trajectory,
                   **{f: getattr(result.trajectory, f)[-1:]
                      for f in ('probabilities', 'chosen', 'boxes', 'terms', 'expected_loss')})
    return replace(result, table=table, trajectory=path,
                   candidates=[c for c in result.candidates if c.box in boxes[:2]])

def random_boxes(result):
    """One random box an anchor, ranked, nothing learned: the baseline of the paper's region
    ablation."""
    from regionedit.bench.baselines import random_sizes
    from regionedit.method.result import Candidate
    from types import SimpleNamespace
    from regionedit.method.config import Config, Task
    from regionedit.method.table import EditCache, fill_table
    points = torch.tensor([[9., 8.], [30., 20.], [55., 35.]])
    models = SimpleNamespace(editor=StubEditor(), clip=StubClip(), cache=EditCache())
    boxes = random_sizes(points, (60, 40), torch.Generator().manual_seed(4))[:, None]
    table = fill_table(models,
                       Task(result.source_image, 'a rocket', 'a cat', Config(source_weight=0)),
                       boxes)
    score = (2 * table.s_t2i + table.s_i2i)[:, 0]
    candidates = [Candidate(tuple(table.boxes[k, 0].tolist()), tuple(points[k].tolist()),
                            float(score[k]), float(table.s_t2i[k, 0]), float(table.s_i2i[k, 0]),
                            {t: float(v[k, 0]) for t, v in table.terms.items()},
                            table.edits[table.index[k, 0]], result.source_image)
                  for k in score.argsort(descending=True).tolist()]
    return replace(result, table=table, candidates=candidates, trajectory=None)

class HoleClip(StubClip):
    "Has no number for the second picture of a batch that follows the source."
    def encode_images(self, images):
        found = super().encode_images(images)
        if len(images) > 2: found.pooled[2] = math.nan
        return found

def made(clip=None, size=(60, 40), **options):
    editor = RegionEditor(stub_vit(), clip or StubClip(), StubEditor())
    return editor(picture(*size), 'a rocket', 'a cat', progress=False,
                  **{**dict(num_anchors=3, num_proposals=3, learning_steps=5), **options})

KINDS = {       # name -> what makes it of the learned result; which tabs there are
    'learned': (lambda r: r, 4), 'without its learning': (lambda r: replace(r, trajectory=None), 3),
    'in one look': (one_state, 3), 'random boxes': (random_boxes, 3),
    'learned again': (lambda r: replace(r, trajectory=learn_again(r, 'released')), 4),
    'one box': (lambda r: made(num_anchors=1, num_proposals=1), 4),
    'random search': (lambda r: made(budget=4, search='random'), 4),
    'tall': (lambda r: made(size=(20, 120)), 4), 'flat': (lambda r: made(size=(150, 20)), 4)}

@pytest.mark.parametrize('name', KINDS)
def test_every_kind_of_result_opens(result, name, tmp_path):
    make, tabs = KINDS[name]
    kind = make(result)
    if kind.trajectory is not None: kind = EditResult.load(kind.save(tmp_path/'saved'))
    explorer = kind.explore()
    assert len(explorer.panel.children) == len(explorer.parts) == tabs
    for i, part in enumerate(explorer.parts.values()):
        explorer.panel.selected_index = i
        assert explorer.picture().tobytes() == part.picture().tobytes()
    sheet = kind.compare(60)
    assert sheet.height == 60
    assert sheet.width == 3 * round(60 * kind.source_image.width / kind.source_image.height) + 16
    panel, ranking = explorer.parts['regions'], explorer.parts['ranking']
    assert tuple(kind.table.boxes[panel.entry].tolist()) == kind.box
    if name != 'learned again':
        assert [tuple(kind.table.boxes[e].tolist()) for e in ranking.candidates()] == [
            c.box for c in kind.candidates]
    for c in kind.candidates: assert list(c.anchor) in anchor_points(kind).tolist()
    ranking.boxes.value = 'best of the table'; panel.moves['best'].click()

def test_a_candidate_that_is_no_number():
    from regionedit.method.core import Note
    with pytest.warns(Note, match='not a number'):
        kind = made(HoleClip(), num_proposals=1, source_weight=0.)
    explorer, hole = kind.explore(), kind.left_out
    assert len(kind.candidates) == 2 and len(hole) == 1
    explorer.parts['regions'].hold(anchor=hole[0][0], proposal=0)
    assert 'It is left out: a loss or a similarity came out as no number.' in explorer.parts[
        'regions'].sentence()
    assert '>nan<' not in explorer.parts['regions'].numbers.value
    assert hole[0] not in explorer.parts['ranking'].candidates()
    assert explorer.parts['learning'].facts()[0][3].endswith('of 2')

def test_a_result_without_learning_steps_is_told_so(result):
    with pytest.raises(ValueError, match='expected results with the steps of their learning'):
        LearningPlayer(replace(result, trajectory=None))
    path = result.trajectory
    for wrong in (replace(path, probabilities=path.probabilities[:, :2]),
                  replace(path, expected_loss=path.expected_loss[:0])):
        for panel in (LearningPlayer, RegionExplorer, RankingExplorer, Explorer):
            with pytest.raises(ValueError,
                               match='expected learning steps of 3 anchors and 4 proposals'):
                panel(replace(result, trajectory=wrong))
    with pytest.raises(ValueError, match='out of the table'):
        RegionExplorer(replace(result,
                               candidates=[replace(result.candidates[0], box=(0, 0, 2, 2))]))

def test_one_look_has_nothing_to_play(result):
    player = LearningPlayer(one_state(result))
    assert player.step.disabled and player.play.disabled
    assert 'no steps to play' in player.panel.children[0].value
    player.again['exact'].click()
    assert not player.step.disabled and player.step.max == 12

# --- all of it

def test_the_curtain_shows_both(result):
    panel = BeforeAfter(result)
    assert changed(panel, setter(panel.share, .5)) == [True, False]
    assert changed(panel, setter(panel.place, 2)) == [True, False]
    assert panel.candidate is result.candidates[1]
    before, after = result.source_image, panel.candidate.image
    half = curtain(before, after, .25)
    assert half.crop((0, 0, 45, 40)).tobytes() == before.crop((0, 0, 45, 40)).tobytes()
    assert half.crop((45, 0, 60, 40)).tobytes() == after.crop((45, 0, 60, 40)).tobytes()

def test_explore_opens_four_tabs(result):
    explorer = result.explore()
    assert isinstance(explorer, Explorer) and len(explorer.panel.children) == 4
    sizes = set()
    for i in range(4):
        explorer.panel.selected_index = i
        sizes.add(explorer.picture().size)
    assert len(sizes) > 1
    assert all(isinstance(part, Panel) and isinstance(part.panel, ipywidgets.Widget)
               for part in explorer.parts.values())

def test_exploring_a_saved_result_loads_no_model(folder):
    code = ('import sys; from regionedit import EditResult; '
            'e = EditResult.load(sys.argv[1]).explore(); e.picture(); '
            'e.parts["learning"].again["exact"].click()\nprint([m for m in ("timm", "diffusers", '
            '"transformers", "open_clip") if m in sys.modules])')
    run = subprocess.run([sys.executable, '-c', code, str(folder)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == '[]'

def test_a_panel_shows_a_widget_and_a_sentence(result, monkeypatch):
    shown = []
    monkeypatch.setattr('IPython.display.display', lambda data, raw: shown.append(data))
    panel = BeforeAfter(result)
    panel._ipython_display_()
    assert shown[0]['application/vnd.jupyter.widget-view+json']['model_id'] == panel.panel.model_id
    assert 'BeforeAfter' in shown[0]['text/plain']

def test_values_that_are_held_are_drawn_once(result):
    panel, count = BeforeAfter(result), []
    panel.watch(lambda: count.append(0), panel.share, panel.place)
    panel.hold(share=.5, place=2)
    assert len(count) == 2                                  # once at the beginning, once for both
    with pytest.raises(AttributeError): panel.hold(share=.1, nowhere=1)
    panel.share.value = .7
    assert len(count) == 4  # after an error it draws again as before

def test_words_of_others_are_escaped(result):
    panel = BeforeAfter(replace(result, prompt='<img src=x onerror=alert(1)>'))
    assert '<img' not in panel.numbers.value and '&lt;img' in panel.numbers.value

def test_a_drawing_with_its_controls(result):
    import matplotlib.pyplot as plt
    from regionedit.widgets.base import live
    asked = []
    def draw(a, b):
        asked.append((a, b))
        ax = plt.subplots(figsize=(1, 1))[1]
        ax.plot([a, b])
        return ax
    before = plt.get_fignums()
    box = live(draw, a=ipywidgets.IntSlider(1), b=ipywidgets.IntSlider(2))
    first = box.children[-1].value
    box.children[0].value = 7
    assert asked == [(1, 2), (7, 2)] and box.children[-1].value != first
    assert plt.get_fignums() == before

def test_drawings_are_not_kept_by_pyplot(result):
    import matplotlib.pyplot as plt
    before = plt.get_fignums()
    result.explore()
    assert plt.get_fignums() == before
