"""Makes the tables of validation scenes from which the weight of the evidence was chosen.

    python tools/source_tables.py --scenes 4 --out nbs/results/data/source_weight.safetensors
    python tools/source_tables.py --scenes 20 --oracle \\
        --out nbs/results/data/source_weight_oracle.safetensors

It can be stopped and started again; what other models or older code made is refused. The page The
named thing (nbs/results/02_source_weight.ipynb) reads them.
"""
from itertools import count
from pathlib import Path
import argparse

import numpy as np
import torch
from tqdm.auto import tqdm

from regionedit.bench.baselines import BenchTask, Remembering
from regionedit.bench.ablations import verdicts
from regionedit.bench.rows import Case, refuse_others, settings_of
from regionedit.method.config import Config, Task
from regionedit.method.regions import choose_anchors
from regionedit.method.attention import attend
from regionedit.method.edits import edit_boxes
from regionedit.pocket.judge import another
from regionedit.pocket.rgn import oracle_edits, wanted
from regionedit.pocket.scenes import SEEDS, article, draw_scene
from regionedit.method.regions import proposal_sizes, propose
from regionedit.method.losses import source_evidence
from regionedit.method.table import distinct, measure

FACTS = ('loss', 'score', 'tight', 'wide', 'gone', 'replaced', 'iou', 'named', 'clip_says',
         'recogniser_says')
FIRST = {1: 810_000, 2: 820_000}    # number of objects -> the first validation scene

def widened(box: tuple, size: tuple, by: float = 1.5) -> tuple:      # XYXY int
    "A box with more around it, cut at the border."
    middle = [(box[i] + box[i + 2]) / 2 for i in (0, 1)]
    half = [(box[i + 2] - box[i]) * by / 2 for i in (0, 1)]
    low, high = ([round(m + s * h) for m, h in zip(middle, half)] for s in (-1, 1))
    return max(0, low[0]), max(0, low[1]), min(size[0], high[0]), min(size[1], high[1])

def drawn_case(seed: int, num_objects: int) -> tuple:       # `Scene`, `Case`
    "A validation scene; the source names the first object, the prompt what is not there."
    scene = draw_scene(seed, num_objects=num_objects)
    names = [o.name for o in scene.objects]
    wish = next(n for n in (another(seed + j, names[0]) for j in count()) if n not in names)
    task = BenchTask(scene.image, article(wish), article(names[0]), scene.objects[0].box, seed)
    return scene, Case(seed, seed, task, wish, tuple(o.box for o in scene.objects[1:]), names[0])

@torch.no_grad()
def observe(
    models,                 # has `vit`, `clip` and, with a judge, `editor`
    seed: int, num_objects: int,
    judge=None,             # `Recogniser`; None: the edits are the oracle's
) -> torch.Tensor:          # (k m f) float
    "Everything about every proposal of a scene, the columns of `FACTS`."
    scene, case = drawn_case(seed, num_objects)
    image, source, clip = scene.image, case.task.source, models.clip
    anchors = choose_anchors(attend(models.vit, image))
    boxes, index = distinct(propose(anchors, proposal_sizes(), image.size))
    wish = dict(wanted(np.random.default_rng([seed, 13]), scene), name=case.wanted)
    edits = (oracle_edits(scene, boxes, **wish) if judge is None else
        edit_boxes(models.editor, image, boxes, case.task.prompt, seed))
    *terms, s_t2i, s_i2i = measure(clip, Task(image, case.task.prompt, source), edits).unbind(1)
    wide, whole = [widened(b, image.size) for b in boxes], [(0, 0, *image.size)]
    still = [-source_evidence(clip, e.paste(image), whole, source) for e in edits]
    found = verdicts(models, judge, case, edits) | dict(loss=sum(terms),
        score=2 * s_t2i + s_i2i, tight=source_evidence(clip, image, boxes, source),
        wide=source_evidence(clip, image, wide, source), gone=torch.cat(still))
    return torch.stack([found[f].float() for f in FACTS], -1)[index]

def read(path: Path) -> tuple:      # key -> (k m f), settings
    "What there is."
    from safetensors import safe_open
    if not path.exists(): return {}, ''
    with safe_open(path, 'pt') as f:
        return {k: f.get_tensor(k) for k in f.keys()}, (f.metadata() or {}).get('settings', '')

def main():
    "Make the tables of validation scenes: the editor's, or with --oracle those of true sprites."
    from safetensors.torch import save_file
    from regionedit.models.pretrained import RegionEditor
    from regionedit.pocket.judge import load_recogniser
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--scenes', type=int, default=10, help='of each number of objects '
        '(default: 10)')
    parser.add_argument('--oracle', action='store_true',
        help='paint true sprites instead of editing')
    parser.add_argument('--out', type=Path, default=Path('source_weight.safetensors'))
    args = parser.parse_args()
    models, judge = RegionEditor.from_pretrained(
        'pocket'), None if args.oracle else load_recogniser()
    models.clip = Remembering(models.clip)
    made = settings_of(models, judge, Config())
    known, before = read(args.out)
    refuse_others(args.out, len(known) if before != made else 0, len(known))
    for num_objects, i in tqdm([(n, i) for i in range(args.scenes) for n in FIRST]):
        seed = SEEDS['validation'][FIRST[num_objects] + i]
        key = f'{"oracle" if args.oracle else "pocket"}.{num_objects}.{seed}'
        if key in known: continue
        known[key] = observe(models, seed, num_objects, judge).contiguous()
        save_file(known, args.out, metadata=dict(settings=made))

if __name__ == '__main__': main()
