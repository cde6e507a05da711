"""Build a preview of the site without Quarto, and check it: python tools/site.py [--serve]

nbdev prepares the pages (as `nbdev_docs` does before it calls Quarto) in `_proc`, smalldocs renders them to `_proc/_docs`.
Exit status 1 if a link leads nowhere or `_quarto.yml` has a key that no one knows.
"""
import argparse, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FATAL = ('broken link', 'unknown key')      # the rest is what Quarto can do and smalldocs cannot

def smalldocs(command: str, folder: Path) -> list:
    "Lines that a command of smalldocs prints."
    run = subprocess.run([str(Path(sys.executable).parent/'smalldocs'), command, str(folder)],
                         capture_output=True, text=True)
    return (run.stdout + run.stderr).splitlines()

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--serve', action='store_true',
                        help='show the site on http://localhost:3000')
    serve = parser.parse_args().serve
    from nbdev.serve import proc_nbs
    folder = Path(proc_nbs(path=str(ROOT/'nbs'), n_workers=0, force=True))
    faults = [line for line in smalldocs('check', folder) if any(f in line.lower() for f in FATAL)]
    print(*smalldocs('render', folder)[-3:], *faults, sep='\n')
    pages = sorted(folder.rglob('_docs/**/*.html'))
    print(f'{len(pages)} pages in {folder}/_docs, {len(faults)} faults')
    if serve:
        subprocess.run([sys.executable, '-m', 'http.server', '3000', '--directory',
                        str(folder/'_docs')])
    return 1 if faults or not pages else 0

if __name__ == '__main__': sys.exit(main())
