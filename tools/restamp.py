"""Let kept results stand after a change of the code that does not change them.

    python tools/restamp.py OLD_TREE            # a checkout of the code that made the results
    python tools/restamp.py OLD_TREE --try      # compares, and writes nothing

Rows carry a digest of the code that made them (`regionedit.bench.rows.CODE`), and what other code
made is refused. Many changes cannot move a pixel: a sentence, an encoding, an editor that the
results do not use. Where the files have the same syntax trees nothing is to be shown (a line was
cut, a comment changed). Else the same scenes are measured in both trees, here, with methods that
paint; only if every value but the seconds is the same to the last digit does the new digest take
the old one's place, and nbs/results/data/restamped.jsonl says so. A few scenes are no proof: read
the difference of the two trees as well. About ten minutes of one core.
"""
import argparse, ast, csv, json, os, subprocess, sys, tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT/'nbs'/'results'/'data'
PARTS = (('pocket', 'known', 2), ('pocket', 'strangers', 2), ('pocket-maskgit', 'known', 2))
METHODS = 'ours,released,amortised,halving-16,evidence,truth'
OWN = ('seconds', 'code')       # columns that may differ

def in_tree(tree: Path, *command) -> str:
    "What a command of that tree's package prints."
    env = os.environ | dict(PYTHONPATH=str(tree), OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1')
    return subprocess.run([sys.executable, *command], cwd=tree, env=env, check=True, text=True,
                          stdout=subprocess.PIPE).stdout

def code_of(tree: Path) -> str:
    return in_tree(tree, '-c', 'from regionedit.bench import rows; print(rows.code_of())').strip()

def syntax(tree: Path) -> dict:     # file -> syntax tree
    "What Python reads in the files that decide a row."
    names = in_tree(tree, '-c', 'from regionedit.bench.rows import CODE; print(*CODE)').split()
    files = (f for name in names for f in (tree/'regionedit').glob(name))
    return {f.relative_to(tree).as_posix(): ast.dump(ast.parse(f.read_text('utf8'))) for f in files}

def rows_of(tree: Path, preset: str, world: str, scenes: int) -> list:      # of dicts
    "The rows that a tree measures, without what may differ."
    with tempfile.TemporaryDirectory() as out:
        in_tree(tree, '-m', 'regionedit.cli', 'bench', '--preset', preset, '--world', world,
                '--scenes', str(scenes), '--seeds', '1', '--methods', METHODS, '--out', out,
                '--json')
        with open(Path(out)/'bench.csv', encoding='utf8', newline='') as file:
            return [{k: v for k, v in row.items() if k not in OWN} for row in csv.DictReader(file)]

def replace_digest(old: str, new: str) -> list:     # of names of files
    "In every kept file; the digests are equally long, so binary headers keep their length."
    changed = []
    for file in sorted(f for f in DATA.rglob('*') if f.suffix in ('.csv', '.safetensors')):
        kept = file.read_bytes()
        if old.encode() not in kept: continue
        file.write_bytes(kept.replace(old.encode(), new.encode()))
        changed.append(file.relative_to(DATA).as_posix())
    return changed

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('old', type=Path, help='a checkout of the code that made the results')
    parser.add_argument('--try', action='store_true', dest='only', help='compare, write nothing')
    args = parser.parse_args()
    trees = args.old.resolve(), ROOT
    old, new = map(code_of, trees)
    alike = syntax(trees[0]) == syntax(trees[1])
    compared, parts = 0, () if alike else PARTS
    print('syntax trees:', 'the same' if alike else 'others', flush=True)
    for part in parts:
        before, after = (rows_of(tree, *part) for tree in trees)
        differ = [(r['method'], k) for r, s in zip(before, after) for k in r if r[k] != s.get(k)]
        compared += len(after)
        same = not differ and len(before) == len(after)
        print(*part, f'{len(after)} rows,', 'the same' if same else f'differ: {differ}', flush=True)
        if not same: return 1
    said = dict(old=old, new=new, rows=compared, same_syntax=alike,
                parts=[' '.join(map(str, p)) for p in parts], date=str(date.today()))
    if args.only: print(json.dumps(said)); return 0
    said['files'] = replace_digest(old, new)
    with open(DATA/'restamped.jsonl', 'a', encoding='utf8') as file:
        file.write(json.dumps(said) + '\n')
    print(json.dumps(said))
    return 0

if __name__ == '__main__': sys.exit(main())
