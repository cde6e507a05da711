"Batches with a stand-in for the editor: what is read, done once, kept apart, taken over, and never lost."
import json, os, random, socket, subprocess, sys, time, warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

from batch_stub import StubEditor
from regionedit.batch import run as batch, jobs
from regionedit.results import claims
from regionedit import cli
from regionedit.batch.run import Place, find_place, run_batch
from regionedit.results.claims import bids, birth, is_stale, take_claim, whoami
from regionedit.batch.jobs import Job, parse_jobs, read_jobs
from stubs import picture

STUB = Path(__file__).parents[1]/'batch_stub.py'

# job files

REFERENCE = '{"1.png": ["trees", "a big tree with many flowers in the center"], "sub/2.png": ["coffee", "soft \\u00fc / drink"]}'
EXPECTED = [Job('1.png', '1.png', 'trees', 'a big tree with many flowers in the center'), Job('sub/2.png', 'sub/2.png', 'coffee', 'soft ü / drink')]

@pytest.mark.parametrize('name, text', [
    ('jobs.json', REFERENCE),
    ('jobs.json', '\ufeff' + REFERENCE),
    ('jobs.JSON', json.dumps([[j.image, j.source, j.prompt] for j in EXPECTED])),
    ('jobs.json', json.dumps([dict(image='./' + j.image, source=j.source, prompt=j.prompt) for j in EXPECTED], indent=3)),
    ('jobs.jsonl', '\r\n\n'.join(json.dumps(dict(prompt=j.prompt, image=j.image, source=j.source), ensure_ascii=False) for j in EXPECTED)),
    ('jobs.csv', ' Image, Source, PROMPT, seed\n' + ''.join(f'{j.image}, {j.source}, "{j.prompt}",\n' for j in EXPECTED)),
    ('jobs.csv', 'image,prompt,source,seed\r\n' + ''.join(f'{j.image},{j.prompt},{j.source},\r\n' for j in EXPECTED))])
def test_every_form_says_the_same(tmp_path, name, text):
    (tmp_path/name).write_bytes(text.encode())
    assert read_jobs(tmp_path/name) == EXPECTED

def test_options_of_single_jobs():
    for form, text in {'.json': '[{"image": "1.png", "source": "a", "prompt": "b", "seed": 3, "alpha": 0.5, "roi": "align"}, ["2.png", "a", "b"]]',
                       '.csv': 'roi,seed,image,source,prompt,alpha\nalign,3,1.png,a,b,.5\n\n,,2.png,a,b,\n'}.items():
        first, second = parse_jobs(text, form)
        assert first.options == dict(seed=3, alpha=.5, roi='align') and type(first.options['seed']) is int and second.options == {}

def test_ids_differ_and_come_from_the_picture():
    found = parse_jobs('{"a.png": ["x", "1"], "a.png-2": ["x", "2"], "./a.png": ["x", "3"], "b/a.png": ["x", "4"], "a.png": ["x", "../5"], "a.jpg": ["x", "6"]}')
    assert [j.id for j in found] == ['a.png', 'a.png-2', 'a.png-3', 'b/a.png', 'a.png-4', 'a.jpg'] and [j.prompt for j in found] == ['1', '2', '3', '4', '../5', '6']

BROKEN = [
    ('jobs.json', '{"1.png": ["a", "b"],\n\n "2.png": ["a" "b"]}', 3), ('jobs.json', '{"1.png": ["a", "b"],\n "2.png": ["a"]}', 2), ('jobs.json', '{"1.png":\n ["a", "b"],\n "2.png": "a"}', 3),
    ('jobs.json', '[["1.png", "a", "b"],\n["2.png", "a", 7]]', 2), ('jobs.json', '[["1.png", "a", "b"],\n\n{"image": "2.png", "prompt": "b"}]', 3), ('jobs.json', '[\n3]', 2), ('jobs.json', '7', 1),
    ('jobs.json', '', 1), ('jobs.json', '{}', 1), ('jobs.json', '[' * 100_000, 1), ('jobs.json', '[["1.png", "\\ud800", "b"]]', 1), ('jobs.json', '{"1.png": ["a",\n' + '9' * 5000 + ']}', 1),
    ('jobs.json', '{"../1.png": ["a", "b"]}', 1), ('jobs.json', '{"/etc/passwd": ["a", "b"]}', 1), ('jobs.json', '{"": ["a", "b"]}', 1), ('jobs.json', '{"a\\u0000.png": ["a", "b"]}', 1),
    ('jobs.json', '{"index.html": ["a", "b"]}', 1), ('jobs.json', '{".regionedit/a": ["a", "b"]}', 1),
    ('jobs.jsonl', '["1.png", "a", "b"]\n{"image": "2.png"', 2), ('jobs.jsonl', '["1.png", "a", "b"]\n\n["2.png", "a", "b", "c"]', 3), ('jobs.jsonl', '\n\n', 1),
    ('jobs.jsonl', '{"image": "2.png", "source": "a", "prompt": "b", "num_anchors": 0}', 1), ('jobs.jsonl', '{"image": "2.png", "source": "a", "prompt": "b", "sead": 0}', 1),
    ('jobs.jsonl', '{"image": "2.png", "source": "a", "prompt": "b", "alpha": NaN}', 1),
    ('jobs.csv', 'picture,from,to\n1.png,a,b\n', 1), ('jobs.csv', 'image;source;prompt\n1.png;a;b\n', 1), ('jobs.csv', 'image,image,source,prompt\n1.png,1.png,a,b\n', 1),
    ('jobs.csv', 'image,prompt\n1.png,b\n', 1), ('jobs.csv', 'image,source,prompt\n"1\n.png",a,b\n2.png,a\n', 4), ('jobs.csv', 'image,source,prompt\n1.png,a,b,c\n', 2),
    ('jobs.csv', 'image,source,prompt,seed\n1.png,a,b,1\n2.png,a,b,x\n', 3), ('jobs.csv', 'image,source,prompt\n1.png,a,"b\n', 2), ('jobs.csv', '', 1)]

@pytest.mark.parametrize('name, text, line', BROKEN, ids=[f'{i}-{n}' for i, (n, *_) in enumerate(BROKEN)])
def test_a_broken_file_is_named_with_its_line(tmp_path, name, text, line):
    (tmp_path/name).write_bytes(text.encode())
    with pytest.raises(ValueError) as told: read_jobs(tmp_path/name)
    assert str(told.value).startswith(f'{tmp_path/name}, line {line}: expected ') and '\n' not in str(told.value) and len(str(told.value)) < 400, told.value

@pytest.mark.parametrize('form, text, told', [
    ('.json', '[{"source": "a", "prompt": "b"}]', 'line 1: expected image, source and prompt, got no image; add it'), ('.json', '[[3, "a", "b"]]', 'line 1: expected image to be a text, got 3; give the path of a picture'),
    ('.csv', 'image,source,prompt\n', 'line 1: expected at least one job, got none; write one as picture.png,source,prompt'), ('.json', '{}', 'line 1: expected at least one job, got none; write one as {"picture.png": ["source", "prompt"]}'),
    ('.csv', 'image;source;prompt\n', "line 1: expected the names of the columns, image,source,prompt among them and each once, got 'image;source;prompt'; write them on the first line, with commas between")])
def test_what_is_told_helps(form, text, told):
    with pytest.raises(ValueError) as error: parse_jobs(text, form)
    assert str(error.value) == told

def test_other_files(tmp_path):
    for name, error in (('none.json', FileNotFoundError), ('jobs.txt', ValueError), ('latin.csv', ValueError)):
        if name != 'none.json': (tmp_path/name).write_bytes('image,source,prompt\n1.png,a,caf\xe9\n'.encode('latin-1'))
        with pytest.raises(error, match=f'expected a file of jobs.*{name}' if name != 'latin.csv' else name): read_jobs(tmp_path/name)
    with pytest.raises(ValueError, match='latin.csv, line 2: expected text in UTF-8'): read_jobs(tmp_path/'latin.csv')

# places

@pytest.mark.parametrize('environ, place', [
    ({}, Place(0, 1, 0)), ({'RANK': '3', 'WORLD_SIZE': '4', 'LOCAL_RANK': '1'}, Place(3, 4, 1)), ({'SLURM_PROCID': '2', 'SLURM_NTASKS': '3', 'SLURM_LOCALID': '1'}, Place(2, 3, 1)),
    ({'RANK': '1', 'WORLD_SIZE': '2', 'SLURM_PROCID': '0', 'SLURM_NTASKS': '9'}, Place(1, 2, 0)), ({'RANK': '1'}, Place(0, 1, 0))])
def test_place(environ, place): assert find_place(environ) == place

@pytest.mark.parametrize('rank, size', [('2', '2'), ('-1', '2'), ('x', '2'), ('0', '')])
def test_a_place_that_cannot_be(rank, size):
    with pytest.raises(ValueError, match='RANK'): find_place({'RANK': rank, 'WORLD_SIZE': size})

def test_each_place_begins_elsewhere_and_reaches_everything():
    turns = [batch.in_turn(list(range(7)), Place(r, 3)) for r in range(3)]
    assert [t[0] for t in turns] == [0, 1, 2] and turns[1] == [1, 4, 2, 5, 0, 3, 6]
    assert all(sorted(t) == list(range(7)) for t in turns)

# claims

def ended_process() -> int:
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid

def lock_of(folder, owner, age=0., number=0):
    path = folder/f'job.{number}.lock'
    path.write_text(owner if isinstance(owner, str) else json.dumps(owner))
    os.utime(path, (time.time() - age,) * 2)
    return path

def test_one_claim_at_a_time(tmp_path):
    claim = take_claim(tmp_path, 'job')
    said = json.loads((tmp_path/'job.0.lock').read_text())
    assert (said['host'], said['pid']) == (socket.gethostname(), os.getpid()) and abs(said['time'] - time.time()) < 60
    assert claim.held() and take_claim(tmp_path, 'job') is None and take_claim(tmp_path, 'other') is not None
    claim.release()
    assert take_claim(tmp_path, 'job').number == 0

@pytest.mark.parametrize('owner, age, stale', [
    (lambda: dict(whoami(), pid=ended_process()), 0, True),             # ended
    (lambda: dict(whoami(), birth='1'), 0, True),                       # its number is in use again
    (lambda: whoami(), 10_000, False),                                  # lives, however long it takes
    (lambda: dict(whoami(), host='elsewhere'), 200, False), (lambda: dict(whoami(), host='elsewhere'), 400, True),
    (lambda: '', 1, False), (lambda: '{"ho', 60, True)])                # died while it wrote
def test_which_locks_are_stale(tmp_path, owner, age, stale):
    assert is_stale(lock_of(tmp_path, owner(), age), stale_after=300) is stale
    assert (take_claim(tmp_path, 'job', 300) is not None) is stale

def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, '-c', ''])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)           # ended, and not yet asked for its status
    assert birth(process.pid) is None
    process.wait()

def test_a_lock_that_cannot_be_written_is_no_lock(tmp_path, monkeypatch):
    def full(*args, **kwargs): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(claims.json, 'dumps', full)
    with pytest.raises(OSError, match='No space'): take_claim(tmp_path, 'job')
    assert list(tmp_path.iterdir()) == []

def test_what_the_dead_left_under_a_name_of_their_own_is_found(tmp_path):
    gone = ended_process()
    for host, pid in ((socket.gethostname(), gone), (socket.gethostname(), os.getpid()), ('elsewhere', 1), (socket.gethostname(), 'x')): (tmp_path/f'.summary.json~{host}~{pid}').touch()
    (tmp_path/'.other~1').touch()
    assert [p.name for p in claims.orphans(tmp_path)] == [f'.summary.json~{socket.gethostname()}~{gone}']
    assert claims.mine(tmp_path/('x' * 255)).name.endswith(f'~{os.getpid()}') and len(claims.mine(tmp_path/('x' * 255)).name) < 255

def test_a_stale_lock_has_one_heir(tmp_path, monkeypatch):
    lock_of(tmp_path, dict(whoami(), pid=ended_process()))
    heirs, judge = [], claims.is_stale
    def both(lock, after):              # a second process comes in between our look and our lock
        monkeypatch.setattr(claims, 'is_stale', judge)
        heirs.append(take_claim(tmp_path, 'job'))
        return judge(lock, after)
    monkeypatch.setattr(claims, 'is_stale', both)
    assert take_claim(tmp_path, 'job') is None and heirs[0].held() and heirs[0].number == 1
    heirs[0].release()
    assert list(tmp_path.iterdir()) == []

def test_one_who_was_taken_for_dead_knows_and_leaves_the_heirs_lock(tmp_path):
    claim = take_claim(tmp_path, 'job')
    lock_of(tmp_path, dict(whoami(), birth='1'))
    heir = take_claim(tmp_path, 'job')
    assert not claim.held() and heir.held()
    claim.release()
    assert heir.held() and bids(tmp_path, 'job') == [1]

def test_a_living_owner_touches_its_lock(tmp_path):
    claim = take_claim(tmp_path, 'job')
    os.utime(claim.lock(), (0, 0))
    with claims.heartbeat(claim, .01):
        end = time.time() + 5
        while claim.lock().stat().st_mtime == 0 and time.time() < end: time.sleep(.01)
    assert claim.lock().stat().st_mtime > 0

# runs

class Night:
    "A folder of pictures, a job file, and how to run it here or in other processes."
    def __init__(self, root: Path, count: int, broken=()):
        self.root, self.images, self.file = root, root/'images', root/'jobs.json'
        (self.images/'sub').mkdir(parents=True)
        names = [f'sub/{i}.png' if i % 3 == 2 else f'{i}.png' for i in range(count)]
        for i, name in enumerate(names):
            if i in broken: (self.images/name).write_bytes(b'no picture')
            else: picture(11, 7, seed=i).save(self.images/name)
        self.file.write_text(json.dumps({n: ['a thing', f'prompt {i} <b>'] for i, n in enumerate(names)}))
        self.names = names

    def run(self, out='out', **options) -> dict:
        return run_batch(read_jobs(self.file), self.images, self.root/out, lambda: StubEditor(self.root/'log'), progress=False, poll=.02, **options)

    def start(self, out='out', *options, environ=None, begin=True):
        "Another process; returns when it is about to begin, and lets it."
        process = subprocess.Popen([sys.executable, STUB, self.file, self.images, self.root/out, self.root/'log', *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})})
        assert process.stdout.readline() == 'go\n'
        if begin: process.stdin.write('\n'); process.stdin.flush()
        return process

    def log(self) -> list:
        "What the editors did since the last look."
        path = self.root/'log'
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def tree(self, out='out') -> dict:
        "Every byte of every result, without the notes of who did it and when."
        folder = self.root/out
        found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.parent != folder and batch.HOME not in p.parts}
        for name in [n for n in found if n.endswith('job.json')]:
            found[name] = {k: v for k, v in json.loads(found[name]).items() if k not in ('time', 'host', 'pid', 'birth', 'seconds')}
        return found

    def leftovers(self, out='out') -> list:
        home = self.root/out/batch.HOME
        return [*(home/'claims').glob('*'), *(home/'unfinished').glob('*'), *(self.root/out).rglob('*~*')]

@pytest.fixture
def night(tmp_path): return Night(tmp_path, 6)

def counts(summary) -> tuple: return tuple(summary[k] for k in ('done', 'failed', 'open', 'made'))

def test_a_batch_is_done_and_not_done_again(night):
    assert counts(night.run()) == (6, 0, 0, 6) and sorted(night.log()) == sorted(['loaded'] + [Path(n).name for n in night.names])
    before = night.tree()
    assert {f'{n}/{f}' for n in night.names for f in ('source.png', 'edit.png', 'result.json', 'job.json', 'thumbnail.png', 'edits/000.txt')} == set(before)
    assert counts(night.run()) == (6, 0, 0, 0) and night.log() == []            # not even loaded
    assert night.tree() == before and night.leftovers() == []

def test_resume_does_only_what_is_missing(night):
    night.run(); night.log()
    before = night.tree()
    (night.root/'out'/'1.png'/'edit.png').unlink()                                # a result that is not whole
    (night.root/'out'/'sub'/'2.png'/'result.json').write_text('')
    (night.root/'out'/'3.png'/'job.json').write_text('[]')
    os.rename(night.root/'out'/'4.png', night.root/'elsewhere')
    assert counts(night.run()) == (6, 0, 0, 4) and sorted(night.log()) == ['1.png', '2.png', '3.png', '4.png', 'loaded'] and night.tree() == before

def test_other_settings_other_pictures_other_texts_are_made_again(night):
    night.run(); night.log()
    picture(11, 7, seed=50).save(night.images/'0.png')
    night.file.write_text(night.file.read_text().replace('prompt 1', 'another'))
    assert counts(night.run()) == (6, 0, 0, 2) and sorted(night.log()) == ['0.png', '1.png', 'loaded']
    assert night.run(options=dict(seed=1))['made'] == 6 == night.run(options=dict(seed=1, alpha=3.))['made'] == night.run(preset='other')['made']
    assert night.run(preset='other')['made'] == 0 and night.run(preset='other', options=dict(seed=0))['made'] == 0
    (night.images/'0.png').unlink()                                               # what is done stays done
    assert counts(night.run(preset='other')) == (6, 0, 0, 0)

def test_overwrite_makes_everything_again(night):
    night.run(); night.log()
    before = night.tree()
    (night.root/'out'/'0.png'/'mine.txt').write_text('gone after this')
    assert counts(night.run(overwrite=True)) == (6, 0, 0, 6) and night.tree() == before and len(night.log()) == 7

def test_the_seed_is_the_pictures_own(night):
    rows = night.run(options=dict(seed=3))['rows']
    assert len({r['seed'] for r in rows}) == 6 and all(json.loads((night.root/'out'/r['id']/'result.json').read_text())['seed'] == r['seed'] for r in rows)
    alone = run_batch([Job('0.png', '0.png', 'a thing', 'prompt')], night.images, night.root/'alone', lambda: StubEditor(night.root/'log'), options=dict(seed=3), progress=False)
    assert alone['rows'][0]['seed'] == rows[0]['seed']
    given = run_batch([Job('0.png', '0.png', 'a thing', 'prompt', dict(seed=5))], night.images, night.root/'given', lambda: StubEditor(night.root/'log'), progress=False)
    assert given['rows'][0]['seed'] == 5

def test_a_failure_stays_with_its_job(tmp_path):
    night = Night(tmp_path, 8, broken=(1, 5))
    (night.images/'3.png').unlink()
    (night.images/'4.png').unlink(); (night.images/'4.png').mkdir()
    summary = night.run()
    assert counts(summary) == (4, 4, 0, 8)
    failed = {r['id']: r['error'] for r in summary['rows'] if r['status'] == 'failed'}
    assert set(failed) == {'1.png', 'sub/5.png', '3.png', '4.png'} and all('expected a picture' in e and '\n' not in e for e in failed.values())
    assert not any((night.root/'out'/id).exists() for id in failed) and night.log().count('loaded') == 1
    assert counts(night.run()) == (4, 4, 0, 0) and night.log() == []              # a failure is not tried again by itself
    assert counts(night.run(retry_failed=True)) == (4, 4, 0, 4) and len(night.log()) == 3       # loaded, and the two that there are
    picture(11, 7).save(night.images/'3.png')                                     # but a picture that was put right is
    assert counts(night.run()) == (5, 3, 0, 1)
    assert len(list((night.root/'out'/batch.HOME/'failures').iterdir())) == 3 and night.leftovers() == []

@pytest.mark.parametrize('limit, begun', [(0, 2), (1, 6), (2, 8)])
def test_too_many_failures_stop_the_run(tmp_path, limit, begun):
    night = Night(tmp_path, 8, broken=(1, 5))
    summary = night.run(max_failures=limit)
    assert summary['stopped'] is (limit < 2) and summary['made'] == begun and summary['open'] == 8 - begun
    assert counts(night.run())[:3] == (6, 2, 0)                                   # and it can go on

@pytest.mark.parametrize('prompt, error', [('interrupt', KeyboardInterrupt), ('full', OSError)])
def test_what_stops_everything_leaves_no_claim_and_no_failure(night, prompt, error):
    wanted = read_jobs(night.file)
    stop = [*wanted[:2], Job('3.png', '3.png', 'a thing', prompt), *wanted[4:]]
    with pytest.raises(error): run_batch(stop, night.images, night.root/'out', lambda: StubEditor(night.root/'log'), progress=False)
    said = json.loads((night.root/'out'/'summary.json').read_text())
    assert (said['done'], said['failed'], said['open']) == (2, 0, 3) and night.leftovers() == []
    assert counts(night.run()) == (6, 0, 0, 4)

def test_models_that_are_not_there_stop_the_run_at_once(night):
    def load(): raise RuntimeError('no model')
    with pytest.raises(RuntimeError, match='no model'): run_batch(read_jobs(night.file), night.images, night.root/'out', load, progress=False)
    assert night.leftovers() == [] and not (night.root/'out'/batch.HOME/'failures').exists()

def test_nothing_of_the_users_is_written_over(night):
    (night.root/'out'/'0.png').mkdir(parents=True); (night.root/'out'/'0.png'/'mine.txt').write_text('mine')
    (night.root/'out'/'1.png').write_text('mine')
    (night.root/'elsewhere').mkdir(); (night.root/'out'/'3.png').symlink_to(night.root/'elsewhere'); (night.root/'out'/'4.png').symlink_to('nowhere')
    for more in (dict(), dict(overwrite=True)):
        summary = night.run(**more)
        assert counts(summary) == (2, 4, 0, 6) and all(r['error'].startswith('expected no file or folder at ') for r in summary['rows'] if r['status'] == 'failed')
    assert (night.root/'out'/'0.png'/'mine.txt').read_text() == (night.root/'out'/'1.png').read_text() == 'mine' and list((night.root/'elsewhere').iterdir()) == [] and (night.root/'out'/'4.png').is_symlink()

@pytest.mark.parametrize('images, out, error', [('nowhere', 'out', FileNotFoundError), ('images', 'images', ValueError), ('images', 'jobs.json', ValueError)])
def test_folders_that_cannot_be(night, images, out, error):
    with pytest.raises(error, match='expected'): run_batch(read_jobs(night.file), night.root/images, night.root/out, pytest.fail, progress=False)

def test_a_folder_that_cannot_be_written_is_told_before_any_job(night, monkeypatch):
    from regionedit.method import core
    def full(dir): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(core.tempfile, 'TemporaryFile', full)
    with pytest.raises(ValueError, match='expected a folder for the results.*No space left'): run_batch(read_jobs(night.file), night.images, night.root/'out', pytest.fail, progress=False)

def test_a_pipe_fails_its_job_and_hangs_nothing(night):
    (night.images/'0.png').unlink(); os.mkfifo(night.images/'0.png')
    summary = night.run()
    assert counts(summary) == (5, 1, 0, 6) and 'is a pipe' in summary['rows'][0]['error']

def test_prompts_never_become_paths(night):
    prompts = ['../../up', '/abs', 'nul\0', 'a\nb', '.', '=1+1', 'x' * 5000, '"><script>alert(1)</script>', 'ü 漢字 😀']
    wanted = [Job(f'0.png-{i}', '0.png', p, p) for i, p in enumerate(prompts)]
    summary = run_batch(wanted, night.images, night.root/'deep'/'out', lambda: StubEditor(night.root/'log'), progress=False)
    assert summary['done'] == len(prompts) and sorted(p.name for p in (night.root/'deep').iterdir()) == ['out']
    assert {p.name for p in (night.root/'deep'/'out').iterdir()} == {j.id for j in wanted} | {*jobs.RESERVED}

# what one looks at

def test_summary_as_csv_and_json(tmp_path):
    import csv
    night = Night(tmp_path, 4, broken=(1,))
    summary = night.run()
    assert json.loads((night.root/'out'/'summary.json').read_text()) == json.loads(json.dumps(summary))
    with open(night.root/'out'/'summary.csv', newline='', encoding='utf8') as f: table = list(csv.DictReader(f))
    assert [r['id'] for r in table] == night.names and [r['status'] for r in table] == ['done', 'failed', 'done', 'done']
    assert table[0]['notes'] == '' and table[0]['prompt'] == 'prompt 0 <b>' and table[0]['box'] == '1 2 3 4' and float(table[0]['score']) == .5 and table[1]['box'] == '' and 'expected a picture' in table[1]['error']

def test_the_contact_sheet_shows_everything_and_runs_nothing(tmp_path):
    night = Night(tmp_path, 4, broken=(1,))
    os.rename(night.images/'3.png', night.images/'a & "b" #1?.png')
    night.file.write_text(json.dumps({n if n != '3.png' else 'a & "b" #1?.png': ['</figure>', '"><script>alert(1)</script>'] for n in night.names}))
    night.run()
    tags, links, text = [], [], []
    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs): tags.append(tag); links.extend(v for k, v in attrs if k in ('src', 'href')); assert not any(k.startswith('on') for k, _ in attrs)
        def handle_data(self, data): text.append(data)
    Reader().feed((night.root/'out'/'index.html').read_text())
    from urllib.parse import unquote
    assert set(tags) <= {'html', 'head', 'meta', 'title', 'style', 'body', 'h1', 'figure', 'figcaption', 'a', 'img', 'br', 'small', 'span'} and tags.count('figure') == 4 and tags.count('img') == 3
    assert all((night.root/'out'/unquote(l)).is_file() and l.startswith('./') for l in links) and len(links) == 6
    assert ''.join(text).count('"><script>alert(1)</script>') == 4 and 'expected a picture' in ''.join(text)

def test_odd_characters_and_endless_texts_spoil_neither_table_nor_sheet(night):
    import csv
    wanted = [Job('0.png', '0.png', 'nul\0 bell\x07 turn\u202e', 'x' * 5000, {})]
    run_batch(wanted, night.images, night.root/'out', lambda: StubEditor(night.root/'log'), progress=False)
    with open(night.root/'out'/'summary.csv', newline='', encoding='utf8') as f: row, = csv.DictReader(f)
    page = (night.root/'out'/'index.html').read_text()
    assert row['source'] == r'nul\x00 bell\x07 turn\u202e' and len(row['prompt']) == 5000 and len(page) < 3000 and r'bell\x07' in page and page.replace('\n', '').isprintable()

def test_thumbnails_are_small_whatever_the_picture(tmp_path):
    from PIL import Image
    for name, size in (('source', (3000, 2)), ('edit', (1, 500))): Image.new('RGB', size, 'red').save(tmp_path/f'{name}.png')
    assert Image.open(batch.draw_thumbnail(tmp_path)).size == (2 * batch.SIDE + 4, batch.SIDE)

# several processes

@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory) -> Night:
    "A night in one process, against which the others are held."
    night = Night(tmp_path_factory.mktemp('undisturbed'), 12, broken=(4, 8))
    assert counts(night.run('alone')) == (10, 2, 0, 12)
    night.log()
    return night

@pytest.mark.parametrize('launcher', [lambda r: {}, lambda r: {'RANK': str(r), 'WORLD_SIZE': '2', 'LOCAL_RANK': str(r)}],
                         ids=['by hand', 'torchrun'])
def test_two_processes_share_the_work_and_make_the_same(undisturbed, launcher, request):
    night, out = undisturbed, request.node.name
    processes = [night.start(out, 'pause=0.05', environ=launcher(r), begin=False) for r in range(2)]
    for p in processes: p.stdin.write('\n'); p.stdin.flush()
    said = [json.loads(p.communicate(timeout=60)[0]) for p in processes]
    assert [p.returncode for p in processes] == [0, 0] and all(counts(s)[:3] == (10, 2, 0) for s in said)
    assert sum(s['made_here'] for s in said) == 12 and all(s['made_here'] > 0 for s in said)
    log = night.log()
    assert log.count('loaded') == 2 and sorted(l for l in log if l != 'loaded') == sorted(Path(n).name for n in night.names)     # each begun once
    assert night.tree(out) == night.tree('alone') and night.leftovers(out) == []

def test_what_a_dead_process_had_is_taken_over_while_waiting(night):
    process = night.start('out', 'pause=1')
    end = time.time() + 20
    while not night.leftovers() and time.time() < end: time.sleep(.01)
    assert night.leftovers()
    timer = subprocess.Popen([sys.executable, '-c', f'import os, signal, time; time.sleep(.5); os.kill({process.pid}, signal.SIGKILL)'])
    assert counts(night.run()) == (6, 0, 0, 6)              # does the other five, waits, then does the sixth
    assert process.wait() == -9 and timer.wait() == 0 and night.leftovers() == []

@pytest.mark.parametrize('kills', [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost(undisturbed, kills):
    night, chance, whole = undisturbed, random.Random(kills), undisturbed.tree('alone')
    while kills:
        out = f'killed {kills}'
        while kills:
            process = night.start(out, 'pause=0.02')
            try: process.wait(chance.uniform(0, .6))
            except subprocess.TimeoutExpired: process.kill(); kills -= 1
            process.communicate()
            if process.returncode == 0: break
            assert process.returncode == -9
            assert all(whole[name] == content for name, content in night.tree(out).items())             # what is there is whole, at any moment
        last = night.run(out)
        assert counts(last)[:3] == (10, 2, 0) and night.tree(out) == whole and night.leftovers(out) == []
    night.log()

# the command

@pytest.fixture
def command(night, monkeypatch, capsys):
    "Run `regionedit batch` with a stand-in for the editor; returns status or error, standard output."
    def load(*args, **kwargs): night.asked = args, kwargs; return StubEditor(night.root/'log')
    monkeypatch.setattr(batch, '_load_editor', load)
    monkeypatch.setattr(batch, 'get_preset', lambda name, *more: (name, *more))
    def run(*more):
        parser = cli.Parser(prog='regionedit')
        batch.add_batch_command(parser.add_subparsers(dest='command', parser_class=cli.Parser), cli.option, cli.add_model_options, cli.add_config_options)
        status = batch.command_batch(parser.parse_args(['batch', str(night.file), '--image-dir', str(night.images), '--out', str(night.root/'out'), *more]))
        return status, capsys.readouterr().out
    return run

def test_command(command, night):
    status, out = command('--seed', '4', '--num-anchors', '3', '--preset', 'a-folder')
    assert status == 0 and out == f'6 of 6 done, 0 failed, 6 of them now; see {night.root}/out/index.html\n' and night.asked == ((('a-folder', None, None, None, 'auto', False), 'auto', 'auto'), {})
    said = json.loads((night.root/'out'/'summary.json').read_text())
    assert said['options'] == dict(seed=4, num_anchors=3) and said['preset'] == 'a-folder'
    assert json.loads((night.root/'out'/'0.png'/'result.json').read_text())['num_anchors'] == 3
    assert '0 of them now' in command('--seed', '4', '--num_anchors', '3', '--preset', 'a-folder')[1]
    assert '6 of them now' in command('--seed', '4', '--num_anchors', '3', '--preset', 'a-folder', '--overwrite')[1]

def test_the_command_hands_on_which_models(command, night):
    assert '6 of them now' in command('--dtype', 'float16', '--vit', 'a-vit', '--device', 'cpu', '--memory', 'vae_tiling', '--local-files-only')[1]
    assert night.asked == ((('pocket', 'a-vit', None, None, 'auto', True), 'cpu', 'float16'), dict(memory=['vae_tiling']))
    assert '0 of them now' in command('--dtype', 'float16', '--vit', 'a-vit')[1] and '6 of them now' in command('--dtype', 'float16')[1] and '6 of them now' in command()[1]

def test_a_job_keeps_the_notes_that_were_its_own(night, monkeypatch):
    from regionedit.method.core import Note
    class Warns(StubEditor):
        def __call__(self, image, prompt, source, **options):
            for _ in range(2 if prompt[7] in '24' else 0): warnings.warn(f'the prompt was cut', Note); warnings.warn('somebody else'); warnings.warn('<i>', Note)
            if prompt[7] == '4': raise RuntimeError('and then it failed')
            return super().__call__(image, prompt, source, **options)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        summary = run_batch(read_jobs(night.file), night.images, night.root/'out', lambda: Warns(night.root/'log'), progress=False)
    noted = {r['prompt'][7]: r['notes'] for r in summary['rows'] if r['notes']}
    assert noted == {'2': ['the prompt was cut', '<i>'], '4': ['the prompt was cut', '<i>']} and summary['noted'] == 2
    page = (night.root/'out'/'index.html').read_text()
    assert page.count('note: the prompt was cut') == 2 and page.count('note: &lt;i&gt;') == 2

@pytest.mark.parametrize('count', [40, 160])
def test_the_folder_is_not_read_through_for_every_job(tmp_path, monkeypatch, count):
    night, reads = Night(tmp_path, count), []
    monkeypatch.setattr(batch, 'read_object', lambda path, read=batch.read_object: (reads.append(path), read(path))[1])
    run_batch(read_jobs(night.file), night.images, night.root/'out', lambda: StubEditor(night.root/'log'), progress=False, poll=60)
    assert len(reads) < 12 * count          # once for each of all the others would be quadratic

def test_the_editor_computes_with_one_thread(monkeypatch):
    import torch
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', lambda preset, device, dtype: seen.append((preset, device, dtype, torch.get_num_threads())))
    try:
        torch.set_num_threads(2)            # what a launcher may have set; sums in another order are other bits
        batch._load_editor('pocket')
    finally: torch.set_num_threads(before)
    assert seen == [('pocket', 'auto', 'auto', 1)]

def test_command_with_failures(command, night):
    (night.images/'0.png').write_bytes(b'no picture')
    assert command()[0] == 0 and '5 of 6 done, 1 failed, 1 of them now' in command('--retry_failed')[1]
    with pytest.raises(ValueError, match='at most 0 failed jobs, got 1.*summary.csv'): command('--max-failures', '0', '--retry-failed')

@pytest.mark.parametrize('more', [('--num-anchors', '0'), ('--max-failures', '-1'), ('--image-dir', 'nowhere')])
def test_command_refuses_before_any_model_is_loaded(command, night, more):
    with pytest.raises((ValueError, FileNotFoundError), match='expected'): command(*more)
    assert night.log() == []
