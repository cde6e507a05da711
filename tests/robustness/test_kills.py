"Workers, clients and schedulers killed at random: no job is lost, none is done twice. REGIONEDIT_KILLS says how many."
import json, os, random, subprocess

import pytest

pytest.importorskip('distributed')

from cluster import Cluster
from night import Night, counts

KILLS = int(os.environ.get('REGIONEDIT_KILLS', 12))

def until_it_ends(process, seconds: float) -> bool:
    try: process.wait(seconds)
    except subprocess.TimeoutExpired: return False
    return True

@pytest.mark.slow
@pytest.mark.parametrize('kind', ['joined', 'local'])
def test_killed_at_random_moments_nothing_is_lost_and_nothing_done_twice(tmp_path, kind):
    night, chance = Night(tmp_path, 40, broken=(4, 8)), random.Random(KILLS)
    assert counts(night.run('alone'))[:3] == (38, 2, 0)
    whole, kills, rounds = night.tree('alone'), dict(worker=0, client=0, scheduler=0), 0
    night.log()
    while sum(kills.values()) < (KILLS if kind == 'joined' else KILLS // 4):
        out, rounds = f'round {rounds}', rounds + 1
        round_of_kills(night, out, chance, kills, kind)
        assert night.tree(out) == whole and night.leftovers(out) == []
        log = night.log()
        assert log.count('twice') == 0, log
    print(f'{kind}: {sum(kills.values())} kills ({kills}) in {rounds} rounds of 40 jobs: 0 lost, 0 done twice')

def round_of_kills(night, out, chance, kills, kind):
    "One batch, started again until it is done; somebody is killed every now and then."
    whole = night.tree('alone')
    where = dict(workers=2)
    with Cluster(night.root, 2 if kind == 'joined' else 0) as cluster:
        if kind == 'joined': where = dict(scheduler=str(cluster.address))
        process = night.start(out, pause=.1, **where)
        while not until_it_ends(process, chance.uniform(.3, 2.5) if kind == 'joined' else chance.uniform(1, 5)):
            victim = chance.choice(['worker', 'worker', 'client', 'scheduler']) if kind == 'joined' else 'client'
            kills[victim] += 1
            if victim == 'client':
                process.kill(); process.communicate()
                process = night.start(out, pause=.1, **where)
            elif victim == 'worker':
                name = chance.choice([n for n in cluster.processes if n != 'scheduler'])
                cluster.kill(name); cluster.start_worker(name)
            else:
                for name in list(cluster.processes): cluster.kill(name) if name == 'scheduler' else None
                until_it_ends(process, 60); process.communicate()
                for name in list(cluster.processes): cluster.kill(name)
                cluster.start_scheduler()
                for i in range(2): cluster.start_worker(f'gpu-{i}')
                process = night.start(out, pause=.1, **where)
            assert all(whole[name] == content for name, content in night.tree(out).items()), 'what is there is whole, at any moment'
        said, err = process.communicate()
        assert process.returncode == 0, (said, err)
        assert counts(json.loads(said))[:3] == (38, 2, 0), [r['error'] for r in json.loads(said)['rows'] if r['error']]
