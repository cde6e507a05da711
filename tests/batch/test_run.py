"Batches with a stand-in for the editor: what is done once, kept apart, done again, and never lost."
import json, os, warnings
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from batch_stub import StubEditor, no_models
from night import Night, counts, picture
from regionedit import cli
from regionedit.batch import engine, jobs, run
from regionedit.batch.jobs import Job, read_jobs
from regionedit.batch.run import Batch, run_batch
from regionedit.method.core import Note

def test_a_batch_is_done_and_not_done_again(night):
    assert counts(night.run()) == (6, 0, 0, 6) and sorted(night.log()) == sorted(['loaded'] + [Path(n).name for n in night.names])
    before = night.tree()
    assert {f'{n}/{f}' for n in night.names for f in ('source.png', 'edit.png', 'result.json', 'job.json', 'thumbnail.jpg', 'edits/000.txt')} == set(before)
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
    picture(night.images/'0.png', 50)
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
    alone = night.run('alone', [Job('0.png', '0.png', 'a thing', 'prompt')], options=dict(seed=3))
    assert alone['rows'][0]['seed'] == rows[0]['seed']
    given = night.run('given', [Job('0.png', '0.png', 'a thing', 'prompt', dict(seed=5))])
    assert given['rows'][0]['seed'] == 5

def test_what_nobody_says_is_left_to_the_models(night):
    "A public preset has a budget of its own; `full` is another setting than none said."
    night.run(options=dict(alpha=3.))
    said = json.loads((night.root/'out'/'0.png'/'result.json').read_text())
    assert said['alpha'] == 3 and not {'budget', 'preview_steps', 'num_anchors'} & set(said)
    assert night.run(options=dict(alpha=3., budget='full'))['made'] == 6
    assert json.loads((night.root/'out'/'0.png'/'result.json').read_text())['budget'] == 'full'

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
    picture(night.images/'3.png', 3)                                     # but a picture that was put right is
    assert counts(night.run()) == (5, 3, 0, 1)
    assert len(list((night.root/'out'/run.HOME/'failures').iterdir())) == 3 and night.leftovers() == []

@pytest.mark.parametrize('limit, begun', [(0, 2), (1, 6), (2, 8)])
def test_too_many_failures_stop_the_run(tmp_path, limit, begun):
    night = Night(tmp_path, 8, broken=(1, 5))
    summary = night.run(max_failures=limit)
    assert summary['made'] == begun and summary['open'] == 8 - begun
    assert counts(night.run())[:3] == (6, 2, 0)                                   # and it can go on

@pytest.mark.parametrize('prompt, error', [('interrupt', KeyboardInterrupt), ('full', OSError)])
def test_what_stops_everything_leaves_no_failure(night, prompt, error):
    wanted = read_jobs(night.file)
    stop = [*wanted[:2], Job('3.png', '3.png', 'a thing', prompt), *wanted[4:]]
    with pytest.raises(error): night.run(jobs=stop)
    said = json.loads((night.root/'out'/'summary.json').read_text())
    assert (said['done'], said['failed'], said['open']) == (2, 0, 3) and night.leftovers() == []
    assert counts(night.run()) == (6, 0, 0, 4)

def test_models_that_are_not_there_stop_the_run_at_once(night):
    with pytest.raises(RuntimeError, match='no model'): night.run(load=no_models)
    assert night.leftovers() == [] and not (night.root/'out'/run.HOME/'failures').exists()

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
    summary = night.run('deep/out', wanted)
    assert summary['done'] == len(prompts) and sorted(p.name for p in (night.root/'deep').iterdir()) == ['out']
    assert {p.name for p in (night.root/'deep'/'out').iterdir()} == {j.id for j in wanted} | {*jobs.RESERVED}

# several at once, and what the dead have left

def test_a_second_run_at_the_same_time_is_refused(night):
    night.run()
    with FileLock(night.path(run.HOME)/'lock'):
        with pytest.raises(ValueError, match=f'^expected no other run in {night.root}/out, one is at work there; '): night.run(overwrite=True)
    assert counts(night.run()) == (6, 0, 0, 0)

def test_a_lock_whose_owner_was_killed_is_free(night):
    process = night.start(pause=5)
    while not list((night.path(run.HOME)/'unfinished').glob('*')): assert process.poll() is None
    with pytest.raises(ValueError, match='one is at work there'): night.run()
    process.kill(); process.communicate()
    night.log()
    assert counts(night.run()) == (6, 0, 0, 6) and night.leftovers() == []

class Meanwhile(StubEditor):
    "Something happens while the first job is being done."
    def __init__(self, log, happens): super().__init__(log); self.happens = happens
    def __call__(self, *args, **options):
        result, happens, self.happens = super().__call__(*args, **options), self.happens, None
        if happens: happens()
        return result

def test_a_job_that_a_later_run_has_by_now_leaves_nothing(night):
    early, late = (Batch(night.images, night.root/'out') for _ in range(2))
    job = read_jobs(night.file)[0]
    with run.alone(early): pass
    def later():
        with run.alone(late): pass
    for editor in (Meanwhile(night.root/'log', later), Meanwhile(night.root/'log', lambda: 1 / 0)):
        assert run.attempt(early, job, editor) is None and run.known(early, job) is None and night.leftovers() == []
    assert run.attempt(late, job, StubEditor(night.root/'log'))['run'] == late.run == run.known(early, job)['run']

@pytest.mark.parametrize('ends', ['well', 'badly'])
def test_of_two_who_do_one_job_the_first_counts(night, ends):
    "Dask gave a job to another, because it took this worker for dead."
    batch, job = Batch(night.images, night.root/'out'), read_jobs(night.file)[0]
    def twin():
        assert run.attempt(batch, job, StubEditor(night.root/'log'))['status'] == 'done'
        if ends == 'badly': raise RuntimeError
    with run.alone(batch):
        record = run.attempt(batch, job, Meanwhile(night.root/'log', twin))
        assert record == run.known(batch, job) and record['status'] == 'done' and night.leftovers() == []

def test_a_worker_that_does_not_see_the_folder_says_so(night, monkeypatch):
    monkeypatch.setattr(run, 'PATIENCE', .2)
    batch = Batch(night.images, night.root/'out')
    with pytest.raises(OSError, match='^expected the run .* found none; give all workers one folder under one path$'):
        run.do_job(batch, None, (), read_jobs(night.file)[0])

def test_a_job_whose_workers_died_fails_if_it_had_begun_and_waits_if_not(night):
    batch, job = Batch(night.images, night.root/'out'), read_jobs(night.file)[0]
    class KilledWorker(Exception): pass
    assert run.failed_worker(batch, job, KilledWorker()) is None
    (batch.home('unfinished')/f'{batch.run}.{batch.key(job)}.1').mkdir(parents=True)
    record = run.failed_worker(batch, job, KilledWorker())
    assert record['status'] == 'failed' and record['error'].startswith('expected a worker that lives') and run.known(batch, job) == record

# the command

@pytest.fixture
def command(night, monkeypatch, capsys):
    "Run `regionedit batch` with a stand-in for the editor; returns status, standard output."
    def load(which, *args, **kwargs): night.asked = tuple(which.values()), args, kwargs; return StubEditor(night.root/'log')
    monkeypatch.setattr(run, 'load_models', load)
    monkeypatch.setattr(run, 'get_preset', lambda *which: which)
    def call(*more):
        where = ['batch', str(night.file), '--image-dir', str(night.images), '--out', str(night.root/'out')]
        status = cli.main([*where, *more])
        said = capsys.readouterr()
        return status, said.out if status in (0, 3) else said.err
    return call

def test_command(command, night):
    status, out = command('--seed', '4', '--num-anchors', '3', '--preset', 'a-folder')
    assert status == 0 and out == f'6 of 6 done, 0 failed, 6 of them now; see {night.root}/out/index.html\n'
    assert night.asked == (('a-folder', None, None, None, 'auto', False), ('auto', 'auto'), {})
    said = json.loads((night.root/'out'/'summary.json').read_text())
    assert said['options'] == dict(seed=4, num_anchors=3) and said['preset'] == 'a-folder'
    assert json.loads((night.root/'out'/'0.png'/'result.json').read_text())['num_anchors'] == 3
    assert '0 of them now' in command('--seed', '4', '--num_anchors', '3', '--preset', 'a-folder')[1]
    assert '6 of them now' in command('--seed', '4', '--num_anchors', '3', '--preset', 'a-folder', '--overwrite')[1]

def test_the_command_hands_on_which_models(command, night):
    assert '6 of them now' in command('--dtype', 'float16', '--vit', 'a-vit', '--device', 'cpu', '--memory', 'vae_tiling', '--local-files-only')[1]
    assert night.asked == (('pocket', 'a-vit', None, None, 'auto', True), ('cpu', 'float16'), dict(memory=['vae_tiling']))
    assert '0 of them now' in command('--dtype', 'float16', '--vit', 'a-vit')[1]
    assert '6 of them now' in command('--dtype', 'float16')[1] and '6 of them now' in command()[1]

def test_a_preset_that_is_a_folder_is_found_from_everywhere(command, night, monkeypatch):
    monkeypatch.chdir(night.root)
    Path('models').mkdir()
    assert command('--preset', 'models')[0] == 0 and night.asked[0][0] == str(night.root/'models')

def test_command_with_failures(command, night):
    (night.images/'0.png').write_bytes(b'no picture')
    assert command()[0] == 3
    status, out = command('--retry_failed')
    assert status == 3 and out.startswith('5 of 6 done, 1 failed, 1 of them now')
    status, out = command('--overwrite', '--max-failures', '0', '--seed', '1')
    assert status == 3 and out.startswith('0 of 6 done, 1 failed, 1 of them now, 5 open; see ')
    picture(night.images/'0.png', 0)
    assert command()[0] == 0

@pytest.mark.parametrize('more', [('--num-anchors', '0'), ('--max-failures', '-1'), ('--image-dir', 'nowhere'), ('--workers', '0'), ('--scheduler', 'nowhere.json')])
def test_command_refuses_before_any_model_is_loaded(command, night, more):
    status, err = command(*more)
    assert status == 2 and err.startswith('regionedit: expected ') and err.count('\n') == 1 and night.log() == []

def test_a_second_command_is_refused(command, night):
    command()
    with FileLock(night.path(run.HOME)/'lock'): status, err = command()
    assert status == 2 and err.startswith('regionedit: expected no other run in ') and err.count('\n') == 1

# notes, reads, threads

class Warns(StubEditor):
    def __call__(self, image, prompt, source, **options):
        for _ in range(2 if prompt[7] in '24' else 0):
            warnings.warn('the prompt was cut', Note); warnings.warn('somebody else'); warnings.warn('<i>', Note)
        if prompt[7] == '4': raise RuntimeError('and then it failed')
        return super().__call__(image, prompt, source, **options)

def test_a_job_keeps_the_notes_that_were_its_own(night):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        summary = night.run(load=partial(Warns, night.root/'log'))
    noted = {r['prompt'][7]: r['notes'] for r in summary['rows'] if r['notes']}
    assert noted == {'2': ['the prompt was cut', '<i>'], '4': ['the prompt was cut', '<i>']} and summary['noted'] == 2
    page = (night.root/'out'/'index.html').read_text()
    assert page.count('note: the prompt was cut') == 2 and page.count('note: &lt;i&gt;') == 2

@pytest.mark.parametrize('count', [40, 160])
def test_the_folder_is_not_read_through_for_every_job(tmp_path, monkeypatch, count):
    night, reads = Night(tmp_path, count), []
    monkeypatch.setattr(run, 'read_object', lambda path, read=run.read_object: (reads.append(path), read(path))[1])
    night.run()
    assert len(reads) < 14 * count          # once for each of all the others would be quadratic

def test_the_editor_computes_with_one_thread(monkeypatch):
    import torch
    from regionedit import RegionEditor
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(RegionEditor, 'from_pretrained', lambda *args, **more: seen.append((*args, more, torch.get_num_threads())))
    monkeypatch.setattr(run, 'get_preset', lambda *which: which)
    try:
        torch.set_num_threads(2)            # sums in another order are other bits
        run.load_models(dict(preset='pocket'), 'cpu', 'float32', memory=['x'])
    finally: torch.set_num_threads(before)
    assert seen == [(('pocket',), 'cpu', 'float32', dict(memory=['x']), 1)]

@pytest.mark.parametrize('count, name, gpu', [(4, 'gpu-2', 2), (4, '', 0), (1, 'gpu-2', None), (0, '3', None)])
def test_a_worker_pins_its_gpu_where_it_sees_several(monkeypatch, count, name, gpu):
    import torch
    from regionedit import RegionEditor
    pinned = []
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.setattr(torch.cuda, 'set_device', pinned.append)
    monkeypatch.setattr(engine, 'worker_name', lambda: name)
    monkeypatch.setattr(run, 'get_preset', lambda *which: which)
    monkeypatch.setattr(RegionEditor, 'from_pretrained', lambda *args, **more: None)
    before = torch.get_num_threads()
    try: run.load_models(dict(preset='pocket'))
    finally: torch.set_num_threads(before)
    assert pinned == ([] if gpu is None else [gpu])
