"What every test may use."
import os, socket, subprocess, sys
from pathlib import Path

import loopback

PORT = loopback.reserve()
os.environ['HF_ENDPOINT'] = 'http://{}:{}'.format(*PORT.getsockname())     # no test asks any other hub,
os.environ.setdefault('HF_HUB_OFFLINE', '1')            # nor this one without saying so
os.environ.setdefault('HF_HUB_DISABLE_XET', '1')
os.environ.setdefault('MPLBACKEND', 'agg')
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
if 'PYTEST_XDIST_WORKER' in os.environ: os.environ['OMP_NUM_THREADS'] = '1'     # a process a core

import pytest
from hypothesis import settings

# the same cases each time
settings.register_profile('fixed', derandomize=True, deadline=None, database=None)
settings.load_profile('fixed')

@pytest.fixture(scope='session')
def root() -> Path:
    "The top of the repository."
    return Path(__file__).parent.parent

@pytest.fixture(scope='session')
def scene():
    "The running example: two objects, 128 x 128."
    from regionedit.pocket.scenes import draw_scene
    return draw_scene(seed=3, num_objects=2)

@pytest.fixture(scope='session')
def wheel(root, tmp_path_factory) -> Path:
    "A wheel of the package, built outside the tree."
    out = str(tmp_path_factory.mktemp('wheel'))
    run = subprocess.run([sys.executable, 'setup.py', '-q', 'build', '--build-base', out,
                          'egg_info', '--egg-base', out, 'bdist_wheel', '--compression', 'stored',
                          '--bdist-dir', f'{out}/wheel', '--dist-dir', out], cwd=root,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return next(Path(out).glob('*.whl'))

@pytest.fixture(scope='session')
def served():
    "A hub on this machine, see tests/loopback.py."
    return loopback.serve(PORT)

@pytest.fixture
def hub(served, tmp_path, monkeypatch):
    "That hub, reachable, with an empty cache beside it."
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path/'cache'))
    served.forget()
    yield served
    served.down = False

@pytest.fixture
def offline(monkeypatch):
    "Call it: every socket is closed, as a machine without a network finds out, and no variable says so."
    def refuse(*args, **kwargs): raise OSError('no network here')
    def close():
        import huggingface_hub
        huggingface_hub.close_session()
        monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
        for name in ('create_connection', 'getaddrinfo'): monkeypatch.setattr(socket, name, refuse)
        for name in ('connect', 'connect_ex'): monkeypatch.setattr(socket.socket, name, refuse)
    return close
