"""\"Your own words\": the parts of the scripts against Python's values, and the whole edit in headless Chromium against
Python's edit."""
import difflib, json, os, random, re, shutil, subprocess, sys, tempfile
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from filelock import FileLock
from PIL import Image

from regionedit.method import amortised, attention, edits, losses, regions
from regionedit.method.table import distinct
from regionedit.models.bundled import KNOWN, weights_folder
from regionedit.models.pretrained import Known

ROOT = Path(__file__).parents[2]
TRY = ROOT/'nbs'/'try'
sys.path.append(str(ROOT/'tools'))

as_pillow = pytest.mark.skipif(int(PIL.__version__.split('.')[0]) < 13, reason='the scripts follow Pillow 13')
needs_node = pytest.mark.skipif(not shutil.which('node'), reason='needs Node.js')

def js(file: str, body: str, *given):
    "What a function `(m, ...given) => ...` of a script in nbs/try says."
    program = (f"import * as m from {(TRY/file).as_uri()!r};\n"
               "let text = ''; for await (const part of process.stdin) text += part;\n"
               "const plain = (_, v) => ArrayBuffer.isView(v) ? Array.from(v) : v;\n"
               f"console.log(JSON.stringify(await ({body})(m, ...JSON.parse(text)), plain));")
    done = subprocess.run(['node', '--input-type=module', '-e', program], input=json.dumps(given),
                          capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)

def as_js(image: Image.Image) -> dict:
    return dict(width=image.width, height=image.height, data=list(image.tobytes()))

def noisy(width: int, height: int, seed: int) -> Image.Image:
    "Noise over a slope, so that no pixel is like another."
    found = np.random.default_rng(seed).integers(0, 90, (height, width, 3))
    return Image.fromarray(np.uint8(found + np.linspace(0, 165, width)[:, None]))

OPEN = 'const open = im => ({ ...im, data: Uint8Array.from(im.data) });'

@as_pillow
@needs_node
def test_pictures_are_resized_as_pillow_does():
    jobs, rng = [], random.Random(0)
    for n in range(24):
        w, h = rng.randint(5, 60), rng.randint(5, 60)
        box = [0, 0, w, h] if n % 3 == 0 else [rng.uniform(0, 2), rng.uniform(0, 2), w - rng.random(), h - rng.random()]
        jobs.append((noisy(w, h, n), rng.randint(1, 90), rng.randint(1, 90), ('box', 'bicubic', 'lanczos')[n % 3 if n < 12 else n % 2 + 1], box))
    made = js('pixels.js', '(m, jobs) => { ' + OPEN + ' return jobs.map(([im, ...rest]) => m.resize(open(im), ...rest).data); }',
              [(as_js(im), *rest) for im, *rest in jobs])
    for n, ((im, w, h, name, box), data) in enumerate(zip(jobs, made)):
        wanted = np.asarray(im.resize((w, h), getattr(Image, name.upper()), box=box)).reshape(-1)
        assert (np.uint8(data) == wanted).all(), (n, name, np.flatnonzero(np.uint8(data) != wanted))

def boxes_in(side: int, count: int, seed: int) -> list:
    rng = random.Random(seed)
    def line(): a, b = sorted(rng.sample(range(side + 1), 2)); return a, b
    found = [(x, y) for x, y in ((line(), line()) for _ in range(count))] + [((0, side), (0, side)), ((3, 4), (0, side))]
    return [(x0, y0, x1, y1) for (x0, x1), (y0, y1) in found]

@pytest.mark.slow
@as_pillow
@needs_node
def test_a_window_is_shown_and_put_back_as_in_python():
    image, boxes, size = noisy(128, 128, 3), boxes_in(128, 20, 1), 80
    made = [noisy(size, size, 50 + n) for n in range(len(boxes))]
    found = js('pixels.js', '(m, image, boxes, made, context, step) => { ' + OPEN + ''' return boxes.map((box, i) => {
        const { window, shown, hole } = m.windowAndMask(open(image), box, 80, context);
        const fitted = m.withoutSeam(open(made[i]), shown, hole, step);
        return { window, shown: shown.data, mask: m.maskOf(hole, 80), fitted: fitted.data, whole: m.paste(open(image), fitted, window, box).data };
    }); }''', as_js(image), boxes, [as_js(m) for m in made], edits.CONTEXT, edits.STEP)
    for box, new, said in zip(boxes, made, found):
        window, shown, mask = edits.window_and_mask(image, box, size)
        fitted = edits.without_seam(new, shown, mask)
        assert tuple(said['window']) == window and bytes(said['shown']) == shown.tobytes()
        assert said['mask'] == [v / 255 for v in mask.tobytes()], box
        assert bytes(said['fitted']) == fitted.tobytes()
        assert bytes(said['whole']) == edits.paste_edit(image, fitted, window, box).tobytes()

TEXTS = ['', 'a red apple', "A Doughnut  on a WOODEN table!", "xylophone's café 12", 'naïve “quotes” ’tis', '東京 2024',
         'zebras and red apples, ice-cream', "don't", '<|endoftext|> x', 'a ' * 70]

@needs_node
def test_texts_are_read_as_in_python():
    import open_clip
    from transformers import CLIPTokenizer
    clip = open_clip.get_tokenizer(f'local-dir:{weights_folder("clip")}')
    painter = CLIPTokenizer.from_pretrained(weights_folder('diffusion')/'tokenizer')
    words = json.loads((weights_folder('clip')/'tokenizer.json').read_text('utf8'))['model']
    words = dict(vocab=words['vocab'], merges=[m if isinstance(m, str) else ' '.join(m) for m in words['merges']])
    ids, own, counts = js('words.js', '''(m, words, texts) => { const t = m.openTokenizer(words); return [
        texts.map(x => t.ids(m.straight(x), 64)), texts.map(x => t.ids(x, 24)), texts.map(x => t.count(x))]; }''', words, TEXTS)
    assert ids == clip(TEXTS, context_length=64).tolist()
    assert own == painter(TEXTS, padding='max_length', truncation=True, max_length=24).input_ids
    assert counts == [len(painter(t, verbose=False).input_ids) for t in TEXTS]

@needs_node
def test_what_is_not_known_is_said_as_in_python():
    known = Known.read(KNOWN)
    calm = Known(known.things, known.words, known.nearest, lambda image: -1, known.advice)
    pairs = [(a, b) for a in TEXTS + ['a zebra', 'two zebrs', 'a strawbery', 'kitty', 'an aple pie'] for b in ('a cat', 'a qwrtz')]
    data = {k: v for k, v in json.loads(KNOWN.read_text('utf8')).items() if k != 'detector'}
    said, ratios = js('words.js', '''(m, data, pairs) => { const k = m.openKnown(data);
        return [pairs.map(p => k.remark(...p)), pairs.map(([a, b]) => m.alike(a, b))]; }''', data, pairs)
    assert said == [next(iter(calm.remarks(None, *p)), '') for p in pairs]
    assert ratios == [difflib.SequenceMatcher(None, a, b).ratio() for a, b in pairs]

@needs_node
def test_anchors_and_boxes_are_chosen_as_in_python(monkeypatch):
    from regionedit.pocket.scenes import draw_scene
    monkeypatch.setattr(regions, 'sharpen', lambda words, boxes: boxes)
    image = draw_scene(3, num_objects=2).image
    draw = torch.Generator().manual_seed(0)
    maps, features = torch.rand(1, 16, 16, generator=draw), torch.rand(12, 16, 16, generator=draw)
    attended = attention.Attention(maps, features, image.size)
    anchors = regions.spread_anchors(maps[0], 8, image.size)
    boxes, words = regions.all_boxes((32, 32)), regions.cell_words(image, attended)
    z = regions.stand_out(words, boxes)
    points, made = js('boxes.js', '''(m, attention, z, cells) => {
        const at = m.spreadAnchors(attention, 16, 16, 128, 8), all = Int32Array.from(cells);
        const rows = m.fitBoxes(Float32Array.from(z), all, at.map(p => p.map(v => v / 4)), 7);
        return [at, rows.map(row => m.bySize(row.map(i => Array.from(all.subarray(i * 4, i * 4 + 4), v => v * 4))))];
    }''', maps[0].flatten().tolist(), z.tolist(), boxes.flatten().tolist())
    assert points == anchors.tolist()
    assert made == regions.fit_boxes(image, attended, anchors).tolist()

@needs_node
def test_what_is_worth_editing():
    logits = torch.randn(8, 7, generator=torch.Generator().manual_seed(1))
    boxes = torch.randint(0, 3, (8, 7, 4), generator=torch.Generator().manual_seed(2))
    shares = logits.flatten().softmax(0).view_as(logits).sum(1)
    made = js('boxes.js', '(m, s, l, b) => m.worthEditing(s, Float32Array.from(l), b)', shares.tolist(), logits.flatten().tolist(), boxes.tolist())
    unique = distinct(boxes)[0]
    assert [tuple(b) for b in made] == [unique[u] for u in amortised.worth_editing(logits, boxes)]

@needs_node
def test_webgpu_is_taken_where_a_card_is_lent():
    assert js('engine.js', """async m => Promise.all([undefined, { requestAdapter: async () => null }, { requestAdapter() { throw Error('no'); } },
        { requestAdapter: () => Promise.reject(Error('no')) }, { requestAdapter: async () => ({ info: { isFallbackAdapter: true } }) },
        { requestAdapter: async () => ({ info: { isFallbackAdapter: false } }) }, { requestAdapter: async () => ({}) }].map(m.engineFor))
    """) == ['wasm'] * 5 + ['webgpu'] * 2

FAKE = """async (m, { opens, runs }) => {         // how often WebGPU opens and runs before it fails
    const said = [], device = { by: 'webgpu' };
    const create = name => async by => {
        said.push(`open ${name} by ${by}`);
        if (by === 'webgpu' && opens-- <= 0) throw Error('not opened');
        return { run: async x => { said.push(`run ${name} by ${by}`); if (by === 'webgpu' && runs-- <= 0) throw Error('lost'); return x + 1; } };
    };
    const a = await m.openGraph(create('a'), device), b = await m.openGraph(create('b'), device);
    return [await a.run(1), await b.run(2), await a.run(3), device.by, said.join(', ')];
}"""

@needs_node
def test_what_webgpu_cannot_do_wasm_does_again():
    gpu, wasm = 'by webgpu', 'by wasm'
    *values, by, said = js('engine.js', FAKE, dict(opens=2, runs=9))
    assert (values, by, said) == ([2, 3, 4], 'webgpu', f'open a {gpu}, open b {gpu}, run a {gpu}, run b {gpu}, run a {gpu}')
    *values, by, said = js('engine.js', FAKE, dict(opens=2, runs=1))        # after one failure nothing asks it again
    assert (values, by, said) == ([2, 3, 4], 'wasm', f'open a {gpu}, open b {gpu}, run a {gpu}, run b {gpu}, '
                                  f'open b {wasm}, run b {wasm}, open a {wasm}, run a {wasm}')
    *values, by, said = js('engine.js', FAKE, dict(opens=1, runs=9))
    assert (values, by, said) == ([2, 3, 4], 'wasm', f'open a {gpu}, open b {gpu}, open b {wasm}, '
                                  f'open a {wasm}, run a {wasm}, run b {wasm}, run a {wasm}')
    assert js('engine.js', """m => m.openGraph(async () => ({ run: async () => { throw Error('cut'); } }), { by: 'wasm' })
        .then(graph => graph.run()).catch(error => error.message)""") == 'cut'

# ---- the whole edit, in a browser

PAIRS = ((0, 'a basket', 'a doughnut on a wooden table'), (1, None, None), (4, 'a qwrtz', None))     # scene, source, prompt; None: as proposed

PAGE = """<!doctype html><html lang="en"><head><title>Your own words</title><meta name="viewport" content="width=device-width">
<link rel="stylesheet" media="(prefers-color-scheme: light)" href="cosmo.min.css">
<link rel="stylesheet" media="(prefers-color-scheme: dark)" href="darkly.min.css"><style>STYLE</style>
<script>const dark = matchMedia('(prefers-color-scheme: dark)'), set = () => {
    document.documentElement.classList.toggle('quarto-dark', dark.matches);
    document.documentElement.dataset.bsTheme = dark.matches ? 'dark' : 'light'; };
set(); dark.addEventListener('change', set);</script></head>
<body><main class="container"><h1>Your own words</h1><div id="own-words"></div></main>
<script type="module" src="try/own.js"></script></body></html>"""

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The page with the models that lie in nbs/try/models, or new ones; served on a port of its own."
    pytest.importorskip('onnxscript')
    smalldocs = pytest.importorskip('smalldocs')
    import site_check, web_models
    if not site_check.npm_answers(): pytest.skip('needs npm and its registry')
    with FileLock(Path(tempfile.gettempdir())/'regionedit-web-models.lock'):     # of several workers one makes them
        web_models.make_all(web_models.OUT)
    folder = tmp_path_factory.mktemp('own')
    (folder/'try').symlink_to(TRY)
    (folder/'own.html').write_text(PAGE.replace('STYLE', (ROOT/'nbs'/'styles.css').read_text('utf8')), encoding='utf8')
    themes = Path(smalldocs.__file__).parent/'assets'/'vendor'/'bootswatch'
    for name in ('cosmo.min.css', 'darkly.min.css'):        # without fonts of another host, as tools/site.py has it
        text = re.sub(r'@import url\([^)]*\);', '', (themes/name).read_text('utf8'))
        (folder/name).write_text(text, encoding='utf8')
    server = site_check.serve(folder)
    yield f'http://127.0.0.1:{server.server_port}/own.html'
    server.shutdown()

# What the worker says is kept as it comes: the test reads the pixels themselves.
LISTEN = """() => { window.said = []; const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (m) {
        if (!this.heard) { this.heard = true; this.addEventListener('message', ({ data }) => said.push(data)); }
        post.call(this, m); }; }"""
PLAIN = "() => JSON.parse(JSON.stringify(said.filter(m => !m.fetched), (_, v) => ArrayBuffer.isView(v) ? Array.from(v) : v))"

def opened(browser, url: str, width: int = 900, scheme: str = 'light', first: str = ''):
    tab = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme)
    tab.add_init_script(first)
    tab.wrong, tab.asked = [], []
    tab.on('pageerror', lambda e: tab.wrong.append(str(e)))
    tab.on('request', lambda r: tab.asked.append(r.url))
    tab.goto(url)
    tab.evaluate(LISTEN)
    tab.wait_for_selector('#own-words button')
    return tab

def ask(tab, scene: int, source=None, prompt=None):
    "Choose, write, press."
    tab.locator('input[name=own-scene]').nth(scene).check(force=True)
    if source: tab.get_by_label('what is there').fill(source)
    if prompt: tab.get_by_label('what should be there').fill(prompt)
    tab.evaluate('said.length = 0')
    tab.get_by_role('button', name='edit').click()

def finished(tab, minutes: int = 15) -> list:
    tab.wait_for_function("() => said.some(m => 'done' in m || m.stopped || m.failed)", timeout=minutes * 60_000)
    return tab.evaluate(PLAIN)

def score_of(clip, image: Image.Image, made: Image.Image, box: tuple, result) -> float:
    "Python's score of the very pixels that the browser made."
    seen, text, c = clip.encode_images([image, made]), clip.encode_texts([result.prompt])[0], result.config
    found = losses.scores(seen.pooled[1:], seen.tokens[1:], seen.tokens[0], text, c.alpha, c.beta)[0]
    if clip.known.unknown_words(result.source): return found.item()
    return (found + c.source_weight * losses.source_evidence(clip, image, [box], result.source)).item()

def compare(scene: int, said: list, image: Image.Image, clip, result) -> list:
    """What the worker said against Python's result; its edits, best first. Anchors, boxes; pixels outside the box bit for bit,
    inside all but a few in a thousand, by a level or two where a rounding falls the other way: of such pixels CLIP makes up to
    2e-3 in the score, of the same pixels nothing."""
    found, = (m['found'] for m in said if 'found' in m)
    made = sorted((m['edit'] for m in said if 'edit' in m), key=lambda e: -e['score'])
    assert len(made) <= 8 and {tuple(a) for a in found['anchors']} == {c.anchor for c in result.candidates}
    known = {c.box: c for c in result.candidates}
    assert {tuple(b) for b in found['chosen']} == {*known}
    for edit in made:
        box, other = tuple(edit['box']), known[tuple(edit['box'])]
        mine = np.uint8(edit['image']['data']).reshape(image.height, image.width, 3)
        own = score_of(clip, image, Image.fromarray(mine), box, result)
        mine = mine.astype(int)
        inside = np.zeros(mine.shape[:2], bool)
        inside[box[1]:box[3], box[0]:box[2]] = True
        away = np.abs(mine - np.asarray(other.image).astype(int))
        assert not away[~inside].any() and (mine[~inside] == np.asarray(image)[~inside]).all()
        print(f'scene {scene} {box}: score off by {edit["score"] - other.score:+.1e}, '
              f'pixels by {away[inside].mean():.4f} levels, at most {away.max()}')
        assert away[inside].mean() < .02 and away.max() <= 4
        assert edit['score'] == pytest.approx(own, abs=1e-4)
        assert edit['score'] == pytest.approx(other.score, abs=3e-3 if away.any() else 1e-4)
    return made

@as_pillow
@pytest.mark.slow
def test_the_edit_in_the_browser_is_pythons(browser, site):
    import web_models
    from regionedit import RegionEditor
    models = RegionEditor.from_pretrained('pocket', device='cpu', dtype='float32')
    tab = opened(browser, site)
    assert not [u for u in tab.asked if u.endswith('.gz')], 'weights are fetched when they are asked for'
    assert '(WASM) weigh 47 MB' in tab.get_by_role('status').inner_text()
    for scene, source, prompt in PAIRS:
        drawn, named, prompts = web_models.scene(scene)
        ask(tab, scene, source, prompt)
        said = finished(tab)
        assert 'done' in said[-1], said[-1]
        image = drawn.image
        result = models(image, prompt or prompts[0], source or named, estimator='amortised', seed=0, progress=False)
        made = compare(scene, said, image, models.clip, result)
        assert tuple(made[0]['box']) == result.box and {tuple(e['box']) for e in made} == {c.box for c in result.candidates}
        print(f'scene {scene}: {len(made)} edits in {said[-1]["done"]:.1f} s')
    assert 's by WASM, the best' in tab.get_by_role('status').inner_text()
    assert not [u for u in tab.asked if 'webgpu' in u or 'asyncify' in u], 'nobody without a graphics card pays for one'
    home = site.rsplit('/', 1)[0]
    assert tab.wrong == [] and all(u.startswith((home, 'blob:')) for u in tab.asked)
    tab.close()

@pytest.fixture(scope='module')
def in_python():
    "Scene 1 as Python edits it: its picture, CLIP, the result."
    import web_models
    from regionedit import RegionEditor
    models = RegionEditor.from_pretrained('pocket', device='cpu', dtype='float32')
    drawn, source, prompts = web_models.scene(1)
    return drawn.image, models.clip, models(drawn.image, prompts[0], source, estimator='amortised', seed=0, progress=False)

CARD = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });"       # software as a card
LENT = "Object.defineProperty(Navigator.prototype, 'gpu', { get: () => ({ requestAdapter: async () => ({}) }) });"
LOST = """{ const { requestDevice } = GPUAdapter.prototype, { submit } = GPUQueue.prototype; let device, left = 30;
    GPUAdapter.prototype.requestDevice = async function (...given) { return device = await requestDevice.apply(this, given); };
    GPUQueue.prototype.submit = function (...given) { if (left-- === 0) device.destroy(); return submit.apply(this, given); }; }
"""

def opened_by_webgpu(browser, url: str, first: str):
    "Skips where the browser has no adapter, not even one of software; the page promises what it will fetch."
    tab = opened(browser, url, first=first)
    if not tab.evaluate('async () => !!await navigator.gpu?.requestAdapter()'): pytest.skip('this Chromium has no software WebGPU')
    assert '(WebGPU) weigh 50 MB' in tab.get_by_role('status').inner_text()
    return tab

in_software = pytest.mark.skipif(not os.environ.get('WEBGPU'), reason='minutes of a graphics card in software; WEBGPU=1 asks for it')

def only_webgpus_engine(tab) -> bool:
    names = {u.rsplit('/', 1)[1] for u in tab.asked}
    return 'ort-wasm-simd-threaded.asyncify.wasm.gz' in names and not names & {'ort.wasm.min.mjs', 'ort-wasm-simd-threaded.wasm.gz'}

@as_pillow
@in_software
@pytest.mark.slow
def test_the_edit_by_webgpu_is_pythons(software_gpu, site, in_python):
    "SwiftShader took eleven minutes for it on two busy cores, so that the first edit has to do; no real card was ever there."
    tab = opened_by_webgpu(software_gpu, site, CARD)
    ask(tab, 1)
    tab.wait_for_function("() => said.some(m => m.edit || m.failed)", timeout=30 * 60_000)
    tab.get_by_role('button', name='stop').click()
    made = compare(1, finished(tab), *in_python)
    assert made and only_webgpus_engine(tab) and tab.wrong == []
    tab.close()

@as_pillow
@pytest.mark.slow
@pytest.mark.parametrize('fault', [pytest.param('a worker without an adapter', marks=in_software), 'a device that is lost'])
def test_wasm_goes_on_where_webgpu_fails(browser, software_gpu, site, in_python, fault):
    "Whatever fails, the reader gets every edit of the same request, and no second engine is fetched."
    lost = fault == 'a device that is lost'
    tab = opened_by_webgpu(software_gpu if lost else browser, site, CARD if lost else LENT)
    if lost: tab.route('**/painter.js', lambda route: route.fulfill(body=LOST + (TRY/'painter.js').read_text('utf8'), content_type='text/javascript'))
    ask(tab, 1)
    said = finished(tab)
    assert said[-1].get('by') == 'wasm', said[-1]
    made = compare(1, said, *in_python)
    assert tuple(made[0]['box']) == in_python[2].box and len(made) == len(in_python[2].candidates)
    assert 's by WASM, since WebGPU failed, the best' in tab.get_by_role('status').inner_text()
    assert only_webgpus_engine(tab) and tab.wrong == []
    tab.close()

@pytest.mark.slow
def test_a_note_a_stop_and_all_widths(browser, site, axe):
    "Words that nobody has learned are said first; stopped in the middle; nothing is cut, and axe finds nothing serious."
    tab = opened(browser, site)
    ask(tab, 2, 'a cat', 'an antelope')
    tab.wait_for_selector('#own-words li figure', timeout=900_000)
    assert "Note: these models have not learned 'antelope' (nearest: 'zebra'); they know" in tab.locator('[role=alert]').inner_text()
    tab.get_by_role('button', name='stop').click()
    assert finished(tab)[-1] == {'stopped': True}
    assert re.match(r'Stopped; \d of \d edits were made\.', tab.get_by_role('status').inner_text())
    assert tab.get_by_role('button', name='edit').is_enabled() and tab.get_by_role('button', name='stop').is_disabled()
    tab.evaluate(axe + ';undefined')
    for scheme in ('light', 'dark'):
        tab.emulate_media(color_scheme=scheme)
        for width in (360, 900, 1400):
            tab.set_viewport_size(dict(width=width, height=900))
            assert tab.evaluate('document.documentElement.scrollWidth') <= width
        said = tab.evaluate('axe.run()')
        assert [(v['id'], v['nodes'][0]['html'][:120]) for v in said['violations'] if v['impact'] in ('serious', 'critical')] == []
    reached = []
    tab.locator('input[name=own-scene]').nth(2).focus()
    for _ in range(6):
        tab.keyboard.press('Tab')
        reached.append(tab.evaluate('document.activeElement.labels?.[0]?.innerText ?? document.activeElement.textContent'))
    assert [r.split('\n')[0] for r in reached[:5]] == ['or a file of your own', 'what is there', 'what should be there', 'noise', 'edit']
    assert tab.wrong == []
    tab.close()

@pytest.mark.slow
def test_a_page_without_models_says_so(browser, tmp_path):
    import site_check
    for name in ('own.js', 'engine.js'): shutil.copy(TRY/name, tmp_path/name)
    (tmp_path/'own.html').write_text(PAGE.replace('try/', ''), encoding='utf8')
    server, tab = site_check.serve(tmp_path), browser.new_page()
    tab.goto(f'http://127.0.0.1:{server.server_port}/own.html')
    tab.wait_for_function("document.getElementById('own-words').innerText.includes('tools/web_models.py makes them')")
    tab.close()
    server.shutdown()
