"""Make the picture of README and front page, assets/demo.png: python tools/demo_picture.py [--look]

It is the edit of `regionedit edit --demo`, with the bundled models and the default settings. It is not
written (status 1, one sentence) unless it shows what the page says it shows: a recogniser that had no
part in the search finds the thing replaced, and the winner's box is neither the smallest nor the
largest that its anchor was offered. --look writes it anyway, to demo.png in this folder, to be
looked at. If it fails, choose another prompt (`DEMO` in nbs/api/cli.ipynb and the first code cell of
nbs/index.ipynb; its caption names the apple only).
"""
import argparse, sys
from pathlib import Path

from regionedit import RegionEditor
from regionedit.bench.metrics import replaced
from regionedit.cli import DEMO
from regionedit.method.core import covered
from regionedit.pocket import example
from regionedit.pocket.judge import load_recogniser, recognise

OUT = Path(__file__).resolve().parent.parent/'assets'/'demo.png'
TRUTH, THING = (33, 51, 94, 116), 'apple'     # the outline in the bundled picture, XYXY

def area(box) -> int: return (box[2] - box[0]) * (box[3] - box[1])

def is_interior(result) -> bool:
    "Was the winner's anchor offered smaller boxes and larger ones?"
    offered = [[area(b) for b in row] for row in result.table.boxes.tolist()
               if list(result.box) in row]
    return any(min(row) < area(result.box) < max(row) for row in offered)

def faults(result, judge, truth: tuple, old: str, wanted: str) -> list:     # of sentences
    "What the picture does not show."
    there, left = recognise(judge, [result.image.crop(b) for b in (result.box, truth)])
    found, share = [], covered(result.box, truth)
    if not replaced(there == wanted, left != old, share):
        found.append(f'expected {old} replaced by {wanted}, the recogniser sees {there} in the box '
                     f'and {left} in the old place, of which the box covers {share:.0%}')
    if not is_interior(result):
        found.append(f'expected a box that is neither the smallest nor the largest on offer, got '
                     f'{result.box}')
    return found

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--look', action='store_true', help='write it anyway, to ./demo.png')
    args = parser.parse_args()
    result = RegionEditor.from_pretrained('pocket')(
        example(DEMO['image']), prompt=DEMO['prompt'], source=DEMO['source'], seed=0, progress=False)
    wanted = DEMO['prompt'].split(' ', 1)[1]        # without its article
    lost = faults(result, load_recogniser(), TRUTH, THING, wanted)
    if args.look: result.compare(256).save('demo.png')
    elif not lost: result.compare(256).save(OUT)
    for said in lost: print(said, file=sys.stderr)
    return 1 if lost else 0

if __name__ == '__main__': sys.exit(main())
