"""What must hold on the built site: each page of the sources is there whole, every link leads
somewhere, nothing is asked of another host, every public name has its signature, every picture has
words, the sidebar stands in reading order, no code is cut, and no solution of an exercise is told.

Each check takes built pages and their notebooks and returns sentences; none means that all is well.
`walk` looks with Chromium.
"""
import html, json, re, shutil, subprocess, threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

from nbdev.doclinks import _nbpath2html

from pages import public_names

FETCHED = dict(script='src', img='src', iframe='src', embed='src', source='src', video='src',
               audio='src', object='data')
ELSEWHERE = re.compile(r'(https?:)?//', re.I)

def letters(text: str) -> str: return re.sub(r'[^0-9A-Za-z]+', '', text)

def read(path: Path) -> str: return path.read_text(encoding='utf8')

class Built(HTMLParser):
    "A built page as its reader and its browser meet it."
    def __init__(self, path: Path, docs: Path):
        super().__init__()
        self.path, self.name, self.html = path, path.relative_to(docs).as_posix(), read(path)
        self.ids, self.links, self.fetched, self.mute, self.nav = set(), [], [], [], []
        self.parts = []         # [tag, text] of headings and code
        self.words, self.description, self.inside, self.raw = [], '', [], ''
        self.feed(self.html)
        self.text = letters(' '.join(self.words))

    def handle_starttag(self, tag, attrs):
        a = {k: v or '' for k, v in attrs}
        self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        if tag == 'a' and 'href' in a:
            self.links.append(a['href'])
            if 'sidebar-link' in a.get('class', ''): self.nav.append(a['href'])
        if a.get(FETCHED.get(tag)): self.fetched.append(a[FETCHED[tag]])
        if tag == 'link' and re.search(r'stylesheet|icon|preload', a.get('rel', '')):
            self.fetched.append(a['href'])
        if tag == 'img' and not a.get('alt', '').strip(): self.mute.append(a.get('src', '')[:40])
        if tag == 'meta' and a.get('name') == 'description': self.description = a['content']
        if tag in ('main', 'script', 'style'): self.inside.append(tag)
        if re.fullmatch('h[1-6]|pre', tag): self.parts.append([tag, ''])

    def handle_endtag(self, tag):
        if tag in self.inside: self.inside.remove(tag)

    def handle_data(self, data):
        if {'script', 'style'} & {*self.inside}: self.raw += data; return
        if 'main' in self.inside: self.words.append(data)
        if self.parts: self.parts[-1][1] += data

def page_of(notebook: str) -> str:
    "The page that nbdev makes of a notebook: api/method/00_core.ipynb -> api/method/core.html."
    return _nbpath2html(Path(notebook)).as_posix()

class Source:
    "A notebook as far as its page must show it."
    def __init__(self, path: Path, nbs: Path):
        self.name = path.relative_to(nbs).as_posix()
        self.page, cells = page_of(self.name), json.loads(read(path))['cells']
        self.texts = [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown']
        self.code = [c | dict(source=''.join(c['source'])) for c in cells
                     if c['cell_type'] == 'code']

    def marked(self, *marks) -> list:
        "Code cells with one of these directives."
        found = re.compile(rf'^#\| *({"|".join(marks)})\b', re.M)
        return [c for c in self.code if found.search(c['source'])]

    def shown(self) -> list:
        "Code cells whose outputs a reader sees; those of an exercise may tell its solution."
        from regionedit.course.lab import is_exercise
        hidden = self.marked('hide', 'exporti?', 'default_exp', 'include: false', 'output: false')
        hidden += [c for c in self.code if is_exercise(c)]
        return [c for c in self.code if c not in hidden]

    def paragraphs(self) -> list:
        "Texts of the page's words, without title and description."
        first, *others = self.texts
        if first.startswith('# '): first = re.sub(r'\A# .*\n*(> .*)?', '', first)
        return [p for t in (first, *others) for p in re.split(r'\n\s*\n', t) if as_read(p)]

    def names(self) -> list:
        "Public names that its module defines."
        return list(dict.fromkeys(n for c in self.marked('exports?')
                                  for n in public_names(c['source'])))

def as_read(markdown: str) -> str:
    "The letters of a paragraph that stand on the page."
    text = re.sub(r'(?s)<!--.*?-->', '', markdown)
    parts = re.split(r'(`+[^`]*`+)', re.sub(r'^\s*(```|:::|~~~).*$', '', text, flags=re.M))
    for i in range(0, len(parts), 2):       # what is not code
        parts[i] = re.sub(r'</?[a-zA-Z][^>]*>|\{[.#][^}]*\}', ' ', parts[i])
    text = re.sub(r'^\s*\d+\. ', '', ''.join(parts), flags=re.M)
    text = re.sub(r'!\[(?:[^\]]|\][^(])*\]\([^)]*\)', '', text)
    return letters(html.unescape(re.sub(r'\]\([^)\s]*(?:\s+"[^"]*")?\)', ']', text)))

# ---- each page against its notebook

def missing_words(page: Built, source: Source) -> list:
    lost = [' '.join(p.split())[:90] for p in source.paragraphs() if as_read(p) not in page.text]
    return [f'{page.name}: {len(lost)} paragraphs are missing, first: {lost[0]!r}'] if lost else []

LAUNCH = re.compile(r'\]\((https://(?:colab\.research\.google|kaggle|mybinder)\.\w+/[^)]*)\)')

def missing_launch(page: Built, source: Source) -> list:
    "Launch links are on the page, three on a lesson's, and lead to a copy that is there."
    asked = LAUNCH.findall('\n'.join(source.texts))
    faults = [f'{page.name}: the launch link is missing: {link}' for link in asked
              if link not in page.links]
    if not re.match(r'course/\d', source.name): return faults
    if len(asked) != 3: faults.append(f'{page.name}: {len(asked)} launch links, expected 3')
    if not page.path.with_name(Path(source.name).name).exists():
        faults.append(f'{page.name}: no copy beside it for the launch links')
    return faults

def missing_outputs(page: Built, source: Source) -> list:
    lost = [c['source'][-60:] for c in source.shown() for o in c['outputs'] if not shows(page, o)]
    return [f'{page.name}: {len(lost)} outputs are missing, first of {lost[0]!r}'] if lost else []

def shows(page: Built, output: dict) -> bool:
    "Is what a renderer takes of an output on the page?"
    data = {m: ''.join(v) for m, v in output.get('data', {}).items() if not isinstance(v, dict)}
    if marked := data.get('text/html') or data.get('image/svg+xml'):
        text = re.sub(r'(?s)<(script|style).*?</\1>|<[^>]+>', ' ', marked)
        return letters(html.unescape(text)) in page.text
    pictures = [v.strip() for m, v in data.items() if re.fullmatch('image/(png|jpeg|gif)', m)]
    if pictures: return any(p[:400] in page.html for p in pictures)
    if 'text/markdown' in data:
        return all(as_read(p) in page.text for p in re.split(r'\n\s*\n', data['text/markdown']))
    text = ''.join(output.get('text', '')) or data.get('text/plain', '')
    return letters(re.sub(r'\x1b\[[0-9;]*m', '', text)) in page.text

def missing_signatures(page: Built, source: Source) -> list:
    "Names without a heading that a line `def name(` or `class Name(` follows."
    shown = {(letters(said), re.sub(r'^\s*(async )?', '', code).partition('(')[0])
             for (tag, said), (_, code) in zip(page.parts, page.parts[1:]) if tag != 'pre'}
    return [f'{page.name}: no signature of {name}' for name in source.names()
            if not {(letters(name), f'{kind} {name.split(".")[-1]}')
                    for kind in ('def', 'class')} & shown]

def mute(page: Built) -> list:
    found = [] if page.description.strip() else [f'{page.name}: no description']
    if not page.mute: return found
    return [f'{page.name}: {len(page.mute)} pictures without words, first {page.mute[0]}', *found]

# ---- the site as a whole

def dead_links(pages: list) -> list:
    "Links and files that lead nowhere inside the site."
    ids, faults = {p.path.resolve(): p.ids for p in pages}, []
    for page in pages:
        for link in dict.fromkeys(page.links + page.fetched):
            if re.match(r'[a-z][a-z0-9+.-]*:|//', link, re.I): continue
            path, anchor = urldefrag(link)
            file = page.path.parent/unquote(path.split('?')[0]) if path else page.path
            file = (file/'index.html' if file.is_dir() else file).resolve()
            if not file.exists(): faults.append(f'{page.name}: {link} leads nowhere')
            elif anchor and file in ids and unquote(anchor) not in ids[file]:
                faults.append(f'{page.name}: {link} leads to no place on that page')
    return faults

ASKED = re.compile(r'''(?:@import\s*(?:url\()?|url\(|\bimport\s*\(?|\bfrom|\bfetch\()'''
                   r'''\s*["']?((?:https?:)?//[^"')\s]+)''')

def other_hosts(pages: list, docs: Path) -> list:
    "What a browser would fetch from elsewhere, by pages, styles and modules."
    found = [(p.name, f) for p in pages for f in p.fetched if ELSEWHERE.match(f)]
    texts = [(p.name, p.raw) for p in pages]
    texts += [(f.relative_to(docs).as_posix(), read(f)) for f in docs.rglob('*.css')]
    found += [(name, m) for name, text in texts for m in ASKED.findall(text)]
    return [f'{name}: fetched from another host: {what[:100]}'
            for name, what in dict.fromkeys(found)]

def listed(config: dict) -> list:
    "Notebooks in the order of the sidebar."
    def walk(contents):
        for c in contents:
            if isinstance(c, dict): yield from walk(c['contents'])
            else: yield c
    return [*walk(config['website']['sidebar']['contents'])]

def reading_order(config: dict, names: list) -> list:
    """Each page stands in the sidebar once, those of a folder together and in the order of their
    numbers."""
    order, bar = listed(config), '_quarto.yml'
    faults = [f'{bar}: {n} stands in the sidebar {order.count(n)} times, not once'
              for n in names if order.count(n) != 1]
    faults += [f'{bar}: no page {n}' for n in order if n not in names]
    for folder in dict.fromkeys(n.rpartition('/')[0] for n in order):
        at = [i for i, n in enumerate(order) if n.rpartition('/')[0] == folder]
        numbered = [order[i] for i in at if re.search(r'(^|/)\d[^/]*$', order[i])]
        if numbered != sorted(numbered):
            faults.append(f'{bar}: the pages of {folder} are not in the order of their numbers')
        if folder and at != [*range(at[0], at[0] + len(at))]:
            faults.append(f'{bar}: the pages of {folder} do not stand together')
    return faults

def sidebar(pages: list, docs: Path, config: dict) -> list:
    "The sidebar of every page is the one of the configuration."
    wanted = [(docs/page_of(n)).resolve() for n in listed(config)]
    return [f'{p.name}: the sidebar is not that of _quarto.yml' for p in pages
            if [(p.path.parent/link).resolve() for link in p.nav] != wanted]

def searchable(pages: list, docs: Path) -> list:
    found = {urldefrag(e['href'])[0] for e in json.loads(read(docs/'search.json'))}
    return [f'{p.name}: the search does not know it' for p in pages if p.name not in found]

def try_it(docs: Path, enough: int = 12) -> list:
    'The page "Try it" offers enough scenes; what it offers is there and not too heavy.'
    from regionedit.explorer.bundle import MOST
    menu = docs/'try'/'menu.json'
    scenes = json.loads(read(menu)) if menu.exists() else []
    if len(scenes) < enough or any(len(s[k]) < 2 for s in scenes for k in ('prompts', 'painters')):
        return [f'try_it.html: {len(scenes)} scenes, expected {enough} with 2 prompts and '
                '2 painters; run python tools/try_it.py']
    names = [f'{n:02}-{p}-{painter}.json' for n, s in enumerate(scenes)
             for p in range(len(s['prompts'])) for painter in s['painters']]
    files = {n: docs/'try'/n for n in names}
    lost = [f'try_it.html: {n} is missing; run python tools/try_it.py' for n, file in files.items()
            if not file.exists()]
    return lost + [f'try_it.html: {n} weighs {file.stat().st_size} bytes, expected at most {MOST}; '
                   'see FINE and GLANCE of regionedit.explorer.bundle' for n, file in files.items()
                   if file.exists() and file.stat().st_size > MOST]

def npm_answers() -> bool:
    "Is there npm, and does its registry answer? What edits in the browser comes from there."
    command = ['npm', 'view', 'onnxruntime-web', 'version']
    return bool(shutil.which('npm')) and not subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300).returncode

def own_words(docs: Path) -> list:
    'The models of "Your own words" and both engines are there; without npm nobody makes them.'
    listed = docs/'try'/'models'/'models.json'
    if not listed.exists():
        return (['try_it.html: no models for "Your own words"; run python tools/web_models.py']
                if npm_answers() else [])
    menu = json.loads(read(listed))
    return [f'try_it.html: {n} is missing or cut; run python tools/web_models.py'
            for part in (menu['files'], *menu['engines'].values()) for n, size in part.items()
            if not (listed.with_name(n)).exists() or listed.with_name(n).stat().st_size != size]

# ---- solutions

TEXTS = {'.html', '.json', '.txt', '.md', '.xml', '.js', '.ipynb', '.css', '.csv'}
SHORTEST = 10       # letters of a line that can be told from others

def solved(cell: dict) -> str:
    "The letters of an exercise's solution, line by line; '' of any other cell."
    from regionedit.course.lab import BEGIN, END, is_exercise
    cell = dict(cell, metadata=cell.get('metadata', {}), source=''.join(cell['source']))
    if not is_exercise(cell): return ''
    return cell['source'].partition(BEGIN)[2].partition(END)[0]

def telling_lines(nbs: Path) -> tuple:      # {letters of a line: page}, faults
    "Lines of solutions that stand nowhere else in the notebooks."
    from regionedit.course.lab import student_source
    lessons = [(p, c) for p in sorted(nbs.rglob('*.ipynb')) for c in json.loads(read(p))['cells']]
    rest = ' '.join(letters(student_source(''.join(c['source'])) if solved(c)
                            else ''.join(c['source'])) for _, c in lessons)
    found, faults = {}, []
    for path, cell in lessons:
        own = {letters(line): path.stem for line in solved(cell).split('\n')}
        own = {k: v for k, v in own.items() if len(k) >= SHORTEST and k not in rest}
        if solved(cell) and not own:
            faults.append(f'{path.name}: a solution without a line of its own: '
                          f'{" ".join(solved(cell).split())[:60]}')
        found |= own
    return found, faults

def plain_letters(path: Path) -> str:
    "The letters of a file, without tags and escapes."
    text = path.read_text(encoding='utf8', errors='ignore')
    if path.suffix in ('.json', '.ipynb'):
        found = []
        json.loads(text, object_hook=lambda d: found.append(d) or d)
        text = '\n'.join(part for d in found for v in d.values()
                         for part in (''.join(v) if isinstance(v, list) and all(
                             isinstance(x, str) for x in v) else v,) if isinstance(part, str))
    if path.suffix == '.html': text = html.unescape(re.sub(r'<[^>]*>', '', text))
    return letters(text)

def told_solutions(docs: Path, nbs: Path) -> list:
    "Solutions of exercises, wherever they stand in the built site."
    lines, faults = telling_lines(nbs)
    for path in sorted(p for p in docs.rglob('*') if p.suffix in TEXTS and 'try' not in p.parts):
        text = plain_letters(path)
        told = [name for line, name in lines.items() if line in text]
        if told:
            faults.append(f'{path.relative_to(docs).as_posix()}: {len(told)} lines of solutions, '
                          f'first from {told[0]}')
    return faults

# ---- in a browser

WIDTHS = (360, 900, 1200, 1400)
CUT = '''() => [...document.querySelectorAll('main pre')]
    .filter(p => p.offsetParent && [p, ...p.querySelectorAll('code')]
        .some(c => c.scrollWidth > p.clientWidth + 1))
    .map(p => p.innerText.slice(0, 60))'''
WIDE = '() => document.documentElement.scrollWidth - document.documentElement.clientWidth'
ANOTHER = '''said => {
    const now = document.querySelector('#try-it [role=status]').innerText;
    return now.includes('→') && now !== said }'''
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']

def serve(docs: Path) -> ThreadingHTTPServer:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(docs)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def browse(docs: Path, *looks) -> list:
    """What `look(tab, name)` says of each page, of (look, names), and what each page asks of other
    hosts."""
    from playwright.sync_api import sync_playwright
    server, faults = serve(docs), []
    home = f'http://127.0.0.1:{server.server_port}/'
    def here(): return tab.url.removeprefix(home)
    def only_home(route):
        if route.request.url.startswith((home, 'data:', 'blob:')): return route.continue_()
        faults.append(f'{here()}: asks {route.request.url[:80]}')
        route.abort()
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=FLAGS)
        tab = browser.new_page()
        tab.route('**/*', only_home)
        tab.on('pageerror', lambda e: faults.append(f'{here()}: script error {str(e)[:120]}'))
        for look, names in looks:
            for name in names:
                tab.goto(home + name, wait_until='load')
                faults += look(tab, name)
        browser.close()
    server.shutdown()
    return list(dict.fromkeys(faults))

def fits(tab, name: str, widths=WIDTHS) -> list:
    "No code is cut at the right edge, and no page is wider than its window."
    faults = []
    for width in widths:
        tab.set_viewport_size(dict(width=width, height=900))
        cut, wide = tab.evaluate(CUT), tab.evaluate(WIDE)
        if cut:
            faults.append(f'{name}: at {width} px {len(cut)} blocks of code are cut, '
                          f'first {cut[0]!r}')
        if wide > 0: faults.append(f'{name}: {wide} px wider than a window of {width} px')
    return faults

def finds(tab, name: str, word: str = 'attention', wait: int = 20_000) -> list:
    "The search answers."
    tab.set_viewport_size(dict(width=1200, height=900))
    box = tab.locator('input[type=search]').first
    box.click(); box.press_sequentially(word)
    try: tab.wait_for_selector('.smalldocs-search-results a', timeout=wait)
    except Exception: return [f'{name}: the search finds nothing for {word!r}']
    return []

def plays(tab, name: str, wait: int = 20_000) -> list:
    "An edit is shown, and another one when another painter is chosen."
    try:
        tab.wait_for_selector('#try-it .rex canvas', timeout=wait)
        before = tab.locator('#try-it [role=status]').first.inner_text()
        tab.locator('#try-it .try-painter label').nth(1).click(timeout=wait)
        tab.wait_for_function(ANOTHER, arg=before, timeout=wait)
    except Exception as error:
        return [f'{name}: no edit is shown ({str(error).splitlines()[0][:80]})']
    return fits(tab, name)

def walk(docs: Path, names: list) -> list:
    if shutil.which('chromium'):
        from slides import look
        decks = sorted(f'slides/{p.name}' for p in (docs/'slides').glob('*.html'))
        return browse(docs, (fits, names), (finds, ['index.html']), (plays, ['try_it.html']),
                      (look, decks))
    print('no chromium here: not looked for cut code, wide pages, requests, the search')
    return []

# ---- all of it

def check(docs: Path, nbs: Path, scenes: int) -> list:
    'Everything that is wrong with a site whose page "Try it" should offer so many scenes.'
    import yaml
    config = yaml.safe_load(read(nbs/'_quarto.yml'))
    sources = [Source(p, nbs) for p in sorted(nbs.rglob('*.ipynb'))
               if '.ipynb_checkpoints' not in p.parts]
    faults, pages, names = [], [], 0
    for source in sources:
        if not (docs/source.page).exists(): faults.append(f'{source.name}: no page'); continue
        pages.append(page := Built(docs/source.page, docs))
        lost = missing_signatures(page, source)
        names += len(source.names()) - len(lost)
        faults += mute(page) + missing_launch(page, source) + missing_outputs(page, source)
        faults += lost + missing_words(page, source)
    print(f'{names} public names have their signatures')
    faults += dead_links(pages) + other_hosts(pages, docs) + searchable(pages, docs)
    faults += reading_order(config, [s.name for s in sources]) + sidebar(pages, docs, config)
    faults += told_solutions(docs, nbs)
    return faults + try_it(docs, scenes) + own_words(docs) + walk(docs, [p.name for p in pages])
