"The page from disk in headless Chromium, without a network: every view, mouse and keys, widths and themes."
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from regionedit.explorer.bundle import make_bundle
from regionedit.explorer.page import ExplorerWidget, fragment, page
from stubs import stub_result

def test_the_page_holds_everything():
    written = page(make_bundle(stub_result()))
    assert written.count('<script') == 2 and 'src=' not in written.split('<script')[1]
    assert '<link rel="stylesheet"' not in written and 'import ' not in written.split('module')[-1][:40]

def test_a_prompt_cannot_leave_its_place():
    nasty = '</script><script>alert(1)</script>"><img src=x>'
    written = page(make_bundle(replace(stub_result(), prompt=nasty)))
    assert written.count('</script>') == 2 and '<img' not in written
    assert fragment(make_bundle(stub_result()), 'a"b').startswith('<div id="a&quot;b">')

def test_what_is_not_there_is_left_out():
    bare = make_bundle(replace(stub_result(), trajectory=None))
    assert bare['runs'] == {} and bare['painter'] == [] and 'layers' not in bare['attention']

def test_a_file_not_a_folder(tmp_path):
    written = stub_result().to_html(tmp_path/'new'/'edit.html')
    assert written.read_text('utf8').startswith('<!DOCTYPE html>') and [*written.parent.iterdir()] == [written]
    with pytest.raises(ValueError, match='expected the name of a file'): stub_result().to_html(tmp_path)

def test_one_widget():
    widget = stub_result().to_widget()
    assert isinstance(widget, ExplorerWidget) and widget.bundle['prompt'] == stub_result().prompt
    widget.close()

def test_a_cell_that_runs_anew_closes_its_widgets(monkeypatch):
    from regionedit.explorer import page as module
    made = {}
    for cell, run in (('a', 1), ('a', 1), ('b', 2), ('a', 3)):
        monkeypatch.setattr(module, '_running', lambda: (cell, run))
        made.setdefault((cell, run), []).append(stub_result().to_widget())
    alive = {at: [w.comm is not None for w in widgets] for at, widgets in made.items()}
    assert alive == {('a', 1): [False, False], ('b', 2): [True], ('a', 3): [True]}

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
def file(tmp_path_factory):
    "A result with everything: attention of all heads, two runs, the painter's steps, a note."
    from regionedit import RegionEditor
    from regionedit.pocket.scenes import draw_scene
    from stubs import StubClip, StubEditor, stub_vit
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor())
    result = editor(draw_scene(3, num_objects=1).image, 'a rocket', 'a frog', num_anchors=4,
                    num_proposals=5, learning_steps=30, progress=False)
    steps = [(f'step {i}', Image.new('RGB', result.image.size, (60 * i, 0, 0))) for i in range(3)]
    layers = torch.rand(2, 3, *result.attention.shape)
    layers[0, 0, 2, 3] = 99.
    return result.to_html(tmp_path_factory.mktemp('page')/'edit.html', editor, layers=layers,
                          runs={'again': result.trajectory}, painter=steps, windows=True,
                          notes=('The picture is outside the pocket world.',))

HASH = """() => [...document.querySelectorAll('.rex canvas')].filter(c => c.offsetParent).map(
    c => c.toDataURL()).join('').split('').reduce((h, c) => (h * 31 + c.charCodeAt(0)) % 4294967291, 7)"""

def opened(browser, file, width=1100, scheme='light'):
    "The page, with what went wrong in it."
    tab = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme)
    tab.wrong = []
    tab.on('pageerror', lambda e: tab.wrong.append(str(e)))
    tab.on('console', lambda m: tab.wrong.append(m.text) if m.type in ('error', 'warning') else None)
    tab.on('request', lambda r: None if r.url.startswith(('file:', 'data:')) else tab.wrong.append(r.url))
    tab.goto(file.as_uri())
    tab.wait_for_selector('.rex-thumb')
    tab.wait_for_timeout(200)
    return tab

def open_view(tab, name):
    tab.get_by_role('tab', name=name).click()
    tab.wait_for_timeout(60)

def differs(tab, act):
    "An action, after which a drawing must have changed."
    before = tab.evaluate(HASH)
    act()
    tab.wait_for_timeout(80)
    assert tab.evaluate(HASH) != before

def on_slider(tab, label, key):
    tab.get_by_label(label, exact=False).first.focus()
    tab.keyboard.press(key)

@pytest.mark.slow
@pytest.mark.parametrize('width', [360, 900, 1400])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_every_view_fits(browser, file, width, scheme):
    tab = opened(browser, file, width, scheme)
    assert tab.locator('.rex').get_attribute('data-theme') == scheme
    for name in tab.get_by_role('tab').all_inner_texts():
        open_view(tab, name)
        assert tab.evaluate('document.documentElement.scrollWidth') <= width, name
    assert tab.wrong == []
    tab.close()

@pytest.mark.slow
def test_hands_and_keys(browser, file):
    tab = opened(browser, file)
    stage = tab.locator('.rex-stage')
    assert stage.get_attribute('aria-valuenow') == '50'
    box = stage.bounding_box()
    def drag():
        tab.mouse.move(box['x'] + box['width'] / 2, box['y'] + 40); tab.mouse.down()
        tab.mouse.move(box['x'] + box['width'] / 4, box['y'] + 40); tab.mouse.up()
    differs(tab, drag)
    assert stage.get_attribute('aria-valuenow') == '25'
    differs(tab, lambda: (stage.focus(), tab.keyboard.press('ArrowRight')))
    differs(tab, lambda: tab.locator('.rex-thumb').nth(1).click())
    assert tab.locator('.rex-thumb').nth(1).get_attribute('aria-pressed') == 'true'
    tab.get_by_role('tab', name='Before').focus()
    tab.keyboard.press('ArrowRight')
    tab.wait_for_timeout(100)
    assert tab.get_by_role('tab', name='Attention').get_attribute('aria-selected') == 'true'
    differs(tab, lambda: tab.get_by_label('layer', exact=True).select_option('1'))
    differs(tab, lambda: tab.get_by_label('head', exact=True).first.select_option('0'))
    assert 'attention sink' in tab.locator('.rex-warn').inner_text()
    differs(tab, lambda: tab.get_by_label('scale').select_option('rank'))
    differs(tab, lambda: (stage.focus(), tab.keyboard.press('ArrowDown')))
    open_view(tab, 'Regions')
    grid, said = tab.locator('.rex-map'), lambda: tab.locator('.rex-map').get_attribute('aria-label')
    before = said()
    differs(tab, lambda: (grid.focus(), tab.keyboard.press('ArrowLeft' if 'proposal 4' in before else 'ArrowRight')))
    assert said() != before
    differs(tab, lambda: tab.get_by_label('colour by').select_option('clip'))
    differs(tab, lambda: tab.get_by_label('edit', exact=True).select_option('as the editor made it'))
    open_view(tab, 'Learning')
    differs(tab, lambda: on_slider(tab, 'step', 'Home'))
    differs(tab, lambda: (tab.get_by_role('button', name='play').click(), tab.wait_for_timeout(500)))
    differs(tab, lambda: tab.get_by_label('and of', exact=True).select_option('again'))
    differs(tab, lambda: tab.get_by_label('below').select_option('loss terms'))
    open_view(tab, 'Ranking')
    differs(tab, lambda: on_slider(tab, 'alpha', 'Home'))
    assert tab.locator('.rex-words').inner_text().startswith('Anchor')
    tab.get_by_label('lambda clip').focus()
    tab.keyboard.press('End')
    tab.wait_for_timeout(80)
    assert tab.get_by_label('boxes', exact=True).input_value() == 'lowest loss of the table'
    tab.get_by_role('button', name='as it was').click()
    open_view(tab, 'Painter')
    differs(tab, lambda: on_slider(tab, 'step', 'ArrowRight'))
    open_view(tab, 'Diagnosis')
    assert tab.locator('.rex-answer').is_visible()
    assert tab.wrong == []
    tab.close()

@pytest.mark.slow
def test_the_hosts_theme_wins(browser, file):
    tab = opened(browser, file, scheme='light')
    tab.evaluate("document.documentElement.setAttribute('data-theme', 'dark')")
    tab.wait_for_timeout(100)
    assert tab.locator('.rex').get_attribute('data-theme') == 'dark'
    tab.evaluate("document.documentElement.removeAttribute('data-theme'); document.body.dataset.jpThemeLight = 'false'")
    tab.wait_for_timeout(100)
    assert tab.locator('.rex').get_attribute('data-theme') == 'dark'
    tab.close()

@pytest.mark.slow
def test_numbers_in_the_browser_are_pythons(browser, file):
    "What stands on the page after a slider was moved is what Python ranks."
    from regionedit.explorer.page import asset
    tab = browser.new_page()
    for seed in range(3):
        result = stub_result(seed)
        score = result.table.score(replace(result.config, alpha=1.5, beta=.5))
        chosen = result.trajectory.chosen[-1]
        # its trajectory is put together by hand: the page reads what was most probable
        said = tab.evaluate("""async ([source, bundle]) => {
            const m = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
            const t = m.openTable(bundle);
            return m.ranking(t, { ...m.weightsOf(bundle.config), alpha: 1.5, beta: .5 }, 'learned');
        }""", [asset('explorer.js'), make_bundle(result)])
        assert {(e['k'], e['m']) for e in said} == set(enumerate(chosen.tolist()))
        for e in said: assert e['score'] == pytest.approx(float(score[e['k'], e['m']]), abs=1e-5)
        assert [e['score'] for e in said] == sorted((e['score'] for e in said), reverse=True)
    tab.close()
