"The house: rooms stand one above the other, and a line of code opens doors downwards only."
import ast
import re
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE, API = ROOT/'regionedit', ROOT/'nbs'/'api'

# From the ground up. A module imports from its own room and from those below; `method` is the paper
# and knows nothing of the rest.
ROOMS = ['method', 'editors', 'models', 'results', 'batch', 'plots', 'study', 'explorer', 'pocket',
         'bench', 'course', 'cli', '']
MOST_MODULES, LONGEST = 75, 100

FILES = sorted(p for p in PACKAGE.rglob('*.py') if p.name != '_modidx.py')

def name_of(path: Path) -> str:
    "regionedit/plots/base.py -> plots.base; the package itself is '', a room's own file its name."
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)

SOURCES = {name_of(p): p.read_text(encoding='utf8') for p in FILES}
IS_ROOM = {name_of(p) for p in FILES if p.name == '__init__.py'}

def doors(source: str, module: str, is_room: bool = False,
          known=SOURCES) -> set:  # names of modules
    """What a source imports of the package, wherever the import stands: also in functions, also by
    a text given to import_module."""
    package, found = [*filter(None, module.split('.'))], set()
    if not is_room: package = package[:-1]
    def add(whole, *names):
        if whole.split('.')[0] != 'regionedit': return
        short = whole.removeprefix('regionedit').removeprefix('.')
        for n in names or ('',):
            inner = f'{short}.{n}'.strip('.')
            if short == '' and n.startswith('__'): continue        # the version
            found.add(inner if inner in known else short)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for a in node.names:
                # alone it is asked for its folder, nothing else
                if a.name != 'regionedit': add(a.name)
        elif isinstance(node, ast.ImportFrom):
            base = ['regionedit', *package[:len(package) - node.level + 1]] if node.level else []
            add('.'.join(base + ([node.module] if node.module else [])),
                *(a.name for a in node.names))
        elif (isinstance(node, ast.Call)
              and getattr(node.func, 'attr', getattr(node.func, 'id', '')) in (
                  'import_module', '__import__')):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    add(part.value.rstrip('.'))
    return found - {module}

ARROWS = {name: doors(source, name, name in IS_ROOM) for name, source in SOURCES.items()}

def floor(module: str) -> int: return ROOMS.index(module.split('.')[0])

def test_doors_by_hand():
    known = {'', 'method', 'method.losses', 'method.core', 'models.hub', 'cli'}
    source = (
        'import torch, regionedit.method.losses\nfrom regionedit import cli\nimport regionedit\nfrom'
        ' regionedit import __version__\ndef f():\n    from ..models.hub import y\n    from .'
        ' import core'
    )
    assert doors(source, 'method.edits', known=known) == {'method.losses', 'cli', 'models.hub',
                                                          'method.core'}
    assert doors('from regionedit import RegionEditor', 'batch.run', known=known) == {''}
    assert doors('from importlib import import_module\nimport_module("regionedit.cli")',
                 'method.edits', known=known) == {'cli'}
    assert doors('from .losses import x', 'method', is_room=True, known=known) == {'method.losses'}

@pytest.mark.parametrize('module', sorted(SOURCES))
def test_no_door_leads_up(module):
    assert module.split('.')[0] in ROOMS, f'{module} stands in no room of tests/test_rooms.py'
    assert sorted(m for m in ARROWS[module] if floor(m) > floor(module)) == []

def test_no_module_meets_itself_again():
    try: TopologicalSorter(ARROWS).prepare()
    except CycleError as error: pytest.fail(' -> '.join(error.args[1]))

def pages(room: str) -> dict:       # module -> number
    "The pages of a room, in reading order."
    return {f'{room}.{p.stem[3:]}': int(p.stem[:2]) for p in (API/room).glob('[0-9][0-9]_*.ipynb')}

@pytest.mark.parametrize('room', ROOMS[:-2])
def test_pages_are_numbered_in_reading_order(room):
    number = pages(room)
    assert sorted(number.values()) == list(range(len(number))), 'each number once, from 00'
    assert set(number) == {m for m in SOURCES if m.startswith(f'{room}.')}
    assert [(m, other) for m in number for other in ARROWS[m]
            if number.get(other, -1) > number[m]] == [], 'a page builds on those before it'

def test_the_house_is_small(): assert len(SOURCES) <= MOST_MODULES

def public(source: str) -> list:
    """Functions and classes that a module defines for others; what fastcore's `patch` joins to a
    class has that class's name."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    def joined(node): return any('patch' in ast.unparse(d) for d in node.decorator_list)
    return [n.name for n in ast.parse(source).body if isinstance(n, kinds) and n.name[0] != '_'
            and not joined(n)]

def test_one_name_one_meaning():
    places = defaultdict(list)
    for module, source in SOURCES.items():
        for name in public(source): places[name].append(module)
    twice = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert twice == {}

def long_lines(source: str) -> int:
    """Lines that the site would cut; the list of names in a module's head is nbdev's own, and not
    shown."""
    head = re.sub(r"^__all__ = \[.*?\]$", '', source, flags=re.M | re.S)
    return sum(len(line) > LONGEST for line in head.splitlines())

def test_lines_fit_the_page():
    long = Counter({module: count for module, source in SOURCES.items()
                    if (count := long_lines(source))})
    assert long == {}
