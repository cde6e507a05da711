"""A result is written as PNG, JSON and safetensors, whole or not at all, and read back as it was,
or refused."""
import hashlib, json, os, pickle, re, shutil, subprocess, sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.results import saved
from regionedit import EditResult
from regionedit.results.saved import SCHEMA, facts
from stubs import stub_result

OLD = Path(__file__).parents[1]/'data'/'result-schema-1'  # stub_result(), saved by version 0.1.0

@pytest.fixture
def result() -> EditResult: return stub_result()

def same(a, b):
    "Equal to the last bit, whatever it is made of."
    if isinstance(a, torch.Tensor): assert a.dtype == b.dtype and torch.equal(a, b)
    elif isinstance(a, Image.Image):
        assert (a.mode, a.size, a.tobytes()) == (b.mode, b.size, b.tobytes())
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a: same(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b): same(x, y)
    elif hasattr(a, '__dataclass_fields__'):
        assert type(a) is type(b)
        for f in fields(a): same(getattr(a, f.name), getattr(b, f.name))
    else: assert type(a) is type(b) and a == b

def test_what_is_saved_comes_back_to_the_last_bit(result, tmp_path):
    folder = result.save(tmp_path/'new'/'folder')
    loaded = EditResult.load(folder)
    same(result, loaded)
    same([c.image for c in result.candidates], [c.image for c in loaded.candidates])
    assert (loaded.box, loaded.score, loaded.seed,
            loaded.num_edits) == ((30, 10, 35, 14), .9, 2**62 + 1, 5)

def test_a_mask_of_ones_own_is_a_text_for_each_row(result, tmp_path):
    "A number on a line of its own for each pixel made 66 MB of a large photograph's mask."
    edits = result.table.edits
    x0, y0, x1, y1 = edits[0].box
    rows = tuple(tuple((x + y) % 2 for x in range(x0, x1)) for y in range(y0, y1))
    edits = (replace(edits[0], patches=rows), *edits[1:])
    of_box = {e.box: e for e in edits}
    masked = replace(result, table=replace(result.table, edits=edits),
                     candidates=[replace(c, edit=of_box[c.box]) for c in result.candidates])
    same(masked, EditResult.load(masked.save(tmp_path/'out')))
    texts = json.loads((tmp_path/'out'/'result.json').read_text())['edits'][0]['patches']
    assert texts == [''.join(map(str, row)) for row in rows]
    assert saved._rows(texts) == rows == saved._rows([[*row] for row in rows])   # as it was

def test_nothing_is_pickled_or_unpickled(result, tmp_path, monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('not allowed')
    for name in ('load', 'save'): monkeypatch.setattr(torch, name, refuse)
    for name in ('load', 'loads', 'dump', 'dumps', 'Unpickler', 'Pickler'):
        monkeypatch.setattr(pickle, name, refuse)
    EditResult.load(result.save(tmp_path))
    assert {p.suffix for p in tmp_path.rglob('*') if p.is_file()} == {'.png', '.json',
                                                                      '.safetensors'}

def test_it_loads_without_any_model(result, tmp_path, monkeypatch):
    result.save(tmp_path)
    # an import of these fails
    for name in ('timm', 'open_clip', 'diffusers', 'transformers', 'torchvision'):
        monkeypatch.setitem(sys.modules, name, None)
    assert EditResult.load(str(tmp_path)).image.tobytes() == result.image.tobytes()

def test_pictures_on_disk_are_what_they_are_called(result, tmp_path):
    result.save(tmp_path)
    def pixels(name): return np.asarray(Image.open(tmp_path/name)).astype(int)
    edit, source = pixels('edit.png'), pixels('source.png')
    assert source.shape == (21, 37, 3) and (source == np.asarray(result.source_image)).all()
    changed = (edit != source).any(-1)
    # only in the best candidate's box
    assert changed[10:14, 30:35].any() and changed.sum() == changed[10:14, 30:35].sum()
    assert (tmp_path/'boxes.png').exists() and len(list((tmp_path/'edits').iterdir())) == 5

def test_result_json_says_what_the_interface_promises(result, tmp_path):
    said = json.loads((result.save(tmp_path)/'result.json').read_text())
    assert {'box', 'score', 's_t2i', 's_i2i', 'num_edits', 'seconds', 'seed', 'preset', 'prompt',
            'source', 'versions', 'candidates'} <= said.keys()
    assert said['schema'] == SCHEMA and said['box'] == [30, 10, 35, 14] and said['num_edits'] == 5
    assert said['prompt'] == 'a rocket "über" all'
    assert [c['anchor'] for c in said['candidates']] == [[32.5, 12.25], [4.125, 5.5]]
    assert said['size'] == [37, 21]
    assert {k: said[k] for k in facts(result)} == json.loads(json.dumps(facts(result)))
    assert set(said) - set(facts(result)) == {'files', 'digest'}

def test_a_folder_is_written_over(result, tmp_path):
    result.save(tmp_path)
    other = stub_result(seed=1)
    same(other, EditResult.load(other.save(tmp_path)))

@pytest.mark.parametrize('schema', [None, 0, SCHEMA + 1, str(SCHEMA), [1]])
def test_another_schema_is_refused(result, tmp_path, schema):
    path = result.save(tmp_path)/'result.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()), schema=schema)))
    with pytest.raises(ValueError,
                       match=re.escape(f'expected a result of schema 1 to {SCHEMA}, '
                                       f'got {schema!r};')):
        EditResult.load(tmp_path)

def test_no_result_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a folder that EditResult.save wrote, '
                                                'found no file at .*result.json'):
        EditResult.load(tmp_path)

# older and odd results

def test_a_result_of_schema_1_is_read_as_it_was(result):
    "Its settings are those it was made with, whatever the defaults are today."
    old = EditResult.load(OLD)
    same(replace(result, config=old.config), old)
    said = json.loads((OLD/'result.json').read_text())['config']
    assert {k: v for k, v in old.config.as_dict().items() if k in said} == said
    assert said['max_size'] == .8

def test_losses_that_are_no_numbers_come_back_and_json_stays_json(result, tmp_path):
    terms = dict(result.table.terms,
                 str=torch.tensor([[.5, torch.nan, .25], [torch.inf, -torch.inf, 0.]]))
    odd = replace(result, table=replace(result.table, terms=terms))
    loaded = EditResult.load(odd.save(tmp_path))
    assert torch.equal(loaded.table.terms['str'].view(torch.int32), terms['str'].view(torch.int32))
    assert loaded.left_out == [(0, 1), (1, 0), (1, 1)]
    def refuse(word): raise AssertionError(word)
    assert json.loads((tmp_path/'result.json').read_text(), parse_constant=refuse)['left_out'] == [
        [0, 1], [1, 0], [1, 1]]

def with_broken(result) -> EditResult:
    "The same result as if the editor had failed at the second edit."
    def lost(values): return values.masked_fill(result.table.index == 1, torch.nan)
    table = replace(result.table,
                    edits=tuple(replace(e, broken=i == 1)
                                for i, e in enumerate(result.table.edits)),
                    terms={k: lost(v) for k, v in result.table.terms.items()},
                    s_t2i=lost(result.table.s_t2i), s_i2i=lost(result.table.s_i2i))
    return replace(result, table=table, candidates=result.candidates[:1])

def test_a_broken_edit_comes_back_broken(result, tmp_path):
    loaded = EditResult.load(with_broken(result).save(tmp_path))
    assert [e.broken for e in loaded.table.edits] == [False, True, False, False, False]
    assert loaded.left_out == [(0, 1)]
    assert loaded.table.edits[1].paste(
        loaded.source_image).tobytes() == result.source_image.tobytes()

@pytest.mark.parametrize('which', [0, 3])
def test_a_broken_edit_has_no_losses_and_is_no_candidate(result, tmp_path, which):
    result.save(tmp_path)
    rewrite(tmp_path, lambda s: s['edits'][which].update(broken=True))
    sign(tmp_path)
    with pytest.raises(ValueError, match='an edit that is broken has losses or is a candidate'):
        EditResult.load(tmp_path)

def test_a_table_that_a_budget_left_open_comes_back(result, tmp_path):
    terms = {k: v.clone() for k, v in result.table.terms.items()}
    for v in terms.values(): v[:, 2] = torch.nan
    table = replace(result.table, index=torch.tensor([[0, 1, -1], [2, 3, -1]]),
                    edits=tuple(e for i, e in enumerate(result.table.edits) if i != 2), terms=terms,
                    previews=3)
    loaded = EditResult.load(replace(result, table=table).save(tmp_path))
    assert loaded.left_out == [] and loaded.num_edits == 4 + 3
    assert loaded.table.valid.tolist() == [[True, True, False]] * 2
    assert loaded.image.tobytes() == result.image.tobytes()

# damage

def rewrite(folder, change):
    "Change what result.json says."
    said = json.loads((folder/'result.json').read_text())
    change(said)
    (folder/'result.json').write_text(json.dumps(said))

class Evil:
    def __reduce__(self): return (Path('/tmp/regionedit-was-unpickled').touch, ())

def put(name, data): return lambda folder: (folder/name).write_bytes(data)
def png(*args): return lambda folder: Image.new(*args).save(folder/'source.png')
def said(change): return lambda folder: rewrite(folder, change)
def tensors(change):
    def damage(folder):
        from safetensors.torch import load_file, save_file
        values = load_file(folder/'tensors.safetensors')
        change(values)
        save_file({k: v.contiguous() for k, v in values.items()}, folder/'tensors.safetensors')
    return damage

DAMAGE = dict(
    picture_of_another_size=png('RGB', (38, 21)), picture_of_the_same_size=png('RGB', (37, 21)),
    no_picture=put('source.png', b'no picture'),
    pickled_picture=put('source.png', pickle.dumps(Evil())),
    pickled_tensors=put('tensors.safetensors', pickle.dumps(Evil())),
    empty_tensors=put('tensors.safetensors', b''),
    half_tensors=lambda f: os.truncate(f/'tensors.safetensors', 900),
    pickled_json=put('result.json', pickle.dumps(Evil())), empty_json=put('result.json', b''),
    deep_json=put('result.json', b'[' * 100_000), list_json=put('result.json', b'[1]'),
    other_bytes=put('result.json', b'\xff\xfe{'),
    no_tensors=lambda f: (f/'tensors.safetensors').unlink(),
    no_edit=lambda f: (f/'edits'/'002.png').unlink(),
    cut_edit=lambda f: os.truncate(f/'edits'/'000.png', 500),
    folder_for_a_file=lambda f: ((f/'source.png').unlink(), (f/'source.png').mkdir()),
    no_key=said(lambda s: s.pop('prompt')), no_config=said(lambda s: s.pop('config')),
    other_config=said(lambda s: s['config'].update(num_anchors=0)),
    unknown_option=said(lambda s: s['config'].update(magic=1)),
    no_candidates=said(lambda s: s.update(candidates=[])),
    other_box=said(lambda s: s['candidates'][0].update(box=[0, 0, 5, 5])),
    box_outside=said(lambda s: s['edits'][0].update(box=[1, 2, 60, 9])),
    float_box=said(lambda s: s['edits'][0].update(box=[1., 2, 6, 9])),
    text_for_score=said(lambda s: s['candidates'][0].update(score='high')),
    infinite_score=said(lambda s: s['candidates'][0].update(score=float('inf'))),
    prompt_is_a_number=said(lambda s: s.update(prompt=3)),
    other_size=said(lambda s: s.update(size=[21, 37])),
    fewer_edits=said(lambda s: s['edits'].pop()),
    a_tensor_less=tensors(lambda t: t.pop('table.boxes')),
    a_term_less=tensors(lambda t: t.pop('terms.dir')),
    index_too_large=tensors(lambda t: t['table.index'].fill_(9)),
    other_boxes=tensors(lambda t: t['table.boxes'].add_(1)),
    other_shape=tensors(lambda t: t.update({'trajectory.terms': t['trajectory.terms'][:2]})),
    unknown_tensor=tensors(lambda t: t.update({'table.magic': torch.ones(2)})))
DAMAGE |= dict(
    a_loss_less=said(lambda s: s['candidates'][0]['losses'].pop('dir')),
    no_place=said(lambda s: s['candidates'][1].update(anchor=[1])),
    seconds_is_a_text=said(lambda s: s.update(seconds='long')),
    versions_is_a_number=said(lambda s: s.update(versions=3)),
    previews_is_a_text=said(lambda s: s.update(previews='x')),
    schema_is_true=said(lambda s: s.update(schema=True)),
    schema_is_no_whole_number=said(lambda s: s.update(schema=1.)),
    chosen_too_large=tensors(lambda t: t['trajectory.chosen'].fill_(3)),
    index_below=tensors(lambda t: t['table.index'].fill_(-2)),
    whole_losses=tensors(lambda t: t.update({'terms.dir': t['terms.dir'].long()})),
    flat_attention=tensors(lambda t: t.update(attention=t['attention'].flatten())),
    one_term_more=tensors(lambda t: t.update({'terms.magic': t['terms.dir'].clone()})))
UNSEEN = {'picture_of_the_same_size'}       # before there were digests, or with digests made anew

def sign(folder):
    "Digests as if the damage were the result: only what is looked over can refuse it."
    said = json.loads((folder/'result.json').read_bytes())
    said['files'] = {name: hashlib.sha256((folder/name).read_bytes()).hexdigest()
                     for name in said['files']}
    (folder/'result.json').write_text(json.dumps(dict(said, digest=saved._digest(said))))

@pytest.mark.parametrize('schema', [1, 2, 'signed'])
@pytest.mark.parametrize('kind', DAMAGE)
def test_damage_is_one_sentence(result, tmp_path, kind, schema):
    folder = Path(shutil.copytree(OLD, tmp_path/'a')) if schema == 1 else result.save(tmp_path/'a')
    DAMAGE[kind](folder)
    if schema == 'signed':
        try: sign(folder)
        except (OSError, ValueError, TypeError, KeyError, RecursionError): pass
    if schema != 2 and kind in UNSEEN: EditResult.load(folder); return
    with pytest.raises(ValueError) as error: EditResult.load(folder)
    text = str(error.value)
    assert type(error.value) is ValueError and text.startswith(
        'expected ') and '\n' not in text and '; ' in text and len(text) < 500, text
    assert not Path('/tmp/regionedit-was-unpickled').exists()

@pytest.mark.parametrize('name', ['edit.png', 'boxes.png', 'edits/003.png', 'tensors.safetensors'])
@pytest.mark.parametrize('schema', [1, 2])
@pytest.mark.parametrize('kind', ['pipe', 'device'])
def test_nothing_is_waited_for(result, tmp_path, name, schema, kind):
    folder = Path(shutil.copytree(OLD, tmp_path/'a')) if schema == 1 else result.save(tmp_path/'a')
    (folder/name).unlink()
    os.mkfifo(folder/name) if kind == 'pipe' else os.symlink('/dev/zero', folder/name)
    with pytest.raises(ValueError, match=f'expected {name}.* is a pipe or a device'):
        EditResult.load(folder)

@pytest.mark.parametrize('change',
                         [lambda files: files.update({'/dev/zero': ''}),
                          lambda files: files.update({'../../etc/passwd': ''}),
                          lambda files: files.pop('edits/000.png'), lambda files: files.clear()])
def test_only_the_files_of_a_result_are_read(result, tmp_path, change):
    folder = result.save(tmp_path)
    rewrite(folder, lambda s: change(s['files']))
    rewrite(folder, lambda s: s.update(digest=saved._digest(s)))
    with pytest.raises(ValueError, match='names other files than those of a result'):
        EditResult.load(folder)

def test_settings_of_a_later_version_are_named(result, tmp_path):
    folder = result.save(tmp_path)
    rewrite(folder, lambda s: s['config'].update(magic=1))
    sign(folder)
    with pytest.raises(ValueError, match='settings that this version does not know: magic'):
        EditResult.load(folder)

@pytest.mark.parametrize('name',
                         ['edit.png', 'source.png', 'boxes.png', 'edits/003.png',
                          'tensors.safetensors', 'result.json'])
def test_a_single_bit_is_noticed(result, tmp_path, name):
    path = result.save(tmp_path)/name
    data = bytearray(path.read_bytes())
    at = data.index(b'rocket') if name == 'result.json' else len(data) // 2
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f'{name} is not as it was saved'):
        EditResult.load(tmp_path)

def test_layout_of_the_json_does_not_matter(result, tmp_path):
    path = result.save(tmp_path)/'result.json'
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
    same(result, EditResult.load(tmp_path))

@pytest.mark.parametrize('where', ['x' * 300, 'a\0b', '.', 'pipe'])
def test_no_folder(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    Path('pipe').mkdir(); os.mkfifo('pipe/result.json')
    with pytest.raises((ValueError, FileNotFoundError),
                       match='expected a folder that EditResult.save wrote'):
        EditResult.load(where)

# all or nothing

def content(folder: Path) -> dict:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*')
            if p.is_file()}

def small_result(seed) -> EditResult:
    "Fewer edits than `stub_result`, so that files must go when it takes the other's place."
    r = stub_result(seed)
    table = replace(r.table, edits=r.table.edits[:3] + r.table.edits[:0],
                    index=torch.tensor([[0, 1, 2], [2, 1, 0]]))
    table = replace(table, boxes=torch.tensor([e.box for e in table.edits])[table.index])
    return replace(r, table=table, candidates=r.candidates[1:])

def test_a_smaller_result_leaves_nothing_of_a_larger_one(result, tmp_path):
    small = small_result(3)
    small.save(tmp_path/'alone'); result.save(tmp_path/'both'); small.save(tmp_path/'both')
    assert content(tmp_path/'alone') == content(tmp_path/'both')

def dies_at(step: int, action) -> bool:
    """Do it in a child that ends, without cleaning up, before its so-and-so-many-th change of the
    disk; did it end so?"""
    child = os.fork()
    if child: return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    count = 0
    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal count
            count += 1
            if count == step: os._exit(9)
            return function(*args, **kwargs)
        return wrapper
    for owner, names in ((os, ('replace', 'rename', 'unlink', 'rmdir', 'mkdir')),
                         (Path, ('write_bytes', 'unlink', 'mkdir')), (saved.shutil, ('rmtree',))):
        for name in names: setattr(owner, name, counted(getattr(owner, name)))
    action()
    os._exit(0)

@pytest.mark.slow
@pytest.mark.parametrize('there', ['nothing', 'a result'])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(result, tmp_path, there):
    folder, new, seen, step = tmp_path/'out', small_result(3), set(), 1
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if there == 'a result': result.save(folder)
        died = dies_at(step, lambda: new.save(folder))
        try: found = EditResult.load(folder)
        except FileNotFoundError: found = None; assert there == 'nothing'
        if found: same(found, new if found.score == new.score else result)
        seen.add(found and found.score)
        stub_result(5).save(folder)
        assert EditResult.load(folder).seed == result.seed
        assert not [n for n in content(folder) if n[0] == '.' or n.endswith('lock')]
        if not died: break
        step += 1
    assert step > 20 and seen == {new.score, None if there == 'nothing' else result.score}
    assert found.score == new.score

def test_a_full_disk_leaves_the_old(result, tmp_path, monkeypatch):
    result.save(tmp_path)
    before = content(tmp_path)
    def full(path, data): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left'): small_result(3).save(tmp_path)
    monkeypatch.undo()
    assert content(tmp_path) == before

SAVER = """
import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/..']
from stubs import stub_result
from test_saved import small_result
which = stub_result if sys.argv[3] == '0' else small_result
for i in range(12): which(int(sys.argv[3])).save(sys.argv[2])
"""

@pytest.mark.slow
def test_two_processes_that_save_to_one_folder_take_turns(result, tmp_path):
    processes = [
        subprocess.Popen([sys.executable, '-c', SAVER, str(Path(__file__).parent),
                          str(tmp_path/'out'), str(i)]) for i in range(2)]
    assert [p.wait() for p in processes] == [0, 0]
    stub_result(0).save(tmp_path/'0'); small_result(1).save(tmp_path/'1')
    assert content(tmp_path/'out') in (content(tmp_path/'0'), content(tmp_path/'1'))

# where it may not go

def test_a_folder_whose_name_is_no_text(result, tmp_path):
    folder = tmp_path/os.fsdecode(b'caf\xe9')
    same(result, EditResult.load(result.save(folder)))

@pytest.mark.parametrize('name',
                         ['result.json', 'edit.png', 'source.png', 'boxes.png',
                          'tensors.safetensors'])
def test_a_file_of_somebody_else_is_not_written_over(result, tmp_path, name):
    (tmp_path/name).write_bytes(b'mine')
    with pytest.raises(ValueError, match=f'holds another {name}'): result.save(tmp_path)
    assert content(tmp_path) == {name: b'mine'}

def test_other_files_stay(result, tmp_path):
    (tmp_path/'notes.txt').write_text('mine')
    result.save(tmp_path); small_result(3).save(tmp_path)
    assert (tmp_path/'notes.txt').read_text() == 'mine'

def test_a_file_in_the_place_of_the_folder(result, tmp_path):
    (tmp_path/'file').write_text('mine')
    for where in ('file', 'file/below', 'x' * 300):
        with pytest.raises(ValueError, match='expected a folder for the results'):
            result.save(tmp_path/where)
    assert content(tmp_path) == {'file': b'mine'}

def test_plots_draw_a_loaded_result_without_any_model(result, tmp_path, monkeypatch):
    from regionedit.plots import base as plots
    result.save(tmp_path)
    for name in ('timm', 'open_clip', 'diffusers', 'transformers'):
        monkeypatch.setitem(sys.modules, name, None)
    loaded = EditResult.load(tmp_path)
    plots.show_attention(loaded.source_image, loaded.attention)
    plots.show_proposals(loaded.source_image, loaded.table.boxes,
                         [c.anchor for c in loaded.candidates])
    plots.show_terms(loaded.table.terms['str'], chosen=loaded.trajectory.chosen[-1])
    plots.show_trajectory(loaded.trajectory.expected_loss, loaded.trajectory.probabilities)
    plots.show_candidates([c.image for c in loaded.candidates],
                          [c.score for c in loaded.candidates])
    plots.show_before_after(loaded.source_image, loaded.image, loaded.box)
    assert loaded._repr_png_()[:4] == loaded.table._repr_png_()[:4] == b'\x89PNG'

def test_the_explorer_opens_a_loaded_result_without_any_model(result, tmp_path, monkeypatch):
    "Also one with a loss that is no number, and one with a broken edit."
    terms = dict(result.table.terms, str=torch.tensor([[.5, torch.nan, .25], [.1, .2, .3]]))
    for i, r in enumerate((result, replace(result, table=replace(result.table, terms=terms)),
                           with_broken(result))):
        r.save(tmp_path/str(i))
    for name in ('timm', 'open_clip', 'diffusers', 'transformers', 'torchvision'):
        monkeypatch.setitem(sys.modules, name, None)
    for i in range(3):
        shown = EditResult.load(tmp_path/str(i)).explore()
        assert len(shown.bundle['edits']) == len(result.table.edits) and shown.status['state'] == 'idle'
