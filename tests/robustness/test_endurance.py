"Long runs: memory stays flat, and a batch with the bundled models survives kills and company."
import ctypes, gc, json, os, random, subprocess, sys, time
from pathlib import Path

import pytest

from regionedit import RegionEditor
from stubs import StubClip, StubEditor, picture, stub_vit

FEW = dict(num_anchors=2, num_proposals=2, learning_steps=2, progress=False)

def resident() -> float:
    "Memory of this process, MB, without what was freed and glibc keeps for the next one who asks."
    gc.collect()
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim: trim(0)
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20

def growth(editor, edits: int, warm: int, **options) -> float:
    "MB that a process grows by over so many edits of different pictures, after the first few."
    for i in range(edits):
        if i == warm: start = resident()
        editor(picture(60 + i % 5, 40, seed=i), f'a rocket {i}', 'a cat', seed=i, **options)
    return resident() - start

@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='reads /proc')
@pytest.mark.parametrize('kind, edits, most', [('stubs', 200, 15), ('pocket', 100, 8)])
def test_memory_is_flat_over_many_edits(kind, edits, most):
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor()) if kind == 'stubs' else RegionEditor.from_pretrained('pocket')
    grown = growth(editor, edits, 40, **(FEW if kind == 'stubs' else dict(FEW, num_anchors=1, num_inference_steps=1)))
    print(f'{kind}: {grown:.1f} MB over {edits - 40} edits')
    assert grown < most

# the bundled models in a batch

OPTIONS = ['--num-anchors', '2', '--num-proposals', '2', '--num-inference-steps', '2', '--learning-steps', '3']

def start(root: Path, out: str, *more) -> subprocess.Popen:
    "One process of `regionedit batch`."
    command = [sys.executable, '-c', 'from regionedit.cli import main; raise SystemExit(main())', 'batch', root/'jobs.json', '--image-dir', root, '--out', root/out, *OPTIONS, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def tree(folder: Path) -> dict:
    "Every byte of every result, without when and by whom it was made."
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.parent != folder and '.regionedit' not in p.parts}
    for name in [n for n in found if n.endswith('.json')]:
        said = json.loads(found[name])
        found[name] = {k: v for k, v in said.items() if k not in ('seconds', 'digest', 'time', 'host', 'run', 'files')}
    return found

@pytest.fixture(scope='module')
def night(tmp_path_factory):
    "A folder of six pictures, one of which is none, done in one undisturbed process; and the seconds it took."
    from regionedit.pocket import draw_scene
    root = tmp_path_factory.mktemp('night')
    for i in range(5): draw_scene(i).image.save(root/f'{i}.png')
    (root/'5.png').write_bytes(b'no picture')
    (root/'jobs.json').write_text(json.dumps({f'{i}.png': ['a thing', 'a rocket'] for i in range(6)}))
    begin, process = time.time(), start(root, 'alone')
    out, err = process.communicate()
    assert process.returncode == 3 and '5 of 6 done, 1 failed' in out, err
    return root, time.time() - begin

@pytest.mark.slow
def test_killed_and_resumed_the_results_are_the_same(night):
    (root, seconds), chance, kills = night, random.Random(0), 0
    while True:
        process = start(root, 'killed')
        try: process.wait(seconds * chance.uniform(.3, .9) if kills < 4 else None)
        except subprocess.TimeoutExpired: process.kill(); kills += 1
        out, err = process.communicate()
        if process.returncode == 3: break
        assert process.returncode == -9, err
        whole = tree(root/'alone')
        assert all(whole[name] == content for name, content in tree(root/'killed').items())         # what is there is whole, at any moment
    assert kills and '5 of 6 done, 1 failed' in out and tree(root/'killed') == tree(root/'alone')

@pytest.mark.slow
def test_two_workers_make_the_same(night):
    pytest.importorskip('distributed')
    root, process = night[0], start(night[0], 'two', '--workers', '2')
    out, err = process.communicate()
    assert process.returncode == 3 and '5 of 6 done, 1 failed' in out, err
    assert tree(root/'two') == tree(root/'alone')
