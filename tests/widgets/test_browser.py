"Every widget in JupyterLab, driven by keyboard and mouse in headless Chromium; screenshots in a temporary folder."
import os, re, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).parents[1]

# name -> (code of the notebook, actions). An action is a function of the page; after each of them a drawing must have changed.
SETUP = f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom regionedit import EditResult, RegionEditor\nfrom stubs import StubClip, StubEditor, stub_vit\nfrom regionedit.pocket.scenes import draw_scene\n"
RESULT = SETUP + "result = EditResult.load('result')\n"

def press(label: str, key: str, times: int = 1):
    "Arrow keys on the slider of a description."
    def act(page):
        handle = page.locator('.jupyter-widgets.widget-inline-hbox', has=page.locator(f'.widget-label:text-is("{label}")')).locator('visible=true').locator('.noUi-handle').first
        handle.focus()
        for _ in range(times): handle.press(key)
    return act

def together(*acts):
    "Several actions that count as one."
    return lambda page: [act(page) for act in acts]

def choose(label: str, option: str):
    "An option of a drop-down list."
    return lambda page: page.locator('.widget-dropdown', has=page.locator(f'.widget-label:text-is("{label}")')).locator('visible=true').locator('select').select_option(label=option)

def click(text: str): return lambda page: page.locator('button.jupyter-button', has_text=re.compile(f'^{re.escape(text)}$')).locator('visible=true').first.click()

def tab(name: str): return lambda page: page.locator('.lm-TabBar-tab, .p-TabBar-tab', has_text=name).locator('visible=true').last.click()

def play(page): page.locator('.widget-play button').locator('visible=true').first.click()

def patch(row: int, column: int):
    "The middle of a patch of the first picture, which has 16 x 16 of them below a title."
    def act(page):
        view = page.locator('img.widget-image').first
        view.scroll_into_view_if_needed()
        box = view.bounding_box()
        page.mouse.click(box['x'] + (column + .5) / 16 * box['width'], box['y'] + box['height'] - box['width'] + (row + .5) / 16 * box['width'])
    return act

CASES = {
    'attention': (SETUP + "from regionedit.models.pretrained import load_vit\nfrom regionedit.models.bundled import example, weights_folder\nfrom regionedit.widgets.attention import AttentionExplorer\n"
                          "AttentionExplorer(load_vit(weights_folder('vit')), example('apple'))",
                  [press('layer', 'ArrowLeft', 2), press('mass', 'ArrowRight', 3), press('x', 'ArrowLeft', 9), click('add'), patch(5, 9)]),
    'regions': (RESULT + "from regionedit.widgets.regions import RegionExplorer\nRegionExplorer(result)",
                [press('anchor', 'ArrowLeft'), click('←'), lambda page: page.locator('.widget-gridbox button').nth(9).click(), choose('edit', 'as the editor made it')]),
    'learning': (RESULT + "from regionedit.widgets.learning import LearningPlayer\nLearningPlayer(result)",
                 [press('step', 'ArrowLeft', 4), play, click('rloo'), choose('curves', 'loss terms'), choose('anchor', '1')]),
    'ranking': (RESULT + "from regionedit.widgets.ranking import RankingExplorer\nRankingExplorer(result)",
                [press('alpha', 'ArrowLeft', 9), together(press('clip', 'Home'), press('dir', 'Home')), click('as it was')]),
    'explore': (RESULT + "result.explore()", [press('after', 'ArrowLeft', 8), tab('learning'), tab('ranking'), press('beta', 'ArrowRight', 9)]),
    'probe': (SETUP + "from regionedit.widgets.probe import FailureProbe\nscene = draw_scene(3, num_objects=1)\n"
                      "FailureProbe(RegionEditor(stub_vit(), StubClip(), StubEditor()), scene.image, 'a rocket', scene.objects[0].name, truth=scene.objects[0].box, num_anchors=3, num_proposals=3, learning_steps=5)",
              [press('box, x', 'ArrowRight', 4), click('Run the method (many edits)'), click('Edit in my box (1 edit)')]),
    'study': (SETUP + "from regionedit.study.setup import create_study\nfrom regionedit.widgets.study import StudyPanel\n"
                      "StudyPanel(create_study('study', {'ours': 'ours', 'theirs': 'theirs'}, {str(i): 'a rocket on a table' for i in range(4)}, 'sources', repeats=1))",
              [click('Begin'), click('Left'), click('Right')]),
}

def missing() -> str:
    "What a browser test lacks here, or nothing."
    if not shutil.which('chromium'): return 'needs Chromium: apt-get install -y --no-install-recommends chromium'
    try: import playwright.sync_api     # noqa: F401
    except ImportError: return 'needs Playwright: pip install playwright'
    return ''

def results(folder: Path):
    "A saved result, and pictures for a study."
    from regionedit import RegionEditor
    from regionedit.pocket.scenes import draw_scene
    from stubs import StubClip, StubEditor, stub_vit
    for kind in ('sources', 'ours', 'theirs'):
        (folder/kind).mkdir()
        for i in range(4): draw_scene(i + 10 * len(kind), num_objects=1).image.save(folder/kind/f'{i}.png')
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor())
    editor(draw_scene(3, num_objects=1).image, 'a rocket', 'a frog', num_anchors=4, num_proposals=5, learning_steps=30, progress=False).save(folder/'result')

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A JupyterLab of its own on a folder of its own: (folder, address, token)."
    if missing(): pytest.skip(missing())
    import nbformat
    folder, own = tmp_path_factory.mktemp('lab'), tmp_path_factory.mktemp('jupyter')
    results(folder)
    for name, (code, _) in CASES.items():
        cells = [nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'))), folder/f'{name}.ipynb')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    private = {f'JUPYTER_{k}_DIR': str(own/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')}
    (own/'config'/'labconfig').mkdir(parents=True)
    (own/'config'/'labconfig'/'default_setting_overrides.json').write_text('{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}')
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get('PYTHONPATH'))))
    log = (own/'log').open('w')
    server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', f'--port={port}', '--ServerApp.port_retries=0', '--IdentityProvider.token=t', f'--ServerApp.root_dir={folder}',
                               '--LabApp.expose_app_in_browser=True'], env=dict(os.environ, PYTHONPATH=path, **private), stdout=log, stderr=log)
    try:
        for _ in range(240):
            try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api?token=t', timeout=2); break
            except OSError: time.sleep(.5)
            assert server.poll() is None, (own/'log').read_text()
        yield folder, f'http://127.0.0.1:{port}'
    finally:
        server.terminate(); server.wait(30); log.close()

@pytest.fixture(scope='module')
def browser(lab):
    from playwright.sync_api import sync_playwright
    quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=shutil.which('chromium'), args=quiet)
        yield chromium
        chromium.close()

IDLE = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"

def wait_idle(page):
    "Until the kernel has had nothing to do for a while."
    for _ in range(3):
        page.wait_for_function(IDLE, timeout=180_000)
        page.wait_for_timeout(250)

def drawings(page) -> list:
    "The pictures that are on the page now, as bytes."
    return page.evaluate("""() => Promise.all([...document.querySelectorAll('img.widget-image')].filter(i => i.offsetParent && i.src).map(
        i => fetch(i.src).then(r => r.arrayBuffer()).then(b => Array.from(new Uint8Array(b)).reduce((h, v) => (h * 31 + v) % 4294967291, 7))))""")

def after(page, act, before: list) -> list:
    "The drawings after an action; waits until they differ."
    act(page)
    for _ in range(120):
        wait_idle(page)
        if (now := drawings(page)) != before: return now
    return before

@pytest.mark.parametrize('name', CASES)
def test_widget_answers_in_jupyterlab(name, lab, browser, tmp_path_factory):
    folder, address = lab
    page, shots = browser.new_page(viewport=dict(width=1500, height=1100)), tmp_path_factory.mktemp(f'screenshots-{name}')
    page.goto(f'{address}/doc/tree/{name}.ipynb?token=t&reset', timeout=120_000)
    wait_idle(page)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector('.jp-OutputArea-output .jupyter-widgets, .jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]', timeout=180_000)
    wait_idle(page)
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]').all_inner_texts() == []
    now = drawings(page)
    page.screenshot(path=shots/'0.png')
    for i, act in enumerate(CASES[name][1], 1):
        before, now = now, after(page, act, now)
        page.screenshot(path=shots/f'{i}.png')
        assert now != before, f'action {i} of {name} changed no drawing; see {shots}'
    page.close()
