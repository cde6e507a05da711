"""Tries the lowest versions that settings.ini allows: installs them, runs the tests and an edit.

    python tools/lowest.py              in an environment that is removed afterwards
    python tools/lowest.py FOLDER       keeps the environment there, and uses it again
"""
import re
import subprocess
import sys
import tempfile
import venv
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# not for tests
LEFT_OUT = {'nbdev', 'execnb', 'fastcore', 'ghapi', 'playwright', 'smalldocs', 'ruff'}
REQUIREMENTS = ('requirements', 'cluster_requirements', 'lora_requirements', 'offload_requirements')
PAGES = ('tests/test_notebooks.py', 'tests/test_stamp.py')     # they need nbdev
ROOMS = [f'tests/{room}' for room in ('batch', 'bench', 'editors', 'method', 'models', 'pocket')]


def lowest(requirements: str) -> list:      # of str, as pip takes them
    "Each requirement at its lower bound. Raises `ValueError` for one without."
    unbound = [r for r in requirements.split() if '>=' not in r]
    if unbound: raise ValueError(f'expected a lower bound for {", ".join(unbound)}, got none')
    return [r.replace('>=', '==') for r in requirements.split()]


def run(*command, cwd: Path = ROOT):
    "Say what is run, and run it. Raises `CalledProcessError`."
    print('\n$', ' '.join(map(str, command)), flush=True)
    subprocess.run([str(c) for c in command], cwd=cwd, check=True)


def try_in(folder: Path):
    "Install, then the tests, then an edit. Raises `CalledProcessError`."
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    wanted = lowest(' '.join(config['DEFAULT'][key] for key in REQUIREMENTS))
    tools = [r for r in config['DEFAULT']['dev_requirements'].split()
             if re.split('[=>]', r)[0] not in LEFT_OUT]
    if not (folder/'bin'/'python').exists(): venv.create(folder, with_pip=True)
    python = folder/'bin'/'python'
    run(python, '-m', 'pip', 'install', '--quiet', 'uv')     # pip looks for a way for minutes
    uv = (python, '-m', 'uv', 'pip', 'install', '--quiet', '--python', python)
    run(*uv, *wanted, *tools, 'wheel', 'setuptools')
    run(*uv, '--no-deps', '--editable', '.')
    run(python, '-m', 'pytest', '-q', *(f'--ignore={page}' for page in PAGES))
    run(python, '-m', 'pytest', '-q', '-m', 'slow', *ROOMS)
    with tempfile.TemporaryDirectory() as empty:
        run(folder/'bin'/'regionedit', 'edit', '--demo', cwd=Path(empty))
        run(folder/'bin'/'regionedit', 'doctor', cwd=Path(empty))
    print('\ntried with success:', *wanted)


def main(arguments: list):
    "The folder named, or one that is removed."
    if arguments: return try_in(Path(arguments[0]).resolve())
    with tempfile.TemporaryDirectory() as folder: try_in(Path(folder)/'venv')


if __name__ == '__main__': main(sys.argv[1:])
