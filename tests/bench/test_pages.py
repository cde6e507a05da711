"The result pages on made-up files: whatever is measured, every cell runs, and the sentences follow the numbers."
from pathlib import Path
import importlib.util, json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from regionedit.bench import ablations, report
from regionedit.bench.ablations import make_book, write_books
from regionedit.bench.baselines import MAIN
from regionedit.bench.rows import MEASURES, draw_case, read_rows, scenes_of, write_rows
from regionedit.method.config import Config
from regionedit import RegionEditor
from regionedit.pocket.judge import Recogniser
from stubs import StubClip, StubEditor, stub_vit

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location('results_tool', ROOT/'tools'/'results.py')
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

def some_rows(preset: str, world: str, share: dict, scenes: int = 24) -> list:
    "Rows of every method; `share` says in how many scenes one replaces, others in a third."
    found, rng = [], np.random.default_rng(5)
    for i, s in enumerate(scenes_of(world, scenes)):
        case = draw_case(s, 0, world)
        for m in MAIN:
            if m == 'diffedit' and preset != 'pocket': continue
            done = float(i < share.get(m, 1 / 3) * scenes)
            facts = {c: rng.random() for c in MEASURES} | dict(replaced=done, covered=.8 * done, recogniser=done, gone=1., edits=56.)
            found.append(dict(preset=preset, world=world, scene=s, noise=0, method=m, settings='s', models='m', code='c', objects=1 + len(case.others),
                              source=case.task.source, prompt=case.task.prompt, box='10 20 60 70', **facts))
    return found

@pytest.fixture
def data(tmp_path, monkeypatch):
    "A folder `data` with what `tools/results.py` makes, in small."
    for preset in ('pocket', 'pocket-maskgit'):
        for world in ('known', 'strangers'):
            folder = tmp_path/'data'/f'{preset}-{world}'
            folder.mkdir(parents=True)
            write_rows(folder/'bench.csv', some_rows(preset, world, {'ours': 1. if world == 'known' else .25}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, 'show', lambda *a, **k: None)
    return tmp_path/'data'

def run_page(name: str) -> dict:
    "Every code cell of a page under Results, and what its Markdown cells say."
    told, said = {}, []
    for cell in json.loads((ROOT/'nbs'/'results'/name).read_text(encoding='utf8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code': continue
        lines = source.splitlines()
        exec(compile('\n'.join(l for l in lines if 'matplotlib_inline' not in l and 'set_matplotlib_formats' not in l).replace('\nMarkdown(', '\nSAID = ('), name, 'exec'), told)
        if 'SAID' in told: said.append(told.pop('SAID'))
        plt.close('all')
    return dict(told, said='\n\n'.join(said))

@pytest.mark.slow
def test_the_benchmark_page(data):
    page = run_page('00_benchmark.ipynb')
    said = page['said']
    assert 'pocket-known: ours replaces, against the constant box that is best there' in said and 'more often: +67 points' in said
    assert 'as far as can be told' in said, 'among strangers ours is no better here'
    assert 'lies above zero in: pocket-known, pocket-maskgit-known.' in said and 'It does not in: pocket-maskgit-strangers, pocket-strangers.' in said
    assert '| pocket-known: ours: replaced | 0.7 | 1.00 (1.00 to 1.00) | yes |' in said and 'of 16 are reached' in said
    assert 'Made by older code than that of this page: pocket-known' in said
    assert not any(figure in said for figure in ('83.9', '71.0', '84.9', '80.5')), 'no figure of people'
    for table in ('ours', 'truth', 'random-size', 'whole'): assert f'| {table} |' in said

@pytest.mark.slow
def test_the_ablations_page(data, monkeypatch):
    torch.manual_seed(0)
    models, judge = RegionEditor(stub_vit(), StubClip(), StubEditor(), 'stub'), Recogniser().eval()
    books = {(s, 0): make_book(models, judge, draw_case(s, 0), Config(learning_steps=2)) for s in scenes_of('known', 2)}
    write_books(data/'book.safetensors', books, 'made by a test')
    monkeypatch.setattr('regionedit.models.pretrained.load_vit', lambda name: stub_vit())
    monkeypatch.setattr(ablations, 'head_hits', lambda vit, seeds: {n: dict(first=(.5,) * 3, other=(.5,) * 3) for n in ('mean', 'head 0')})
    page = run_page('01_ablations.ipynb')
    assert all(f'| {name} |' in page['said'] for name in ('all three', 'by chance', 'shifted, fitted', 'K = 4', 'M = 2', 'source_weight = 0', 'source_weight = 2', 'prompt only', 'structure x t (literal norm)'))
    assert page['said'].count('| by chance |') >= 6 and page['said'].count('| best constant (') >= 6, 'a baseline in every table'
    assert 'older code than that of this page' in page['said']

def test_the_page_of_the_weight(data):
    from safetensors.torch import save_file
    for name, editor in (('source_weight', 'pocket'), ('source_weight_oracle', 'oracle')):
        save_file({f'{editor}.{n}.{s}': torch.rand(8, 7, 10, generator=torch.Generator().manual_seed(s)) for n in (1, 2) for s in range(4)}, data/f'{name}.safetensors')
    said = run_page('02_source_weight.ipynb')['said']
    assert said.count('| best constant size |') == said.count('| size by chance |') == 4 and '- oracle, 2 object(s): ' in said

@pytest.mark.slow
def test_the_front_pages_figures_are_those_of_the_files(data):
    rows = read_rows(data/'pocket-strangers'/'bench.csv')
    table = report.front_table(data)
    first = table.splitlines()[2]
    ours = np.mean([r['replaced'] for r in rows if r['method'] == 'ours'])
    best = max(np.mean([r['replaced'] for r in rows if r['method'] == f'constant-{j}']) for j in range(1, 8))
    assert first.startswith(f'| strangers, *replaced* | **{ours:.0%}** (') and f'| {best:.0%} |' in first, 'replaced, among strangers, with baselines, comes first'
    assert table.splitlines()[0].count('|') == 9 and 'as far as can be told' in table
    assert report.front_table(data/'none') == report.front_sight(data/'none') == report.NOT_YET

def test_a_verdict_needs_an_interval_and_holm():
    assert report.in_words(dict(value=(.2, .1, .3), holm=.01)).startswith('more often: +20 points (+10 to +30')
    assert report.in_words(dict(value=(-.2, -.3, -.1), holm=.01)).startswith('less often')
    for found in (dict(value=(.2, .1, .3), holm=.06), dict(value=(.2, -.01, .3), holm=.01)): assert 'as far as can be told' in report.in_words(found)

# the tool

def test_every_part_is_made_once_by_one_half():
    assert sorted(tool.half(1) + tool.half(2)) == sorted(tool.PARTS) and len({tool.kept(n) for n in tool.PARTS}) == len(tool.PARTS)
    loads = [sum(map(tool.seconds, tool.half(i))) for i in (1, 2)]
    assert max(loads) < 1.15 * min(loads) and list(tool.PARTS)[:2] == ['pocket-strangers', 'pocket-known']
    assert {p for p, *_ in report.FRONT} <= set(tool.PARTS)

def test_every_part_is_understood_by_what_it_calls(monkeypatch):
    import regionedit.cli as cli
    from regionedit.bench import command
    for args, _, _ in (p for p in tool.PARTS.values() if 'bench' in p[0]):
        parsed = cli.build_parser().parse_args(args[args.index('bench'):] + ['--resume']) if hasattr(cli, 'build_parser') else None
        if parsed: assert command.check_options(parsed)

def test_a_part_is_run_on_one_core_and_goes_on(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(tool.subprocess, 'run', lambda args, **more: calls.append((args, more)) or type('R', (), dict(returncode=0)))
    monkeypatch.setattr(tool, 'kept', lambda name: tmp_path/'a'/'bench.csv')
    (tmp_path/'a').mkdir(); (tmp_path/'a'/'bench.csv').touch()
    assert tool.run('pocket-known', False) == 0 and (tmp_path/'a'/'bench.csv').exists()
    assert calls[0][0][-1] == '--resume' and calls[0][1]['env']['OMP_NUM_THREADS'] == '1'
    tool.run('book', True)
    assert calls[1][0][-1] != '--resume' and not (tmp_path/'a'/'bench.csv').exists(), 'fresh: nothing kept'

# the picture

def test_the_demo_picture_is_refused_unless_it_shows_what_it_says(monkeypatch):
    from dataclasses import replace
    from stubs import stub_result
    spec = importlib.util.spec_from_file_location('demo_picture', ROOT/'tools'/'demo_picture.py')
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    result = stub_result()
    middle = replace(result, table=replace(result.table, boxes=torch.tensor([[[0, 0, 4, 4], list(result.box), [0, 0, 37, 21]]])))
    assert demo.is_interior(middle)
    for at in (0, 2):
        row = [[10, 5, 14, 9], [10, 5, 20, 20], [0, 0, 37, 21]]; row[at] = list(result.box)
        if at == 0: row[1], row[2] = [0, 0, 36, 21], [0, 0, 37, 21]
        else: row[0], row[1] = [0, 0, 1, 1], [0, 0, 1, 2]
        assert not demo.is_interior(replace(result, table=replace(result.table, boxes=torch.tensor([row]))))
    monkeypatch.setattr(demo, 'recognise', lambda judge, pictures: ['rocket', 'rocket'])
    assert demo.faults(middle, None, result.box, 'cat', 'rocket') == []
    monkeypatch.setattr(demo, 'recognise', lambda judge, pictures: ['rocket', 'cat'])
    said, = demo.faults(middle, None, result.box, 'cat', 'rocket')
    assert 'sees rocket in the box and cat in the old place, of which the box covers 100%' in said

def test_the_readmes_figures_are_those_of_the_kept_files():
    "Every line of its two tables; the sentence below them takes half a minute of permutations."
    folder, said = ROOT/'nbs'/'results'/'data', (ROOT/'README.md').read_text(encoding='utf8')
    parts = report.read_parts(folder)
    lines = [[what, *report.front_line(parts[part], objects, column)] for part, objects, column, what in report.FRONT]
    assert report.lined(['', *report.BESIDE.values()], lines) in said, 'run python tools/stamp_lessons.py --pages nbs/index.ipynb, then tools/readme.py'
    assert report.front_sight(folder/'measures.jsonl') in said
