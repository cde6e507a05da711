"Books hold what the package itself computes; ablations read them as a few lines of numpy do."
import numpy as np
import pytest
import torch

from regionedit.bench import ablations
from regionedit.bench.ablations import LOSSES, RATIOS, by_chance, choices, count_ablation, fact, head_hits, loss_ablation, own, ranking_ablation, reached, shape_ablation, template_ablation, winner
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

def test_a_books_numbers_are_the_methods(models, books):
    "The part of the book that is the method's table says what the method's table says."
    case = draw_case(FIRST, 0)
    result = models(case.task.image, case.task.prompt, case.task.source, seed=0, progress=False, learning_steps=2, source_weight=0)
    book = books[FIRST, 0]
    index = own(book)
    assert torch.equal(book['boxes'][index], result.table.boxes)
    for t in TERMS: assert torch.allclose(fact(book, t)[index], result.table.terms[t], atol=1e-5)
    assert torch.allclose(fact(book, 's_t2i')[index], result.table.s_t2i, atol=1e-5)
    assert torch.equal(book['learned.pool'], result.trajectory.chosen[-1])

def test_no_box_is_edited_twice(books):
    for book in books.values():
        assert len({tuple(b) for b in book['boxes'].tolist()}) == len(book['boxes']) == len(book['facts']) == book['templates'].shape[1]
        assert set(torch.cat([v.flatten() for k, v in book.items() if k.startswith('set.')]).tolist()) == set(range(len(book['boxes'])))

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
    make_books(models, judge, path, 1, Config(alpha=9.), progress=False)
    assert made[3:] == [FIRST] and len(read_books(path)[0]) == 1, 'other settings: made again'
    assert read_books(tmp_path/'none') == ({}, '')

# reading them

def test_choices_and_winner_as_numpy_has_them(books):
    for book in books.values():
        f, index = {n: book['facts'][:, i].numpy() for i, n in enumerate(FACTS)}, own(book).numpy()
        loss = (f['clip'] + 2 * f['dir'])[index]
        chosen = index[np.arange(8), loss.argmin(1)]
        assert choices(book, own(book), (1, 2, 0)).tolist() == chosen.tolist()
        assert winner(book, torch.from_numpy(chosen), 3., .5) == chosen[(3 * f['s_t2i'] + .5 * f['s_i2i'])[chosen].argmax()]

def test_chance_takes_one_of_each_anchor(books):
    book = books[FIRST, 0]
    found = torch.stack([by_chance(book, own(book), s) for s in range(40)])
    assert all(u in row for row, us in zip(own(book).tolist(), found.T.tolist()) for u in us) and len(set(found[:, 0].tolist())) > 3

def test_every_ablation_has_the_method_itself_in_it(books):
    losses, shapes, counts, (ratios, grid) = loss_ablation(books, 3), shape_ablation(books), count_ablation(books), ranking_ablation(books)
    assert set(losses) == {*LOSSES, 'no learning'} and losses['all three'] == shapes['squares'] == counts['K = 8'] == counts['M = 7'] == template_ablation(books)['none']
    assert {k: v for k, v in ratios[.5].items() if k != 'same'} == losses['all three'] and ratios[.5]['same'] == (1, 1, 1) and set(ratios) == set(RATIOS)
    assert grid.shape == (4, 5) and grid[1, 1] == grid[2, 2] == grid[3, 3] == 1, 'only the ratio matters: (1, .5), (2, 1), (4, 2)'

def test_reached_by_hand():
    facts = torch.zeros(4, len(FACTS)); facts[:, 0] = torch.tensor([3., 1, 2, 5])
    book = {'facts': facts, 'set.spread': torch.tensor([[0, 1], [2, 3]]), 'learned.pool': torch.tensor([1, 1]), 'learned.align': torch.tensor([1, 0])}
    assert reached({(0, 0): book}) == dict(pool=(.5, .5, .5), align=(1, 1, 1))

def test_heads_are_counted_against_the_true_box(models):
    found = head_hits(models.vit, range(FIRST, FIRST + 4), k=3)
    assert set(found) == {'mean', 'head 0', 'head 1'} and all(0 <= v['first'][0] <= v['one of 3'][0] <= 1 for v in found.values())
    assert as_table(found).count('\n') == 4
