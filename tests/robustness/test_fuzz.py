"A thousand calls with files and arguments drawn from one seed: a clean result or one sentence, no traceback, nothing written outside --out."
import io, json, os, warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.cli import main
from regionedit.method.config import RANGES
from regionedit.method.core import ModelNotAvailable
from regionedit import RegionEditor
from regionedit import EditResult
from stubs import StubClip, StubEditor, picture, stub_vit

MODES = ('1', 'L', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'I', 'F', 'LA', 'I;16')
FORMS = ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'PPM')
SIDES = (1, 2, 7, 16, 33, 64, 120, 700)
TEXTS = ('a rocket', 'a cat', ' ', '', 'x' * 5000, 'a\x00b', '\x1b[2J', 'a\udce4b', '一个红苹果 🍎', 'עברית', '../../up', '/etc/passwd', '-rf', '--', '%s%n{0}', 'a\nb', '\u200b', '"; rm *', 'nul', '$(touch here)', '<b>')
VALUES = ('0', '1', '-1', '2', '3', '7', '64', '65', '256', '257', '.5', '1e-9', '1e6', '1e7', 'nan', 'inf', '-inf', '', ' ', 'x', '1,5', '٣', '0x10', '1_0', '9' * 400, '99999999999999999999', 'True', 'None', 'spread', 'topk', 'align', 'exact', 'rloo')

class Fuzz:
    "One case: a folder of its own, a picture, a command."
    def __init__(self, seed: int, root: Path):
        self.rng, self.root = np.random.default_rng(seed), root
        self.images, self.out = root/'images', root/'work'/'out'
        for folder in (self.images, root/'work'): folder.mkdir(parents=True)

    def any(self, values): return values[int(self.rng.integers(len(values)))]
    def chance(self, p: float) -> bool: return bool(self.rng.random() < p)

    def picture(self) -> bytes:
        "A whole picture of any mode, shape and format."
        image = picture(self.any(SIDES), self.any(SIDES), int(self.rng.integers(1000)))
        if self.chance(.15): image = Image.new('RGB', image.size, self.any(('black', 'white', 'red')))
        image, buffer = image.convert('L').convert(self.any(MODES)) if self.chance(.5) else image, io.BytesIO()
        if self.chance(.2): image.getexif()[0x0112] = int(self.rng.integers(0, 12))
        try: image.save(buffer, self.any(FORMS), exif=image.getexif())
        except (OSError, ValueError, KeyError): image.convert('RGB').save(buffer, 'PNG')
        return buffer.getvalue()

    def damaged(self, data: bytes) -> bytes:
        data = bytearray(data)
        for i in self.rng.integers(0, len(data), int(self.rng.integers(1, 9))): data[i] = int(self.rng.integers(256))
        return bytes(data[:int(self.rng.integers(len(data)))]) if self.chance(.4) else bytes(data)

    def image(self) -> str:
        "A path: mostly of a picture, often damaged, sometimes of something else."
        path = self.images/self.any(('a.png', 'ü 漢.jpg', '-a', 'a\nb', 'noending', '.hidden'))
        kind = self.any(('whole',) * 9 + ('damaged',) * 3 + ('empty', 'text', 'folder', 'missing', 'pipe', 'long', 'loop'))
        if kind in ('whole', 'damaged'): data = self.picture(); path.write_bytes(data if kind == 'whole' else self.damaged(data))
        elif kind == 'empty': path.touch()
        elif kind == 'text': path.write_text(self.any(('{}', '<svg/>', 'GIF89a', '%!PS-Adobe')))
        elif kind == 'folder': path.mkdir()
        elif kind == 'pipe': os.mkfifo(path)
        elif kind == 'loop': os.symlink(path.name, path)
        return str(path) * (40 if kind == 'long' else 1)

    def command(self) -> list:
        "`edit` or `batch` with options good and bad."
        words = ['edit', self.image(), *self.texts()] if self.chance(.75) else ['batch', self.jobs(), '--image-dir', str(self.images)]
        for _ in range(int(self.rng.integers(0, 4))): words += self.option()
        if self.chance(.1): words.append(self.any(('--json', '--overwrite', '--demo', '', '-', 'more', '--out')))
        if self.chance(.05): words.pop(int(self.rng.integers(len(words))))
        return words + ['--num-anchors', self.any('123'), '--num-proposals', self.any('12'), '--learning-steps', '2', '--out', str(self.place())]

    def option(self) -> list:
        "One in three times any option with any value, else one within its range."
        if self.chance(.3): return [f'--{self.any(sorted(RANGES) + ["roi", "anchors", "estimator", "magic"])}', self.any(VALUES)]
        name = self.any(sorted(RANGES))
        kind, low, high = RANGES[name]
        return [f'--{name}', str(kind(self.any((low, high, low + min(high - low, 3) * self.rng.random()))))]

    def texts(self) -> list:
        good = self.chance(.8)
        return ['--source', 'a cat' if good else self.any(TEXTS), '--prompt', 'a rocket' if good else self.any(TEXTS)]

    def jobs(self) -> str:
        path = self.root/f'jobs{self.any((".json", ".jsonl", ".csv", ".txt"))}'
        name = Path(self.image()).name
        text = json.dumps({name: [self.any(TEXTS), self.any(TEXTS)], '../up.png': ['a', 'b']} if self.chance(.1) else {name: [self.any(TEXTS), self.any(TEXTS)]})
        if path.suffix == '.jsonl': text = json.dumps([name, self.any(TEXTS), self.any(TEXTS)])
        if path.suffix == '.csv': text = f'image,source,prompt\n"{name}",a cat,a rocket\n'
        data = text.encode('utf8', 'surrogatepass')
        path.write_bytes(self.damaged(data) if self.chance(.3) else data)
        return str(path)

    def place(self) -> Path:
        "Where the results shall go: mostly to a folder that can be."
        if self.chance(.9): return self.out
        kind = self.any(('file', 'below', 'long', 'foreign', 'odd'))
        if kind == 'below': (self.root/'file').write_text('in the way')
        if kind == 'file': self.out.write_text('in the way')
        if kind == 'foreign': self.out.mkdir(); (self.out/'edit.png').write_text('mine')
        return dict(below=self.root/'file'/'x', long=self.out/('x' * 300), odd=self.out/'ü\n\x1b').get(kind, self.out)

    def outside(self) -> dict:
        "Every file that is not of the output."
        return {p: p.lstat().st_mtime_ns for p in self.root.rglob('*') if self.out not in (p, *p.parents) and p != self.root/'work'}

@pytest.fixture(scope='module')
def editor() -> RegionEditor: return RegionEditor(stub_vit(), StubClip(), StubEditor())

def run_case(case: Fuzz, capfd, monkeypatch) -> tuple:
    "Run it and judge it; status and message."
    words, before = case.command(), case.outside()
    monkeypatch.chdir(case.root/'work')
    try: status = main(words)
    except SystemExit as stop: status = stop.code       # --help
    out, err = capfd.readouterr()
    assert status in ((0, 2, 3) if words[0] == 'batch' else (0, 2)) and 'Traceback' not in out + err, (words, status, err)
    if status == 2: assert out == '' and err.splitlines() and err.splitlines()[-1].startswith('regionedit: ') and not [l for l in err.splitlines() if not l.startswith('regionedit: ')], (words, err)
    assert all(l.isprintable() for l in err.splitlines()) or 'batch' in words, (words, err)
    added = {p for p in case.outside().items()} - set(before.items())
    assert {p for p, _ in added} <= {case.images} and case.outside().keys() == before.keys(), (words, added)
    if status == 0 and words[0] == 'edit' and (case.out/'result.json').exists(): check_result(EditResult.load(case.out))
    return status, err

def check_result(result: EditResult):
    changed = (np.asarray(result.image) != np.asarray(result.source_image)).any(-1)
    x0, y0, x1, y1 = result.box
    assert result.image.size == result.source_image.size and changed.sum() == changed[y0:y1, x0:x1].sum() and np.isfinite(result.score)

@pytest.mark.parametrize('first, count', [(0, 60), pytest.param(60, 940, marks=pytest.mark.slow)])
def test_a_thousand_commands(editor, tmp_path, capfd, monkeypatch, first, count):
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', lambda *args, **kwargs: editor)
    found = {0: 0, 2: 0, 3: 0}          # 3: a batch with failed jobs
    for seed in range(first, first + count):
        status, _ = run_case(Fuzz(seed, tmp_path/str(seed)), capfd, monkeypatch)
        found[status] += 1
    assert min(found[0], found[2]) > count / 10, found     # both ends are really reached

ARGUMENTS = [None, 3, 2.5, -1, True, float('nan'), float('inf'), 10**30, '', 'x', b'x', [], {}, (), object(), np.float32(.5), np.int64(2), np.ones(3), torch.tensor(2), 1j, type, len, Path('x')]

@pytest.mark.parametrize('first, count', [(0, 60), pytest.param(60, 940, marks=pytest.mark.slow)])
def test_a_thousand_calls_with_any_values(editor, first, count):
    "The same for the call itself: values of any type in the place of any argument."
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        arguments = dict(image=picture(*rng.integers(1, 60, 2).tolist(), seed).convert(MODES[seed % 8]), prompt='a rocket', source='a cat', progress=False, num_anchors=2, num_proposals=2, learning_steps=2)
        for name in [] if rng.random() < .3 else rng.choice(['image', 'prompt', 'source', 'generator', *RANGES, 'anchors', 'roi', 'estimator'], rng.integers(1, 3), replace=False): arguments[name] = ARGUMENTS[rng.integers(len(ARGUMENTS))]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try: check_result(editor(**arguments))
            except (ValueError, FileNotFoundError, ModelNotAvailable) as error: assert str(error).startswith('expected ') and str(error).isprintable() and len(str(error)) < 700, (arguments, str(error))
