"What every test may use."
import os, subprocess, sys
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')            # no test asks the network for anything
os.environ.setdefault('MPLBACKEND', 'agg')
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

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
