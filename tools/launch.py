"""Where a lesson opens for a reader who has nothing: python tools/launch.py

Each lesson has one line of links in its second cell, to Colab, Kaggle and Binder. The links open a
student's copy, without solutions, that begins with a cell which installs regionedit. `site.py` puts
these copies beside the site's pages, and the site lies in the branch gh-pages; Binder makes its own
(`binder/postBuild`). This command writes the line into every lesson.
"""
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COURSE, REPO = ROOT/'nbs'/'course', 'https://github.com/regionedit/regionedit'
COPY = f'{REPO.removeprefix("https://github.com/")}/blob/gh-pages/course'
WHERE = dict(
    Colab=f'https://colab.research.google.com/github/{COPY}/',
    Kaggle=f'https://kaggle.com/kernels/welcome?src=https://github.com/{COPY}/',
    Binder=f'https://mybinder.org/v2/gh/{REPO.removeprefix("https://github.com/")}/main'
           '?labpath=course/')
START = 'Work on it in '
OLD = re.compile(rf'^(?:\[Open in Colab\]\(|{START}\[).*$', re.M)
INSTALL = f'''# Installs regionedit where it is missing, as on Colab and Kaggle; elsewhere it does nothing.
from importlib.util import find_spec

if find_spec('regionedit') is None:
    %pip install -q "regionedit @ git+{REPO}"'''

def links(name: str) -> str:
    "The line of a lesson, such as 00_first_edit.ipynb."
    colab, kaggle, binder = (f'[{where}]({url}{name})' for where, url in WHERE.items())
    return f'{START}{colab}, {kaggle} or {binder}; nothing needs to be installed before.'

def with_links(source: str, name: str) -> str:
    "The second cell of a lesson with its line. Raises `ValueError` if it has no place for it."
    text, found = OLD.subn(lambda _: links(name), source)
    if found != 1:
        raise ValueError(f'{name}: expected one line that begins with {START!r} in the second '
                         f'cell, got {found}')
    return text

def outside(source: str) -> str:
    "Links to other pages as addresses on the site: beside a copy there is nothing."
    from regionedit.course.lab import SITE, to_site
    return re.sub(r'\]\(\d+_([^)\s/]+)\.ipynb', rf']({SITE}/course/\1.html', to_site(source))

def published(path: Path):
    "The copy of a lesson that the links open."
    import nbformat
    from regionedit.course.lab import student_copy
    lesson = student_copy(nbformat.read(path, as_version=4))
    for cell in lesson.cells:
        if cell.cell_type == 'markdown': cell.source = outside(cell.source)
    lesson.cells.insert(1, nbformat.v4.new_code_cell(INSTALL, id='install'))
    return lesson

def publish(docs: Path, course: Path = COURSE):
    "Put the copies of all lessons beside the pages of a built site."
    import nbformat
    for path in sorted(course.glob('[0-9]*.ipynb')):
        nbformat.write(published(path), docs/'course'/path.name)

def main() -> int:
    for path in sorted(COURSE.glob('[0-9]*.ipynb')):
        notebook = json.loads(path.read_text(encoding='utf8'))
        second = notebook['cells'][1]
        source = with_links(''.join(second['source']), path.name)
        second['source'] = source.splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + '\n',
                        encoding='utf8')
    return 0

if __name__ == '__main__': sys.exit(main())
