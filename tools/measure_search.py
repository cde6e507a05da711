"""How well previews choose, and what a CLIP of another spread chooses: figures for the pages
Budgets, Previews and Edit table.

    python tools/measure_search.py previews [--preset pocket-maskgit] [--scenes 24] [--steps 2 4]
    python tools/measure_search.py scales [--scenes 24]

`previews`: the whole search with previews beside the paper's way, on fresh scenes: rank correlation
of the losses of all boxes, and *replaced*, as a share of what the full table reaches: the second
judge names the new thing in the box, does not name the old one in its true box, and the box covers
70 % of that. `scales`: tables of the oracle, which paints a true sprite into any box, measured with
pocket CLIP and with the same features pushed into a narrow cone by a large common vector, as public
CLIPs have them, in two ways; the box chosen on either scale of values. Each prints a line a scene
and the means at the end; take all the time of one core.
"""
import argparse, json

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from regionedit import RegionEditor
from regionedit.bench.baselines import Remembering
from regionedit.method.attention import attend
from regionedit.method.clip import ImageFeatures
from regionedit.method.config import Config, Task
from regionedit.method.core import box_iou
from regionedit.method.regions import choose_anchors, proposal_sizes, propose
from regionedit.method.table import (MEASURES, UNITS, distinct, measure, on_scale, seen_in,
                                     table_of)
from regionedit.pocket import draw_scene
from regionedit.pocket.judge import another, load_recogniser, recognise
from regionedit.pocket.rgn import oracle_edits
from regionedit.pocket.scenes import STYLES, article

FIRST = 1_700_000       # of validation scenes that no figure was made with

def case(seed: int) -> tuple:       # scene, object, name of the new thing
    scene = draw_scene(seed, num_objects=1 + seed % 2)
    return scene, scene.objects[0], another(seed, scene.objects[0].name)

def covered(box: tuple, truth: tuple) -> float:
    "Share of the truth that lies in the box."
    sides = [max(0, min(box[i + 2], truth[i + 2]) - max(box[i], truth[i])) for i in (0, 1)]
    return sides[0] * sides[1] / ((truth[2] - truth[0]) * (truth[3] - truth[1]))

def replaced(judge, result, old, new: str) -> bool:
    inside, there = recognise(judge, [result.image.crop(b) for b in (result.box, old.box)])
    return inside == new and there != old.name and covered(result.box, old.box) >= .7

def means(rows: list) -> dict:
    return {k: round(sum(float(r[k]) for r in rows) / len(rows), 3) for k in rows[0]}

def previews(args):
    models, judge, found = RegionEditor.from_pretrained(args.preset), load_recogniser(), {}
    for seed in range(FIRST, FIRST + args.scenes):
        scene, old, new = case(seed)
        def run(**options):
            return models(scene.image, article(new), article(old.name), seed=seed,
                          progress=False, **options)
        full = run()
        rows = dict(full=dict(replaced=replaced(judge, full, old, new), agrees=1, same=True,
                              evaluations=full.evaluations, iou=box_iou(full.box, old.box)))
        for steps in args.steps:
            share = models.editor.preview(steps).work() / models.editor.work()
            budget = int(len(full.table.edits) * share + args.painted + .999)
            cheap = run(preview_steps=steps, budget=budget)
            seen = ~cheap.table.painted
            losses = (r.table.loss(r.config)[seen] for r in (full, cheap))
            rows[f'{steps} steps'] = dict(
                replaced=replaced(judge, cheap, old, new), agrees=spearmanr(*losses)[0],
                same=cheap.box == full.box, evaluations=cheap.evaluations,
                iou=box_iou(cheap.box, old.box))
        for name, row in rows.items(): found.setdefault(name, []).append(row)
        print(seed, json.dumps(rows, default=float), flush=True)
    for name, rows in found.items(): print(name, means(rows))

class Narrow:
    """A CLIP whose features share a vector of length 3, texts another that leans to it. `apart`:
    the vectors have dimensions of their own, so that all cosines shrink alike, to a tenth;
    otherwise they lie among the features, as a public CLIP's mean does, and how far a feature leans
    that way is added to every cosine."""
    def __init__(self, clip, apart: bool): self.clip, self.apart = clip, apart

    def shared(self, x: torch.Tensor, text: bool = False) -> torch.Tensor:  # (... d) -> (... d')
        if self.apart:
            x = F.pad(x, (0, 2))
            one, two = F.one_hot(torch.tensor([x.shape[-1] - 2, x.shape[-1] - 1]), x.shape[-1])
        else: one, two = (F.normalize(torch.randn(x.shape[-1], generator=torch.Generator()
                                                  .manual_seed(seed)), dim=0) for seed in (0, 1))
        return F.normalize(x + 3 * (.3 * one + .95 * two if text else one), dim=-1)

    def encode_images(self, images: list) -> ImageFeatures:
        f = self.clip.encode_images(images)
        return ImageFeatures(self.shared(f.pooled), self.shared(F.normalize(f.tokens, dim=-1)))

    def encode_texts(self, texts: list) -> torch.Tensor:
        return self.shared(self.clip.encode_texts(texts), text=True)

def choice(table, config) -> tuple:
    "Where the method would edit: the lowest loss at each anchor, then the highest score."
    best = table.loss(config).argmin(1)
    k = table.score(config)[torch.arange(len(best)), best].argmax()
    return tuple(table.boxes[k, best[k]].tolist())

def scales(args):
    models, found, spreads = RegionEditor.from_pretrained(args.preset), [], []
    clip = Remembering(models.clip)
    clips = dict(pocket=clip, narrow=Narrow(clip, True), leaning=Narrow(clip, False))
    for seed in range(FIRST + 10_000, FIRST + 10_000 + args.scenes):
        scene, old, new = case(seed)
        config = Config(seed=seed)
        task = Task(scene.image, article(new), article(old.name), config)
        anchors = choose_anchors(attend(models.vit, task.image), config.anchors, 8)
        boxes = propose(anchors, proposal_sizes(), task.image.size)
        (unique, index), row = distinct(boxes), {}
        edits = oracle_edits(scene, unique, new, STYLES[seed % len(STYLES)])
        for name, clip in clips.items():
            rows = measure(clip, task, edits, seen_in(clip, task, unique))
            spread = rows.std(0, correction=0).tolist()
            spreads.append(dict(whose=name) | dict(zip(MEASURES, spread)))
            again = table_of(boxes, index, dict(enumerate(zip(edits, rows))))
            for scale in ('paper', 'spread'):
                row[f'{name}, {scale}'] = choice(on_scale(again, scale), config)
        first = row['pocket, paper']
        row = {n: dict(iou=box_iou(b, old.box), covers=covered(b, old.box) >= .7, same=b == first)
               for n, b in row.items()}
        found.append(row)
        print(seed, json.dumps(row), flush=True)
    for name in found[0]: print(name, means([r[name] for r in found]))
    for name in clips:
        of = [s for s in spreads if s['whose'] == name]
        print('spread,', name, {m: round(torch.tensor([s[m] for s in of]).median().item(), 4)
                                for m in UNITS})

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('previews', 'scales'))
    parser.add_argument('--preset', default='pocket')
    parser.add_argument('--scenes', type=int, default=24)
    parser.add_argument('--steps', type=int, nargs='+', default=[2, 4], help='of previews')
    parser.add_argument('--painted', type=int, default=2, help='chosen boxes painted in full')
    args = parser.parse_args()
    torch.set_num_threads(1)
    dict(previews=previews, scales=scales)[args.what](args)
