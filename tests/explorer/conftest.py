"A browser without a window, for whoever has one."
import shutil, subprocess

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

@pytest.fixture(scope='module')
def software_gpu(browser):
    "A browser that offers WebGPU by SwiftShader, which comes with Chromium and computes on the processor."
    flags = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']
    chromium = browser.browser_type.launch(executable_path=shutil.which('chromium'), args=QUIET + flags)
    yield chromium
    chromium.close()

@pytest.fixture(scope='module')
def axe(tmp_path_factory):
    "The script of axe-core, from npm."
    if not shutil.which('npm'): pytest.skip('needs npm')
    folder = tmp_path_factory.mktemp('axe')
    done = subprocess.run(['npm', 'install', '--silent', '--prefix', folder, 'axe-core@4'], timeout=300,
                          capture_output=True)
    if done.returncode: pytest.skip('npm could not fetch axe-core')
    return (folder/'node_modules'/'axe-core'/'axe.min.js').read_text('utf8')
