"Calls are handed out, come back in the order in which they end, and what goes wrong is told in a sentence."
import json, os, sys
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

@pytest.mark.parametrize('ahead', [1, 3])
def test_no_more_calls_are_out_than_were_asked_for(ahead):
    out, most = [], []
    def call(item): most.append(len(out)); return item
    with ThreadPoolExecutor(8) as pool:
        class Counted:
            def submit(self, f, item): out.append(item); return pool.submit(f, item)
        for item, *_ in as_ended(Counted(), call, deque(range(20)), ahead): out.remove(item)
    assert max(most) <= ahead and len(most) == 20

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
    def submit(self, call, item):
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

def test_a_scheduler_that_does_not_answer_is_one_sentence(monkeypatch):
    monkeypatch.setattr(engine, 'ANSWER', 1)
    with pytest.raises(ValueError, match="^expected a scheduler at 'tcp://127.0.0.1:1', none answers; "):
        with open_engine(scheduler='tcp://127.0.0.1:1'): pass
