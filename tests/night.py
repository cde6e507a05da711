"A night of edits for tests: pictures, a job file, ways to run it, and what one sees in the morning."
import json, os, subprocess, sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from batch_stub import StubEditor
from regionedit.batch import run
from regionedit.batch.jobs import read_jobs

STUB = Path(__file__).parent/'batch_stub.py'
ROOT = STUB.parent.parent
ENVIRON = dict(os.environ, PYTHONPATH=os.pathsep.join((str(ROOT), str(STUB.parent))))    # of other processes

def picture(path: Path, seed: int):
    "Noise of 11 x 7 pixels."
    pixels = np.random.default_rng(seed).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)

def counts(summary: dict) -> tuple: return tuple(summary[k] for k in ('done', 'failed', 'open', 'made'))

class Night:
    "A folder of pictures, a job file, and how to run it here or in another process."
    def __init__(self, root: Path, count: int, broken=()):
        self.root, self.images, self.file = root, root/'images', root/'jobs.json'
        (self.images/'sub').mkdir(parents=True)
        self.names = [f'sub/{i}.png' if i % 3 == 2 else f'{i}.png' for i in range(count)]
        for i, name in enumerate(self.names):
            if i in broken: (self.images/name).write_bytes(b'no picture')
            else: picture(self.images/name, i)
        self.file.write_text(json.dumps({n: ['a thing', f'prompt {i} <b>'] for i, n in enumerate(self.names)}))

    def run(self, out='out', jobs=None, pause=0., load=None, **options) -> dict:
        load = load or partial(StubEditor, self.root/'log', pause)
        return run.run_batch(jobs or read_jobs(self.file), self.images, self.root/out, load, progress=False, **options)

    def start(self, out='out', **options) -> subprocess.Popen:
        "The same in another process, which ends with a line of JSON or a sentence."
        options = [f'{k}={json.dumps(v)}' for k, v in options.items()]
        command = [sys.executable, STUB, self.file, self.images, self.root/out, self.root/'log', *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON)

    def log(self) -> list:
        "What the editors did since the last look."
        path = self.root/'log'
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def finished(self, out='out') -> int:
        "How many results lie there; others may be coming and going."
        return sum('job.json' in files and run.HOME not in Path(where).parts for where, _, files in os.walk(self.root/out))

    def tree(self, out='out') -> dict:
        "Every byte of every result, without the notes of who did it and when."
        folder = self.root/out
        results = [Path(where) for where, _, files in os.walk(folder) if 'job.json' in files and run.HOME not in Path(where).parts]
        found = {p.relative_to(folder).as_posix(): p.read_bytes() for result in results for p in result.rglob('*') if p.is_file()}
        for name in [n for n in found if n.endswith('job.json')]:
            found[name] = {k: v for k, v in json.loads(found[name]).items() if k not in ('host', 'run', 'seconds')}
        return found

    def leftovers(self, out='out') -> list:
        return [*(self.root/out/run.HOME/'unfinished').glob('*'), *(self.root/out).rglob('*.new')]

    def path(self, name: str, out='out') -> Path: return self.root/out/name
