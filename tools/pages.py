"""What the site's builder adds to a page, beside what nbdev adds: the methods of each class, and words for pictures."""
import ast, json, re
from pathlib import Path

from execnb.nbio import mk_cell
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, FrontmatterProc, add_links, add_show_docs, exec_show_docs

def is_public(name: str) -> bool: return name[0] != '_' or name == '__call__'

def patched(node) -> str:
    "The class that a function joins by `@patch`, or ''."
    marks = [ast.unparse(d).split('(')[0] for d in getattr(node, 'decorator_list', ())]
    return ast.unparse(node.args.args[0].annotation) if 'patch' in marks else ''

def public_names(source: str) -> list:
    "Functions, classes and methods, as `f`, `A`, `A.m`, that a module or a cell defines for others."
    found = []
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
        if not is_public(node.name): continue
        owner = patched(node)
        found.append(f'{owner}.{node.name}' if owner else node.name)
        if isinstance(node, ast.ClassDef):
            found += [f'{node.name}.{m.name}' for m in node.body
                      if isinstance(m, ast.FunctionDef) and is_public(m.name)]
    return list(dict.fromkeys(found))

SHOWN, SHOWN_BY = re.compile(r'show_doc\(([\w.]+)\)'), re.compile(r'(#\|.*\n)*show_doc\(')

class Methods(Processor):
    "After each class its public methods; and `__call__` is a name, no bold print."
    def begin(self):
        methods, cells = {}, []
        for cell in self.nb.cells:
            if cell.cell_type != 'code' or not set(cell.get('directives_', ())) & {'export', 'exports'}: continue
            for name in public_names(cell.source):
                owner, _, method = name.partition('.')
                if not method: continue
                inner = '.func' if re.search(rf'@cached_property\s+def {method}\(', cell.source) else ''
                methods.setdefault(owner, []).append((name, inner))
        shown = {m.group(1) for c in self.nb.cells if c.cell_type == 'code' for m in SHOWN.finditer(c.source)}
        for cell in self.nb.cells:
            cells.append(cell)
            found = SHOWN.fullmatch(cell.source.strip()) if cell.cell_type == 'code' else None
            if not found: continue
            name = found.group(1)
            if '.' in name: cell.source = self.call(name)
            cells += [mk_cell(self.call(m, inner, 4)) for m, inner in methods.get(name, ()) if m not in shown]
        self.nb.cells = cells

    def call(self, name, inner='', level=3):
        title = name.replace('_', r'\_')
        return f'show_doc({name}{inner}, name={title!r}, title_level={level})'

class Signatures(Processor):
    "A class is no `def`, and what a docstring says is set alike to its paragraph's end."
    def cell(self, cell):
        if cell.cell_type != 'code' or not SHOWN_BY.match(cell.source): return
        for out in cell.get('outputs', ()):
            data = out.get('data', {})
            if 'text/markdown' not in data: continue
            text = ''.join(data['text/markdown'])
            if re.search(r'^#+ [A-Z]\w*$', text, re.M): text = text.replace('```python\ndef ', '```python\nclass ', 1)
            data['text/markdown'] = re.sub(r'^\*(.+)\*\n(\S(?:.|\n(?!\n))*)', r'*\1\n\2*', text, count=1, flags=re.M)

def plain(text: str) -> str:
    "Markdown as words."
    text = re.sub(r'!?\[([^\]]*)\]\([^)]*\)', r'\1', text)
    return ' '.join(re.sub(r'<[^>]+>|[`*_#>|$\\]', '', text).split())

def last_sentence(text: str) -> str:
    "The sentence that stands directly before a picture."
    words = plain(re.split(r'\n\s*\n', text.strip())[-1])
    return re.split(r'(?<=[.!?])\s+', words)[-1]

def result_words(outputs: list) -> str:
    "What an `EditResult` among the outputs is, or ''."
    for data in outputs:
        said = ''.join(data.get('text/plain', ''))
        found = [re.search(rf"\b{name}=(['\"])(.*?)\1", said) for name in ('source', 'prompt')]
        if said.startswith('EditResult(') and all(found):
            source, prompt = (m.group(2) for m in found)
            return f'Edit of {source} into {prompt}: the picture, the boxes that were left, the edit'
    return ''

class Pictures(Processor):
    """A picture without words of its own (`#| fig-alt:`) gets those of the result that it shows, or
    those that stand before it: the heading and the last sentence."""
    def begin(self):
        self.heading, self.said = getattr(self.nb, 'frontmatter_', {}).get('title', ''), ''

    def cell(self, cell):
        if cell.cell_type == 'markdown':
            for line in cell.source.splitlines():
                if re.match(r'#+ ', line): self.heading, self.said = plain(line), ''
            if not re.match(r'#+ .*$', cell.source.strip().splitlines()[-1] if cell.source.strip() else '#'):
                self.said = last_sentence(cell.source)
        elif cell.cell_type == 'code' and 'fig-alt' not in cell.source:
            shown = [o.get('data', {}) for o in cell.get('outputs', ())]
            if not any(m.startswith('image/') for data in shown for m in data): return
            words = result_words(shown) or f'{self.heading}: {self.said}'.strip(': ')
            cell.source = f'#| fig-alt: {json.dumps(words[:240], ensure_ascii=False)}\n{cell.source}'

class Links(Processor):
    """nbdev links whatever word in backticks is the name of something. A plain word is mostly an
    argument or a value: it stays linked on pages of its own room only."""
    def cell(self, cell):
        if cell.cell_type != 'markdown': return
        room = Path(self.nb.path_).parent.name
        def keep(m): return m[0] if m[2] == room and m[1][0] != '_' else f'`{m[1]}`'
        cell.source = re.sub(r'\[`(_?[a-z]*)`\]\(https?://[^)\s]*/(\w+)/\w+\.html#\w*\)', keep, cell.source)

class Pages(FilterDefaults):
    "nbdev's steps, and ours at their places."
    def base_procs(self):
        steps = super().base_procs()
        steps.insert(steps.index(FrontmatterProc) + 1, Pictures)
        steps.insert(steps.index(add_show_docs) + 1, Methods)
        steps.insert(steps.index(exec_show_docs) + 1, Signatures)
        steps.insert(steps.index(add_links) + 1, Links)
        return steps
