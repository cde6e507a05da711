"The site's builder and its checks: each check must find the fault that it is for, in a small broken page."
import importlib.util, json, shutil, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT/'tools'))
pytest.importorskip('nbdev')
import pages, readme, site_check, try_it       # noqa: E402

def tool(name: str):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT/'tools'/f'{name}.py')
    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
    return module

COLAB = 'https://colab.research.google.com/github/x/y/blob/main/nbs/course/00_a.ipynb'

def notebook(path: Path, *cells) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=[dict(cell_type='code' if isinstance(c, tuple) else 'markdown', metadata={}, **(
        dict(source=c[0], outputs=c[1]) if isinstance(c, tuple) else dict(source=c))) for c in cells])), encoding='utf8')
    return path

def html(path: Path, body: str, head: str = '<meta name="description" content="d">') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<!doctype html><html><head>{head}</head><body><main>{body}</main></body></html>', encoding='utf8')
    return path

def pair(tmp_path, body, *cells, name='course/00_a.ipynb'):
    source = site_check.Source(notebook(tmp_path/'nbs'/name, *cells), tmp_path/'nbs')
    return site_check.Built(html(tmp_path/'docs'/source.page, body), tmp_path/'docs'), source

TITLE = '# A\n\n> About a'

# ---- what a page must hold

def test_a_paragraph_that_is_not_on_the_page(tmp_path):
    words = 'You say *what* is in a [picture](b.ipynb), `x_1`\nand 1 < 2.'
    shown = '<p>You say <em>what</em> is in a <a href="b.html">picture</a>, <code>x_1</code> and 1 &lt; 2.</p>'
    assert site_check.missing_words(*pair(tmp_path, shown, TITLE, words)) == []
    fault, = site_check.missing_words(*pair(tmp_path, '<p>Next.</p>', TITLE, words, 'Next.'))
    assert '1 paragraphs are missing' in fault and 'You say' in fault

def test_words_in_the_title_cell_are_asked_for_too(tmp_path):
    "nbdev drops them: that is how the first paragraphs of all pages were lost."
    fault, = site_check.missing_words(*pair(tmp_path, '', TITLE + '\n\nYou say what.'))
    assert 'You say what' in fault

def test_words_that_only_the_navigation_shows_do_not_count(tmp_path):
    page, source = pair(tmp_path, '', TITLE, 'Losses')
    page.path.write_text('<nav>Losses</nav><main></main>', encoding='utf8')
    assert site_check.missing_words(site_check.Built(page.path, tmp_path/'docs'), source)

@pytest.mark.parametrize('text, letters', [
    ('1. one', 'one'), ('![alt](a.png)', ''), ('```python\nx = 1\n```', 'x1'), ('`<details>`', 'details'), ('<details>a</details>', 'a'),
    ('a &amp; b<!-- c -->', 'ab'), ('## H {#id .class}', 'H'), ('[a](b "c") d', 'ad')])
def test_as_read(text, letters): assert site_check.as_read(text) == letters

def test_the_colab_link(tmp_path):
    cell = f'[Open in Colab]({COLAB})'
    assert site_check.missing_colab(*pair(tmp_path, f'<a href="{COLAB}">Open in Colab</a>', TITLE, cell)) == []
    assert 'is missing' in site_check.missing_colab(*pair(tmp_path, 'Open in Colab', TITLE, cell))[0]
    assert 'without a Colab link' in site_check.missing_colab(*pair(tmp_path, '', TITLE))[0]
    assert site_check.missing_colab(*pair(tmp_path, '', TITLE, name='api/a.ipynb')) == []

PICTURE = 'iVBORw0KGgo' + 'A' * 500

@pytest.mark.parametrize('output, shown', [
    (dict(output_type='stream', text=['0.5 of ', '8\n']), '<pre>0.5 of 8</pre>'),
    (dict(data={'image/png': PICTURE, 'text/plain': '<Figure>'}), f'<img alt="a" src="data:image/png;base64,{PICTURE}">'),
    (dict(data={'text/html': '<b>so</b><script>x()</script>', 'text/plain': 'HTML'}), '<b>so</b>'),
    (dict(data={'text/markdown': '| a |\n|---|\n| 1 |'}), '<table><tr><th>a</th></tr><tr><td>1</td></tr></table>'),
    (dict(data={'text/plain': 'tensor(1)'}), '<pre>tensor(1)</pre>')])
def test_an_output_that_is_not_on_the_page(tmp_path, output, shown):
    cells = TITLE, ('f(x)', [output])
    assert site_check.missing_outputs(*pair(tmp_path, shown, *cells)) == []
    fault, = site_check.missing_outputs(*pair(tmp_path, '', *cells))
    assert '1 outputs are missing' in fault and 'f(x)' in fault
    for mark in ('#| hide', '#| export', '#| output: false'):
        assert site_check.missing_outputs(*pair(tmp_path, '', TITLE, (f'{mark}\nf(x)', [output]))) == []

MODULE = '#| export\n@patch\ndef run(self: A): pass\nclass B:\n    def m(self): pass\n    def _n(self): pass\n    def __call__(self): pass\ndef _g(): pass'

def test_a_name_without_its_signature(tmp_path):
    def shown(*names): return ''.join(f'<h3>{n}</h3><pre>{k} {n.split(".")[-1]}(\n    x\n):</pre>' for k, n in names)
    names = [('def', 'A.run'), ('class', 'B'), ('def', 'B.m'), ('def', 'B.__call__')]
    assert site_check.missing_signatures(*pair(tmp_path, shown(*names), TITLE, (MODULE, []))) == []
    lost = site_check.missing_signatures(*pair(tmp_path, shown(*names[:2]) + '<h3>B.m</h3><p>only words</p>', TITLE, (MODULE, [])))
    assert [f.split()[-1] for f in lost] == ['B.m', 'B.__call__']

def test_pictures_and_pages_without_words(tmp_path):
    path = html(tmp_path/'a.html', '<img src="x.png"><img src="y.png" alt=" "><img src="z.png" alt="A cat">', head='')
    found = site_check.mute(site_check.Built(path, tmp_path))
    assert len(found) == 2 and '2 pictures without words' in found[0] and 'no description' in found[1]

# ---- the site as a whole

def built(docs: Path) -> list: return [site_check.Built(p, docs) for p in sorted(docs.rglob('*.html'))]

def test_dead_links(tmp_path):
    html(tmp_path/'sub'/'b.html', '<h2 id="there">B</h2>')
    html(tmp_path/'a.html', '<a href="sub/b.html#there">1</a><a href="#here" id="here">2</a><a href="https://x.org/y">3</a>')
    assert site_check.dead_links(built(tmp_path), tmp_path) == []
    html(tmp_path/'a.html', '<a href="sub/c.html">1</a><a href="sub/b.html#gone">2</a><script src="no.js"></script>')
    assert [f.split(': ')[1] for f in site_check.dead_links(built(tmp_path), tmp_path)] == [
        'sub/c.html leads nowhere', 'sub/b.html#gone leads to no place on that page', 'no.js leads nowhere']

@pytest.mark.parametrize('body', [
    '<script src="https://cdn.org/x.js"></script>', '<link rel="stylesheet" href="//cdn.org/x.css">', '<img alt="a" src="http://x.org/a.svg">',
    '<style>@import url("https://fonts.org/a");</style>', '<script type="module">import {a} from "https://cdn.org/a.mjs";</script>',
    '<script>fetch("https://x.org/data")</script>', '<iframe src="https://x.org"></iframe>'])
def test_what_another_host_would_be_asked_for(tmp_path, body):
    html(tmp_path/'a.html', body)
    assert len(site_check.other_hosts(built(tmp_path), tmp_path)) == 1

def test_styles_are_read_too_and_links_are_no_requests(tmp_path):
    html(tmp_path/'a.html', '<a href="https://arxiv.org">paper</a><svg xmlns="http://www.w3.org/2000/svg"></svg>')
    assert site_check.other_hosts(built(tmp_path), tmp_path) == []
    (tmp_path/'s.css').write_text('a { background: url(https://x.org/a.png) }')
    assert site_check.other_hosts(built(tmp_path), tmp_path) == ['s.css: fetched from another host: https://x.org/a.png']

def named(*names): return [type('S', (), dict(name=n)) for n in names]
def sidebar_of(*contents): return dict(website=dict(sidebar=dict(contents=list(contents))))

@pytest.mark.parametrize('contents, fault', [
    (['i.ipynb', dict(contents=['a/0_x.ipynb', 'a/1_y.ipynb'])], None),
    (['i.ipynb', dict(contents=['a/1_y.ipynb', 'a/0_x.ipynb'])], 'order of their numbers'),
    (['a/0_x.ipynb', 'i.ipynb', 'a/1_y.ipynb'], 'do not stand together'),
    (['i.ipynb', 'i.ipynb', 'a/0_x.ipynb', 'a/1_y.ipynb'], '2 times'),
    (['a/0_x.ipynb', 'a/1_y.ipynb'], '0 times'), (['i.ipynb', 'a/0_x.ipynb', 'a/1_y.ipynb', 'z.ipynb'], 'no page z')])
def test_reading_order(contents, fault):
    found = site_check.reading_order(sidebar_of(*contents), named('i.ipynb', 'a/0_x.ipynb', 'a/1_y.ipynb'))
    assert found == [] if fault is None else len(found) == 1 and fault in found[0]

def test_the_sidebar_of_a_page_and_the_search(tmp_path):
    links = '<a class="sidebar-link" href="../i.html">I</a><a class="sidebar-link" href="x.html">X</a>'
    html(tmp_path/'a'/'x.html', links)
    config = sidebar_of('i.ipynb', dict(contents=['a/0_x.ipynb']))
    assert site_check.sidebar(built(tmp_path), config) == []
    html(tmp_path/'a'/'x.html', links.replace('x.html', 'y.html'))
    assert len(site_check.sidebar(built(tmp_path), config)) == 1
    (tmp_path/'search.json').write_text(json.dumps([dict(href='i.html#a')]))
    assert site_check.searchable(built(tmp_path), tmp_path) == ['a/x.html: the search does not know it']

# ---- in a browser

@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_code_that_is_cut_wide_pages_requests_and_a_dumb_search(tmp_path):
    pytest.importorskip('playwright')
    long = 'x = ' + 'a_name + ' * 40
    html(tmp_path/'good.html', f'<pre style="white-space: pre-wrap"><code>{long}</code></pre>')
    html(tmp_path/'cut.html', f'<pre style="overflow-x: auto"><code>{long}</code></pre>')
    html(tmp_path/'wide.html', '<div style="width: 1300px">x</div>')
    html(tmp_path/'asks.html', '<img alt="a" src="https://elsewhere.invalid/a.png"><script>no_such()</script>')
    html(tmp_path/'index.html', '<input type="search">')
    look = lambda tab, name: site_check.fits(tab, name, widths=(1200,))
    found = site_check.browse(tmp_path, ['good.html', 'cut.html', 'wide.html', 'asks.html'], look)
    assert [f.split(': ')[0] for f in found] == ['cut.html', 'wide.html', 'asks.html', 'asks.html']
    for word in ('1 blocks of code are cut', 'px wider than a window of 1200 px', 'asks https://elsewhere.invalid', 'script error'):
        assert any(word in f for f in found)
    assert 'finds nothing' in site_check.browse(tmp_path, ['index.html'], lambda tab, name: site_check.finds(tab, name, wait=300))[0]

# ---- what the builder adds

def cell(source, *outputs): return dict(cell_type='code', source=source, outputs=list(outputs))

def test_public_names():
    assert pages.public_names(MODULE.replace('#| export', '')) == ['A.run', 'B', 'B.m', 'B.__call__']

def test_words_for_a_picture():
    from execnb.nbio import dict2nb
    png = dict(output_type='display_data', metadata={}, data={'image/png': 'x', 'text/plain': '<Figure>'})
    edit = dict(output_type='display_data', metadata={}, data={'image/png': 'x', 'text/plain': "EditResult(prompt='a \"hat\"', source='a cat', seed=0)"})
    markdown = dict(cell_type='markdown', source='## Heads\n\nFirst. Where [one](a.ipynb) `head` looks:')
    nb = dict2nb(dict(cells=[markdown, cell('plot()', png), cell('#| fig-alt: "own"\nplot()', png), cell('result', edit), cell('print()')]))
    step = pages.Pictures(nb); step.begin()
    for c in nb.cells: step.cell(c)
    assert [c.source.splitlines()[0] for c in nb.cells[1:]] == [
        '#| fig-alt: "Heads: Where one head looks"', '#| fig-alt: "own"',
        '#| fig-alt: "Edit of a cat into a \\"hat\\": the picture, the boxes that were left, the edit"', 'print()']

def test_classes_are_no_functions_and_words_are_set_alike():
    shown = dict(output_type='display_data', data={'text/markdown': '### Task\n\n```python\ndef Task(\n    a\n):\n```\n\n*One line\nand another.*'.replace('.*', '.').replace('*One line', '*One line*')})
    c = type('C', (dict,), dict(__getattr__=dict.__getitem__))(cell_type='code', source='#| echo: false\nshow_doc(Task)', outputs=[shown])
    pages.Signatures(None).cell(c)
    assert shown['data']['text/markdown'] == '### Task\n\n```python\nclass Task(\n    a\n):\n```\n\n*One line\nand another.*'

def test_plain_words_are_linked_in_their_own_room_only():
    at = 'https://h.io/r/api/batch/run.html#'
    nb = type('N', (), dict(path_='nbs/api/method/10_table.ipynb'))
    c = type('C', (dict,), dict(__getattr__=dict.__getitem__, __setattr__=dict.__setitem__))(
        cell_type='markdown', source=f'[`known`]({at}known) [`run_batch`]({at}run_batch) [`known`]({at.replace("batch", "method")}known) [`_`]({at}_)')
    pages.Links(nb).cell(c)
    assert c.source == f'`known` [`run_batch`]({at}run_batch) [`known`]({at.replace("batch", "method")}known) `_`'

def test_pages_get_the_names_that_links_expect(tmp_path, monkeypatch):
    site = tool('site')
    docs = tmp_path/'_docs'
    monkeypatch.setattr(site, 'TOOLS', tmp_path)
    (tmp_path/'katex').mkdir(); (tmp_path/'katex'/'katex.min.js').write_text('')
    html(docs/'api'/'00_a.html', f'<a href="00_a.html#x">1</a><a href="https://h.io/r/api/b.html">2</a><script src="{site.KATEX}/katex.min.js"></script>')
    html(docs/'api'/'01_b.html', '')
    (docs/'search.json').write_text('[{"href": "api/00_a.html#x"}]')
    (docs/'sitemap.xml').write_text('<loc>https://h.io/r/api/00_a.html</loc>')
    (docs/'s.css').write_text('@import url(https://fonts.googleapis.com/css2?a=b;c);a{}')
    site.at_home(docs, {'api/00_a.html': 'api/a.html', 'api/01_b.html': 'api/b.html'}, 'https://h.io/r/')
    page = (docs/'api'/'a.html').read_text()
    assert 'href="a.html#x"' in page and 'href="../api/b.html"' in page and 'src="../site_libs/katex/katex.min.js"' in page
    assert (docs/'search.json').read_text() == '[{"href": "api/a.html#x"}]' and (docs/'s.css').read_text() == 'a{}'
    assert (docs/'sitemap.xml').read_text() == '<loc>https://h.io/r/api/a.html</loc>'

# ---- front page and "Try it"

def test_the_readme_is_the_front_page():
    front = json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf8'))
    assert (ROOT/'README.md').read_text(encoding='utf8') == readme.readme(front), 'run python tools/readme.py'

def test_readme_by_hand():
    cells = [dict(cell_type='markdown', source='# T\n\n> d'), dict(cell_type='code', source='x\n# README: ![a](b.png)\ny'),
             dict(cell_type='markdown', source='[a](c/d.ipynb#e) [f](https://g.h/i.ipynb)'), dict(cell_type='code', source='z')]
    assert readme.readme(dict(cells=cells)) == '# T\n\n![a](b.png)\n\n[a](nbs/c/d.ipynb#e) [f](https://g.h/i.ipynb)\n'

def test_twelve_scenes_with_two_prompts_each():
    scenes = [try_it.scene(n) for n in range(try_it.SCENES)]
    assert len(scenes) >= 12 and len(try_it.PAINTERS) == 2
    for n, (drawn, source, prompts) in enumerate(scenes):
        assert len(drawn.objects) == 1 + n % 2 and len({source, *prompts}) == 3
    assert len({s.caption for s, _, _ in scenes}) == len(scenes)

def test_a_page_that_offers_too_little(tmp_path):
    (tmp_path/'try').mkdir()
    assert 'expected 12 scenes' in site_check.try_it(tmp_path)[0]
    menu = [dict(prompts=['a', 'b'], painters=list(try_it.PAINTERS))] * 12
    (tmp_path/'try'/'menu.json').write_text(json.dumps(menu))
    assert len(site_check.try_it(tmp_path)) == 48
    for n in range(12):
        for p in range(2):
            for painter in try_it.PAINTERS: (tmp_path/'try'/f'{n:02}-{p}-{painter}.json').write_text('{}')
    assert site_check.try_it(tmp_path) == []
    (tmp_path/'try'/'menu.json').write_text(json.dumps([menu[0] | dict(prompts=['a'])] * 12))
    assert 'expected 12 scenes' in site_check.try_it(tmp_path)[0]

@pytest.mark.skipif(not shutil.which('chromium'), reason='needs Chromium')
def test_the_page_that_fetches_its_edits(tmp_path):
    "A scene of one's own: shown, another painter, and what is said where an edit or all are missing."
    pytest.importorskip('playwright')
    from regionedit.explorer.bundle import make_bundle
    from regionedit.explorer.page import asset
    from stubs import stub_result
    shutil.copytree(ROOT/'nbs'/'try', tmp_path/'try', ignore=shutil.ignore_patterns('*.json', 'explorer.*'))
    for name in ('explorer.js', 'explorer.css'): (tmp_path/'try'/name).write_text(asset(name), encoding='utf8')
    html(tmp_path/'try_it.html', '<div id="try-it"></div><script type="module" src="try/try.js"></script>')
    said = []
    def reads(tab, name):
        tab.wait_for_function('document.querySelector("#try-it").innerText.includes("python tools/try_it.py")')
        return []
    site_check.browse(tmp_path, ['try_it.html'], reads)
    menu = [dict(source=f's{n}', prompts=['p', 'q'], painters=list(try_it.PAINTERS), caption='A scene', picture='data:,') for n in range(2)]
    (tmp_path/'try'/'menu.json').write_text(json.dumps(menu))
    bundle = json.dumps(make_bundle(stub_result()))
    for painter in try_it.PAINTERS: (tmp_path/'try'/f'00-0-{painter}.json').write_text(bundle)
    def walks(tab, name):
        said.append(site_check.plays(tab, name))
        tab.locator('.try-prompt label').nth(1).click()
        tab.wait_for_function('document.querySelector("[role=status]").innerText.includes("could not be fetched (00-1-pocket-maskgit.json: 404)")')
        tab.locator('.try-scene input').nth(0).press('ArrowRight')
        tab.wait_for_function('location.hash === "#1-0-1" && document.activeElement.type === "radio"')
        return []
    assert site_check.browse(tmp_path, ['try_it.html'], walks) == [] and said == [[]]

def test_what_is_there_is_kept(tmp_path, monkeypatch):
    import regionedit
    from stubs import stub_result
    asked = []
    class Editor:
        @staticmethod
        def from_pretrained(name): return Editor()
        def __call__(self, image, **more): asked.append(more['prompt']); return stub_result()
    monkeypatch.setattr(regionedit, 'RegionEditor', Editor)
    monkeypatch.setattr(try_it, 'bundle_of', lambda result, editor, truth: dict(prompt=result.prompt))
    try_it.make(tmp_path, 1); try_it.make(tmp_path, 1)
    assert len(asked) == 4 and len([*tmp_path.glob('0*.json')]) == 4
    menu, = json.loads((tmp_path/'menu.json').read_text(encoding='utf8'))
    assert menu['painters'] == list(try_it.PAINTERS) and len(menu['prompts']) == 2 and 'export' in (tmp_path/'explorer.js').read_text(encoding='utf8')
    monkeypatch.setattr(try_it, 'weights', lambda: 'others')
    try_it.make(tmp_path, 1)
    assert len(asked) == 8, 'other weights, other edits'
