"The explorer in JupyterLab, by mouse and keys in headless Chromium: alive, run anew, reopened."
import os, socket, subprocess, sys, time, urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).parents[1]
MODELS = '''from stubs import StubClip, StubEditor, stub_vit
from regionedit import EditResult, RegionEditor
import ipywidgets, time
class Slow(StubEditor):
    def fill(self, *args, **kwargs): time.sleep(.4); return super().fill(*args, **kwargs)
editor, result = RegionEditor(stub_vit(), StubClip(), Slow()), EditResult.load('result')'''
CASES = {
    'explore': [MODELS, "shown = result.explore(editor)\nshown",
                "len(ipywidgets.widgets.widget._instances)"],
    'view': [MODELS, '''from regionedit.explorer import widget
widget._running = lambda: (None, None)      # as in a host that does not name its cells
result.explore(editor)'''],
    'study': ['''from regionedit.explorer.study import StudyPanel
from regionedit.study.setup import create_study
study = create_study('study', {n: n for n in ('ours', 'theirs')},
                     {str(i): 'a rocket on a table' for i in range(4)}, 'sources', repeats=1)
StudyPanel(study)''']}

def prepare(folder: Path):
    "A saved result, pictures for a study, and the notebooks."
    import nbformat
    from regionedit import RegionEditor
    from regionedit.pocket.scenes import draw_scene
    from stubs import StubClip, StubEditor, stub_vit
    for kind in ('sources', 'ours', 'theirs'):
        (folder/kind).mkdir()
        for i in range(4):
            draw_scene(i + 10 * len(kind), num_objects=1).image.save(folder/kind/f'{i}.png')
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor())
    editor(draw_scene(3, num_objects=1).image, 'a rocket', 'a frog', num_anchors=4, num_proposals=5,
           learning_steps=30, progress=False).save(folder/'result')
    kernel = dict(name='python3', display_name='Python 3', language='python')
    for name, codes in CASES.items():
        cells = [nbformat.v4.new_code_cell(code) for code in codes]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=kernel))
        nbformat.write(notebook, folder/f'{name}.ipynb')

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A JupyterLab of its own on a folder of its own: its address."
    pytest.importorskip('jupyterlab')
    folder, own = tmp_path_factory.mktemp('lab'), tmp_path_factory.mktemp('jupyter')
    prepare(folder)
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    private = {f'JUPYTER_{k}_DIR': str(own/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')}
    (own/'config'/'labconfig').mkdir(parents=True)
    (own/'config'/'labconfig'/'default_setting_overrides.json').write_text(
        '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", '
        '"checkForUpdates": false}}')
    path = os.pathsep.join(filter(None, (str(HERE), str(HERE.parent), os.environ.get('PYTHONPATH'))))
    with (own/'log').open('w') as log:
        server = subprocess.Popen(
            [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', f'--port={port}',
             '--ServerApp.port_retries=0', '--IdentityProvider.token=t',
             f'--ServerApp.root_dir={folder}', '--LabApp.expose_app_in_browser=True'],
            env=dict(os.environ, PYTHONPATH=path, **private), stdout=log, stderr=log)
        try:
            for _ in range(240):
                try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api?token=t', timeout=2); break
                except OSError: time.sleep(.5)
                assert server.poll() is None, (own/'log').read_text()
            yield f'http://127.0.0.1:{port}'
        finally: server.terminate(); server.wait(30)

IDLE = ("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
        " === 'idle'")

def wait_idle(tab):
    "Until the kernel has had nothing to do for a while."
    for _ in range(2):
        tab.wait_for_function(IDLE, timeout=180_000)
        tab.wait_for_timeout(250)

def opened(browser, lab, name):
    tab = browser.new_page(viewport=dict(width=1500, height=1100))
    tab.wrong = []
    tab.on('pageerror', lambda e: tab.wrong.append(str(e)))
    tab.goto(f'{lab}/doc/tree/{name}.ipynb?token=t&reset', timeout=120_000)
    return tab

def run_all(tab, until: str):
    wait_idle(tab)
    tab.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    tab.wait_for_selector(until, timeout=180_000)
    wait_idle(tab)

def run_cell(tab, i: int):
    tab.evaluate("i => { const book = window.jupyterapp.shell.currentWidget.content;"
                 " book.activeCellIndex = i; return window.jupyterapp.commands.execute("
                 "'notebook:run-cell'); }", i)
    tab.wait_for_timeout(300)
    wait_idle(tab)

def status_of(tab, words: str, seconds: float = 60) -> str:
    "The status, once it says so."
    for _ in range(int(seconds * 10)):
        if words in (said := tab.locator('.rex-status').inner_text()): return said
        tab.wait_for_timeout(100)
    raise AssertionError(f'expected {words!r}, got {said!r}')

FIRST = """() => { const old = document.querySelector('.rex'), began = performance.now();
    window.first = new Promise(done => { const look = () => {
        const now = document.querySelector('.rex-stage');
        now && now.closest('.rex') !== old ? done(performance.now() - began) : requestAnimationFrame(look); };
        look(); }); }"""

def heap(tab) -> float:     # MB
    session = tab.context.new_cdp_session(tab)
    session.send('HeapProfiler.enable')
    for _ in range(3): session.send('HeapProfiler.collectGarbage'); tab.wait_for_timeout(150)
    return session.send('Runtime.getHeapUsage')['usedSize'] / 1e6

def reads_without_a_kernel(browser, lab):
    "Every view but the live part."
    again = opened(browser, lab, 'explore')
    again.wait_for_selector('.rex-stage', timeout=60_000)
    again.get_by_role('tab', name='Ranking').click()
    assert again.locator('.rex-words').inner_text().startswith('Anchor')
    assert 'model not found' not in again.locator('body').inner_text()
    again.close()

def test_alive_run_anew_and_reopened(browser, lab):
    tab = opened(browser, lab, 'explore')
    run_all(tab, '.rex-stage')
    tab.get_by_role('tab', name='Your own').click()
    press = lambda name: tab.get_by_role('button', name=name).click()
    press('edit in my box')
    status_of(tab, '1 edit in')
    names = tab.get_by_role('group', name='Edits side by side').locator('button').all_inner_texts()
    assert [n.split()[0] for n in names] == ['learned', 'own']
    assert tab.evaluate('document.activeElement.textContent') == 'edit in my box (1 edit)'
    tab.get_by_label('prompt', exact=True).fill('a tower')
    press('run the method again')
    said = status_of(tab, 'best so far')
    assert 'of 20 edits' in said or ' edits …' in said
    assert tab.locator('.rex-best img').get_attribute('alt').startswith('box (')
    press('stop')
    status_of(tab, 'Stopped; nothing was changed.')
    assert tab.locator('.rex-choice').count() == 0
    press('run the method again')
    status_of(tab, 'edits in')
    assert tab.locator('.rex-title').inner_text().startswith('a frog → a tower')
    tab.locator('.rex-choice select').select_option('1. the first edit')
    assert tab.locator('.rex-title').inner_text().startswith('a frog → a rocket')
    tab.get_by_role('tab', name='Learning').click()
    press('rloo')
    tab.wait_for_function("[...document.querySelectorAll('option')].some(o => o.textContent === 'rloo, again')")

    for _ in range(3): run_cell(tab, 1)         # ten new runs: nothing is left of the old ones
    before, times = heap(tab), []
    for _ in range(10):
        tab.evaluate(FIRST)
        run_cell(tab, 1)
        times.append(tab.evaluate('window.first'))
    grown = heap(tab) - before
    run_cell(tab, 2)
    widgets = tab.locator('.jp-OutputArea-output pre').last.inner_text()
    alive = tab.evaluate("[...regioneditPages.pages.values()].filter(p => p.deref()).length")
    print(f'first picture {sorted(times)[5]:.0f} ms; heap {grown:+.1f} MB; {widgets} widgets')
    assert tab.locator('.rex').count() == alive == tab.evaluate('regioneditPages.models.size') == 1
    assert int(widgets) <= 2 + 1 and grown < 3      # the page, its layout
    tab.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    tab.wait_for_timeout(1500)
    tab.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    tab.wait_for_timeout(1000)
    assert tab.wrong == []
    tab.close()
    reads_without_a_kernel(browser, lab)

def test_a_host_that_needs_a_view(browser, lab):
    "The widget's own view, as Colab and VS Code show it."
    tab = opened(browser, lab, 'view')
    run_all(tab, '.rex-stage')
    assert tab.locator('.rex-still').count() == 0 and tab.locator('.rex').count() == 1
    tab.get_by_role('tab', name='Your own').click()
    tab.get_by_role('button', name='edit in my box').click()
    status_of(tab, '1 edit in')
    assert tab.wrong == []
    tab.close()

def test_the_study_by_keys(browser, lab):
    tab = opened(browser, lab, 'study')
    run_all(tab, '.rex-study')
    tab.get_by_role('button', name='Begin').click()
    tab.wait_for_selector('.rex-trio')
    counted = lambda n: tab.wait_for_function(
        "n => document.querySelector('.rex-study').innerText.includes(n + ' of ')", arg=n)
    counted(0)
    tab.locator('.rex-study').focus()
    for n, key in enumerate(('ArrowLeft', 'ArrowRight')):
        tab.wait_for_timeout(600)               # a faster answer is a slip
        tab.keyboard.press(key)
        counted(n + 1)
    tab.keyboard.press('Backspace')
    counted(1)
    tab.keyboard.press('z')
    assert 'rex-close' in tab.locator('.rex-study').get_attribute('class')
    assert tab.wrong == []
    tab.close()
