"""Make every result file that the pages read, part by part: nbs/results/data.

    python tools/results.py --list              # parts, edits, minutes of one core
    python tools/results.py --half 1            # one half of the work, one process, one core
    python tools/results.py --half 2            # the other half, at the same time
    python tools/results.py pocket-known        # one part
    python tools/results.py --fresh             # all, nothing kept

Stop it whenever you like: what is there, and was made by the models and the code of this tree, is
kept; what other models or older code made is refused, and --fresh makes it anew. Run it when the
weights and the package do not change any more, then execute the pages and run tools/readme.py.

If there is less time than that, leave parts out from the end of the list. Pages say what they lack.
"""
import argparse, os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT/'nbs'/'results'/'data'
RATE = 12.      # edits a second, one core, editor alone (a figure to plan with)
CONSTANTS = ','.join(f'constant-{j}' for j in range(1, 8))
FEW = (f'ours,paper-ranking,released,amortised,halving-16,{CONSTANTS},random-size,evidence,similar,'
       'whole,truth')
FEWER = f'ours,amortised,{CONSTANTS},truth'

def bench(preset: str, world: str, scenes: int, methods: str) -> tuple:
    "A part of the benchmark: arguments, edits, other seconds (measured per scene, one core)."
    out = DATA/f'{preset}-{world}'
    edits, other = (80, 9.5) if methods == 'main' else (74, 6)
    return (['-m', 'regionedit.cli', 'bench', '--preset', preset, '--world', world, '--scenes',
             str(scenes), '--seeds', '1', '--methods', methods, '--out', str(out), '--json'],
            scenes * edits, scenes * other)

def books(scenes: int) -> tuple:
    return (['-m', 'regionedit.bench.ablations', '--scenes', str(scenes), '--out',
             str(DATA/'book.safetensors')], scenes * 210, scenes * 8)

def evidence(scenes: int, *more) -> tuple:
    oracle = '--oracle' in more
    out = DATA/f'source_weight{"_oracle" * oracle}.safetensors'
    return (['tools/source_tables.py', '--scenes', str(scenes), '--out', str(out), *more],
            0 if oracle else 2 * scenes * 56, 2 * scenes * 2.5)

PARTS = {       # the first is needed most; name -> (arguments, edits, other seconds)
    'pocket-strangers': bench('pocket', 'strangers', 60, FEW),
    'pocket-known': bench('pocket', 'known', 60, 'main'),
    'sight': (['-m', 'regionedit.pocket.measure', '--scenes', '60', '--only', 'vit', '--out',
               str(DATA/'measures.jsonl')], 0, 60),
    'book': books(8),
    'pocket-maskgit-known': bench('pocket-maskgit', 'known', 16, FEW),
    'pocket-maskgit-strangers': bench('pocket-maskgit', 'strangers', 16, FEW),
    'evidence-oracle': evidence(20, '--oracle'),
    'evidence': evidence(4),
    'pocket-unseen': bench('pocket', 'unseen', 16, FEWER),
    'pocket-clutter': bench('pocket', 'clutter', 16, FEWER)}

def seconds(name: str) -> float:
    "Planned, of one core."
    _, edits, other = PARTS[name]
    return edits / RATE + other

def half(number: int) -> list:      # of names
    "Every part goes to the half that has less to do, in order of need."
    halves = [], []
    for name in PARTS: min(halves, key=lambda h: sum(map(seconds, h))).append(name)
    return halves[number - 1]

def listed() -> str:
    lines = [f'{n:26}{PARTS[n][1]:7} edits {seconds(n) / 60:6.1f} min  half '
             f'{1 if n in half(1) else 2}' for n in PARTS]
    total = sum(map(seconds, PARTS)) / 60
    return '\n'.join(lines + [f'{"together":26}{sum(p[1] for p in PARTS.values()):7} edits '
                              f'{total:6.1f} min of one core'])

def kept(name: str) -> Path:
    "The file of a part."
    args = PARTS[name][0]
    out = Path(args[args.index('--out') + 1])
    return out if out.suffix else out/'bench.csv'

def run(name: str, fresh: bool) -> int:     # exit status
    "One part in a process of its own, on one core."
    args, file = PARTS[name][0], kept(name)
    if fresh: file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    more = ['--resume'] if 'bench' in args else []
    print(f'{name}: about {seconds(name) / 60:.0f} minutes', flush=True)
    env = os.environ | dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    return subprocess.run([sys.executable, *args, *more], cwd=ROOT, env=env,
                          stdout=subprocess.DEVNULL).returncode

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='PART', help='names (default: all)')
    parser.add_argument('--list', action='store_true', help='say what there is, and make nothing')
    parser.add_argument('--half', type=int, choices=(1, 2), help='one of two shares of the work')
    parser.add_argument('--fresh', action='store_true', help='make anew what is there')
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f'expected parts out of {", ".join(PARTS)}, got {", ".join(unknown)}')
    if args.list: print(listed()); return 0
    names = args.parts or (half(args.half) if args.half else list(PARTS))
    failed = [n for n in names if run(n, args.fresh)]
    if failed: print('not made:', ', '.join(failed), file=sys.stderr)
    return 1 if failed else 0

if __name__ == '__main__': sys.exit(main())
