"""Kept results stand after a change of the code only where nothing changed, and a failed comparison
leaves every file as it was."""
from pathlib import Path
import json, sys

import pytest

sys.path.append(str(Path(__file__).parents[2]/'tools'))
import restamp

OLD, NEW = 'a' * 12, 'b' * 12
ROW = dict(method='ours', iou='0.5')

@pytest.fixture
def trees(tmp_path, monkeypatch):
    "An old tree, this one, and kept results; both trees measure what `answers` says."
    data, old = tmp_path/'data', tmp_path/'old'
    for folder in (data/'pocket', old): folder.mkdir(parents=True)
    (data/'pocket'/'bench.csv').write_text(f'method,code\nours,{OLD}\n')
    (data/'table.safetensors').write_bytes(b'\x10\xff' + OLD.encode() + b'\x00')
    (data/'other.csv').write_text('method,code\nours,' + 'c' * 12 + '\n')
    answers = dict(old=[ROW], new=[ROW], syntax=dict(old=1, new=2))
    def which(tree): return 'old' if tree == old.resolve() else 'new'
    monkeypatch.setattr(restamp, 'DATA', data)
    monkeypatch.setattr(restamp, 'code_of', lambda tree: dict(old=OLD, new=NEW)[which(tree)])
    monkeypatch.setattr(restamp, 'syntax', lambda tree: answers['syntax'][which(tree)])
    monkeypatch.setattr(restamp, 'rows_of', lambda tree, *part: answers[which(tree)])
    def run(*more):
        monkeypatch.setattr(sys, 'argv', ['restamp.py', str(old), *more])
        return restamp.main()
    return data, answers, run

def kept(data: Path) -> dict:
    return {f.relative_to(data).as_posix(): f.read_bytes() for f in data.rglob('*') if f.is_file()}

def test_equal_rows_let_results_stand(trees):
    data, _, run = trees
    before = kept(data)
    assert run() == 0
    said, after = json.loads((data/'restamped.jsonl').read_text()), kept(data)
    assert said['files'] == ['pocket/bench.csv', 'table.safetensors'] and said['rows'] == 3
    assert (said['old'], said['new'], said['same_syntax']) == (OLD, NEW, False)
    for name, content in before.items():
        assert after[name] == content.replace(OLD.encode(), NEW.encode())

@pytest.mark.parametrize('new', [[dict(ROW, iou='0.6')], [], [ROW, ROW], [dict(method='ours')]])
def test_rows_that_differ_change_nothing(trees, capsys, new):
    data, answers, run = trees
    before, answers['new'] = kept(data), new
    assert run() == 1 and kept(data) == before
    assert 'differ' in capsys.readouterr().out

def test_the_same_syntax_needs_no_measurement(trees, monkeypatch):
    data, answers, run = trees
    answers['syntax']['new'] = answers['syntax']['old']
    monkeypatch.setattr(restamp, 'rows_of', lambda *args: pytest.fail('measured'))
    assert run() == 0
    said = json.loads((data/'restamped.jsonl').read_text())
    assert said['same_syntax'] and said['rows'] == 0 and NEW in (data/'pocket'/'bench.csv').read_text()

def test_a_try_writes_nothing(trees):
    data, _, run = trees
    before = kept(data)
    assert run('--try') == 0 and kept(data) == before

def test_a_syntax_tree_sees_code_and_not_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(restamp, 'in_tree', lambda *args: '*.py\n')
    for name, text in (('one', 'x = 1  # a\n'), ('two', '# b\nx = (1)\n'), ('three', 'x = 2\n')):
        (tmp_path/name/'regionedit').mkdir(parents=True)
        (tmp_path/name/'regionedit'/'a.py').write_text(text)
    one, two, three = (restamp.syntax(tmp_path/n) for n in ('one', 'two', 'three'))
    assert one == two != three
