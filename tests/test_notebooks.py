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
@pytest.mark.parametrize('page', PAGES)
def test_page_runs(page, monkeypatch):
    import nbclient, nbformat
    monkeypatch.setenv('IN_TEST', '1')      # nbdev: do not export from the last cell
    monkeypatch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    notebook = nbformat.read(NBS/page, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not shown_only(cell)]
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name='python3',
                                     resources={'metadata': {'path': str((NBS/page).parent)}})
    client.execute()
    assert [o for cell in notebook.cells for o in cell.get('outputs', []) if o.output_type
            == 'error'] == []
