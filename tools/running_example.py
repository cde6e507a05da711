"""Find the running example of the course: a scene on which learning, ranking and failing show.

    python tools/running_example.py --seeds 1000000 1000200     # drawn scenes, by seed
    python tools/running_example.py --pictures                  # those that the package carries

Each scene is edited as lesson 0 does it. A line of JSON says what came of it:

    anchors     how many are left after they have moved
    best        place of the lowest loss in each anchor's row of distinct boxes, from 0 (smallest)
    interior    at how many anchors it is neither the smallest nor the largest
    sides       mean side of each of those boxes, pixels; `sizes`: how many of them differ
    found       at how many anchors the learned box is the one of the lowest loss
    iou         of the result's box with the true one; `ceiling`: of the best box in the table
    places      IoU of the candidates, best score first: is there one that fails, and where?
    named       does the second recogniser name the wanted thing in the box?
    gone        and no longer the old thing in its true box?

The last line names the drawn scenes that have all of it. Write the one you choose into `EXAMPLE` in
nbs/api/course/00_lab.ipynb. Small things, and scenes with few anchors or without a box that
fits, are left out before any edit, unless --all is given.
"""
import argparse, json, sys
from pathlib import Path

from regionedit import RegionEditor
from regionedit.course.lab import running_example
from regionedit.method.attention import attend
from regionedit.method.config import Config
from regionedit.method.core import box_iou, open_image
from regionedit.method.regions import choose_anchors, propose_for
from regionedit.models.bundled import example
from regionedit.pocket.judge import load_recogniser, recognise
from regionedit.pocket.scenes import CONCEPTS, draw_scene

# as lessons 0, 2, 3 and 9 call the editor; tests/course/test_first_lessons.py compares
OPTIONS = dict(anchors='shifted', proposals='fitted', ranking='paper', source_weight=0)
LEAST = 40**2       # pixels of the thing: it is to be seen on a screen
PICTURES = {'apple': ('a red apple', 'a doughnut on a wooden table', 'doughnut'),
            'wide': ('a bus', 'a rocket on the beach', 'rocket')}

def overlaps(truth: tuple, boxes: list) -> list:
    "IoU of each box with the true one, two digits."
    return [round(box_iou(truth, tuple(b)), 2) for b in boxes]

def on_offer(models, image, truth: tuple) -> tuple:     # number of anchors, IoU of the best box
    "What is known before any edit."
    config, seen = Config(**OPTIONS), attend(models.vit, image)
    anchors = choose_anchors(seen, config.anchors)
    boxes = propose_for(image, seen, anchors, config).flatten(0, 1).tolist()
    return len(anchors), max(overlaps(truth, boxes))

def rows_of(result) -> list:        # of (place, count, mean side), one an anchor
    "Where the lowest loss of each anchor stands among its boxes, small ones first."
    found, losses = [], result.table.loss(result.config)
    for boxes, loss in zip(result.table.boxes.tolist(), losses):
        best = tuple(boxes[int(loss.argmin())])
        row = sorted({tuple(b) for b in boxes}, key=area)
        found.append((row.index(best), len(row), round(area(best)**.5)))
    return found

def area(box: tuple) -> int: return (box[2] - box[0]) * (box[3] - box[1])

def facts(result, wanted: str, judge, old: str = '', truth: tuple = None) -> dict:
    "What one edit teaches."
    rows = rows_of(result)
    chosen, best = result.trajectory.chosen[-1], result.table.loss(result.config).argmin(1)
    seen, = recognise(judge, [result.image.crop(result.box)])
    told = dict(anchors=len(rows), best=[f'{j}/{n}' for j, n, _ in rows],
                interior=sum(0 < j < n - 1 for j, n, _ in rows),
                sides=[side for *_, side in rows], sizes=len({side for *_, side in rows}),
                found=int((chosen == best).sum()), named=seen == wanted, seen=seen,
                box=result.box, edits=result.num_edits, seconds=result.seconds['total'])
    if truth is None: return told
    left, = recognise(judge, [result.image.crop(truth)])
    return told | dict(iou=overlaps(truth, [result.box])[0], gone=left != old,
                       places=overlaps(truth, [c.box for c in result.candidates]))

def teaches(row: dict) -> bool:
    "Boxes inside the range that differ, a result that fits, and a candidate that does not."
    return (row['named'] and row['gone'] and row['iou'] >= .7 and row['anchors'] >= 4
            and row['interior'] >= row['anchors'] / 2 and row['sizes'] >= 3
            and min(row['places']) < .2)

def scan(models, seeds, wanted: list, every: bool):
    "One row a drawn scene and wish."
    judge = load_recogniser()
    for seed in seeds:
        for thing in wanted:
            if draw_scene(seed, num_objects=1).objects[0].name == thing: continue
            shown = running_example(seed, thing)
            anchors, top = on_offer(models, shown.image, shown.box)
            fits = top >= .8 and anchors >= 4 and area(shown.box) >= LEAST
            if not (fits or every): continue
            result = models(shown.image, shown.prompt, shown.source, progress=False, **OPTIONS)
            yield result, dict(seed=seed, old=shown.thing, wanted=thing, ceiling=top,
                               **facts(result, thing, judge, shown.thing, shown.box))

def scan_pictures(models):
    "One row a picture of the package; their true boxes are not known."
    judge = load_recogniser()
    for name, (source, prompt, wanted) in PICTURES.items():
        result = models(open_image(example(name)), prompt, source, progress=False, **OPTIONS)
        yield result, dict(picture=name, wanted=wanted, **facts(result, wanted, judge))

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', nargs=2, type=int, default=(1_000_000, 1_000_020),
                        help='first and last but one')
    parser.add_argument('--wanted', nargs='+', default=['doughnut'], choices=CONCEPTS)
    parser.add_argument('--all', action='store_true', help='edit scenes without a fitting box too')
    parser.add_argument('--pictures', action='store_true', help='those that the package carries')
    parser.add_argument('--out', type=Path, help='a folder for the edits, to look at')
    args, good = parser.parse_args(), []
    models = RegionEditor.from_pretrained('pocket')
    rows = (scan_pictures(models) if args.pictures else
            scan(models, range(*args.seeds), args.wanted, args.all))
    for result, row in rows:
        print(json.dumps(row), flush=True)
        name = f"{row.get('seed', row.get('picture'))}-{row['wanted']}"
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out/f'{name}.png').write_bytes(result._repr_png_())
        if 'iou' in row and teaches(row): good.append(name)
    if not args.pictures: print(f'{len(good)} teach it all:', ' '.join(good))
    return 0

if __name__ == '__main__': sys.exit(main())
