"""Write README.md from the site's front page, nbs/index.ipynb: python tools/readme.py"""
import json, re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT/'nbs'/'results'/'data'
MARK = '# README: '     # in a code cell: what stands in the README in its place; `= name`: a figure

def figure(name: str) -> str:
    "Figures that are read from the files of tools/results.py, as the front page reads them."
    from regionedit.bench.report import front_sight, front_table
    return dict(front_table=lambda: front_table(DATA),
                front_sight=lambda: front_sight(DATA/'measures.jsonl'))[name]()

def said(line: str) -> str:
    "What a marked line stands for."
    text = line.removeprefix(MARK)
    return figure(text.removeprefix('= ')) if text.startswith('= ') else text

def readme(notebook: dict) -> str:
    "The front page with links for GitHub; for code stands what its line `# README:` says."
    parts = []
    for cell in notebook['cells']:
        text = ''.join(cell['source'])
        if cell['cell_type'] == 'code':
            parts += [said(s) for s in text.splitlines() if s.startswith(MARK)]
        else: parts.append(re.sub(r'\]\((?![a-z]+:|#)([^)]+\.ipynb[^)]*)\)', r'](nbs/\1)', text))
    parts[0] = parts[0].splitlines()[0]
    return '\n\n'.join(parts) + '\n'

if __name__ == '__main__':
    notebook = json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf8'))
    (ROOT/'README.md').write_text(readme(notebook), encoding='utf8')
