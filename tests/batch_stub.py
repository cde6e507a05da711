"""A stand-in for the editor of a batch, slow enough to be killed in the middle.

As a program: batch_stub.py JOBS IMAGES OUT LOG [option=value ...], one run of a batch; prints what
summary.json says, or the sentence of what stopped it.
"""
import hashlib, json, os, sys, time
from functools import partial
from pathlib import Path

from PIL import Image

from regionedit.batch.jobs import read_jobs
from regionedit.batch.run import run_batch
from regionedit.method.core import open_image

class StubResult:
    "Three files, written one after the other."
    def __init__(self, source, facts, ready): self.source, self.facts, self.ready = source, facts, ready
    def save(self, folder):
        colour = tuple(hashlib.sha256(json.dumps(self.facts).encode()).digest()[:3])
        paint = Image.new('RGB', self.source.size, colour)
        self.source.save(folder/'source.png')
        Image.blend(self.source, paint, .5).save(folder/'edit.png')
        (folder/'edits').mkdir()
        time.sleep(max(0, self.ready - time.perf_counter()))
        (folder/'edits'/'000.txt').write_text(str(colour))
        (folder/'result.json').write_text(json.dumps(dict(self.facts, box=[1, 2, 3, 4], score=.5, num_edits=1)))

class StubEditor:
    """Called like a `RegionEditor`; a call and its save take `pause` seconds together. Says in `log`
    when it is loaded, which picture it begins, and `twice` if that one's result is in `out` already."""
    def __init__(self, log: Path, pause: float = 0., out: Path = None):
        self.log, self.pause, self.out, self.cache = Path(log), pause, out, {}
        self.tell('loaded')
    def tell(self, line):
        with open(self.log, 'a') as f: f.write(line + '\n')
    def __call__(self, image, prompt, source, progress=True, **options):
        ready = time.perf_counter() + self.pause
        assert progress is False and self.cache == {}, 'a job must not see what was left by another'
        self.cache['left'] = prompt
        if self.out and any((Path(self.out)/sub/Path(image).name/'job.json').exists() for sub in ('', 'sub')): self.tell('twice')
        self.tell(Path(image).name)
        if prompt == 'interrupt': raise KeyboardInterrupt
        if prompt == 'die': os._exit(1)
        if prompt == 'full': raise OSError(28, 'No space left on device')
        return StubResult(open_image(image), dict(prompt=prompt, source=source, **options), ready)

def no_models(): raise RuntimeError('no model')

if __name__ == '__main__':
    jobs, images, out, log, *options = sys.argv[1:]
    options = {k: json.loads(v) for k, v in (o.split('=', 1) for o in options)}
    load = partial(StubEditor, log, options.pop('pause', .01), out)
    try: print(json.dumps(run_batch(read_jobs(jobs), images, out, load, progress=False, **options)))
    except (ValueError, OSError) as error: print(f'stopped: {error}'); raise SystemExit(2) from None
