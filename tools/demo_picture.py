"""Make the picture of README and front page, assets/demo.png: python tools/demo_picture.py [--look]

It is the edit of `regionedit edit --demo`, with the bundled models and the default settings. It is
not written (status 1, one sentence) unless it shows what the page says it shows: a recogniser that
had no part in the search finds the thing replaced, and the winner's box is neither the smallest nor
the largest that its anchor was offered. --look writes it anyway, to demo.png in this folder, to be
looked at. If it fails, choose another running example with tools/running_example.py.
"""
import argparse, sys
from pathlib import Path

from regionedit import RegionEditor
from regionedit.bench.metrics import replaced
from regionedit.course.lab import running_example
from regionedit.method.core import covered
from regionedit.pocket.judge import load_recogniser, recognise

OUT = Path(__file__).resolve().parent.parent/'assets'/'demo.png'

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
    shown = running_example()
    result = RegionEditor.from_pretrained('pocket')(
        shown.image, prompt=shown.prompt, source=shown.source, seed=0, progress=False)
    truth = shown.scene.objects[0].box
    lost = faults(result, load_recogniser(), truth, shown.thing, shown.wanted)
    if args.look: result.compare(256).save('demo.png')
    elif not lost: result.compare(256).save(OUT)
    for said in lost: print(said, file=sys.stderr)
    return 1 if lost else 0

if __name__ == '__main__': sys.exit(main())
