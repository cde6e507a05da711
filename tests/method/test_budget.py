"A budget is kept however it is searched, and what was not edited stays unknown."
import numpy as np
import pytest
import torch

from regionedit.method.budget import SEARCHES, Account, fill_within, halving, next_box, screening
from regionedit.method.config import CHOICES, Config
from regionedit import RegionEditor
from regionedit.method.estimators import ESTIMATORS
from regionedit import EditResult
from stubs import StubClip, StubEditor, picture, stub_vit

INF = float('inf')

def account_of(scores, budget, previews=None, index=None):
    "An account over known values (k m), and the looks it was asked for."
    k, m = scores.shape
    asked = []
    def look(ids, preview):
        asked.append((ids, preview))
        return (previews if preview else scores).flatten()[ids].tolist()
    return Account(torch.arange(k * m).view(k, m) if index is None else index, budget, look), asked

def hills(seed, k=8, m=7):
    "Scores that rise and fall with size, and some anchors better than others."
    rng = np.random.default_rng(seed)
    top, height = rng.uniform(0, m - 1, (k, 1)), rng.uniform(0, 2, (k, 1))
    return torch.from_numpy(height - .1 * (np.arange(m) - top) ** 2)

def test_config_offers_what_exists(): assert set(CHOICES['search']) == set(SEARCHES)

@pytest.mark.parametrize('search', SEARCHES)
@pytest.mark.parametrize('preview', [False, True])
@pytest.mark.parametrize('k, m', [(8, 7), (1, 7), (8, 1), (1, 1), (3, 2)])
def test_a_budget_is_spent_to_the_last_and_never_beyond(search, preview, k, m):
    scores = hills(0, k, m)
    for budget in range(1, k * m + 1):
        account, asked = account_of(scores, budget, scores)
        SEARCHES[search](account, preview, 3)
        images = [(u, p) for ids, p in asked for u in ids]
        assert len(images) == len(set(images)) == budget and account.left == 0
        assert len(account.full) >= 1, 'at least one edit is kept'
        assert {u for u, p in images if not p} == set(account.full)

@pytest.mark.parametrize('search', SEARCHES)
@pytest.mark.parametrize('preview', [False, True])
def test_more_than_enough_fills_the_table(search, preview):
    account, _ = account_of(hills(1), 100, hills(1))
    SEARCHES[search](account, preview)
    assert torch.equal(account.known().double(), hills(1).float().double())

def test_shared_boxes_are_asked_for_once():
    index = torch.tensor([[0, 1], [0, 2], [2, 3]])
    for search in SEARCHES.values():
        account, asked = account_of(torch.tensor([[1., 2.], [3., 4.]]), 10, index=index)
        search(account)
        assert sorted(u for ids, _ in asked for u in ids) == [0, 1, 2, 3] and account.left == 6
        assert torch.equal(account.known(), torch.tensor([1., 2., 3., 4.])[index])

def test_the_next_box_is_a_neighbour_of_the_best():
    assert next_box(torch.full((7,), -INF), 5) == 5
    assert next_box(torch.tensor([-INF, -INF, .5, -INF]), 1) == 3
    assert next_box(torch.tensor([-INF, -INF, .5, .4]), 0) == 1
    assert next_box(torch.tensor([-INF, .1, .5, .4]), 3) == 0

def test_screening_asks_where_most_is_known_to_be_good():
    prior = torch.tensor([[.1, .2, .0], [.5, .1, .4], [.3, .3, .2]])
    assert screening(Account(torch.arange(9).view(3, 3), 5, None, prior)) == [
        (1, 0), (2, 0), (0, 1)]
    assert screening(Account(torch.arange(9).view(3, 3), 5, None)) == [(0, 2), (1, 2), (2, 2)]

@pytest.mark.parametrize('preview', [False, True])
def test_halving_with_a_prior_keeps_every_promise(preview):
    scores, asked = hills(2), []
    def look(ids, preview):
        asked.extend((u, preview) for u in ids); return scores.flatten()[ids].tolist()
    for budget in (1, 2, 5, 16, 56):
        asked.clear()
        account = Account(torch.arange(56).view(8, 7), budget, look, prior=hills(9).float())
        halving(account, preview)
        assert account.left == 0 and len(asked) == len(set(asked)) == budget and account.full
    assert {u for u, p in asked if not p} == set(account.full)

def test_halving_round_by_round():
    scores = torch.tensor([[0., 1, 2, 3, 4, 4.5, 6], [9, 8, 7, 6, 5, 4, 3], [0] * 7, [1] * 7],
                          dtype=torch.float)
    account, asked = account_of(scores, 10)
    halving(account)
    assert [[divmod(u, 7) for u in ids] for ids, _ in asked] == [[(0, 4), (1, 4), (2, 4), (3, 4)],
                                                                 [(1, 5), (0, 5)], [(1, 3)],
                                                                 [(1, 2)], [(1, 1)], [(1, 0)]]

def test_halving_with_previews_confirms_the_survivors():
    scores = hills(2)
    account, asked = account_of(scores, 16, scores + .01)
    halving(account, preview=True)
    best = (scores[:, 4]).argsort(descending=True).tolist()
    assert asked[0] == ([i * 7 + 4 for i in range(8)], True)
    assert asked[1] == ([i * 7 + 4 for i in best[:4]], False) and all(not p for _, p in asked[1:])
    assert len(account.full) == 8

def test_a_prior_that_is_right_saves_edits():
    "With the values themselves as prior the best box is the first that is looked at."
    for s in range(20):
        scores = hills(s).float()
        account, asked = account_of(scores, 8)
        account.prior = scores
        halving(account)
        assert asked[0][0][0] == scores.argmax() and account.known().max() == scores.max()

def test_halving_finds_more_than_chance():
    found = {name: np.mean([_reached(SEARCHES[name], hills(s), s) for s in range(40)])
             for name in SEARCHES}
    assert found['halving'] > .97 > .96 > found['random'], found

def _reached(search, scores, seed):
    account, _ = account_of(scores, 16)
    search(account, seed=seed)
    return account.known().max().item() / scores.max().item()

def test_random_is_a_uniform_subset():
    counts = torch.zeros(56)
    for s in range(400):
        account, asked = account_of(hills(0), 14)
        SEARCHES['random'](account, seed=s)
        counts[asked[0][0]] += 1
    assert counts.sum() == 400 * 14 and abs(counts - 100).max() < 4.5 * (400 * .25 * .75)**.5

def test_a_value_that_is_no_number_counts_as_worst():
    scores = hills(3); scores[0, 4] = float('nan'); scores[1, 4] = INF
    account, _ = account_of(scores, 20)
    halving(account)
    assert account.left == 0 and 0 * 7 + 5 not in account.full
    assert account.known()[0, 4] == -1e9 == account.known()[1, 4]

def test_what_is_searched_for_is_a_low_loss(monkeypatch):
    """Two proposals at each of four anchors; screening looks at the larger ones, then at the
    smaller ones where the loss was lowest."""
    import regionedit.method.budget as module
    boxes = torch.tensor([[[4 * i, 4 * i, 4 * i + s, 4 * i + s] for s in (6, 9)] for i in range(4)])
    order = []
    def measure(clip, image, edits, *texts):
        order.extend(e.box for e in edits)
        x = torch.tensor([float(e.box[0] % 16) for e in edits])
        return dict(clip=x, dir=-x / 2, str=0 * x), x, x       # the score rises with the loss
    monkeypatch.setattr(module, 'measure', measure)
    fill_within(picture(32, 32), boxes, 'a rocket', 'a cat', StubEditor(), None,
                Config(budget=6, lambda_clip=1, lambda_dir=0, source_weight=0))
    assert order[4:] == [tuple(boxes[0, 0].tolist()), tuple(boxes[1, 0].tolist())]
    order.clear()
    fill_within(picture(32, 32), boxes, 'a rocket', 'a cat', StubEditor(), None,
                Config(budget=6, lambda_clip=0, lambda_dir=1, source_weight=0))
    assert order[4:] == [tuple(boxes[3, 0].tolist()), tuple(boxes[2, 0].tolist())]

def test_the_evidence_is_asked_for_before_any_edit(monkeypatch):
    "The source is seen best in the smaller box of the third anchor: that is the first edit."
    import regionedit.method.budget as module
    boxes = torch.tensor([[[4 * i, 4 * i, 4 * i + s, 4 * i + s] for s in (6, 9)] for i in range(4)])
    asked, order = [], []
    def evidence(clip, image, boxes, source):
        asked.append(boxes); return torch.tensor([float(b[0] == 8 and b[2] == 14) for b in boxes])
    def measure(clip, image, edits, *texts):
        assert asked
        order.extend(e.box for e in edits)
        x = torch.zeros(len(edits))
        return dict(clip=x, dir=x, str=x), x, x
    monkeypatch.setattr(module, 'source_evidence', evidence)
    monkeypatch.setattr(module, 'measure', measure)
    table = fill_within(picture(32, 32), boxes, 'a rocket', 'a cat', StubEditor(), None,
                        Config(budget=5))
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
    assert len(result.candidates) == table.known.any(1).sum()
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
    assert asked[0] == (4, 2) and all(n == 5 for _, n in asked[1:])
    assert sum(n for n, _ in asked) == 9

def test_a_large_picture_keeps_its_unknown_boxes(editor):
    small = picture(512, 260)
    large = small.resize((1024, 520), 0)
    a, b = (editor(im, 'a rocket', 'a cat', budget=5, **SOME).table for im in (small, large))
    assert torch.equal(2 * a.boxes, b.boxes)

def test_it_is_saved_with_the_result(editor, tmp_path):
    result = editor(picture(61, 43), 'a rocket', 'a cat', budget=9, preview_steps=2, **SOME)
    loaded = EditResult.load(result.save(tmp_path))
    assert loaded.num_edits == 9 and loaded.table.previews == 4 and loaded.config == result.config
    assert torch.equal(loaded.table.known, result.table.known)
    assert len(loaded.candidates) == len(result.candidates)
    assert loaded.table._repr_png_()[:4] == result._repr_png_()[:4] == b'\x89PNG'

@pytest.mark.parametrize('wrong',
                         [dict(budget=0), dict(budget=2.5), dict(search='all'),
                          dict(preview_steps=0)])
def test_bad_budgets_are_refused(wrong):
    with pytest.raises(ValueError, match='expected'): Config(**wrong)

@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_every_estimator_learns_from_a_partial_table(editor, estimator, monkeypatch):
    import regionedit.method.editor as module
    monkeypatch.setattr(module, 'surrogate_slopes',
                        lambda clip, image, table, *a: torch.ones(*table.index.shape,
                                                                  table.index.shape[1]))
    result = editor(picture(61, 43), 'a rocket', 'a cat', budget=7, estimator=estimator, **SOME)
    assert result.num_edits == 7 and result.trajectory.probabilities.isfinite().all()
