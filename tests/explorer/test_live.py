"The live part without a browser: asked as the page asks, in a thread, with an end."
import threading, time
from dataclasses import replace

import pytest

from regionedit import RegionEditor
from regionedit.explorer import widget as module
from regionedit.explorer.widget import ExplorerWidget, explore_attention
from regionedit.method.attention import attend
from regionedit.method.core import check_box
from regionedit.models.pretrained import Detector, Known
from regionedit.results.findings import best_at
from stubs import StubClip, StubEditor, picture, stub_result, stub_vit
from test_bundle import HoleClip

SMALL = dict(num_anchors=3, num_proposals=4, learning_steps=3)
TRUTH = (10, 8, 30, 28)

@pytest.fixture
def editor(): return RegionEditor(stub_vit(), StubClip(), StubEditor())

@pytest.fixture
def result(editor): return editor(picture(60, 40), 'a rocket', 'a cat', progress=False, **SMALL)

def ask(widget, do, **what):
    "Ask and wait; the last status."
    widget.ask(dict(do=do, **what), wait=True)
    return widget.status

def test_opening_asks_nobody(result, editor, monkeypatch):
    made = editor.editor.windows
    began = time.perf_counter()
    shown = result.explore(editor, truth=TRUTH, start=dict(view='own'))
    assert time.perf_counter() - began < 1 and editor.editor.windows == made
    assert isinstance(shown, ExplorerWidget) and shown.bundle['start'] == dict(view='own')
    assert shown.bundle['truth'] == list(TRUTH) and shown.status['state'] == 'idle'

def test_a_box_of_ones_own_stands_beside_the_learned_one(result, editor):
    shown, made, learned = result.explore(editor, truth=TRUTH), editor.editor.windows, result.box
    status = ask(shown, 'box', box=[3, 4, 21, 25])
    assert status['state'] == 'done' and status['text'].startswith('1 edit in')
    assert editor.editor.windows == made + 1
    ask(shown, 'true')
    looks = {k['name']: k for k in shown.found['looks']}
    assert [*looks] == ['learned', 'own', 'true'] and looks['learned']['box'] == list(learned)
    assert looks['own']['box'] == [3, 4, 21, 25] and looks['true']['box'] == list(TRUTH)
    assert result.box == learned and shown.bundle['looks'] == []
    assert shown.found['words']['answer'] and shown.page()['looks'] == shown.found['looks']
    again = {k['name']: k for k in (ask(shown, 'box', box=[0, 0, 9, 9]), shown.found['looks'])[1]}
    assert again['own']['box'] == [0, 0, 9, 9] and again['learned'] == looks['learned']

def test_an_anchor_of_ones_own(result, editor):
    shown = result.explore(editor)
    ask(shown, 'around', anchor=[30., 20.])
    own, = (k for k in shown.found['looks'] if k['name'] == 'own')
    assert tuple(own['box']) == best_at(editor, result, (30., 20.))

def test_run_again_with_other_words_and_anchors(result, editor):
    shown = result.explore(editor)
    points = [[10., 10.], [50., 30.]]
    status = ask(shown, 'run', prompt='a tower', source='a cat', anchors=points)
    assert status['state'] == 'done', status
    second = shown.results[1]
    assert second.prompt == 'a tower' and second.table.boxes.shape[:2] == (2, 4)
    assert sorted(list(c.anchor) for c in second.candidates) == points
    assert shown.added[0]['prompt'] == 'a tower' and '2 anchors' in shown.added[0]['title']
    assert shown.result is result and shown.bundle['prompt'] == 'a rocket'

def test_the_same_words_from_the_same_anchors_are_the_same_edit(result, editor):
    shown, made = result.explore(editor), editor.editor.windows
    ask(shown, 'run', prompt=result.prompt, source=result.source)
    assert editor.editor.windows == made and shown.results[1].box == result.box     # all in the cache

def test_learning_again_and_heads(result, editor):
    shown = result.explore(editor)
    assert ask(shown, 'learn', estimator='rloo')['text'].startswith('no edit')
    assert [*shown.found['runs']] == ['exact', 'rloo, again']
    ask(shown, 'heads')
    assert shown.found['attention']['layers']['shape'][2:] == list(result.attention.shape)

def test_mistakes_are_sentences(result, editor):
    shown = result.explore(editor)
    for wrong, words in ((dict(do='box', box=[0, 0, 99, 9]), 'expected own'),
                         (dict(do='run', prompt=' ', source='a cat'), 'expected prompt'),
                         (dict(do='true'), 'true box'), (dict(do='learn', estimator='x'), 'rloo'),
                         (dict(do='paint'), 'does not tell')):
        shown.ask(wrong, wait=True)
        assert shown.status['state'] == 'failed' and words in shown.status['text']
    for nothing in (dict(do='no such thing'), dict(), dict(do='_work')):
        before = shown.status
        shown.ask(nothing, wait=True)
        assert shown.status == before
    with pytest.raises(ValueError, match='expected a RegionEditor'): result.explore('pocket')
    with pytest.raises(ValueError, match='truth'): result.explore(editor, truth=(0, 0, 90, 9))

def test_without_models_it_says_why(result):
    shown = replace(result, preset='of my own').explore()
    assert 'result.explore(editor)' in shown.status['why']
    shown.ask(dict(do='box', box=[0, 0, 9, 9]), wait=True)
    assert shown.status['state'] == 'idle' and shown.found == {}
    assert replace(result, preset='pocket').explore().status['why'] == ''

class SlowEditor(StubEditor):
    "Waits at every call until it may go on."
    def __init__(self):
        super().__init__()
        self.go, self.waits = threading.Semaphore(0), threading.Semaphore(0)
    def fill(self, *args, **kwargs):
        self.waits.release(); assert self.go.acquire(timeout=20)
        return super().fill(*args, **kwargs)

# how an edit may be searched for -> calls of the editor before the stop, what is said then
WAYS = {'full': ({}, 2, '8 of 12 edits'), 'halving': (dict(budget=6), 2, '5 of 6 edits'),
        'random': (dict(budget=6, search='random'), 1, '4 of 6 edits'),
        'previews': (dict(preview_steps=2), 2, '8 of 12 previews'),
        'few previews': (dict(preview_steps=2, budget=7), 2, '5 of 6 previews'),
        'after previews': (dict(preview_steps=2), 3, '0 of 3 edits')}

def ended(widget):
    "The status, once the work is done or stopped."
    for _ in range(400):
        if widget.status['state'] != 'works': return widget.status['text']
        time.sleep(.05)
    raise AssertionError(f'still at work: {widget.status}')

@pytest.mark.parametrize('way', WAYS)
def test_progress_the_best_so_far_and_a_stop(result, way):
    options, calls, text = WAYS[way]
    slow, told = SlowEditor(), []
    searched = replace(result, config=replace(result.config, **options))
    shown = searched.explore(RegionEditor(stub_vit(), StubClip(), slow))
    shown.observe(lambda change: told.append(change['new']), 'status')
    shown.ask(dict(do='run', prompt='a tower', source='a cat'))
    for _ in range(calls): assert slow.waits.acquire(timeout=20); slow.go.release()
    assert slow.waits.acquire(timeout=20)
    assert shown.status['text'] == text and shown.status['state'] == 'works'
    if 'after' not in way: check_box(shown.status['best']['box'], (60, 40))
    shown.ask(dict(do='box', box=[0, 0, 9, 9]))     # one thing at a time
    shown.ask(dict(do='stop'))
    slow.go.release()
    assert ended(shown) == 'Stopped; nothing was changed.'
    assert shown.added == [] and len(shown.results) == 1
    scores = [s['best']['score'] for s in told if s.get('best')]
    assert scores == sorted(scores)
    made = slow.windows                             # it is kept, and nothing is made twice
    for _ in range(40): slow.go.release()
    shown.ask(dict(do='run', prompt='a tower', source='a cat'), wait=True)
    assert shown.status['state'] == 'done' and slow.windows >= made
    assert slow.windows == shown.results[1].num_edits

@pytest.mark.parametrize('way', WAYS)
def test_the_count_ends_at_its_total(result, editor, way):
    told, options = [], WAYS[way][0]
    searched = replace(result, config=replace(result.config, mask='patches', **options))
    shown = searched.explore(editor)
    shown.observe(lambda change: told.append(change['new']), 'status')
    assert ask(shown, 'run', prompt='a tower', source='a cat')['state'] == 'done'
    far = [s for s in told if s.get('total')]
    begins = [i for i, s in enumerate(far) if s['done'] == 0]
    parts = [far[i:j] for i, j in zip(begins, [*begins[1:], None])]
    assert [p[0]['text'].split()[-1] for p in parts] == ['previews', 'edits'][-len(parts):]
    for part in parts:
        assert [s['done'] for s in part] == sorted(s['done'] for s in part)
        assert len({s['total'] for s in part}) == 1 and part[-1]['done'] == part[-1]['total']
    assert sum(p[-1]['total'] for p in parts) == shown.results[1].num_edits
    if len(parts) == 1:
        assert far[-1]['best']['score'] == pytest.approx(shown.results[1].table.score(
            shown.results[1].config).nan_to_num(-9).max().item(), abs=1e-5)

@pytest.mark.slow
def test_a_search_that_is_watched_finds_the_same(result, editor):
    for options in ({}, dict(budget=5), dict(preview_steps=1, budget=5)):
        shown = replace(result, config=replace(result.config, **options)).explore(editor)
        ask(shown, 'run', prompt='a tower', source='a cat')
        alone = RegionEditor(stub_vit(), StubClip(), StubEditor())(
            picture(60, 40), 'a tower', 'a cat', progress=False, **SMALL, **options)
        assert [c.facts() for c in shown.results[1].candidates] == [
            c.facts() for c in alone.candidates]

def test_an_edit_without_numbers_does_not_end_a_run(result):
    shown = result.explore(RegionEditor(stub_vit(), HoleClip(), StubEditor()))
    with pytest.warns(UserWarning): ask(shown, 'run', prompt='a tower', source='a cat')
    assert shown.status['state'] == 'done', shown.status

def test_an_anchor_can_be_stopped(result):
    slow = SlowEditor()
    shown = result.explore(RegionEditor(stub_vit(), StubClip(), slow))
    shown.ask(dict(do='around', anchor=[30., 20.]))
    assert slow.waits.acquire(timeout=20)
    assert shown.status['text'] == '0 of 4 edits'
    shown.ask(dict(do='stop'))
    slow.go.release()
    assert ended(shown) == 'Stopped; nothing was changed.' and shown.found == {}

# what the models do not know

def test_a_run_with_an_unknown_word_says_so_first(result, editor):
    "Also where the first edit had nothing to say."
    deaf = Detector([0.] * 33, [1.] * 33, [[0.] * 34], [0., -1.])
    editor.known = Known({'rocket': [], 'tower': [], 'cat': []}, frozenset(['a']), {}, deaf, 'ask')
    shown = result.explore(editor)
    assert shown.bundle['words']['notes'] == []
    ask(shown, 'run', prompt='a zebra', source='a cat')
    note, = shown.added[0]['words']['notes']
    assert "'zebra'" in note and shown.results[1].notes[0] in note[0].lower() + note[1:]
    assert shown.added[0]['words']['answer'] in ('unsure', 'partly', 'no')
    ask(shown, 'run', prompt='a tower', source='a cat')
    assert shown.added[1]['words']['notes'] == []

def test_a_note_stands_before_the_picture_where_no_script_runs(result):
    shown = replace(result, notes=('unlike <all> that they know',)).explore()
    assert shown.still().startswith('<p>Unlike &lt;all&gt; that they know.</p><img')

def test_a_cell_that_runs_anew_closes_its_widgets(monkeypatch):
    made = {}
    for cell, run in (('a', 1), ('a', 1), ('b', 2), ('a', 3)):
        monkeypatch.setattr(module, '_running', lambda at=(cell, run): at)
        made.setdefault((cell, run), []).append(stub_result().explore())
    alive = {at: [w.comm is not None for w in widgets] for at, widgets in made.items()}
    assert alive == {('a', 1): [False, False], ('b', 2): [True], ('a', 3): [True]}

@pytest.mark.parametrize('cell, view', [('a1', False), (None, True), ('vscode-cell:x', True)])
def test_the_page_is_in_the_output_and_a_view_only_where_it_must_be(monkeypatch, cell, view):
    "In JupyterLab a view of a widget that is gone would hide the page."
    monkeypatch.setattr(module, '_running', lambda: (cell, 1))
    shown = stub_result().explore()
    data = shown._repr_mimebundle_()
    assert ('application/vnd.jupyter.widget-view+json' in data) == view
    assert shown.name in data['text/html'] and 'a rocket' in data['text/html']
    sent = shown.get_state()        # nothing goes twice: browsers would keep it for every run
    assert ('bundle' in sent and 'script' in sent) == view and len(shown.get_state('bundle')) == 1

def test_attention_before_any_edit():
    shown = explore_attention(stub_vit(), picture(60, 40))
    assert shown.bundle['kind'] == 'attention' and shown.bundle['start']['layer'] == 0
    grid = attend(stub_vit(), picture(60, 40)).mean.shape
    assert shown.bundle['attention']['mean']['shape'] == list(grid)
