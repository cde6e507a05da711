"""Execute notebooks in place and keep what they show; say in each lesson how long it took and what
it needed.

    python tools/stamp_lessons.py                        # the lessons in nbs/course
    python tools/stamp_lessons.py --pages nbs            # every page, the lessons among them
    python tools/stamp_lessons.py --pages nbs/api nbs/index.ipynb --resume

Each notebook runs in a process of its own, one after the other. In a lesson, the line that begins
with `*Run time and memory:` is replaced by what was measured. Pictures are stored with a palette,
the explorer as its page, packed for looking at, and of other widgets, which mean nothing without
their process, nothing; the rest is cleaned as `nbdev_clean` does it. A notebook that fails stays as
it was, and is named at the end. After an interruption or a failure, --resume skips what the last
round has done and nobody has changed since.
"""
import argparse, base64, hashlib, io, json, os, platform, re, sys, time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COURSE, STATE = ROOT/'nbs'/'course', ROOT/'build'/'stamp_lessons.json'
STAMP = '*Run time and memory:'
VIEW = 'application/vnd.jupyter.widget-view+json'
PEAK = (        # resident memory at its height, bytes; ru_maxrss would count what the parent had
    "import re, resource, sys; from pathlib import Path; status = Path('/proc/self/status');"
    " print(int(re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1]) * 1024 if status.exists()"
    " else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    " * (1 if sys.platform == 'darwin' else 1024))"
)

def find_pages(paths: list) -> list:
    "Notebooks named, or below a folder named."
    found = [p for path in paths
             for p in (sorted(path.rglob('*.ipynb')) if path.is_dir() else [path])]
    return [p.resolve() for p in found if '.ipynb_checkpoints' not in p.parts]

def execute(notebook, folder: Path, timeout: int) -> tuple:
    "Run all cells in a new process; seconds of the cells, and peak resident bytes of the process."
    import nbclient, nbformat
    client = nbclient.NotebookClient(notebook, timeout=timeout, startup_timeout=300,
                                     kernel_name='python3', store_widget_state=False,
                                     resources={'metadata': {'path': str(folder)}})
    with client.setup_kernel():
        start = time.perf_counter()
        for i, cell in enumerate(notebook.cells): client.execute_cell(cell, i)
        seconds = time.perf_counter() - start
        notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
        probe = client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
        notebook.cells.pop()
    return seconds, int(probe.outputs[0].text)

def smaller(png: str) -> str:
    "A picture in base64 with a palette of 256 colours, if that is smaller."
    from PIL import Image
    image, buffer = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if image.mode == 'RGBA':
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    rare_colours_too = dict(method=Image.Quantize.MAXCOVERAGE, kmeans=1)
    image.convert('RGB').quantize(256, **rare_colours_too).save(buffer, 'PNG', optimize=True)
    packed = base64.b64encode(buffer.getvalue()).decode()
    return packed if len(packed) < len(png) else png

def lighter(html: str) -> str:
    "A page in an output with its pictures packed for looking at, without the editor's windows."
    def picture(found):
        from PIL import Image
        buffer, old = io.BytesIO(), found[1]
        picture = Image.open(io.BytesIO(base64.b64decode(old)))
        picture.convert('RGB').save(buffer, 'WEBP', quality=80)
        new = base64.b64encode(buffer.getvalue()).decode()
        return 'data:image/webp;base64,' + min(new, old, key=len)
    html = re.sub(r', "window": \[[^]]*\], "crop": "[^"]*"', '', html)
    return re.sub('data:image/webp;base64,([A-Za-z0-9+/=]+)', picture, html)

def tidy(notebook):
    "Outputs as they are stored."
    for cell in notebook.cells:
        if cell.cell_type != 'code': continue
        cell.outputs = [o for o in cell.outputs if o.get('data', {}).pop(VIEW, None) is None
                        or 'text/html' in o.data]
        for o in cell.outputs:
            data = o.get('data', {})
            if 'class="rex-still"' in data.get('text/html', ''):
                data['text/html'] = lighter(data['text/html'])
            if 'image/png' not in data: continue
            data['image/png'] = smaller(data['image/png'])
            data.pop('image/jpeg', None)      # the same picture once more

def stamp(notebook, seconds: float, peak: int):
    "Replace the line that says what a lesson needs. Raises `ValueError` if there is not one."
    found = [(cell, line) for cell in notebook.cells if cell.cell_type == 'markdown'
             for line in cell.source.split('\n') if line.startswith(STAMP)]
    if len(found) != 1:
        raise ValueError(f'expected one line that begins with {STAMP!r}, got {len(found)}')
    cell, line = found[0]
    cell.source = cell.source.replace(
        line, f'{STAMP} {seconds:.0f} s and {peak / 1e9:.1f} GB on {os.cpu_count()} cores of a '
              f'plain {platform.machine()} machine, without a GPU ({date.today()}).*')

def refresh(page: Path, timeout: int) -> str:
    "Execute one page and store it; what to print about it."
    import nbformat
    from nbdev.clean import nbdev_clean
    notebook = nbformat.read(page, as_version=4)
    notebook.metadata.pop('widgets', None)
    seconds, peak = execute(notebook, page.parent, timeout)
    if COURSE in page.parents and page.name[0].isdigit(): stamp(notebook, seconds, peak)
    tidy(notebook)
    partial = page.with_suffix('.ipynb.partial')
    nbformat.write(notebook, partial)
    os.replace(partial, page)
    nbdev_clean(str(page))
    size, budget = page.stat().st_size / 1024, 150 if ROOT/'nbs'/'api' in page.parents else 600
    return (f'{seconds:6.1f} s {peak / 1e9:5.2f} GB {size:5.0f} KB'
            + (f', more than the {budget} KB a page may weigh' if size > budget else ''))

def digest(page: Path) -> str: return hashlib.sha256(page.read_bytes()).hexdigest()

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--pages', nargs='+', type=Path, default=[COURSE],
                        help='notebooks or folders (default: nbs/course)')
    parser.add_argument('--resume', action='store_true', help='skip what the last round has done')
    parser.add_argument('--timeout', type=int, default=900,
                        help='seconds a cell may take (default: 900)')
    args = parser.parse_args()
    pages = find_pages(args.pages)
    os.environ.update(IN_TEST='1', MPLBACKEND='module://matplotlib_inline.backend_inline',
                      HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None,
                                                      (str(ROOT), os.environ.get('PYTHONPATH'))))
    done = json.loads(STATE.read_text()) if args.resume and STATE.exists() else {}
    os.chdir(ROOT)      # where nbdev finds its settings
    failed = []
    for page in pages:
        name = page.relative_to(ROOT).as_posix()
        if done.get(name) == digest(page): print(f'{name:44} done before'); continue
        try: print(f'{name:44} {refresh(page, args.timeout)}', flush=True)
        except Exception as error:
            failed.append(f'{name}: {str(error).strip().splitlines()[-1]}')
            print(f'{name:44} FAILED: {error}', flush=True)
            continue
        done[name] = digest(page)
        STATE.parent.mkdir(exist_ok=True)
        STATE.write_text(json.dumps(done, indent=1))
    print('\n'.join([f'\n{len(failed)} failed:', *failed]) if failed else '\nall executed')
    return int(bool(failed))

if __name__ == '__main__': sys.exit(main())
