"The evidence that the source is in the box: by hand, off, on, in every way of filling a table, saved and loaded."
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import importlib.util, json

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.bench.baselines import BenchTask, edit_and_rank, run_method
from regionedit.bench.baselines import METHODS
from regionedit.method.budget import fill_within
from regionedit.method.config import Config, Task
from regionedit import RegionEditor
from regionedit.method.losses import source_evidence
from regionedit import EditResult
from regionedit.method.table import EditCache, EditTable
from stubs import StubClip, StubEditor, picture, stub_vit

ROOT = Path(__file__).parent.parent.parent
RED, GREEN, ON_RED, ON_GREEN = (200, 0, 0), (0, 200, 0), (8, 20, 24, 36), (40, 12, 64, 36)

class ColourClip:
    "A picture's feature is its mean colour less grey, its tokens are its quarters; a text is the colour that it names."
    texts = dict(red=(1., -.5, -.5), blue=(-.5, -.5, 1.))
    def encode_images(self, images):
        x = [torch.from_numpy(np.asarray(im, np.float32) / 255).permute(2, 0, 1) for im in images]
        mean = torch.stack([v.mean((1, 2)) for v in x])
        return SimpleNamespace(pooled=torch.nn.functional.normalize(mean - mean.mean(1, keepdim=True), dim=-1),
                               tokens=torch.stack([torch.nn.functional.adaptive_avg_pool2d(v, 2).flatten(1).T for v in x]))
    def encode_texts(self, texts): return torch.nn.functional.normalize(torch.tensor([self.texts[t] for t in texts]), dim=-1)

class Blue:
    "Paints the box blue."
    name, size, config = 'blue', 32, {}
    def fill(self, images, masks, prompt, **kwargs): return [Image.composite(Image.new('RGB', im.size, 'blue'), im, m) for im, m in zip(images, masks)]

def two_things() -> Image.Image:
    "A red thing, and a larger green one, on grey."
    image = Image.new('RGB', (72, 48), (120, 120, 120))
    image.paste(RED, ON_RED), image.paste(GREEN, ON_GREEN)
    return image

def test_evidence_by_hand():
    "Red all over is what the text says; half red and half grey points the same way; green is at 120 degrees, grey nowhere."
    boxes = [ON_RED, (16, 20, 32, 36), ON_GREEN, (0, 0, 6, 6)]
    assert source_evidence(ColourClip(), two_things(), boxes, 'red').tolist() == pytest.approx([1, 1, -.5, 0], abs=1e-6)

@pytest.fixture
def table():
    one = torch.ones(1, 2)
    return EditTable(torch.tensor([[[0, 0, 4, 4], [0, 0, 8, 8]]]), torch.tensor([[0, 1]]), (), dict(clip=one, dir=10 * one, str=100 * one), one, 3 * one, s_src=torch.tensor([[.5, -.25]]))

def test_score_and_loss_by_hand(table):
    config = Config(alpha=2., beta=1., source_weight=4.)
    assert table.score(config).tolist() == [[2 + 3 + 2, 2 + 3 - 1]] and table.loss(config).tolist() == [[111 - 2, 111 + 1]]
    off = replace(config, source_weight=0.)
    assert table.score(off).tolist() == [[5, 5]] == replace(table, s_src=None).score(config).tolist() and table.loss(off).tolist() == [[111, 111]]

def test_a_similarity_that_is_no_number_leaves_the_proposal_out(table):
    odd = replace(table, s_src=torch.tensor([[torch.nan, .5]]))
    assert odd.valid.tolist() == [[False, True]] and odd.loss(Config(source_weight=1.)).tolist() == [[110.5, 110.5]]

# the whole method

@pytest.fixture(scope='module')
def vit(): return stub_vit()

def edit(vit, monkeypatch, **options) -> EditResult:
    "Blue for red, from an anchor on the green thing and one on the red thing."
    anchors = torch.tensor([[52., 24.], [16., 28.]])
    monkeypatch.setattr('regionedit.method.editor.choose_anchors', lambda *args: anchors)
    editor = RegionEditor(vit, ColourClip(), Blue())
    return editor(two_things(), 'blue', 'red', **dict(dict(num_anchors=2, num_proposals=2, proposals='centred', min_size=.3, max_size=.5, learning_steps=20, lr=.05, progress=False), **options))

def centre(box): return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2

def test_the_winner_is_the_thing_that_the_source_names(vit, monkeypatch):
    "Without the evidence the larger thing wins: with it gone the picture is the bluest."
    paper, ours = (edit(vit, monkeypatch, source_weight=w) for w in (0., 1.))
    assert centre(paper.box) == (52, 24) and centre(ours.box) == (16, 28)
    assert [c.s_src for c in paper.candidates] == [None, None] and paper.table.s_src is None
    assert ours.candidates[0].s_src == pytest.approx(1, abs=1e-5) and ours.candidates[1].s_src == pytest.approx(-.5, abs=1e-5)
    for c in ours.candidates: assert c.score == pytest.approx(2 * c.s_t2i + c.s_i2i + c.s_src, abs=1e-5)
    assert {c.image.tobytes() for c in paper.candidates} == {c.image.tobytes() for c in ours.candidates}, 'the edits are the same, their order is not'

def test_a_word_that_clip_never_learned_is_no_evidence(vit, monkeypatch):
    "Then loss, order and scores are the paper's, whatever the weight; a CLIP of which nothing is known is asked."
    paper = edit(vit, monkeypatch, source_weight=0.)
    monkeypatch.setattr(ColourClip, 'known', SimpleNamespace(unknown_words=lambda text: [text]), raising=False)
    unread = edit(vit, monkeypatch, source_weight=1.)
    assert unread.table.s_src is None and unread.box == paper.box
    assert [c.score for c in unread.candidates] == [c.score for c in paper.candidates]
    assert torch.equal(unread.table.loss(unread.config), paper.table.loss(paper.config))
    monkeypatch.setattr(ColourClip, 'known', SimpleNamespace(unknown_words=lambda text: []))
    assert centre(edit(vit, monkeypatch, source_weight=1.).box) == (16, 28)

def test_off_is_the_paper_to_the_bit(vit, monkeypatch, tmp_path):
    "At 0 nobody looks at the boxes, order and scores are those of eq. 7, and no file has anything new but the setting itself."
    monkeypatch.setattr('regionedit.method.table.source_evidence', lambda *args: pytest.fail('evidence was asked for'))
    result = edit(vit, monkeypatch, source_weight=0.)
    table, k, chosen = result.table, torch.arange(2), result.trajectory.chosen[-1]
    by_hand = (2. * table.s_t2i + 1. * table.s_i2i)[k, chosen]
    assert [c.score for c in result.candidates] == by_hand.sort(descending=True).values.tolist()
    assert torch.equal(table.loss(result.config), sum(table.terms[t] for t in ('clip', 'dir', 'str')))
    said = json.loads((result.save(tmp_path)/'result.json').read_text())
    assert 's_src' not in json.dumps(said) and said['config']['source_weight'] == 0
    assert EditResult.load(tmp_path).table.s_src is None

@pytest.mark.parametrize('options', [dict(budget=3), dict(budget=3, search='random'), dict(budget=4, preview_steps=1), {}])
def test_under_a_budget_the_evidence_is_known_where_there_is_an_edit(vit, monkeypatch, options):
    result = edit(vit, monkeypatch, source_weight=1., **options)
    table = result.table
    assert torch.equal(table.s_src.isfinite(), table.known) and table.known.sum() <= options.get('budget', 4)
    for k, m in table.known.nonzero().tolist(): assert table.s_src[k, m].item() == pytest.approx(source_evidence(ColourClip(), two_things(), [tuple(table.boxes[k, m].tolist())], 'red').item(), abs=1e-6)

def test_a_search_is_led_by_the_evidence():
    "Two anchors are screened, and the one that is left of the budget goes to the anchor on the red thing."
    boxes = torch.tensor([[[44, 16, 60, 32], [42, 14, 62, 34]], [[10, 22, 22, 34], [8, 20, 24, 36]]])
    def third(weight):
        models = SimpleNamespace(editor=Blue(), clip=ColourClip(), cache=EditCache())
        return fill_within(models, Task(two_things(), 'blue', 'red', Config(budget=3, source_weight=weight)), boxes).known.tolist()
    assert third(0.) == [[True, True], [False, True]] and third(4.) == [[True, False], [True, True]]

def test_in_pixels_of_a_large_picture(vit):
    "The evidence is that of the working copy, the boxes are those of the picture."
    result = RegionEditor(vit, StubClip(), StubEditor())(picture(1300, 700), 'a rocket', 'a cat', num_anchors=2, num_proposals=2, learning_steps=2, source_weight=1., progress=False)
    assert result.table.s_src.shape == (2, 2) and all(c.s_src is not None for c in result.candidates) and result.table.boxes.max() > 512

def test_saved_and_loaded(vit, monkeypatch, tmp_path):
    result = edit(vit, monkeypatch, source_weight=1.)
    again = EditResult.load(result.save(tmp_path))
    assert torch.equal(again.table.s_src, result.table.s_src) and again.config == result.config
    assert [c.facts() for c in again.candidates] == [c.facts() for c in result.candidates] and again.candidates[0].facts()['s_src'] == result.candidates[0].s_src
    loose = replace(result, table=replace(result.table, s_src=torch.ones(2, 2, dtype=torch.long)))
    with pytest.raises(ValueError, match='another kind of numbers'): EditResult.load(loose.save(tmp_path))

# the benchmark

def test_a_baseline_ranks_by_the_same_rule_and_reports_its_score():
    models, task = SimpleNamespace(clip=ColourClip(), editor=Blue(), cache=EditCache()), BenchTask(two_things(), 'blue', 'red', ON_RED)
    found = {(w, names): edit_and_rank(models, task, torch.tensor(list(names)), Config(source_weight=w))[:2]
             for w in (0., 4.) for names in ((ON_GREEN, ON_RED), (ON_GREEN,), (ON_RED,))}
    for w, winner, other in ((0., ON_GREEN, ON_RED), (4., ON_RED, ON_GREEN)):
        edit, score = found[w, (ON_GREEN, ON_RED)]
        assert edit.box == winner and score == pytest.approx(found[w, (winner,)][1]) and score > found[w, (other,)][1]

def test_the_papers_ranking_takes_part(vit, monkeypatch):
    anchors = torch.tensor([[52., 24.], [16., 28.]])
    monkeypatch.setattr('regionedit.method.editor.choose_anchors', lambda *args: anchors)
    models, task = RegionEditor(vit, ColourClip(), Blue()), BenchTask(two_things(), 'blue', 'red', ON_RED)
    config = Config(num_anchors=2, num_proposals=2, proposals='centred', min_size=.3, max_size=.5, learning_steps=20, lr=.05, source_weight=1.)
    found = {name: METHODS[name](models, task, config) for name in ('ours', 'paper-ranking')}
    assert centre(found['ours'].box) == (16, 28) and centre(found['paper-ranking'].box) == (52, 24)
    assert all(o.score == pytest.approx(o.best) for o in found.values()) and found['ours'].score == run_method(models, task, config).score

# what it was chosen by: the tool that makes the tables, and the page that reads them

spec = importlib.util.spec_from_file_location('source_tables', ROOT/'tools'/'source_tables.py')
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
FACTS, widened = tool.FACTS, tool.widened

@pytest.fixture(scope='module')
def page():
    "What the page The named thing defines."
    told, cells = {}, json.loads((ROOT/'nbs'/'results'/'02_source_weight.ipynb').read_text(encoding='utf8'))['cells']
    for cell in cells:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'code' and source.startswith(('from ', 'FACTS', 'def ')): exec(source, told)
    return SimpleNamespace(**told)

def test_the_page_and_the_tool_name_the_same_columns(page): assert page.FACTS == FACTS

def test_a_scene_is_observed_as_its_parts_say(vit):
    from regionedit.method.core import box_iou
    from regionedit.pocket.scenes import SEEDS, article, draw_scene
    from regionedit.method.regions import proposal_sizes, propose
    from regionedit.method.regions import choose_anchors
    from regionedit.method.attention import attend
    seed, clip = SEEDS['validation'][tool.FIRST[2]], StubClip()
    facts = dict(zip(FACTS, tool.observe(SimpleNamespace(vit=vit, clip=clip), seed, 2).unbind(-1)))
    scene = draw_scene(seed, num_objects=2)
    boxes = propose(choose_anchors(attend(vit, scene.image)), proposal_sizes(), scene.image.size)
    first, second = (o.box for o in scene.objects)
    source = clip.encode_texts([article(scene.objects[0].name)])[0]
    for k, m in ((0, 0), (3, 5), (7, 6)):
        box = tuple(boxes[k, m].tolist())
        assert facts['iou'][k, m].item() == pytest.approx(box_iou(box, first)) and facts['named'][k, m] == (box_iou(box, first) > box_iou(box, second))
        assert facts['tight'][k, m].item() == pytest.approx((clip.encode_images([scene.image.crop(box)]).pooled[0] @ source).item(), abs=1e-5)
        assert facts['wide'][k, m].item() == pytest.approx((clip.encode_images([scene.image.crop(widened(box, scene.image.size))]).pooled[0] @ source).item(), abs=1e-5)
    assert all(f.shape == (8, 7) and f.isfinite().all() for f in facts.values()) and facts['gone'].std() > 0

def test_more_around_a_box():
    assert widened((20, 30, 40, 50), (100, 100)) == (15, 25, 45, 55) and widened((0, 0, 40, 20), (50, 100)) == (0, 0, 50, 25)

@pytest.mark.parametrize('ranking, loss', [(0., 0.), (2., 0.), (0., 2.), (1.5, 1.5)])
def test_a_rule_is_brute_force(ranking, loss, page):
    tables = torch.rand(5, 4, 3, len(FACTS), generator=torch.Generator().manual_seed(1))
    won = []
    for table in tables:
        rows = [[dict(zip(FACTS, f)) for f in line] for line in table.tolist()]
        best = [min(line, key=lambda f: f['loss'] - loss * (f['tight'] + f['gone'])) for line in rows]
        won.append(max(best, key=lambda f: f['score'] + ranking * (f['tight'] + f['gone'])))
    rule = dict(kinds=('tight', 'gone'), ranking=ranking, loss=loss)
    assert [page.winner(t, **rule).tolist() for t in tables] == [pytest.approx(list(f.values())) for f in won]
    assert page.judged(list(tables), **rule)['replaced'][0] == pytest.approx(np.mean([f['replaced'] for f in won]))

def test_tables_are_read_by_editor_and_number_of_objects(tmp_path, page):
    from safetensors.torch import save_file
    save_file({'pocket.1.5': torch.ones(2, 3, 10), 'pocket.1.7': torch.zeros(2, 3, 10), 'oracle.2.5': torch.ones(1, 3, 10)}, tmp_path/'a.safetensors')
    found = page.read_tables(tmp_path/'a.safetensors')
    assert {k: len(v) for k, v in found.items()} == {('pocket', 1): 2, ('oracle', 2): 1} and found['pocket', 1][1].sum() == 0 and page.read_tables(tmp_path/'none') == {}
