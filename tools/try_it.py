"""Make the edits of the page "Try it": python tools/try_it.py [--scenes N] [--fresh]

Twelve scenes that no model was trained on (the first twelve, not the best), two prompts each, both
painters: 48 bundles in nbs/try, which the page loads one at a time. They are made and not stored,
so that they are always those of the models in this tree and the repository does not grow by 20 MB
with every new model. What is there already and comes from the same weights is kept, so an
interrupted run goes on. --fresh makes all anew, after a change of code.
"""
import argparse, hashlib, json, os, re, sys, tempfile, time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT, SCENES, PAINTERS = ROOT/'nbs'/'try', 12, ('pocket', 'pocket-maskgit')
FIRST = 500_000         # of the scenes that nothing else looks at
OTHERS = ('rloo', 'gumbel')     # estimators beside the default, for the view of learning

def scene(n: int) -> tuple:
    "Scene n of the page: the drawn scene, the phrase for its first thing, two prompts."
    from regionedit.pocket.judge import another
    from regionedit.pocket.scenes import SEEDS, article, draw_scene
    seed = SEEDS['bench'][FIRST + n]
    drawn = draw_scene(seed, num_objects=1 + n % 2)
    name, wanted = drawn.objects[0].name, []
    for turn in range(99):
        other = another(seed + turn, name)
        if other not in wanted: wanted.append(other)
        if len(wanted) == 2: break
    return drawn, article(name), [article(w) for w in wanted]

def weights() -> str:
    "A digest of all bundled weights."
    found = hashlib.sha256()
    models = ROOT/'regionedit'/'pocket'/'models'
    for file in sorted(models.rglob('*.safetensors')): found.update(file.read_bytes())
    return found.hexdigest()[:16]

def bundle_of(result, editor, truth) -> dict:
    "What the page of a result shows, with the models' own words."
    from regionedit.explorer.record import learn_again
    runs = {name: learn_again(result, name, editor.vit, editor.clip) for name in OTHERS}
    with tempfile.TemporaryDirectory() as folder:
        page = result.to_html(Path(folder)/'edit.html', editor=editor, runs=runs, truth=truth)
        text = page.read_text(encoding='utf8')
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text)[1])

def write(path: Path, text: str):
    partial = path.with_suffix('.partial')
    partial.write_text(text, encoding='utf8')
    partial.replace(path)

def is_there(file: Path, key: str) -> bool:
    return file.exists() and json.loads(file.read_text(encoding='utf8'))['weights'] == key

@lru_cache
def load(painter: str):
    "The models of a preset, once a process."
    from regionedit import RegionEditor
    return RegionEditor.from_pretrained(painter)

def make(job: tuple):
    "One bundle: of a scene, a prompt and a painter."
    out, key, n, p, painter = job
    file, start = out/f'{n:02}-{p}-{painter}.json', time.perf_counter()
    drawn, source, prompts = scene(n)
    editor = load(painter)
    result = editor(drawn.image, prompt=prompts[p], source=source, seed=0, progress=False)
    bundle = bundle_of(result, editor, drawn.objects[0].box) | dict(weights=key)
    write(file, json.dumps(bundle, allow_nan=False))
    print(f'{file.name:26} {source} -> {prompts[p]}: {file.stat().st_size / 1000:.0f} KB, '
          f'{time.perf_counter() - start:.0f} s', flush=True)

def menu_of(scenes: int) -> list:
    "What the page offers."
    from regionedit.explorer.bundle import webp
    rows = []
    for drawn, source, prompts in map(scene, range(scenes)):
        thumb = webp(drawn.image.resize((96, 96)), exact=False)
        rows.append(dict(source=source, prompts=prompts, painters=PAINTERS, picture=thumb,
                         caption=drawn.caption))
    return rows

def one_thread():
    import torch
    torch.set_num_threads(1)

def make_all(out: Path, scenes: int, fresh: bool = False, workers: int = os.cpu_count()):
    "The bundles, a process a core; the script of the explorer beside them; the menu."
    from regionedit.explorer.bundle import asset
    out.mkdir(parents=True, exist_ok=True)
    for name in ('explorer.js', 'explorer.css'): write(out/name, asset(name))
    key = weights()
    jobs = [(out, key, *job) for job in product(range(scenes), range(2), PAINTERS)]
    left = [j for j in jobs if fresh or not is_there(out/'{2:02}-{3}-{4}.json'.format(*j), key)]
    if workers == 1: list(map(make, left))
    else:
        with ProcessPoolExecutor(workers, get_context('spawn'), one_thread) as pool:
            list(pool.map(make, left))
    write(out/'menu.json', json.dumps(menu_of(scenes), ensure_ascii=False))
    size = sum(f.stat().st_size for f in out.glob('*.json'))
    print(f'{4 * scenes} edits of {scenes} scenes, {size / 1e6:.1f} MB in {out}')

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=SCENES, help=f'how many (default: {SCENES})')
    parser.add_argument('--fresh', action='store_true', help='make all anew')
    args = parser.parse_args()
    make_all(OUT, args.scenes, args.fresh)
    return 0

if __name__ == '__main__': sys.exit(main())
