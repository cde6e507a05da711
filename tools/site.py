"""Build the site without Quarto, and check it: python tools/site.py [--serve] [--scenes N]

nbdev prepares the pages in `_proc`, as `nbdev_docs` does before it calls Quarto, with the steps of
pages.py beside its own; smalldocs renders them to `_proc/_docs`; KaTeX is put beside them, so that
no page asks another host. What is then checked stands in site_check.py; exit status 1 if anything
is wrong. `--quarto` renders the prepared pages with Quarto instead, to `_docs`.
"""
import argparse, json, re, shutil, subprocess, sys
from pathlib import Path

import yaml

ROOT, TOOLS = Path(__file__).resolve().parent.parent, Path(__file__).resolve().parent
sys.path.append(str(TOOLS))
import slides       # noqa: E402
from launch import publish      # noqa: E402
from site_check import check, told_solutions        # noqa: E402
from try_it import SCENES       # noqa: E402
KATEX = 'https://cdn.jsdelivr.net/npm/katex@0.16.11/dist'       # where smalldocs looks for it
FATAL = ('broken link', 'unknown key')      # of what smalldocs says; the rest only Quarto can do

def prepare() -> Path:
    "The folder with the pages as a renderer takes them."
    import nbdev.serve
    from pages import Pages
    nbdev.serve.FilterDefaults = Pages
    return Path(nbdev.serve.proc_nbs(path=str(ROOT/'nbs'), n_workers=0, force=True))

def as_named(folder: Path) -> dict:
    "Pages by the names that nbdev gives them: api/method/00_core.html -> api/method/core.html."
    names = {}
    for page in folder.rglob('*.ipynb'):
        front = ''.join(json.loads(page.read_text(encoding='utf8'))['cells'][0]['source'])
        old = page.relative_to(folder).with_suffix('.html')
        names[old.as_posix()] = old.with_name(
            yaml.safe_load(front.strip('-\n'))['output-file']).as_posix()
    if len({*names.values()}) < len(names): raise ValueError('two pages of one name')
    return names

def at_home(docs: Path, names: dict, site: str):
    "Pages under their names, links from page to page, and all that a page needs beside it."
    old = {Path(a).name: Path(b).name for a, b in names.items()}
    pages = re.compile(rf'(?<=[/"])({"|".join(map(re.escape, old))})(?=["#<])')
    for a, b in names.items(): (docs/a).rename(docs/b)
    for file in [*docs.rglob('*.html'), docs/'search.json', docs/'sitemap.xml']:
        up = '../' * (len(file.relative_to(docs).parts) - 1)
        text = pages.sub(lambda m: old[m[1]], file.read_text(encoding='utf8'))
        if file.suffix == '.html':
            text = text.replace(f'href="{site}', f'href="{up}')
            text = text.replace('<div class="sd-table">', '<div class="sd-table" tabindex="0">')
            text = re.sub(rf'{KATEX}(/contrib)?', f'{up}site_libs/katex', text)
        file.write_text(text, encoding='utf8')
    for style in docs.rglob('*.css'):       # fonts of another host: the system has its own
        text = re.sub(r'@import url\(["\']?https?:[^)]*\);', '', style.read_text(encoding='utf8'))
        style.write_text(text, encoding='utf8')
    shutil.copytree(TOOLS/'katex', docs/'site_libs'/'katex', dirs_exist_ok=True)

def render(folder: Path) -> list:
    "The site in `folder/_docs`; what smalldocs finds wrong."
    from smalldocs.site import build
    site = build(folder, quiet=True)
    at_home(site.out, as_named(folder), site.project.website['site-url'])
    return [w for w in site.warnings if any(f in w.lower() for f in FATAL)]

def add_course(docs: Path):
    "What is for a class: the copies that launch links open, and slides."
    publish(docs)
    slides.write(docs/'slides')

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--serve', action='store_true',
                        help='show the site on http://localhost:3000')
    parser.add_argument('--quarto', action='store_true', help='render with Quarto, to _docs')
    parser.add_argument('--scenes', type=int, default=SCENES,
                        help=f'that "Try it" should offer (default: {SCENES})')
    args = parser.parse_args()
    folder = prepare()
    if args.quarto:
        status = subprocess.run(['quarto', 'render', '--no-cache'], cwd=folder).returncode
        shutil.rmtree(ROOT/'_docs', ignore_errors=True)
        shutil.copytree(folder/'_docs', ROOT/'_docs')
        add_course(ROOT/'_docs')
        told = told_solutions(ROOT/'_docs', ROOT/'nbs')
        print(*told, sep='\n')
        return status or len(told[:1])
    docs = folder/'_docs'
    faults = render(folder)
    add_course(docs)
    faults += check(docs, ROOT/'nbs', args.scenes)
    print(*faults, sep='\n')
    print(f"{len([*docs.rglob('*.html')])} pages in {docs}, {len(faults)} faults")
    if args.serve:
        subprocess.run([sys.executable, '-m', 'http.server', '3000', '--directory', str(docs)])
    return 1 if faults else 0

if __name__ == '__main__': sys.exit(main())
