"What every test may use."
import os
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')            # no test asks the network for anything
os.environ.setdefault('MPLBACKEND', 'agg')
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import pytest
from hypothesis import settings

settings.register_profile('fixed', derandomize=True, deadline=None, database=None)     # the same cases each time
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
