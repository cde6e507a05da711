"""What must hold on the built site: each page of the sources is there whole, every link leads somewhere, nothing is asked of another host,
every public name has its signature, every picture has words, the sidebar stands in reading order, and no code is cut.

Each check takes built pages and their notebooks and returns sentences; none means that all is well. `walk` looks with Chromium.
"""
import html, json, re, shutil, threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

from nbdev.doclinks import _nbpath2html

from pages import public_names

FETCHED = dict(script='src', img='src', iframe='src', embed='src', source='src', video='src', audio='src', object='data')
ELSEWHERE = re.compile(r'(https?:)?//', re.I)
LATER = ('api/pocket/', 'api/editors/')     # rooms that another branch rewrites: empty this at merge
STILL_UNDOCUMENTED = 0                      # names of these rooms without a signature: only goes down

def letters(text: str) -> str: return re.sub(r'[^0-9A-Za-z]+', '', text)

class Built(HTMLParser):
    "A built page as its reader and its browser meet it."
    def __init__(self, path: Path, docs: Path):
        super().__init__()
        self.path, self.name = path, path.relative_to(docs).as_posix()
        self.html = path.read_text(encoding='utf8')
        self.ids, self.links, self.fetched, self.mute, self.nav = set(), [], [], [], []
        self.parts, self.words, self.description = [], [], ''       # parts: (tag, text) of headings and code
        self.inside, self.raw = [], ''
        self.feed(self.html)
        self.text = letters(' '.join(self.words))

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        if tag == 'a' and a.get('href') is not None:
            self.links.append(a['href'])
            if 'sidebar-link' in (a.get('class') or ''): self.nav.append(a['href'])
        if a.get(FETCHED.get(tag)): self.fetched.append(a[FETCHED[tag]])
        if tag == 'link' and set((a.get('rel') or '').split()) & {'stylesheet', 'icon', 'preload', 'modulepreload'}:
            self.fetched.append(a['href'])
        if tag == 'img' and not (a.get('alt') or '').strip(): self.mute.append((a.get('src') or '')[:40])
        if tag == 'meta' and a.get('name') == 'description': self.description = a.get('content') or ''
        if tag in ('main', 'script', 'style'): self.inside.append(tag)
        if re.fullmatch('h[1-6]|pre', tag): self.parts.append([tag, ''])

    def handle_endtag(self, tag):
        if tag in self.inside: self.inside.remove(tag)

    def handle_data(self, data):
        if 'script' in self.inside or 'style' in self.inside: self.raw += data; return
        if 'main' in self.inside: self.words.append(data)
        if self.parts: self.parts[-1][1] += data

def page_of(notebook: str) -> str:
    "The page that nbdev makes of a notebook: api/method/00_core.ipynb -> api/method/core.html."
    return _nbpath2html(Path(notebook)).as_posix()

class Source:
    "A notebook as far as its page must show it."
    def __init__(self, path: Path, nbs: Path):
        self.path, self.name = path, path.relative_to(nbs).as_posix()
        self.cells = json.loads(path.read_text(encoding='utf8'))['cells']
        self.page = page_of(self.name)

    def marks(self, cell) -> set:
        return set(re.findall(r'^#\| *([\w-]+(?:: *\w+)?)', ''.join(cell['source']), re.M))

    def shown(self) -> list:
        "Code cells whose outputs a reader sees."
        gone = {'hide', 'export', 'exporti', 'include: false', 'output: false'}
        return [c for c in self.cells if c['cell_type'] == 'code' and not self.marks(c) & gone
                and not any(m.startswith('default_exp') for m in self.marks(c))]

    def paragraphs(self) -> list:
        "Texts of the page's words, without the title cell."
        texts = [''.join(c['source']) for c in self.cells if c['cell_type'] == 'markdown']
        if re.match(r'# ', texts[0]): texts[0] = texts[0].partition('\n\n')[2].partition('\n\n')[2]
        return [p for t in texts for p in re.split(r'\n\s*\n', t) if as_read(p)]

    def names(self) -> list:
        "Public names that its module defines."
        return list(dict.fromkeys(n for c in self.cells if c['cell_type'] == 'code' and self.marks(c) & {'export', 'exports'}
                    for n in public_names(''.join(c['source']))))

def as_read(markdown: str) -> str:
    "The letters of a paragraph that stand on the page."
    text = re.sub(r'^\s*(```|:::|~~~).*$|<!--.*?-->', '', markdown, flags=re.M | re.S if '<!--' in markdown else re.M)
    parts = re.split(r'(`+[^`]*`+)', text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r'</?[a-zA-Z][^>]*>|\{[.#][^}]*\}', ' ', parts[i])
    text = re.sub(r'^\s*\d+\. ', '', ''.join(parts), flags=re.M)
    text = re.sub(r'!\[(?:[^\]]|\][^(])*\]\([^)]*\)', '', text)
    text = re.sub(r'\]\([^)\s]*(?:\s+"[^"]*")?\)', ']', text)
    return letters(html.unescape(text))

# ---- each page against its notebook

def missing_words(page: Built, source: Source) -> list:
    lost = [p for p in source.paragraphs() if as_read(p) not in page.text]
    return [f'{page.name}: {len(lost)} paragraphs are missing, first: {" ".join(lost[0].split())[:90]!r}'] if lost else []

def missing_colab(page: Built, source: Source) -> list:
    asked = re.findall(r'\]\((https://colab\.research\.google\.com/[^)]*)\)', '\n'.join(''.join(c['source']) for c in source.cells))
    if not asked and source.name.startswith('course/'): return [f'{page.name}: a lesson without a Colab link']
    return [f'{page.name}: the Colab link is missing' for link in asked if link not in page.links]

def missing_outputs(page: Built, source: Source) -> list:
    lost = [c for c in source.shown() for o in c.get('outputs', []) if not shows(page, o)]
    return [f'{page.name}: {len(lost)} outputs are missing, first that of {"".join(lost[0]["source"])[-60:]!r}'] if lost else []

def shows(page: Built, output: dict) -> bool:
    data = output.get('data', {})
    pictures = [''.join(v).strip() for m, v in data.items() if m.startswith('image/') and m != 'image/svg+xml']
    if 'text/html' not in data and pictures: return any(p[:400] in page.html for p in pictures)
    text = ''.join(output.get('text') or data.get('text/markdown') or data.get('text/plain') or '')
    if 'text/html' in data: text = re.sub(r'(?s)<(script|style).*?</\1>|<[^>]+>', ' ', ''.join(data['text/html']))
    if 'text/markdown' in data: return all(as_read(p) in page.text for p in re.split(r'\n\s*\n', text))
    return letters(html.unescape(text) if 'text/html' in data else re.sub(r'\x1b\[[0-9;]*m', '', text)) in page.text

def missing_signatures(page: Built, source: Source) -> list:
    "Names without a heading that a line `def name(` or `class Name(` follows."
    lost = []
    for name in source.names():
        start = rf'(async )?(def|class) {re.escape(name.split(".")[-1])}\('
        if not any(tag[0] == 'h' and letters(said) == letters(name) and any(re.match(start, t) for _, t in page.parts[i + 1:i + 2])
                   for i, (tag, said) in enumerate(page.parts)): lost.append(name)
    return [f'{page.name}: no signature of {name}' for name in lost]

def mute(page: Built, source=None) -> list:
    return ([f'{page.name}: {len(page.mute)} pictures without words, first {page.mute[0]}'] if page.mute else []) + (
        [] if page.description.strip() else [f'{page.name}: no description'])

# ---- the site as a whole

def dead_links(pages: list, docs: Path) -> list:
    "Links and files that lead nowhere inside the site."
    ids, faults = {p.path.resolve(): p.ids for p in pages}, []
    for page in pages:
        for link in dict.fromkeys(page.links + page.fetched):
            if re.match(r'[a-z][a-z0-9+.-]*:|//', link, re.I): continue
            path, anchor = urldefrag(link)
            file = (page.path.parent/unquote(path.split('?')[0])).resolve() if path else page.path.resolve()
            if file.is_dir(): file = file/'index.html'
            if not file.exists(): faults.append(f'{page.name}: {link} leads nowhere')
            elif anchor and file in ids and unquote(anchor) not in ids[file]: faults.append(f'{page.name}: {link} leads to no place on that page')
    return faults

def other_hosts(pages: list, docs: Path) -> list:
    "What a browser would fetch from elsewhere, by pages, styles and modules."
    found = [(p.name, f) for p in pages for f in p.fetched if ELSEWHERE.match(f)]
    texts = [(p.name, p.raw) for p in pages] + [(f.relative_to(docs).as_posix(), f.read_text(encoding='utf8')) for f in docs.rglob('*.css')]
    asked = re.compile(r'''(?:@import\s*(?:url\()?|url\(|\bimport\s*\(?|\bfrom|\bfetch\(|\bimportScripts\()\s*["']?((?:https?:)?//[^"')\s]+)''')
    found += [(name, m) for name, text in texts for m in asked.findall(text)]
    return [f'{name}: fetched from another host: {what[:100]}' for name, what in dict.fromkeys(found)]

def reading_order(config: dict, sources: list) -> list:
    "Each page stands in the sidebar once, those of a folder together and in the order of their numbers."
    listed = []
    def walk(contents):
        for c in contents:
            if isinstance(c, dict): walk(c['contents'])
            else: listed.append(c)
    walk(config['website']['sidebar']['contents'])
    names = [s.name for s in sources]
    faults = [f'_quarto.yml: {n} stands in the sidebar {listed.count(n)} times, not once' for n in names if listed.count(n) != 1]
    faults += [f'_quarto.yml: no page {n}' for n in listed if n not in names]
    for folder in dict.fromkeys(n.rpartition('/')[0] for n in listed):
        at = [i for i, n in enumerate(listed) if n.rpartition('/')[0] == folder]
        numbered = [listed[i] for i in at if re.match(r'\d', listed[i].rpartition('/')[2])]
        if numbered != sorted(numbered): faults.append(f'_quarto.yml: the pages of {folder} are not in the order of their numbers')
        if folder and at != list(range(at[0], at[0] + len(at))): faults.append(f'_quarto.yml: the pages of {folder} do not stand together')
    return faults

def sidebar(pages: list, config: dict) -> list:
    "The sidebar of every page is the one of the configuration."
    def walk(contents): return [n for c in contents for n in (walk(c['contents']) if isinstance(c, dict) else [c])]
    wanted = [page_of(n) for n in walk(config['website']['sidebar']['contents'])]
    faults = []
    for page in pages:
        base = Path('/', page.name).parent
        shown = [Path(*[p for p in (base/link).parts]) for link in page.nav if not link.startswith('#')]
        shown = [resolved(p) for p in shown]
        if shown != wanted: faults.append(f'{page.name}: the sidebar is not that of _quarto.yml')
    return faults

def resolved(path: Path) -> str:
    parts = []
    for p in path.parts[1:]:
        if p == '..': parts.pop()
        else: parts.append(p)
    return '/'.join(parts)

def searchable(pages: list, docs: Path) -> list:
    found = {urldefrag(e['href'])[0] for e in json.loads((docs/'search.json').read_text(encoding='utf8'))}
    return [f'{p.name}: the search does not know it' for p in pages if p.name not in found]

def try_it(docs: Path) -> list:
    "The page \"Try it\" offers enough, and what it offers is there."
    menu = docs/'try'/'menu.json'
    scenes = json.loads(menu.read_text(encoding='utf8')) if menu.exists() else []
    names = [f'{n:02}-{p}-{painter}.json' for n, s in enumerate(scenes) for p in range(len(s['prompts'])) for painter in s['painters']]
    lost = [n for n in names if not (docs/'try'/n).exists()]
    small = [s for s in scenes if len(s['prompts']) < 2 or len(s['painters']) < 2]
    if len(scenes) < 12 or small: return [f'try_it.html: {len(names)} edits of {len(scenes)} scenes, expected 12 scenes, 2 prompts, 2 painters; run python tools/try_it.py']
    return [f'try_it.html: {n} is missing; run python tools/try_it.py' for n in lost]

# ---- in a browser

WIDTHS = (360, 900, 1200, 1400)
CUT = '''() => [...document.querySelectorAll('main pre')].filter(p => p.offsetParent && (p.scrollWidth > p.clientWidth + 1 ||
    [...p.querySelectorAll('code')].some(c => c.scrollWidth > p.clientWidth + 1))).map(p => p.innerText.slice(0, 60))'''
WIDE = '() => document.documentElement.scrollWidth - document.documentElement.clientWidth'

def serve(docs: Path) -> ThreadingHTTPServer:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(docs)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def browse(docs: Path, names: list, look) -> list:
    "What `look(tab, name)` says of each page, and of what each asks of other hosts."
    from playwright.sync_api import sync_playwright
    server, faults = serve(docs), []
    home = f'http://127.0.0.1:{server.server_port}/'
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'])
        tab = browser.new_page()
        def only_home(route):
            url = route.request.url
            if url.startswith((home, 'data:', 'blob:')): return route.continue_()
            faults.append(f'{tab.url.removeprefix(home)}: asks {url[:80]}')
            route.abort()
        tab.route('**/*', only_home)
        tab.on('pageerror', lambda e: faults.append(f'{tab.url.removeprefix(home)}: script error {str(e)[:120]}'))
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
        cut = tab.evaluate(CUT)
        if cut: faults.append(f'{name}: at {width} px {len(cut)} blocks of code are cut, first {cut[0]!r}')
        wide = tab.evaluate(WIDE)
        if wide > 0: faults.append(f'{name}: {wide} px wider than a window of {width} px')
    return faults

def finds(tab, name: str, word: str = 'attention', wait: int = 8000) -> list:
    "The search answers."
    tab.set_viewport_size(dict(width=1200, height=900))
    box = tab.locator('input[type=search]').first
    box.click(); box.press_sequentially(word)
    try: tab.wait_for_selector('.smalldocs-search-results a', timeout=wait)
    except Exception: return [f'{name}: the search finds nothing for {word!r}']
    return []

def plays(tab, name: str, wait: int = 20_000) -> list:
    "An edit is shown, and another one when another painter is chosen."
    status = tab.locator('#try-it [role=status]')
    try:
        tab.wait_for_selector('#try-it .rex canvas', timeout=wait)
        before = status.inner_text()
        tab.locator('#try-it .try-painter label').nth(1).click(timeout=wait)
        tab.wait_for_function('said => { const now = document.querySelector("#try-it [role=status]").innerText; return now.includes("→") && now !== said }', arg=before, timeout=wait)
    except Exception as error: return [f'{name}: no edit is shown ({str(error).splitlines()[0][:80]})']
    return fits(tab, name)

def walk(docs: Path, pages: list) -> list:
    if not shutil.which('chromium'):
        print('no chromium here: not looked for code that is cut, pages that are too wide, requests and the search')
        return []
    return browse(docs, [p.name for p in pages], fits) + browse(docs, ['index.html'], finds) + browse(docs, ['try_it.html'], plays)

# ---- all of it

def check(docs: Path, nbs: Path) -> list:
    import yaml
    config = yaml.safe_load((nbs/'_quarto.yml').read_text(encoding='utf8'))
    sources = [Source(p, nbs) for p in sorted(nbs.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
    faults, pages, undocumented, documented = [], [], [], 0
    for source in sources:
        path = docs/source.page
        if not path.exists(): faults.append(f'{source.name}: no page'); continue
        page = Built(path, docs)
        pages.append(page)
        faults += mute(page) + missing_colab(page, source)
        if not source.name.startswith(LATER): faults += missing_words(page, source)
        faults += missing_outputs(page, source)
        lost = missing_signatures(page, source)
        documented += len(source.names()) - len(lost)
        if source.name.startswith(LATER): undocumented += lost
        else: faults += lost
    if len(undocumented) > STILL_UNDOCUMENTED: faults += undocumented
    print(f'{documented} public names with their signatures, {len(undocumented)} without in {" and ".join(LATER)}')
    faults += dead_links(pages, docs)
    faults += other_hosts(pages, docs) + reading_order(config, sources) + sidebar(pages, config) + searchable(pages, docs) + try_it(docs)
    return faults + walk(docs, pages)
