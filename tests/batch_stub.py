"""A stand-in for the editor of a batch, slow enough to be killed in the middle.

As a program: batch_stub.py JOBS IMAGES OUT LOG [option=value ...], one process of a batch; says `go` and begins when it is told to by a line.
"""
import hashlib, json, sys, time
from pathlib import Path

from PIL import Image

from regionedit.batch.run import run_batch
from regionedit.method.core import open_image
from regionedit.batch.jobs import read_jobs

class StubResult:
    "Three files, written one after the other."
    def __init__(self, source, facts, pause): self.source, self.facts, self.pause = source, facts, pause
    def save(self, folder):
        colour = tuple(hashlib.sha256(json.dumps(self.facts).encode()).digest()[:3])
        for name, image in (('source', self.source), ('edit', Image.blend(self.source, Image.new('RGB', self.source.size, colour), .5))):
            time.sleep(self.pause)
            image.save(folder/f'{name}.png')
        (folder/'edits').mkdir()
        (folder/'edits'/'000.txt').write_text(str(colour))
        time.sleep(self.pause)
        (folder/'result.json').write_text(json.dumps(dict(self.facts, box=[1, 2, 3, 4], score=.5, num_edits=1)))

class StubEditor:
    "Called like a `RegionEditor`; writes a line to `log` when it is loaded and for each picture that it begins."
    def __init__(self, log: Path, pause: float = 0.):
        self.log, self.pause, self.cache = log, pause, {}
        self.tell('loaded')
    def tell(self, line):
        with open(self.log, 'a') as f: f.write(line + '\n')
    def __call__(self, image, prompt, source, progress=True, **options):
        assert progress is False and self.cache == {}, 'a job must not see what was left by another'
        self.cache['left'] = prompt
        self.tell(Path(image).name)
        if prompt == 'interrupt': raise KeyboardInterrupt
        if prompt == 'full': raise OSError(28, 'No space left on device')
        return StubResult(open_image(image), dict(prompt=prompt, source=source, **options), self.pause)

if __name__ == '__main__':
    jobs, images, out, log, *options = sys.argv[1:]
    options = {k: json.loads(v) for k, v in (o.split('=', 1) for o in options)}
    pause = options.pop('pause', .01)
    print('go', flush=True)
    sys.stdin.readline()
    print(json.dumps(run_batch(read_jobs(jobs), images, out, lambda: StubEditor(Path(log), pause), progress=False, poll=.02, **options)))
