"The site's builder and its checks: each check must find its fault, in a small broken page."
import ast, configparser, importlib.util, json, re, shutil, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT/'tools'))
pytest.importorskip('nbdev')
import launch, pages, readme, site_check, slides, try_it       # noqa: E402

TITLE = '# A\n\n> About a'
BEGIN, END = '### BEGIN SOLUTION', '### END SOLUTION'

def tool(name: str):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT/'tools'/f'{name}.py')
    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
    return module

def text(source: str) -> dict: return dict(cell_type='markdown', source=source, metadata={})

def code(source: str, *outputs) -> dict:
    return dict(cell_type='code', source=source, metadata={}, outputs=list(outputs))

def output(**data) -> dict:
    return dict(output_type='display_data', metadata={},
                data={k.replace('_', '/'): v for k, v in data.items()})

def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding='utf8')
    return path

def html(path: Path, body: str, head: str = '<meta name="description" content="d">') -> Path:
    return written(path, f'<!doctype html><html><head>{head}</head>'
                         f'<body><main>{body}</main></body></html>')

def pair(folder: Path, body: str, *cells, name='course/00_a.ipynb') -> tuple:
    "A built page and its notebook."
    cells = [text(c) if isinstance(c, str) else c for c in (TITLE, *cells)]
    path = written(folder/'nbs'/name, json.dumps(dict(cells=cells)))
    source = site_check.Source(path, folder/'nbs')
    return site_check.Built(html(folder/'docs'/source.page, body), folder/'docs'), source

# ---- what a page must hold

def test_a_paragraph_that_is_not_on_the_page(tmp_path):
    words = 'You say *what* is in a [picture](b.ipynb), `x_1`\nand 1 < 2.'
    shown = ('<p>You say <em>what</em> is in a <a href="b.html">picture</a>, <code>x_1</code> '
             'and 1 &lt; 2.</p>')
    assert site_check.missing_words(*pair(tmp_path, shown, words)) == []
    fault, = site_check.missing_words(*pair(tmp_path, '<p>Next.</p>', words, 'Next.'))
    assert '1 paragraphs are missing' in fault and 'You say' in fault

def test_words_in_the_title_cell_are_asked_for_too(tmp_path):
    "nbdev drops them: that is how the first paragraphs of all pages were lost."
    page, source = pair(tmp_path, '')
    source.texts[0] += '\n\nYou say what.'
    assert 'You say what' in site_check.missing_words(page, source)[0]

def test_words_that_only_the_navigation_shows_do_not_count(tmp_path):
    page, source = pair(tmp_path, '', 'Losses')
    written(page.path, '<nav>Losses</nav><main></main>')
    assert site_check.missing_words(site_check.Built(page.path, tmp_path/'docs'), source)

@pytest.mark.parametrize('markdown, letters', [
    ('1. one', 'one'), ('![alt](a.png)', ''), ('```python\nx = 1\n```', 'x1'),
    ('`<details>`', 'details'), ('<details>a</details>', 'a'), ('a &amp; b<!-- c -->', 'ab'),
    ('## H {#id .class}', 'H'), ('[a](b "c") d', 'ad')])
def test_as_read(markdown, letters): assert site_check.as_read(markdown) == letters

def test_the_launch_links(tmp_path):
    line, check = launch.links('00_a.ipynb'), site_check.missing_launch
    shown = re.sub(r'\[(\w+)\]\((\S+)\)', r'<a href="\2">\1</a>', line)
    assert 'no copy beside it' in check(*pair(tmp_path, shown, line))[0]
    written(tmp_path/'docs'/'course'/'00_a.ipynb', '{}')
    assert check(*pair(tmp_path, shown, line)) == []
    assert 'is missing' in check(*pair(tmp_path, 'Colab', line))[0]
    assert '0 launch links, expected 3' in check(*pair(tmp_path, ''))[0]
    assert check(*pair(tmp_path, '', name='api/a.ipynb')) == []
    assert check(*pair(tmp_path, '', name='course/for_teachers.ipynb')) == []

PNG = 'iVBORw0KGgo' + 'A' * 500

@pytest.mark.parametrize('made, shown', [
    (dict(output_type='stream', text=['0.5 of ', '8\n']), '<pre>0.5 of 8</pre>'),
    (output(image_png=PNG, text_plain='<Figure>'), f'<img src="data:image/png;base64,{PNG}">'),
    (output(text_html='<b>so</b><script>x()</script>', text_plain='HTML'), '<b>so</b>'),
    (output(**{'image_svg+xml': '<svg a="1"><text>three losses</text></svg>'}, image_png=PNG),
     '<svg b="2"><text>three losses</text></svg>'),
    (output(text_markdown='| a |\n|---|\n| 1 |'), '<table><tr><th>a<tr><td>1</table>'),
    (output(text_plain='tensor(1)'), '<pre>tensor(1)</pre>')])
def test_an_output_that_is_not_on_the_page(tmp_path, made, shown):
    check = site_check.missing_outputs
    assert check(*pair(tmp_path, shown, code('f(x)', made))) == []
    fault, = check(*pair(tmp_path, '', code('f(x)', made)))
    assert '1 outputs are missing' in fault and 'f(x)' in fault
    for mark in ('#| hide', '#| output: false', '#| include: false'):
        assert check(*pair(tmp_path, '', code(f'{mark}\nf(x)', made))) == []

MODULE = '''#| export
@patch
def run(self: A): pass
class B:
    def m(self): pass
    def _n(self): pass
    def __call__(self): pass
def _g(): pass'''

def test_a_name_without_its_signature(tmp_path):
    def shown(*names):
        return ''.join(f'<h3>{n}</h3><pre>{kind} {n.split(".")[-1]}(\n    x\n):</pre>'
                       for kind, n in names)
    names = [('def', 'A.run'), ('class', 'B'), ('def', 'B.m'), ('def', 'B.__call__')]
    check, module = site_check.missing_signatures, code(MODULE)
    assert check(*pair(tmp_path, shown(*names), module)) == []
    lost = check(*pair(tmp_path, shown(*names[:2]) + '<h3>B.m</h3><p>only words</p>', module))
    assert [f.split()[-1] for f in lost] == ['B.m', 'B.__call__']

def test_pictures_and_pages_without_words(tmp_path):
    body = '<img src="x.png"><img src="y.png" alt=" "><img src="z.png" alt="A cat">'
    found = site_check.mute(site_check.Built(html(tmp_path/'a.html', body, head=''), tmp_path))
    assert len(found) == 2 and '2 pictures without words' in found[0]
    assert 'no description' in found[1]

# ---- the site as a whole

def built(docs: Path) -> list:
    return [site_check.Built(p, docs) for p in sorted(docs.rglob('*.html'))]

def test_dead_links(tmp_path):
    html(tmp_path/'sub'/'b.html', '<h2 id="there">B</h2>')
    html(tmp_path/'a.html', '<a href="sub/b.html#there">1</a><a href="#here" id="here">2</a>'
                            '<a href="https://x.org/y">3</a>')
    assert site_check.dead_links(built(tmp_path)) == []
    html(tmp_path/'a.html', '<a href="sub/c.html">1</a><a href="sub/b.html#gone">2</a>'
                            '<script src="no.js"></script>')
    assert [f.split(': ')[1] for f in site_check.dead_links(built(tmp_path))] == [
        'sub/c.html leads nowhere', 'sub/b.html#gone leads to no place on that page',
        'no.js leads nowhere']

@pytest.mark.parametrize('body', [
    '<script src="https://cdn.org/x.js"></script>',
    '<link rel="stylesheet" href="//cdn.org/x.css">',
    '<img alt="a" src="http://x.org/a.svg">',
    '<style>@import url("https://fonts.org/a");</style>',
    '<script type="module">import {a} from "https://cdn.org/a.mjs";</script>',
    '<script>fetch("https://x.org/data")</script>',
    '<iframe src="https://x.org"></iframe>'])
def test_what_another_host_would_be_asked_for(tmp_path, body):
    html(tmp_path/'a.html', body)
    assert len(site_check.other_hosts(built(tmp_path), tmp_path)) == 1

def test_styles_are_read_too_and_links_are_no_requests(tmp_path):
    html(tmp_path/'a.html', '<a href="https://arxiv.org">paper</a>'
                            '<svg xmlns="http://www.w3.org/2000/svg"></svg>')
    assert site_check.other_hosts(built(tmp_path), tmp_path) == []
    written(tmp_path/'s.css', 'a { background: url(https://x.org/a.png) }')
    assert site_check.other_hosts(built(tmp_path), tmp_path) == [
        's.css: fetched from another host: https://x.org/a.png']

X, Y = 'a/0_x.ipynb', 'a/1_y.ipynb'

def bar(*contents): return dict(website=dict(sidebar=dict(contents=[*contents])))

@pytest.mark.parametrize('contents, fault', [
    (['i.ipynb', dict(contents=[X, Y])], None),
    (['i.ipynb', dict(contents=[Y, X])], 'order of their numbers'),
    ([X, 'i.ipynb', Y], 'do not stand together'), (['i.ipynb', 'i.ipynb', X, Y], '2 times'),
    ([X, Y], '0 times'), (['i.ipynb', X, Y, 'z.ipynb'], 'no page z')])
def test_reading_order(contents, fault):
    found = site_check.reading_order(bar(*contents), ['i.ipynb', X, Y])
    assert found == [] if fault is None else len(found) == 1 and fault in found[0]

def test_the_sidebar_of_a_page_and_the_search(tmp_path):
    links = ''.join(f'<a class="sidebar-link" href="{h}">.</a>' for h in ('../i.html', 'x.html'))
    config = bar('i.ipynb', dict(contents=[X]))
    html(tmp_path/'a'/'x.html', links)
    assert site_check.sidebar(built(tmp_path), tmp_path, config) == []
    html(tmp_path/'a'/'x.html', links.replace('x.html', 'y.html'))
    assert len(site_check.sidebar(built(tmp_path), tmp_path, config)) == 1
    written(tmp_path/'search.json', json.dumps([dict(href='i.html#a')]))
    assert site_check.searchable(built(tmp_path), tmp_path) == [
        'a/x.html: the search does not know it']

def menu(scenes: int, prompts=('p', 'q')) -> list:
    return [dict(source=f's{n}', prompts=prompts, painters=try_it.PAINTERS, caption='A scene',
                 picture='data:,') for n in range(scenes)]

def test_a_page_that_offers_too_little(tmp_path):
    assert 'expected 12 with' in site_check.try_it(tmp_path)[0]
    written(tmp_path/'try'/'menu.json', json.dumps(menu(12)))
    lost = site_check.try_it(tmp_path)
    assert len(lost) == 48
    for fault in lost: written(tmp_path/'try'/fault.split()[1], '{}')
    assert site_check.try_it(tmp_path) == []
    written(tmp_path/'try'/'03-1-pocket.json', ' ' * 600_001)
    assert 'weighs 600001 bytes' in site_check.try_it(tmp_path)[0]
    written(tmp_path/'try'/'menu.json', json.dumps(menu(12, prompts=['p'])))
    assert 'expected 12 with' in site_check.try_it(tmp_path)[0]

def test_models_that_are_missing_or_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(site_check, 'npm_answers', lambda: True)
    assert 'run python tools/web_models.py' in site_check.own_words(tmp_path)[0]
    monkeypatch.setattr(site_check, 'npm_answers', lambda: False)
    assert site_check.own_words(tmp_path) == []
    folder = tmp_path/'try'/'models'
    written(folder/'models.json', json.dumps(dict(files={'a.gz': 3, 'b.gz': 2}, engines=dict(wasm={'c.mjs': 3}, webgpu={'d.mjs': 3}))))
    for name in ('a.gz', 'b.gz', 'c.mjs'): written(folder/name, '123')
    assert [f.split()[1] for f in site_check.own_words(tmp_path)] == ['b.gz', 'd.mjs']

# ---- solutions

EXERCISE = (f'def twice(x):\n    {BEGIN}\n    return x + x * len("twice the same")\n    {END}\n\n'
            'check_twice(twice)')

def exercise(*outputs, tag='exercise') -> dict:
    return code(EXERCISE, *outputs) | dict(metadata=dict(tags=[tag]))

def test_a_solution_that_is_told(tmp_path):
    nbs, docs = tmp_path/'nbs', tmp_path/'docs'
    written(nbs/'course'/'00_a.ipynb', json.dumps(dict(cells=[text(TITLE), exercise()])))
    html(docs/'a.html', '<pre>def twice(x):\n    raise NotImplementedError</pre>')
    assert site_check.told_solutions(docs, nbs) == []
    line = '<b>return</b> x + <span>x * len(</span>&quot;twice the same&quot;)'
    page = html(docs/'a.html', f'<pre>{line}</pre>')
    assert site_check.told_solutions(docs, nbs) == [
        'a.html: 1 lines of solutions, first from 00_a']
    page.unlink()
    for name in ('search.json', 'course/00_a.ipynb'):
        written(docs/name, json.dumps([dict(source=EXERCISE.splitlines(keepends=True))]))
    written(docs/'llms.txt', EXERCISE)
    assert [f.split(':')[0] for f in site_check.told_solutions(docs, nbs)] == [
        'course/00_a.ipynb', 'llms.txt', 'search.json']

def test_a_solution_that_could_not_be_recognised(tmp_path):
    "All its lines stand elsewhere too, so that nobody could say whether it is told."
    cells = [text(TITLE), exercise(), code('return x + x * len("twice the same")')]
    written(tmp_path/'course'/'00_a.ipynb', json.dumps(dict(cells=cells)))
    found, (fault,) = site_check.telling_lines(tmp_path)
    assert found == {} and 'without a line of its own' in fault

def test_a_lesson_as_its_student_meets_it():
    printed = dict(output_type='stream', name='stdout', text='4 < 5\n')
    guessed = code('#| fig-alt: "a \\"b\\""\nplot()', output(image_png=PNG), printed,
                   output(text_markdown='| a |\n|---|\n| 1 |'))
    guessed['metadata'] = dict(tags=['predict'])
    plain = code('plot()', printed)
    solved, shown, other = through(pages.Students, exercise(printed), guessed, plain)
    assert site_check.solved(solved) == '' and 'raise NotImplementedError' in solved.source
    assert '<summary>What a solution prints</summary>\n<pre><code>4 &lt; 5' in answer(solved)
    assert f'src="data:image/png;base64,{PNG}"' in answer(shown) and '<td>1</td>' in answer(shown)
    assert '<summary>The output</summary>' in answer(shown) and 'alt=""' not in answer(shown)
    assert other.outputs == [printed] and shown.source == guessed['source']

def answer(cell) -> str:
    found, = cell.outputs
    assert found['data']['text/html'].startswith('<details class="answer">')
    return found['data']['text/html']

def test_an_output_that_quotes_a_solution_is_left_out():
    quoting = dict(output_type='stream', name='stdout', text='found: twice the same\n')
    cell, = through(pages.Students, exercise(quoting))
    assert cell.outputs == []

def test_the_copies_that_launch_links_open(tmp_path):
    import nbformat
    for path in sorted((ROOT/'nbs'/'course').glob('[0-9]*.ipynb')):
        copy = launch.published(path)
        nbformat.validate(copy)
        assert [c.source == launch.INSTALL for c in copy.cells][:3] == [False, True, False]
        assert sum(c.source == launch.INSTALL for c in copy.cells) == 1
        assert not [c for c in copy.cells if site_check.solved(c)]
        links = re.findall(r'\]\((?!https://|#)([^)]*)\)', launch_text(copy))
        assert not [link for link in links if '.ipynb' in link], f'{path.name}: {links}'

def test_the_links_lead_where_copies_are_made():
    "Colab and Kaggle read what the site's workflow publishes, Binder what postBuild copied."
    import yaml
    jobs = yaml.safe_load(site_check.read(ROOT/'.github'/'workflows'/'site.yml'))['jobs']
    publish = jobs['publish']['steps'][-1]
    assert publish['uses'].startswith('peaceiris/actions-gh-pages@')      # to gh-pages by itself
    assert publish['with']['publish_dir'] == '_proc/_docs'
    assert '/blob/gh-pages/course/' in launch.WHERE['Colab'] and launch.WHERE['Kaggle'].endswith(
        launch.WHERE['Colab'].partition('github/')[2])
    assert 'regionedit lab course --student' in site_check.read(ROOT/'binder'/'postBuild')
    assert launch.WHERE['Binder'].endswith('/main?labpath=course/')
    assert '\n.\n' in site_check.read(ROOT/'binder'/'requirements.txt')

@pytest.mark.parametrize('page', sorted((ROOT/'nbs'/'course').glob('[0-9]*.ipynb')),
                         ids=lambda p: p.stem)
def test_a_lesson_imports_only_what_is_installed_with_the_package(page):
    from packaging.requirements import Requirement
    settings = configparser.ConfigParser(delimiters=['='])
    settings.read(ROOT/'settings.ini', encoding='utf8')
    wanted = {Requirement(r).name for r in settings['DEFAULT']['requirements'].split()}
    with_them = {'PIL', 'IPython', 'matplotlib_inline'}      # of pillow and ipywidgets
    there = wanted | with_them | {'regionedit', *sys.stdlib_module_names}
    cells = json.loads(site_check.read(page))['cells']
    trees = [ast.parse(''.join(c['source'])) for c in cells if c['cell_type'] == 'code']
    nodes = [n for t in trees for n in ast.walk(t)]
    found = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    assert {m.split('.')[0] for m in found} <= there

def launch_text(notebook) -> str:
    return '\n'.join(c.source for c in notebook.cells if c.cell_type == 'markdown')

def test_the_cell_that_installs_does_nothing_here():
    from IPython.core.interactiveshell import InteractiveShell
    shell, asked = InteractiveShell(), []
    shell.register_magic_function(asked.append, magic_name='pip')
    assert shell.run_cell(launch.INSTALL).success and asked == []
    missing = launch.INSTALL.replace("'regionedit'", "'no_such_package'")
    assert shell.run_cell(missing).success
    assert asked == [f'install -q "regionedit @ git+{launch.REPO}"']

# ---- slides

def lesson_with(*cells):
    import nbformat
    return nbformat.from_dict(dict(nbformat=4, nbformat_minor=5, metadata={}, cells=[
        dict(id=f'c{i}', **c) for i, c in enumerate(cells)]))

def kinds(notebook) -> list:
    return [(c.metadata.slideshow.slide_type, c.source.split('\n')[0]) for c in notebook.cells]

def test_a_deck_by_rule():
    said = 'Long words.\n\n- a point\n\n**Predict:** what?\n\n<details>a hint</details>'
    seen = dict(output_type='stream', name='stdout', text='1\n')
    check = code('#| code-fold: true\ndef check_twice(f): pass')
    page = dict(output_type='display_data', metadata={}, data={'text/html': '<script></script>'})
    longer = code('\n'.join(f'x{i} = {i}' for i in range(slides.LONGEST + 1)), seen)
    deck = slides.deck(lesson_with(
        text(TITLE), text(f'*Run time and memory: 1 s.*\n\n{launch.links("00_a.ipynb")}\n\nWhy.'),
        code('x = 1', seen), text(f'## Part\n\n{said}'), longer, code('show()', page),
        text('## Exercises\n\n### Core: one\n\nWrite it.'), check, exercise(seen)))
    assert kinds(deck) == [
        ('slide', '# A'), ('subslide', 'Why.'), ('subslide', 'x = 1'), ('slide', '## Part'),
        ('notes', 'Long words.'), ('subslide', 'x0 = 0'), ('subslide', 'show()'),
        ('slide', '## Exercises'), ('subslide', '### Core: one')]
    assert 'a point' in deck.cells[3].source and '**Predict:**' in deck.cells[3].source
    assert 'hint' not in str(deck) and 'Write it.' in deck.cells[-1].source
    assert deck.cells[5].transient.remove_source and 'transient' not in deck.cells[2]
    assert deck.cells[6].outputs == [], 'a slide needs no kernel and no script'

@pytest.mark.parametrize('page', sorted((ROOT/'nbs'/'course').glob('[0-9]*.ipynb')),
                         ids=lambda p: p.stem)
def test_a_deck_asks_what_its_lesson_asks_and_solves_nothing(page):
    import nbformat
    from regionedit.course.lab import is_exercise, is_predicted
    lesson = nbformat.read(page, as_version=4)
    asked = sum(map(is_predicted, lesson.cells)), sum(map(is_exercise, lesson.cells))
    deck = slides.deck(lesson)
    shown = '\n'.join(c.source for c in deck.cells if c.metadata.slideshow.slide_type != 'notes')
    assert len(re.findall(r'\b(?:Predict|Guess)\b', shown)) >= asked[0]
    assert '### BEGIN SOLUTION' not in str(deck) and '## Goals' in shown
    assert len(re.findall(r'^### (?:Warm-up|Core|Stretch)', shown, re.M)) >= 3

# ---- in a browser

needs_chromium = pytest.mark.skipif(
    not (shutil.which('chromium') and importlib.util.find_spec('playwright')),
    reason='needs Chromium and playwright')

@pytest.mark.slow
@needs_chromium
def test_code_that_is_cut_wide_pages_requests_and_a_dumb_search(tmp_path):
    long = 'x = ' + 'a_name + ' * 40
    html(tmp_path/'good.html', f'<pre style="white-space: pre-wrap"><code>{long}</code></pre>')
    html(tmp_path/'cut.html', f'<pre style="overflow-x: auto"><code>{long}</code></pre>')
    html(tmp_path/'wide.html', '<div style="width: 1300px">x</div>')
    html(tmp_path/'asks.html', '<img alt="a" src="https://elsewhere.invalid/a.png">'
                               '<script>no_such()</script>')
    html(tmp_path/'index.html', '<input type="search">')
    look = lambda tab, name: site_check.fits(tab, name, widths=(1200,))
    search = lambda tab, name: site_check.finds(tab, name, wait=300)
    names = ['good.html', 'cut.html', 'wide.html', 'asks.html']
    found = site_check.browse(tmp_path, (look, names), (search, ['index.html']))
    expected = [('cut', '1 blocks of code are cut'), ('wide', 'px wider than a window of 1200 px'),
                ('asks', 'script error'), ('asks', 'asks https://elsewhere.invalid'),
                ('index', 'the search finds nothing')]
    assert len(found) == len(expected)
    for name, fault in expected:
        assert any(f.startswith(f'{name}.html: ') and fault in f for f in found)

@pytest.mark.slow
@needs_chromium
def test_slides_in_a_browser(tmp_path):
    "More than ten slides, nothing cut, nothing asked of another host; and each fault is found."
    page = ROOT/'nbs'/'course'/'01_attention_and_anchors.ipynb'
    name, = slides.write(tmp_path, [page])
    assert site_check.browse(tmp_path, (slides.look, [name])) == []
    whole = site_check.read(tmp_path/name)
    written(tmp_path/'cut.html', whole.replace('pre-wrap', 'pre').replace(
        'import matplotlib', 'import matplotlib' + ' as m' * 60, 1))
    written(tmp_path/'asks.html', whole.replace('</head>', '<script src="https://x.org/a.js">'
                                                           '</script></head>'))
    few = re.sub(r'(?s)(<div class="slides">\s*<section.*?</section>\s*</section>).*'
                 r'(</div>\s*</div>\s*</main>)', r'\1\2', whole)
    written(tmp_path/'few.html', few)
    found = site_check.browse(tmp_path, (slides.look, ['cut.html', 'asks.html', 'few.html']))
    assert any(f.startswith('cut.html: slide ') and 'is cut' in f for f in found)
    assert 'asks.html: asks https://x.org/a.js' in found
    assert any(re.fullmatch(r'few.html: \d slides, expected more than 10', f) for f in found)

@pytest.mark.slow
@needs_chromium
def test_the_page_that_fetches_its_edits(tmp_path):
    "An edit, another painter; what is said where an edit or all are missing; the keys."
    from regionedit.explorer.bundle import make_bundle
    from regionedit.explorer.bundle import asset
    from stubs import stub_result
    made = shutil.ignore_patterns('*.json', 'explorer.*')
    shutil.copytree(ROOT/'nbs'/'try', tmp_path/'try', ignore=made)
    for name in ('explorer.js', 'explorer.css'): written(tmp_path/'try'/name, asset(name))
    html(tmp_path/'try_it.html', '<div id="try-it"></div>'
                                 '<script type="module" src="try/try.js"></script>')
    def says(tab, words):
        tab.wait_for_function('w => document.querySelector("#try-it").innerText.includes(w)',
                              arg=words)
    def nothing(tab, name): return says(tab, 'python tools/try_it.py') or []
    def walks(tab, name):
        faults = site_check.plays(tab, name)
        tab.locator('.try-prompt label').nth(1).click()
        says(tab, 'could not be fetched (00-1-pocket-maskgit.json: 404)')
        tab.locator('.try-scene input').nth(0).press('ArrowRight')
        tab.wait_for_function('location.hash === "#1-0-1" '
                              '&& document.activeElement.type === "radio"')
        return faults
    assert site_check.browse(tmp_path, (nothing, ['try_it.html'])) == []
    assert 'no edit is shown' in site_check.browse(
        tmp_path, (lambda *a: site_check.plays(*a, wait=300), ['try_it.html']))[0]
    written(tmp_path/'try'/'menu.json', json.dumps(menu(2)))
    for painter in try_it.PAINTERS:
        written(tmp_path/'try'/f'00-0-{painter}.json', json.dumps(make_bundle(stub_result())))
    assert site_check.browse(tmp_path, (walks, ['try_it.html'])) == []

# ---- what the builder adds

def through(step, *cells) -> list:
    "The cells after a step."
    from execnb.nbio import dict2nb
    nb = dict2nb(dict(cells=list(cells)))
    nb.path_ = 'nbs/api/method/07_table.ipynb'
    step = step(nb)
    if hasattr(step, 'begin'): step.begin()
    for c in nb.cells: step.cell(c)
    return nb.cells

def test_public_names():
    assert pages.public_names(MODULE) == ['A.run', 'B', 'B.m', 'B.__call__']

def test_the_names_that_are_counted_are_those_of_the_modules():
    nbs, package = ROOT/'nbs', ROOT/'regionedit'
    modules = [p for p in package.rglob('*.py') if p.name not in ('__init__.py', '_modidx.py')]
    defined = {n for p in modules for n in pages.public_names(site_check.read(p))}
    counted = {n for p in nbs.rglob('*.ipynb') for n in site_check.Source(p, nbs).names()}
    assert counted == defined
    assert {'RegionEditor.from_pretrained', 'RegionEditor.__call__', 'EditResult'} <= counted

def assigned_later(source: str) -> list:
    "Names that join a class from outside it, `A.m = _m`: the reference would not show them."
    body = ast.parse(source).body
    classes = {n.name for n in body if isinstance(n, ast.ClassDef)}
    classes |= {a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names}
    return [ast.unparse(t) for n in body if isinstance(n, ast.Assign) for t in n.targets
            if isinstance(t, ast.Attribute) and ast.unparse(t.value) in classes]

def test_methods_join_their_class_by_patch():
    assert assigned_later('class A: pass\nA.m = lambda self: 1\nx = 1') == ['A.m']
    later = {'pocket/clip.py'}      # rewritten on another branch: empty this at merge
    package = ROOT/'regionedit'
    found = {p.relative_to(package).as_posix() for p in package.rglob('*.py')
             if assigned_later(site_check.read(p))}
    assert found <= later

def test_methods_stand_after_their_class():
    from nbdev.process import NBProcessor
    from execnb.nbio import dict2nb
    module = MODULE + '\nclass C:\n    @cached_property\n    def p(self): pass'
    nb = dict2nb(dict(cells=[code(module)], nbformat=4, metadata={}))
    NBProcessor(nb=nb, procs=[pages.add_show_docs, pages.Methods]).process()
    assert [c.source for c in nb.cells[1:]] == [
        "show_doc(A.run, name='A.run', title_level=3)", 'show_doc(B)',
        "show_doc(B.m, name='B.m', title_level=4)",
        r"show_doc(B.__call__, name='B.\\_\\_call\\_\\_', title_level=4)", 'show_doc(C)',
        "show_doc(C.p.func, name='C.p', title_level=4)"]

def test_words_for_a_picture():
    png = output(image_png='x', text_plain='<Figure>')
    edit = output(image_png='x', text_plain="EditResult(prompt='a \"hat\"', source='a cat', ")
    drawn = output(image_svg='x', image_png='x', text_plain='Diagram: The pipeline. Box: ' + 'a' * 300)
    cells = through(pages.Pictures, text('## Heads\n\nFirst. Where [one](a.ipynb) `head` looks:'),
                    code('plot()', png), code('#| fig-alt: "own"\nplot()', png),
                    code('result', edit), code('pipeline()', drawn), code('print()'), text('## Next'),
                    code('plot()', png))
    assert [c.source.splitlines()[0] for c in cells if c.cell_type == 'code'] == [
        '#| fig-alt: "Heads: Where one head looks"', '#| fig-alt: "own"',
        '#| fig-alt: "Edit of a cat into a \\"hat\\": picture, boxes that were left, edit"',
        f'#| fig-alt: "The pipeline. Box: {"a" * 300}"', 'print()', '#| fig-alt: "Next"']

@pytest.mark.parametrize('said, last', [
    ('A.\n\nB. *C*?', 'C?'), ('A.\n\n## B', ''), ('', ''),
    ('A\n\n[Open in Colab](https://colab.research.x)', '')])
def test_last_sentence(said, last): assert pages.last_sentence(said) == last

def test_classes_are_no_functions_and_words_are_set_alike():
    said = output(text_markdown='### Task\n\n```python\ndef Task(\n    a\n):\n```\n\n'
                                '*One line*\nand another.')
    c, = through(pages.Signatures, code('#| echo: false\nshow_doc(Task)', said))
    assert c.outputs[0]['data']['text/markdown'] == (
        '### Task\n\n```python\nclass Task(\n    a\n):\n```\n\n*One line\nand another.*')

def test_plain_words_are_linked_in_their_own_room_only():
    def link(room, name): return f'[`{name}`](https://h.io/r/api/{room}/run.html#{name})'
    words = [link('batch', 'known'), link('batch', 'run_batch'), link('method', 'known'),
             link('method', '_')]
    c, = through(pages.Links, text(' '.join(words)))
    assert c.source == f'`known` {words[1]} {words[2]} `_`'

def test_pages_get_the_names_that_links_expect(tmp_path, monkeypatch):
    site = tool('site')
    docs = tmp_path/'_docs'
    monkeypatch.setattr(site, 'TOOLS', tmp_path)
    written(tmp_path/'katex'/'katex.min.js', '')
    html(docs/'api'/'00_a.html', '<a href="00_a.html#x">1</a>'
         f'<a href="https://h.io/r/api/b.html">2</a><script src="{site.KATEX}/katex.min.js">'
         '</script><div class="sd-table"><table></table></div>')
    html(docs/'api'/'01_b.html', '')
    written(docs/'search.json', '[{"href": "api/00_a.html#x"}]')
    written(docs/'sitemap.xml', '<loc>https://h.io/r/api/00_a.html</loc>')
    written(docs/'s.css', '@import url(https://fonts.googleapis.com/css2?a=b;c);a{}')
    site.at_home(docs, {'api/00_a.html': 'api/a.html', 'api/01_b.html': 'api/b.html'},
                 'https://h.io/r/')
    page = site_check.read(docs/'api'/'a.html')
    for part in ('href="a.html#x"', 'href="../api/b.html"', '"../site_libs/katex/katex.min.js"',
                 'tabindex="0"'):       # a table that scrolls is reached by keys too
        assert part in page
    assert site_check.read(docs/'search.json') == '[{"href": "api/a.html#x"}]'
    assert site_check.read(docs/'sitemap.xml') == '<loc>https://h.io/r/api/a.html</loc>'
    assert site_check.read(docs/'s.css') == 'a{}'

# ---- front page and "Try it"

@pytest.mark.slow
def test_the_readme_is_the_front_page():
    front = json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf8'))
    assert site_check.read(ROOT/'README.md') == readme.readme(front), 'run python tools/readme.py'

def test_readme_by_hand():
    cells = [text('# T\n\n> d'), code('x\n# README: ![a](b.png)\ny'),
             text('[a](c/d.ipynb#e) [f](https://g.h/i.ipynb)'), code('z')]
    assert readme.readme(dict(cells=cells)) == (
        '# T\n\n![a](b.png)\n\n[a](nbs/c/d.ipynb#e) [f](https://g.h/i.ipynb)\n')

def test_twelve_scenes_with_two_prompts_each():
    scenes = [try_it.scene(n) for n in range(try_it.SCENES)]
    assert len(scenes) >= 12 and len(try_it.PAINTERS) == 2
    for n, (drawn, source, prompts) in enumerate(scenes):
        assert len(drawn.objects) == 1 + n % 2 and len({source, *prompts}) == 3
    assert len({drawn.caption for drawn, _, _ in scenes}) == len(scenes)

def test_what_is_there_is_kept(tmp_path, monkeypatch):
    import regionedit
    from stubs import stub_result
    asked = []
    class Editor:
        @classmethod
        def from_pretrained(cls, name): return cls()
        def __call__(self, image, **more): asked.append(more['prompt']); return stub_result()
    monkeypatch.setattr(regionedit, 'RegionEditor', Editor)
    monkeypatch.setattr(try_it, 'bundle_of', lambda result, *_: dict(prompt=result.prompt))
    try_it.load.cache_clear()
    for _ in range(2): try_it.make_all(tmp_path, 1, workers=1)
    assert len(asked) == 4 and len([*tmp_path.glob('0*.json')]) == 4
    offered, = json.loads(site_check.read(tmp_path/'menu.json'))
    assert offered['painters'] == [*try_it.PAINTERS] and len(offered['prompts']) == 2
    assert 'export function mount' in site_check.read(tmp_path/'explorer.js')
    monkeypatch.setattr(try_it, 'weights', lambda: 'others')
    try_it.make_all(tmp_path, 1, workers=1)
    try_it.load.cache_clear()
    assert len(asked) == 8, 'other weights, other edits'

def test_the_sidebar_keeps_a_rooms_pages_below_its_own_heading():
    "Pages of the benchmark stood below the study's."
    import yaml
    config = yaml.safe_load(site_check.read(ROOT/'_quarto.yml'))
    names = [p.relative_to(ROOT/'nbs').as_posix() for p in (ROOT/'nbs').rglob('*.ipynb')
             if '.ipynb_checkpoints' not in p.parts]
    assert site_check.reading_order(config, names) == []
    sections = [part['contents'] for part in config['website']['sidebar']['contents']
                if isinstance(part, dict)]
    folders = [{name.rpartition('/')[0] for name in part} for part in sections]
    assert all(len(of) == 1 for of in folders)
    assert len({*map(tuple, folders)}) == len(folders), 'one heading a folder'
