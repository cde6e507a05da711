"Batches on several processes: the same bytes as alone, whoever is killed on the way."
import json, re, signal, time

import pytest

pytest.importorskip('distributed')

from cluster import Cluster
from night import Night, counts
from regionedit.batch import run
from regionedit.batch.jobs import Job, read_jobs

@pytest.mark.slow
def test_two_workers_make_the_same_as_one_process(tmp_path, capfd):
    night = Night(tmp_path, 12, broken=(4, 8))
    assert counts(night.run('alone')) == (10, 2, 0, 12)
    night.log()
    assert counts(night.run('two', workers=2)) == (10, 2, 0, 12)
    log = night.log()
    assert log.count('loaded') == 2 and sorted(l for l in log if l != 'loaded') == sorted(n.split('/')[-1] for n in night.names)
    assert night.tree('two') == night.tree('alone') and night.leftovers('two') == []
    assert counts(night.run('two', workers=2)) == (10, 2, 0, 0) and night.log() == []       # not even started
    said = capfd.readouterr()
    assert said.out == said.err == ''           # nothing of dask's own log

@pytest.mark.slow
def test_a_job_that_kills_its_workers_fails_alone(night):
    wanted = read_jobs(night.file)
    wanted[2] = Job(wanted[2].id, wanted[2].image, 'a thing', 'die')
    summary = night.run(jobs=wanted, workers=1)
    assert counts(summary) == (5, 1, 0, 6) and summary['rows'][2]['error'].startswith('expected a worker that lives to the end')
    assert night.log().count('2.png') == 4 and night.leftovers() == []
    assert counts(night.run()) == (6, 0, 0, 1)          # other words, so another job

@pytest.mark.slow
def test_models_that_are_not_there_stop_a_cluster_with_their_sentence(night):
    from batch_stub import no_models
    with pytest.raises(RuntimeError, match='no model'): night.run(load=no_models, workers=1)
    assert counts(night.run()) == (6, 0, 0, 6)

@pytest.mark.slow
def test_ctrl_c_ends_a_cluster_quietly(night):
    process = night.start(workers=2, pause=2.)
    while not night.path('0.png').exists(): assert process.poll() is None; time.sleep(.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert out == '' and 'KeyboardInterrupt' in err and 'distributed' not in err.replace('/distributed/', '')
    assert json.loads((night.root/'out'/'summary.json').read_text())['open'] >= 1
    assert counts(night.run())[:3] == (6, 0, 0)

@pytest.mark.slow
def test_the_life_of_a_cluster(tmp_path):
    "60 jobs, 5 of them broken, two workers of a scheduler that was started by hand, one killed on the way; then the same again."
    night, broken = Night(tmp_path, 60, broken=range(3, 60, 12)), 5
    assert counts(night.run('alone'))[:2] == (55, 5)
    night.log()
    with Cluster(tmp_path) as cluster:
        process = night.start(scheduler=str(cluster.address), pause=.05)
        while night.finished() < 10: assert process.poll() is None, process.communicate(); time.sleep(.02)
        cluster.kill('gpu-0')
        first = json.loads(process.communicate(timeout=240)[0])
        log = night.log()
        assert counts(first) == (55, broken, 0, 60), [r['error'] for r in first['rows'] if r['error']]
        assert log.count('twice') == 0 and log.count('loaded') == 2
        assert 60 <= len(log) - log.count('loaded') <= 61           # what the dead worker was doing is the only thing done again
        second = json.loads(night.start(scheduler=str(cluster.address)).communicate(timeout=240)[0])
        assert counts(second) == (55, broken, 0, 0) and night.log() == []
        third = json.loads(night.start(scheduler=str(cluster.address), retry_failed=True, pause=.05).communicate(timeout=240)[0])
        assert counts(third) == (55, broken, 0, broken) and 'loaded' not in night.log()      # the models were kept
    assert night.tree() == night.tree('alone') and night.leftovers() == []

@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_sentence_and_costs_what_was_in_flight(tmp_path):
    night = Night(tmp_path, 12)
    with Cluster(tmp_path) as cluster:
        process = night.start(scheduler=str(cluster.address), pause=.2)
        while night.finished() < 4: assert process.poll() is None; time.sleep(.02)
        cluster.kill('scheduler')
        out, err = process.communicate(timeout=240)
        assert process.returncode == 2 and re.fullmatch('stopped: expected a scheduler that answers, .*\n', out)
        assert 'Traceback' not in err and 'ERROR' not in err
    assert 4 <= night.finished() < 12
    night.log()
    left = json.loads((night.root/'out'/'summary.json').read_text())['open']
    again = night.run()
    assert counts(again)[:3] == (12, 0, 0) and left - 2 <= again['made'] <= left and night.log().count('twice') == 0

@pytest.mark.slow
def test_short_jobs_keep_two_workers_busy(tmp_path):
    "200 jobs of 20 ms, all done; says which share of the ideal (2 s) was reached, a figure for `-rP`."
    night = Night(tmp_path, 200)
    seconds, do_jobs = [], run.do_jobs
    def timed(*args):
        start = time.perf_counter()
        do_jobs(*args)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, 'do_jobs', timed)
        assert counts(night.run(pause=.02, workers=2)) == (200, 0, 0, 200)
    print(f'{2 / seconds[0]:.0%} of the ideal, {2 / (time.perf_counter() - start):.0%} with the start of the cluster and the summary')
