"A browser without a window, for whoever has one."
import shutil

import pytest

QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--disable-dev-shm-usage']

@pytest.fixture(scope='module')
def browser():
    if not shutil.which('chromium'):
        pytest.skip('needs Chromium: apt-get install -y --no-install-recommends chromium')
    playwright = pytest.importorskip('playwright.sync_api')
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=shutil.which('chromium'), args=QUIET)
        yield chromium
        chromium.close()
