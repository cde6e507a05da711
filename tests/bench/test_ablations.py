"Books hold what the package itself computes; ablations read them as a few lines of numpy do."
import numpy as np
import pytest
import torch

from regionedit.bench import ablations
from regionedit.bench.ablations import (LOSSES, OWN, RATIOS, baselines, by_chance, choices, count_ablation, evidence_ablation, fact, floor_of, head_hits, loss_ablation, network_ablation, own, proposal_ablation,
                                        ranking_ablation, reached, template_ablation, variant, winner)
from regionedit.bench.ablations import FACTS, TEMPLATES, make_book, make_books, read_books
from regionedit.bench.report import as_table
from regionedit.bench.rows import FIRST, draw_case
from regionedit.method.config import Config
from regionedit import RegionEditor
from regionedit.pocket.judge import Recogniser
from regionedit.method.regions import propose
from regionedit.method.table import TERMS
from stubs import StubClip, StubEditor, stub_vit

CONFIG = Config(learning_steps=2)

@pytest.fixture(scope='module')
def models(): return RegionEditor(stub_vit(), StubClip(), StubEditor(), 'stub')

@pytest.fixture(scope='module')
def judge():
    torch.manual_seed(0)
    return Recogniser().eval()

@pytest.fixture(scope='module')
def books(models, judge): return {(FIRST + i, 0): make_book(models, judge, draw_case(FIRST + i, 0), CONFIG) for i in range(2)}

# aspects

def test_aspects_keep_area_and_centre():
    anchors, sizes = torch.tensor([[60., 70.], [64., 64.]]), torch.tensor([.2, .3])
    found = propose(anchors, sizes, (128, 128), (.5, 1., 2.)).double()
    w, h = (found[..., 2] - found[..., 0]), (found[..., 3] - found[..., 1])
    assert found.shape == (2, 6, 4) and torch.equal(propose(anchors, sizes, (128, 128)).double(), found[:, 1::3])
    assert ((w / h - torch.tensor([.5, 1, 2] * 2)).abs() < .06).all() and ((w * h).sqrt() - 128 * sizes.repeat_interleave(3)).abs().max() < 1
    assert ((found[..., :2] + found[..., 2:]) / 2 - anchors[:, None]).abs().max() <= .5

def test_a_flat_box_is_cut_at_the_border():
    boxes = propose(torch.tensor([[20., 20.]]), torch.tensor([.9]), (40, 40), (9.,))
    assert boxes[0, 0, 0] == 0 and boxes[0, 0, 2] == 40 and boxes[0, 0, 3] - boxes[0, 0, 1] == 12

# books

@pytest.mark.slow
def test_a_books_numbers_are_the_methods(models, books):
    "The part of the book that is the method's table says what the method's table says."
    case = draw_case(FIRST, 0)
    result = models(case.task.image, case.task.prompt, case.task.source, seed=0, progress=False, learning_steps=2)
    book = books[FIRST, 0]
    index = own(book)
    assert torch.equal(book['boxes'][index], result.table.boxes)
    for t in TERMS: assert torch.allclose(fact(book, t)[index], result.table.terms[t], atol=1e-5)
    for name in ('s_t2i', 's_src'): assert torch.allclose(fact(book, name)[index], getattr(result.table, name), atol=1e-5)
    assert torch.allclose(sum(fact(book, t) for t in TERMS)[index] - Config.source_weight * fact(book, 's_src')[index], result.table.loss(result.config), atol=1e-5)
    assert torch.equal(book['learned.pool'], result.trajectory.chosen[-1])

def test_no_box_is_edited_twice(books):
    for book in books.values():
        assert len({tuple(b) for b in book['boxes'].tolist()}) == len(book['boxes']) == len(book['facts']) == book['templates'].shape[1]
        assert set(torch.cat([v.flatten() for k, v in book.items() if k.startswith('set.')]).tolist()) == set(range(len(book['boxes'])))

@pytest.mark.slow
def test_what_is_replaced_is_what_a_row_says(models, judge, books):
    "A book and a row of the benchmark call the same box replaced, covered, gone."
    from regionedit.bench.baselines import Outcome
    from regionedit.bench.rows import measures_of
    from regionedit.method.config import Task
    from regionedit.method.table import fill_table
    case, book = draw_case(FIRST, 0), books[FIRST, 0]
    boxes = book['boxes'][:20]
    table = fill_table(models, Task(case.task.image, case.task.prompt, case.task.source, Config(seed=0)), boxes[:, None])
    for i, edit in enumerate(table.edits):
        row = measures_of(models, judge, case, Outcome(edit.box, 0., edit, 1, 0.))
        for ours, theirs in (('replaced', 'replaced'), ('covered', 'covered'), ('gone', 'gone'), ('iou', 'iou'), ('recogniser_says', 'recogniser')):
            assert fact(book, ours)[i].item() == pytest.approx(row[theirs]), (ours, edit.box)

def test_the_template_none_is_the_table(books):
    for book in books.values(): assert torch.allclose(book['templates'][list(TEMPLATES).index('none')], book['facts'][:, :2], atol=1e-4)

def test_books_are_saved_and_gone_on_with(models, judge, tmp_path, monkeypatch):
    made = []
    def quick(models, judge, case, config): made.append(case.scene); return dict(boxes=torch.tensor([[0, 0, 1, case.scene]]))
    monkeypatch.setattr(ablations, 'make_book', quick)
    path = tmp_path/'book.safetensors'
    make_books(models, judge, path, 2, CONFIG, progress=False)
    again = make_books(models, judge, path, 3, CONFIG, progress=False)
    assert made == [FIRST, FIRST + 1, FIRST + 2] and list(again) == [(s, 0) for s in made] == list(read_books(path)[0])
    for key, book in read_books(path)[0].items(): assert torch.equal(book['boxes'], again[key]['boxes']) and book['boxes'].dtype == torch.long
    before = path.read_bytes()
    with pytest.raises(ValueError, match='got 3 of 3 rows of others'): make_books(models, judge, path, 1, Config(alpha=9.), progress=False)
    assert len(made) == 3 and path.read_bytes() == before
    assert read_books(tmp_path/'none') == ({}, '')

# reading them

def test_choices_and_winner_as_numpy_has_them(books):
    for book in books.values():
        f, index = {n: book['facts'][:, i].numpy() for i, n in enumerate(FACTS)}, own(book).numpy()
        loss = (f['clip'] + 2 * f['dir'] - 3 * f['s_src'])[index]
        chosen = index[np.arange(8), loss.argmin(1)]
        assert choices(book, own(book), (1, 2, 0), 3.).tolist() == chosen.tolist()
        assert winner(book, torch.from_numpy(chosen), 3., .5, 4.) == chosen[(3 * f['s_t2i'] + .5 * f['s_i2i'] + 4 * f['s_src'])[chosen].argmax()]

def test_chance_takes_one_of_each_anchor(books):
    book = books[FIRST, 0]
    found = torch.stack([by_chance(book, own(book), s) for s in range(40)])
    assert all(u in row for row, us in zip(own(book).tolist(), found.T.tolist()) for u in us) and len(set(found[:, 0].tolist())) > 3

def test_every_ablation_has_the_method_itself_in_it(books):
    for weight in (0., 2.):
        losses, counts = loss_ablation(books, weight), count_ablation(books, weight)
        assert {*LOSSES} < {*losses} and losses['all three'] == counts['K = 8'] == counts['M = 7'] == template_ablation(books, weight)['none'] == variant(books, weight=weight)
        assert evidence_ablation(books, (weight,))[f'source_weight = {weight:g}'] == losses['all three']
        assert {c: proposal_ablation(books, weight)[OWN][c] for c in losses['all three']} == losses['all three']
    (ratios, grid), paper = ranking_ablation(books), variant(books, weight=0.)
    assert {k: v for k, v in ratios[.5].items() if k != 'same'} == paper and ratios[.5]['same'] == (1, 1, 1) and set(ratios) == set(RATIOS)
    assert grid.shape == (4, 5) and grid[1, 1] == grid[2, 2] == grid[3, 3] == 1, 'only the ratio matters: (1, .5), (2, 1), (4, 2)'
    network = network_ablation(books)
    assert {k: v for k, v in network["the table's argmin"].items() if k != 'same'} == variant(books) and len(network) == 3

def test_the_baselines_choose_without_a_loss(books):
    "By hand: the box of one column that ranks first; the best constant is chosen by what is replaced."
    found = baselines(books)
    constants = {n: v for n, v in found.items() if n.startswith('constant, ')}
    assert len(constants) == 7 and list(floor_of(books)) == list(found)[-2:] and list(found)[-1] == 'by chance'
    sides = []
    for b in books.values():
        column = b['set.spread'][:, 6]
        score = 2 * fact(b, 's_t2i')[column] + fact(b, 's_i2i')[column] + 4 * fact(b, 's_src')[column]
        sides.append(fact(b, 'side')[column[score.argmax()]].item())
    assert constants['constant, 60%']['side'][0] == pytest.approx(np.mean(sides), abs=1e-6)
    best = found[list(found)[-2]]
    assert best['replaced'][0] == max(v['replaced'][0] for v in constants.values())

def test_the_literal_norm_weighs_structure_by_the_number_of_tokens(books):
    t = next(iter(books.values()))['tokens'].item()
    assert t == 16 and loss_ablation(books)['structure x t (literal norm)'] == variant(books, lambdas=lambda b: (1, 1, 16.))

def test_proposals_say_what_they_offer_and_cost(books):
    found = proposal_ablation(books)
    assert set(found) == {'spread', 'spread, fitted', 'topk', 'shifted', 'shifted, fitted'}
    for name, v in found.items():
        tops = [fact(b, 'iou')[b[f'set.{name}'].flatten()].max().item() for b in books.values()]
        assert v['ceiling'][0] == pytest.approx(np.mean(tops)) and v['ceiling'][0] >= v['iou'][0] and 1 <= v['edits'][0] <= 56

def test_reached_by_hand():
    facts = torch.zeros(4, len(FACTS)); facts[:, 0] = torch.tensor([3., 1, 2, 5])
    book = {'facts': facts, f'set.{OWN}': torch.tensor([[0, 1], [2, 3]]), 'learned.pool': torch.tensor([1, 1]), 'learned.align': torch.tensor([1, 0])}
    assert reached({(0, 0): book}) == dict(pool=(.5, .5, .5), align=(1, 1, 1))

def test_heads_are_counted_against_the_true_box(models):
    found = head_hits(models.vit, range(FIRST, FIRST + 4), k=3)
    assert set(found) == {'mean', 'head 0', 'head 1'} and all(0 <= v['first'][0] <= v['one of 3'][0] <= 1 for v in found.values())
    assert as_table(found).count('\n') == 4
