"The shape of the project: import cost, package data, notebooks and modules that belong together."
import ast, importlib.util, json, subprocess, sys, zipfile
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

@pytest.mark.slow
def test_the_wheel_carries_the_package_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {short(p) for folder in ('data', 'models') for p in (PACKAGE/'pocket'/folder).rglob('*')
            if p.is_file() and p.name[0] != '.'}
    assert {'regionedit/pocket/data/concepts.json', 'regionedit/pocket/data/noto.png'} <= data
    assert data - names == set()
    assert {'regionedit/explorer/explorer.js', 'regionedit/explorer/explorer.css'} <= names
    assert {short(p) for p in MODULES} - names == set()
    assert 'regionedit/py.typed' in names and wheel.stat().st_size < 95e6
    assert {'LICENSE', 'NOTICE'} <= {Path(n).name for n in names if '.dist-info/' in n}

def metadata(wheel) -> list:
    with zipfile.ZipFile(wheel) as file: return file.read(next(n for n in file.namelist() if n.endswith('METADATA'))).decode().splitlines()

def test_the_wheel_says_what_it_is(wheel):
    lines = metadata(wheel)
    assert 'Requires-Python: >=3.11' in lines and 'Classifier: Typing :: Typed' in lines
    assert {line.split(',')[0] for line in lines if line.startswith('Project-URL')} == {f'Project-URL: {n}' for n in ('Documentation', 'Changelog', 'Issues', 'Paper')}
    needed = [line.split(' ', 1)[1] for line in lines if line.startswith('Requires-Dist') and 'extra ==' not in line]
    assert needed and all('>=' in n for n in needed), 'each requirement has a lower bound, see tools/lowest.py'

def test_one_version_everywhere():
    import yaml
    import regionedit
    cite = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf8'))
    assert cite['version'] == regionedit.__version__ and cite['cff-version'] == '1.2.0'
    assert cite['preferred-citation']['identifiers'][0]['value'] == 'arXiv:2311.16432'

def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT/'tools'/f'{name}.py')
    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
    return module

@pytest.mark.parametrize('card', sorted((PACKAGE/'pocket'/'models').glob('*/card.json')), ids=lambda p: p.parent.name)
def test_a_model_card_says_what_its_recipe_wrote(card):
    from huggingface_hub import ModelCard
    text = (card.parent/'README.md').read_text(encoding='utf8')
    assert text == tool('model_cards').model_card(json.loads(card.read_text(encoding='utf8'))), 'run python tools/model_cards.py'
    data = ModelCard(text).data
    assert data.license == 'apache-2.0' and data.library_name and data.pipeline_tag and data.eval_results

def test_the_lowest_versions_are_taken_from_the_bounds():
    lowest = tool('lowest').lowest
    assert lowest('torch>=2.6 tqdm>=4') == ['torch==2.6', 'tqdm==4']
    with pytest.raises(ValueError, match='lower bound for numpy'): lowest('torch>=2.6 numpy')

def test_the_hosted_checks_run_what_is_run_here():
    import yaml
    jobs = yaml.safe_load((ROOT/'.github'/'workflows'/'ci.yml').read_text(encoding='utf8'))['jobs']
    runs = [step['run'] for job in jobs.values() for step in job['steps'] if 'run' in step]
    assert 'bash .ci/run' in runs and 'python tools/lowest.py' in runs

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
    budget = 320 if (NBS/'api') in page.parents else 600
    assert (
        page.stat().st_size <= budget * 1024
    ), f'a page here may weigh {budget} KB, outputs included'

def test_the_reference_is_light():
    weights = [p.stat().st_size / 1024 for p in PAGES if (NBS/'api') in p.parents]
    assert sum(weights) <= 75 * len(weights), 'KB a page, on average, outputs included'

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
    assert len([c for c in commands if c.endswith('pytest -n 2')]) == 1

def in_the_locales_letters(source: str) -> list:
    "Lines where text is read or written in whatever encoding the system has."
    def name(call): return getattr(call.func, 'attr', None) or getattr(call.func, 'id', '')
    def spare(call):        # how many arguments may stand before the encoding
        return dict(read_text=0, write_text=1).get(name(call), 3 if isinstance(call.func, ast.Name) and name(call) == 'open' else 99)
    def mode(call): return ''.join(ast.unparse(a) for a in [*call.args[1:2], *(k.value for k in call.keywords if k.arg == 'mode')])
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    return [c.lineno for c in calls if len(c.args) <= spare(c) < 99 and 'encoding' not in {k.arg for k in c.keywords}
            and not (name(c) == 'open' and 'b' in mode(c))]

def test_the_locales_letters_by_hand():
    assert in_the_locales_letters("p.read_text()\np.write_text(t)\nopen(p)\nopen(p, 'w')") == [1, 2, 3, 4]
    assert in_the_locales_letters("p.read_text('utf8')\np.write_text(t, encoding='utf8')\nopen(p, 'rb')\nImage.open(p)") == []

def test_texts_are_utf8_wherever_it_runs():
    "Under LC_ALL=C, or on Windows, the locale has no letter for what a tokenizer holds."
    found = {path.relative_to(PACKAGE).as_posix(): len(lines) for path in MODULES
             if (lines := in_the_locales_letters(path.read_text(encoding='utf8')))}
    assert found == {}

def test_pages_that_speak_of_the_evidence_know_its_weight():
    "Where it is said that scores and losses are the paper's, the fourth term is said too, with its default."
    from regionedit.method.config import Config
    assert Config().source_weight == 4, 'another default: say so in these places'
    for name, times in (('CHANGELOG.md', 1), ('nbs/explanations/paper_map.ipynb', 2), ('README.md', 0)):
        text = (ROOT/name).read_text(encoding='utf8')
        assert text.count('four times the evidence') >= times and 'source_weight' in text, name
    page = (ROOT/'nbs'/'explanations'/'paper_map.ipynb').read_text(encoding='utf8')
    assert repr(Config()) in page, 'it shows other defaults: run tools/stamp_lessons.py on it'
