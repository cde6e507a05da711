"Every page begins with its title, and runs from its first cell to its last in a kernel of its own."
from pathlib import Path
import json, re

import pytest

NBS = Path(__file__).parent.parent / 'nbs'
PAGES = sorted(p.relative_to(NBS).as_posix() for p in NBS.rglob('*.ipynb')
               if not any(part[0] in '._' for part in p.relative_to(NBS).parts))
SKIP = ('#| eval: false', '#| notest', '#|notest', '#|eval: false')

TITLE_CELL = r'# [^\n]+\n\n> [^\n]+'

@pytest.mark.parametrize('page', PAGES)
def test_the_title_stands_alone(page):
    """nbdev makes front matter of the cell that holds the title, and drops whatever else stands
    in it."""
    first, second = json.loads((NBS/page).read_text(encoding='utf8'))['cells'][:2]
    assert re.fullmatch(TITLE_CELL, ''.join(first['source'])), 'one cell: # title, > description'
    assert second['cell_type'] == 'markdown', 'the first paragraph, in a cell of its own'

def shown_only(cell) -> bool:
    "Is this a cell that is shown and not run?"
    return cell.cell_type == 'code' and any(line.strip() in SKIP
                                            for line in cell.source.splitlines())

@pytest.mark.slow
@pytest.mark.parametrize('page', [p for p in PAGES if not re.match(r'course/\d', p)])
def test_page_runs(page, monkeypatch):
    "Lessons run in course/test_course.py."
    import nbclient, nbformat
    monkeypatch.setenv('IN_TEST', '1')      # nbdev: do not export from the last cell
    monkeypatch.setenv('GALLERY_SCENES', '1')       # of twelve
    monkeypatch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    notebook = nbformat.read(NBS/page, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not shown_only(cell)]
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name='python3',
                                     resources={'metadata': {'path': str((NBS/page).parent)}})
    client.execute()
    assert [o for cell in notebook.cells for o in cell.get('outputs', []) if o.output_type
            == 'error'] == []

# ---- claims about the authors' code

CODE = ('https://github.com/yuanze-lin/Learnable_Regions/blob/'
        '26b5f541c1194f4311d537f0595b1ec3842ac24f/')
CLAIM = re.compile(r'released\s+(?:\w+\s+)?code', re.I)

def unsupported(text: str) -> bool:
    "Does a text speak of the released code without file and line, or the table of them all?"
    table = 'paper_map.ipynb#the-released-code'
    return bool(CLAIM.search(text)) and not (re.search(rf'\({re.escape(CODE)}\S+#L\d+', text)
                                             or table in text)

def test_unsupported_by_hand():
    assert unsupported('The released code of the paper crops.')
    assert unsupported(f'Released code ([a.py]({CODE}a.py)) crops.'), 'a line, not a file'
    assert not unsupported(f'The released code ([a.py:3]({CODE}a.py#L3)) crops.')
    assert not unsupported('Weights are released.')

@pytest.mark.parametrize('page', PAGES)
def test_what_is_said_of_the_released_code_names_file_and_line(page):
    cells = json.loads((NBS/page).read_text(encoding='utf8'))['cells']
    texts = [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown']
    assert [t[:200] for t in texts if unsupported(t)] == []
    linked = re.findall(r'https://github\.com/yuanze-lin/Learnable_Regions/blob/\S+?\)', str(texts))
    assert all(link.startswith(CODE) for link in linked), 'one commit for all'
