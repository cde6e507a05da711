"A budget is kept however it is searched, and what was not edited stays unknown."
from copy import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regionedit.method.budget import SEARCHES, Account, fill_within, halving, next_box, screening
from regionedit.method.config import CHOICES, Config, Task
from regionedit.method.core import Note
from regionedit import RegionEditor
from regionedit.method.estimators import ESTIMATORS
from regionedit import EditResult
from regionedit.method.table import EditCache
from stubs import StubClip, StubEditor, picture, stub_vit

INF = float('inf')

def account_of(scores, budget, index=None, price=1.):
    "An account over known values (k m), and the looks it was asked for."
    k, m = scores.shape
    asked = []
    def look(ids):
        asked.append(ids)
        return scores.flatten()[ids].tolist()
    account = Account(torch.arange(k * m).view(k, m) if index is None else index, budget,
                      price=price)
    account.look = look
    return account, asked

def follow(search, account, *args, **kwargs):
    "What the method does: look at what the search wants to see, and write the values down."
    for ids in search(account, *args, **kwargs):
        if ids: account.note(ids, account.look(ids))

def hills(seed, k=8, m=7):
    "Scores that rise and fall with size, and some anchors better than others."
    rng = np.random.default_rng(seed)
    top, height = rng.uniform(0, m - 1, (k, 1)), rng.uniform(0, 2, (k, 1))
    return torch.from_numpy(height - .1 * (np.arange(m) - top) ** 2)

def test_config_offers_what_exists(): assert set(CHOICES['search']) == set(SEARCHES)

@pytest.mark.parametrize('search', SEARCHES)
@pytest.mark.parametrize('price', [1., .25])
@pytest.mark.parametrize('k, m', [(8, 7), (1, 7), (8, 1), (1, 1), (3, 2)])
def test_a_budget_is_spent_to_the_last_and_never_beyond(search, price, k, m):
    scores = hills(0, k, m)
    for looks in range(1, k * m + 1):
        account, asked = account_of(scores, looks * price, price=price)
        follow(SEARCHES[search], account, 3)
        images = [u for ids in asked for u in ids]
        assert len(images) == len(set(images)) == looks and account.left == 0
        assert set(images) == set(account.values)

@pytest.mark.parametrize('search', SEARCHES)
def test_more_than_enough_fills_the_table(search):
    account, _ = account_of(hills(1), 100)
    follow(SEARCHES[search], account)
    assert torch.equal(account.known().double(), hills(1).float().double())

def test_shared_boxes_are_asked_for_once():
    index = torch.tensor([[0, 1], [0, 2], [2, 3]])
    for search in SEARCHES.values():
        account, asked = account_of(torch.tensor([[1., 2.], [3., 4.]]), 10, index=index)
        follow(search, account)
        assert sorted(u for ids in asked for u in ids) == [0, 1, 2, 3] and account.left == 6
        assert torch.equal(account.known(), torch.tensor([1., 2., 3., 4.])[index])

def test_the_next_box_is_a_neighbour_of_the_best():
    assert next_box(torch.full((7,), -INF), 5) == 5
    assert next_box(torch.tensor([-INF, -INF, .5, -INF]), 1) == 3
    assert next_box(torch.tensor([-INF, -INF, .5, .4]), 0) == 1
    assert next_box(torch.tensor([-INF, .1, .5, .4]), 3) == 0

def test_screening_asks_where_most_is_known_to_be_good():
    prior = torch.tensor([[.1, .2, .0], [.5, .1, .4], [.3, .3, .2]])
    assert screening(Account(torch.arange(9).view(3, 3), 5, prior)) == [
        (1, 0), (2, 0), (0, 1)]
    assert screening(Account(torch.arange(9).view(3, 3), 5)) == [(0, 2), (1, 2), (2, 2)]

def test_halving_with_a_prior_keeps_every_promise():
    scores, asked = hills(2), []
    def look(ids): asked.extend(ids); return scores.flatten()[ids].tolist()
    for budget in (1, 2, 5, 16, 56):
        asked.clear()
        account = Account(torch.arange(56).view(8, 7), budget, hills(9).float())
        account.look = look
        follow(halving, account)
        assert account.left == 0 and len(asked) == len(set(asked)) == budget

def test_halving_round_by_round():
    scores = torch.tensor([[0., 1, 2, 3, 4, 4.5, 6], [9, 8, 7, 6, 5, 4, 3], [0] * 7, [1] * 7],
                          dtype=torch.float)
    account, asked = account_of(scores, 10)
    follow(halving, account)
    assert [[divmod(u, 7) for u in ids] for ids in asked] == [[(0, 4), (1, 4), (2, 4), (3, 4)],
                                                                 [(1, 5), (0, 5)], [(1, 3)],
                                                                 [(1, 2)], [(1, 1)], [(1, 0)]]

def test_a_prior_that_is_right_saves_edits():
    "With the values themselves as prior the best box is the first that is looked at."
    for s in range(20):
        scores = hills(s).float()
        account, asked = account_of(scores, 8)
        account.prior = scores
        follow(halving, account)
        assert asked[0][0] == scores.argmax() and account.known().max() == scores.max()

def test_halving_finds_more_than_chance():
    found = {name: np.mean([_reached(SEARCHES[name], hills(s), s) for s in range(40)])
             for name in SEARCHES}
    assert found['halving'] > .97 > .96 > found['random'], found

def _reached(search, scores, seed):
    account, _ = account_of(scores, 16)
    follow(search, account, seed=seed)
    return account.known().max().item() / scores.max().item()

def test_random_is_a_uniform_subset():
    counts = torch.zeros(56)
    for s in range(400):
        account, asked = account_of(hills(0), 14)
        follow(SEARCHES['random'], account, seed=s)
        counts[asked[0]] += 1
    assert counts.sum() == 400 * 14 and abs(counts - 100).max() < 4.5 * (400 * .25 * .75)**.5

def test_a_value_that_is_no_number_counts_as_worst():
    scores = hills(3); scores[0, 4] = float('nan'); scores[1, 4] = INF
    account, _ = account_of(scores, 20)
    follow(halving, account)
    assert account.left == 0 and 0 * 7 + 5 not in account.values
    assert account.known()[0, 4] == -1e9 == account.known()[1, 4]

def test_what_is_searched_for_is_a_low_loss(monkeypatch):
    """Two proposals at each of four anchors; screening looks at the larger ones, then at the
    smaller ones where the loss was lowest."""
    import regionedit.method.budget as module
    boxes = torch.tensor([[[4 * i, 4 * i, 4 * i + s, 4 * i + s] for s in (6, 9)] for i in range(4)])
    order = []
    def measure(clip, task, edits, evidence):
        order.extend(e.box for e in edits)
        x = torch.tensor([float(e.box[0] % 16) for e in edits])
        return torch.stack([x, -x / 2, 0 * x, x, x], 1)       # the score rises with the loss
    def fill(**weights):
        models = SimpleNamespace(editor=StubEditor(), clip=None, cache=EditCache())
        fill_within(models,
                    Task(picture(32, 32), 'a rocket', 'a cat',
                         Config(budget=6, source_weight=0, **weights)), boxes)
    monkeypatch.setattr(module, 'measure', measure)
    fill(lambda_clip=1, lambda_dir=0)
    assert order[4:] == [tuple(boxes[0, 0].tolist()), tuple(boxes[1, 0].tolist())]
    order.clear()
    fill(lambda_clip=0, lambda_dir=1)
    assert order[4:] == [tuple(boxes[3, 0].tolist()), tuple(boxes[2, 0].tolist())]

def test_the_evidence_is_asked_for_before_any_edit(monkeypatch):
    "The source is seen best in the smaller box of the third anchor: that is the first edit."
    import regionedit.method.budget as module
    boxes = torch.tensor([[[4 * i, 4 * i, 4 * i + s, 4 * i + s] for s in (6, 9)] for i in range(4)])
    asked, order = [], []
    def seen_in(clip, task, boxes):
        asked.append(boxes)
        return torch.tensor([float(b[0] == 8 and b[2] == 14) for b in boxes])
    def measure(clip, task, edits, evidence):
        assert asked
        order.extend(e.box for e in edits)
        return torch.cat([torch.zeros(len(edits), 5), evidence[:, None]], 1)
    monkeypatch.setattr(module, 'seen_in', seen_in)
    monkeypatch.setattr(module, 'measure', measure)
    models = SimpleNamespace(editor=StubEditor(), clip=None, cache=EditCache())
    table = fill_within(models, Task(picture(32, 32), 'a rocket', 'a cat', Config(budget=5)), boxes)
    assert table.s_src[2, 0] == 1 and table.s_src.isnan().eq(~table.known).all()
    assert table.s_src.nansum() == 1
    assert len(asked) == 1 and len(asked[0]) == 8 and order[0] == (8, 8, 14, 14)
    assert order[4] == (8, 8, 17, 17)

# with an editor

@pytest.fixture
def editor(): return RegionEditor(stub_vit(), StubClip(), StubEditor())

SOME = dict(num_anchors=4, num_proposals=5, learning_steps=4, progress=False)

@pytest.mark.parametrize('options',
                         [dict(search='halving'), dict(search='random'),
                          dict(search='halving', preview_steps=2)])
@pytest.mark.parametrize('budget', [1, 2, 7, 12])
def test_the_editor_is_asked_for_no_more_than_the_budget(editor, budget, options):
    result = editor(picture(61, 43), 'a rocket', 'a cat', budget=budget, **options, **SOME)
    table = result.table
    assert editor.editor.windows == result.num_edits == budget == len(table.edits) + table.previews
    assert torch.equal(table.known, table.valid) and table.known.any()
    assert result.config.budget == budget
    assert all(v.isnan().eq(~table.known).all()
               for v in (*table.terms.values(), table.s_t2i, table.s_i2i))
    for i, j in table.known.nonzero().tolist():
        assert table.edits[table.index[i, j]].box == tuple(table.boxes[i, j].tolist())
    painted = table.painted if 'preview_steps' in options and budget > 1 else table.known
    assert torch.equal(table.painted, painted) and len(result.candidates) == painted.any(1).sum()
    assert {c.box for c in result.candidates} <= {e.box for e in table.edits}
    assert (
        result.trajectory.probabilities[:, table.known.any(1)][:, ~table.known[table.known.any(1)]]
        .eq(0)
        .all()
    ), 'no probability for what is not known'

def test_what_is_known_is_what_the_full_table_says(editor):
    full = editor(picture(61, 43), 'a rocket', 'a cat', **SOME).table
    part = editor(picture(61, 43), 'a rocket', 'a cat', budget=7, **SOME).table
    assert torch.equal(part.boxes, full.boxes)
    for t in full.terms:
        torch.testing.assert_close(part.terms[t][part.known], full.terms[t][part.known])

def test_a_budget_beyond_all_boxes_is_the_full_table(editor):
    full, part = (editor(picture(61, 43), 'a rocket', 'a cat', budget=b, **SOME)
                  for b in (None, 500))
    assert part.num_edits == full.num_edits and part.table.known.all() and part.box == full.box
    assert part.score == pytest.approx(full.score, abs=1e-6)

def test_previews_ask_for_fewer_steps(editor):
    asked = []
    fill = editor.editor.fill
    def note(images, masks, prompt, **kwargs):
        asked.append((len(images), kwargs['num_inference_steps']))
        return fill(images, masks, prompt, **kwargs)
    editor.editor.fill = note
    editor(picture(61, 43), 'a rocket', 'a cat', budget=9, preview_steps=2, num_inference_steps=5,
           **SOME)
    assert asked[0] == (4, 2) and asked[-1] == (1, 5) and all(n == 2 for _, n in asked[:-1])
    assert sum(n for n, _ in asked) == 9

def test_a_large_picture_keeps_its_unknown_boxes(editor):
    small = picture(512, 260)
    large = small.resize((1024, 520), 0)
    a, b = (editor(im, 'a rocket', 'a cat', budget=5, proposals='centred', **SOME).table
            for im in (small, large))
    assert torch.equal(2 * a.boxes, b.boxes)

def test_it_is_saved_with_the_result(editor, tmp_path):
    result = editor(picture(61, 43), 'a rocket', 'a cat', budget=9, preview_steps=2, **SOME)
    loaded = EditResult.load(result.save(tmp_path))
    assert loaded.num_edits == 9 and loaded.table.previews == 1 and loaded.config == result.config
    assert torch.equal(loaded.table.painted, result.table.painted) and loaded.table.painted.any()
    assert torch.equal(loaded.table.known, result.table.known)
    assert len(loaded.candidates) == len(result.candidates)
    assert loaded.table._repr_png_()[:4] == result._repr_png_()[:4] == b'\x89PNG'

@pytest.mark.parametrize('wrong',
                         [dict(budget=0), dict(budget=2.5), dict(search='all'),
                          dict(preview_steps=0)])
def test_bad_budgets_are_refused(wrong):
    with pytest.raises(ValueError, match='expected'): Config(**wrong)

class Thrifty(StubEditor):
    "Says what it does, and how it does less: a preview is a grey that tells the side of its box."
    steps, previews = 50, False
    def work(self, num_inference_steps=None, guidance_scale=None):
        return (1 if self.previews else 2) * (num_inference_steps or self.steps)
    def preview(self, num_inference_steps, count=1):
        cheap = copy(self)
        cheap.steps, cheap.previews, cheap.config = num_inference_steps, True, dict(preview=True)
        return cheap
    def fill(self, images, masks, prompt, **kwargs):
        assert not self.previews or kwargs['num_inference_steps'] is None
        LOG.append((self.previews, len(images)))
        return super().fill(images, masks, prompt, **kwargs)

LOG = []

@pytest.fixture
def thrifty():
    LOG.clear()
    return RegionEditor(stub_vit(), StubClip(), Thrifty(), public=True)

def looks(previews: bool): return sum(n for p, n in LOG if p is previews)

def test_many_are_previewed_and_few_painted(thrifty):
    "A budget of 5: 20 looks of .04 and 4 edits, or as many as there are anchors."
    result = thrifty(picture(61, 43), 'a rocket', 'a cat', **SOME)
    boxes = len(result.table.edits)
    assert (result.config.budget, result.config.preview_steps) == (5, 4)
    assert looks(True) == boxes == result.table.known.sum()     # all are different here
    painted = {e.box for e in result.table.edits if not e.preview}
    assert looks(False) == len(painted) == result.table.previews == len(result.candidates)
    assert result.evaluations == 4 * boxes + 100 * len(painted) <= 560
    assert result.num_edits == boxes + len(painted)
    assert {c.box for c in result.candidates} == painted
    assert all(not c.edit.preview for c in result.candidates)

def test_what_is_painted_are_the_best_choices(thrifty):
    result = thrifty(picture(61, 43), 'a rocket', 'a cat', budget=3, preview_steps=4, **SOME)
    chosen, k = result.trajectory.chosen[-1], torch.arange(4)
    looked = thrifty(picture(61, 43), 'a rocket', 'a cat', budget=2, preview_steps=4, **SOME)
    order = looked.table.score(looked.config)[k, chosen].argsort(descending=True)
    best = {tuple(result.table.boxes[i, chosen[i]].tolist()) for i in order[:2].tolist()}
    assert {c.box for c in result.candidates} >= best - {looked.box} and len(best) == 2

def test_what_is_painted_stands_in_the_table_as_in_a_full_one(thrifty):
    full = thrifty(picture(61, 43), 'a rocket', 'a cat', budget='full', **SOME)
    assert full.config.budget is full.config.preview_steps is None
    assert full.evaluations == 100 * len(full.table.edits) and full.table.painted.all()
    cheap = thrifty(picture(61, 43), 'a rocket', 'a cat', **SOME)
    where = cheap.table.painted
    for name in ('s_t2i', 's_i2i', 's_src'):
        torch.testing.assert_close(getattr(cheap.table, name)[where],
                                   getattr(full.table, name)[where])
    for t in full.table.terms:
        torch.testing.assert_close(cheap.table.terms[t][where], full.table.terms[t][where])

def test_previews_without_a_budget_paint_every_choice(thrifty):
    result = thrifty(picture(61, 43), 'a rocket', 'a cat', preview_steps=4, num_inference_steps=3,
                     **SOME)        # 20 x 6 are affordable, so there is no budget
    assert result.config.budget is None
    chosen = result.table.index[torch.arange(4), result.trajectory.chosen[-1]]
    assert looks(False) == len(set(chosen.tolist()))

def test_a_budget_too_small_for_all_previews_searches(thrifty):
    thrifty(picture(61, 43), 'a rocket', 'a cat', budget=2, preview_steps=5, **SOME)
    assert looks(True) == 20 and looks(False) == 1
    LOG.clear()
    thrifty(picture(60, 43), 'a rocket', 'a cat', budget=2, preview_steps=20, **SOME)
    assert looks(True) == 5 and looks(False) == 1

def test_a_preview_that_is_no_cheaper_is_none(thrifty):
    result = thrifty(picture(61, 43), 'a rocket', 'a cat', budget=3, preview_steps=50,
                     num_inference_steps=4, **SOME)
    assert looks(True) == 0 and looks(False) == 3 == len(result.table.edits)
    assert result.evaluations == 24 and result.table.painted.eq(result.table.known).all()

def test_callbacks_see_what_is_painted_only(thrifty):
    seen = []
    thrifty(picture(61, 43), 'a rocket', 'a cat', **SOME,
                     callback_on_step_end=lambda editor, *step: seen.append(editor.previews))
    assert seen and not any(seen)

def test_few_steps_need_no_previews(thrifty):
    assert thrifty.config(num_inference_steps=4).budget is None
    assert thrifty.config(num_inference_steps=50).budget == 5
    assert thrifty.config(num_inference_steps=20, budget=3).budget == 3
    assert RegionEditor(None, None, Thrifty()).config().budget is None

def test_a_chosen_edit_without_numbers_gives_way(thrifty, monkeypatch):
    fill = Thrifty.fill
    def sick(self, images, *args, **kwargs):
        made = fill(self, images, *args, **kwargs)
        return made if self.previews else [None, *made[1:]]
    monkeypatch.setattr(Thrifty, 'fill', sick)
    with pytest.warns(Note, match='not a number'):
        result = thrifty(picture(61, 43), 'a rocket', 'a cat', **SOME)
    assert len(result.candidates) == result.table.previews - 1
    with pytest.raises(ValueError, match='expected of the editor pixels that are numbers'):
        thrifty(picture(61, 43), 'a rocket', 'a cat', budget=2, preview_steps=4, **SOME)

@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_every_estimator_learns_from_a_partial_table(editor, estimator, monkeypatch):
    import regionedit.method.editor as module
    monkeypatch.setattr(module, 'surrogate_slopes',
                        lambda clip, task, table: torch.ones(*table.index.shape,
                                                                  table.index.shape[1]))
    result = editor(picture(61, 43), 'a rocket', 'a cat', budget=7, estimator=estimator, **SOME)
    assert result.num_edits == 7 and result.trajectory.probabilities.isfinite().all()
