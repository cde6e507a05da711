"The shape of the project: import cost, package data, notebooks and modules that belong together."
import ast, json, subprocess, sys, zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE, NBS = ROOT/'regionedit', ROOT/'nbs'

MODULES = sorted(p for p in PACKAGE.rglob('*.py') if p.name not in ('__init__.py', '_modidx.py'))
PAGES = sorted(p for p in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
HEAVY = ['torch', 'torchvision', 'timm', 'open_clip', 'diffusers', 'transformers', 'matplotlib',
         'scipy', 'ipywidgets', 'IPython']

def name_of(path: Path) -> str:
    "regionedit/method/losses.py -> method.losses"
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)

def short(path: Path) -> str: return path.relative_to(ROOT).as_posix()

def loaded_after(code: str) -> list:
    "Heavy packages in memory after running `code` in a new Python."
    report = f'\nimport sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))'
    run = subprocess.run([sys.executable, '-c', code + report], capture_output=True, text=True,
                         cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])

def test_importing_the_package_loads_nothing_heavy(): assert loaded_after('import regionedit') == []

def test_help_loads_nothing_heavy():
    assert loaded_after('import sys; sys.argv = ["regionedit", "--help"]\nfrom regionedit.cli '
                        'import main\ntry: assert main() in (None, 0)\nexcept SystemExit as e: '
                        'assert e.code in (None, 0)') == []

def test_the_wheel_carries_the_package_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {short(p) for folder in ('data', 'models') for p in (PACKAGE/'pocket'/folder).rglob('*')
            if p.is_file() and p.name[0] != '.'}
    assert {'regionedit/pocket/data/concepts.json', 'regionedit/pocket/data/noto.png'} <= data
    assert data - names == set()
    assert {short(p) for p in MODULES} - names == set()
    assert {'LICENSE', 'NOTICE'} <= {Path(n).name for n in names if '.dist-info/' in n}

def sources(page: Path, kind: str) -> list:
    return [''.join(c['source']) for c in json.loads(page.read_text(encoding='utf8'))['cells']
            if c['cell_type'] == kind]

def exported_to(page: Path):
    "The module's name that a page names, or None."
    for cell in sources(page, 'code'):
        for line in cell.splitlines():
            if line.startswith('#|') and 'default_exp' in line:
                return line.split('default_exp')[1].strip()

@pytest.mark.parametrize('page', PAGES, ids=short)
def test_page_is_a_valid_notebook(page):
    import nbformat
    nbformat.validate(nbformat.read(page, as_version=4))
    assert sources(page, 'markdown')[0].startswith(('# ', '---\n')), 'a page begins with its title'
    budget = 150 if (NBS/'api') in page.parents else 600
    assert (
        page.stat().st_size <= budget * 1024
    ), f'a page here may weigh {budget} KB, outputs included'

@pytest.mark.parametrize('page', [p for p in PAGES if (NBS/'api') in p.parents], ids=short)
def test_imports_stand_alone(page):
    """The site's builder runs every cell with an import and no other: what stands beside an import
    would run without what it needs."""
    for cell in sources(page, 'code'):
        if 'nbdev_export()' in cell or any(d in cell for d in ('#| export', '#| eval: false')):
            continue
        kinds = [isinstance(node, (ast.Import, ast.ImportFrom))
                 for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.stmt)]
        assert all(kinds) or not any(kinds), cell

def undocumented(source: str) -> list:
    "Public functions, classes and methods without a docstring."
    def walk(nodes, prefix=''):
        for node in nodes:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'):
                continue
            if not ast.get_docstring(node): yield prefix + node.name
            if isinstance(node, ast.ClassDef): yield from walk(node.body, f'{node.name}.')
    return list(walk(ast.parse(source).body))

def test_undocumented_by_hand():
    assert undocumented('def f(): pass\ndef _g(): pass\nclass A:\n    "A."\n    def m(self): '
                        'pass\n    def n(self): "N."') == ['f', 'A.m']

@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_every_public_name_says_what_it_is(path):
    assert undocumented(path.read_text(encoding='utf8')) == []

@pytest.mark.parametrize('page', [p for p in PAGES if (NBS/'api') in p.parents], ids=short)
def test_exported_cells_are_short(page):
    for cell in sources(page, 'code'):
        lines = [line for line in cell.splitlines() if line.strip() and not line.startswith('#|')]
        assert (
            '#| export' not in cell or len(lines) <= 45
        ), f'cut this cell of {len(lines)} lines, with a sentence between:\n{cell[:200]}'

def test_every_module_has_its_page_and_every_page_its_module():
    by_page = {name: page for page in PAGES if (name := exported_to(page))}
    assert set(by_page) == {name_of(p) for p in MODULES}
    for path in MODULES:
        head = path.read_text(encoding='utf8').split('\n', 4)[2]
        assert head.endswith(by_page[name_of(path)].relative_to(NBS).as_posix() + '.'), head

def test_reference_pages_export_and_others_do_not():
    for page in PAGES:
        assert (exported_to(page) is not None) == ((NBS/'api') in page.parents), short(page)

def test_the_sidebar_lists_every_page_once():
    import yaml
    def leaves(items):
        for item in items:
            if isinstance(item, str): yield item
            else: yield from leaves(item['contents'])
    assert (NBS/'_quarto.yml').is_symlink() and (NBS/'_quarto.yml').resolve() == ROOT/'_quarto.yml'
    listed = list(
        leaves(yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf8'))['website'][
            'sidebar']['contents']))
    assert sorted(listed) == sorted(p.relative_to(NBS).as_posix() for p in PAGES)

def test_readme_shows_the_two_commands_that_ci_runs():
    commands = [line for line in (ROOT/'README.md').read_text(encoding='utf8').splitlines()
                if line.startswith(('python3 ', '.venv/bin/'))]
    assert len([c for c in commands if 'edit --demo' in c]) == 1
    assert len([c for c in commands if c.endswith('pytest')]) == 1
