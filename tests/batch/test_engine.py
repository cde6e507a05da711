"Calls are handed out, come back in the order in which they end, and what goes wrong is told in a sentence."
import json, sys, time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from regionedit.batch import engine
from regionedit.batch.engine import Here, as_ended, gpu_of, keep, open_engine

def test_here_every_call_is_done_before_the_next_is_handed_out():
    seen = []
    for item, _, error in as_ended(Here(), seen.append, deque('abc')): assert seen[-1] == item and error is None
    assert seen == list('abc')

def test_what_is_appended_on_the_way_is_done_and_what_fails_is_kept_apart():
    items, found = deque([2, 0]), {}
    for item, result, error in as_ended(Here(), lambda n: 1 / n, items):
        found[item] = error or result
        if item == 0: items.append(4)
    assert found[2] == .5 and found[4] == .25 and isinstance(found[0], ZeroDivisionError)

def test_ctrl_c_passes_through():
    def interrupted(_): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): list(as_ended(Here(), interrupted, deque([1])))

class Pool:
    "Threads; says how many pieces are out, and how many items each has."
    def __init__(self): self.pool, self.out, self.most, self.sizes = ThreadPoolExecutor(2), set(), 0, []
    def submit(self, do, call, piece):
        future = self.pool.submit(do, call, piece)
        self.out = {f for f in self.out if not f.done()} | {future}
        self.most = max(self.most, len(self.out))
        self.sizes.append(len(piece))
        return future

@pytest.mark.parametrize('ahead', [1, 3, 20])
def test_no_more_pieces_are_out_than_may_be(ahead):
    pool = Pool()
    assert sorted(result for _, result, _ in as_ended(pool, abs, deque(range(200)), ahead)) == list(range(200))
    assert pool.most <= ahead and sum(pool.sizes) == 200

@pytest.mark.slow
@pytest.mark.parametrize('seconds, largest', [(0, 10), (.03, 3), (.11, 1)])
def test_short_calls_go_out_together_and_long_ones_alone(seconds, largest):
    pool = Pool()
    list(as_ended(pool, lambda _: time.sleep(seconds), deque(range(40)), 1000))
    assert pool.sizes[:engine.FIRST_AHEAD] == [1] * engine.FIRST_AHEAD and 1 <= max(pool.sizes) <= largest and (seconds or max(pool.sizes) > 1)

def test_an_error_is_told_of_every_item_of_its_piece():
    def call(item):
        if item == 90: raise RuntimeError('here')
        return item
    found = {item: error or result for item, result, error in as_ended(Pool(), call, deque(range(100)), 1000)}
    failed = {item for item, result in found.items() if isinstance(result, RuntimeError)}
    assert set(found) == set(range(100)) and 90 in failed and len(failed) <= 10 and all(result == item for item, result in found.items() if item not in failed)

def test_models_are_loaded_once_and_others_take_their_place():
    loads = []
    first, again, other = keep(partial(dict, a=1)), keep(partial(dict, a=1)), keep(lambda: loads.append('other'))
    with open_engine():
        with first() as a, again() as b: assert a is b == dict(a=1)
        with other(), other(): pass
        assert loads == ['other'] and len(engine._KEPT) == 1
    assert engine._KEPT == {}                       # this process keeps nothing beyond the work

@pytest.mark.parametrize('name, gpu', [('0', 0), ('3', 3), ('5', 1), ('gpu-2', 2), ('SLURMCluster-0-3', 3), ('a7b', 0), ('', 0), ('tcp://10.0.0.1:40123', 0)])
def test_a_workers_gpu_is_the_number_that_its_name_ends_in(name, gpu): assert gpu_of(name, 4) == gpu

class DasksFuture(Future):
    "As dask's: it has a status, and its result may get lost on the way."
    status = 'finished'
    def result(self): raise OSError('connection reset')

class Lost:
    def submit(self, do, call, piece):
        future = DasksFuture()
        future.set_result(None)
        return future

def test_a_scheduler_that_has_gone_is_one_sentence():
    with pytest.raises(ConnectionError, match='^expected a scheduler that answers, .*run the same command once more$'): list(as_ended(Lost(), len, deque(['a'])))

def test_without_dask_one_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'distributed', None)
    for options in (dict(workers=2), dict(scheduler='tcp://127.0.0.1:8786')):
        with pytest.raises(ValueError, match=r"^expected dask.distributed .* pip install 'regionedit\[cluster\]'$"):
            with open_engine(**options): pass
    with open_engine() as (executor, ahead): assert executor.submit(len, 'abc').result() == 3 and ahead == 1

@pytest.mark.parametrize('options', [dict(workers=0), dict(workers=-1), dict(workers=2, scheduler='tcp://127.0.0.1:8786')])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match='^expected --workers of 1 or more or --scheduler, got '):
        with open_engine(**options): pass

@pytest.mark.parametrize('content', ['', '[]', '{"id": 3}', '{'])
def test_a_schedulers_file(tmp_path, content):
    path = tmp_path/'scheduler.json'
    with pytest.raises(FileNotFoundError, match='found no file'): engine._address(str(path))
    path.write_text(content)
    with pytest.raises(ValueError, match='names no address'): engine._address(str(path))
    path.write_text(json.dumps(dict(address='tls://10.0.0.1:8786')))
    assert engine._address(str(path)) == 'tls://10.0.0.1:8786' and engine._address('node7:8786') == 'node7:8786'

@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_sentence(monkeypatch):
    monkeypatch.setattr(engine, 'ANSWER', 1)
    with pytest.raises(ValueError, match="^expected a scheduler at 'tcp://127.0.0.1:1', none answers; "):
        with open_engine(scheduler='tcp://127.0.0.1:1'): pass
