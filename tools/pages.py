"""What the site's builder adds to a page, beside what nbdev adds: the methods of each class, words
for pictures, and no link that a word did not mean; and what it leaves out of lessons: solutions."""
import ast, html, json, re
from pathlib import Path
from textwrap import dedent

from execnb.nbio import mk_cell
from nbdev.process import Processor
from nbdev.processors import (FilterDefaults, FrontmatterProc, add_links, add_show_docs,
                              exec_show_docs)

def is_public(name: str) -> bool: return name[0] != '_' or name == '__call__'

def patched(node) -> str:
    "The class that a function joins by `@patch`, or ''."
    marks = [ast.unparse(d).split('(')[0] for d in getattr(node, 'decorator_list', ())]
    return ast.unparse(node.args.args[0].annotation) if 'patch' in marks else ''

def public_names(source: str) -> list:
    "Functions, classes and methods, as `f`, `A`, `A.m`, that a cell defines for others."
    found, functions = [], (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.parse(source).body:
        if not isinstance(node, (*functions, ast.ClassDef)) or not is_public(node.name): continue
        owner = patched(node)
        found.append(f'{owner}.{node.name}' if owner else node.name)
        if isinstance(node, ast.ClassDef):
            found += [f'{node.name}.{m.name}' for m in node.body
                      if isinstance(m, functions) and is_public(m.name)]
    return list(dict.fromkeys(found))

SHOWN = re.compile(r'(?:#\|.*\n)*show_doc\(([\w.]+)')

def is_code(cell) -> bool: return cell.cell_type == 'code'

class Methods(Processor):
    "After each class its public methods, and a method under its class's name."
    def begin(self):
        self.nb.cells, methods = self.in_order(), {}
        for cell in self.nb.cells:
            if not is_code(cell) or not {'export', 'exports'} & {*cell.get('directives_', ())}:
                continue
            for name in public_names(cell.source):
                owner, _, method = name.partition('.')
                cached = rf'@cached_property\s+def {method}\('
                reach = f'{name}.func' if re.search(cached, cell.source) else name
                if method: methods.setdefault(owner, {})[name] = reach
        shown = {m[1] for c in self.nb.cells if is_code(c) and (m := SHOWN.match(c.source))}
        for cell in [*self.nb.cells]:
            m = is_code(cell) and SHOWN.fullmatch(cell.source.strip().removesuffix(')'))
            if not m: continue
            if '.' in m[1]: cell.source = self.call(m[1], m[1])
            at = self.nb.cells.index(cell) + 1
            self.nb.cells[at:at] = [mk_cell(self.call(name, reach, 4)) for name, reach
                                    in methods.get(m[1], {}).items() if name not in shown]

    def in_order(self) -> list:
        "Names of one cell as they are defined: nbdev puts the last first."
        cells, run = [], []
        for cell in self.nb.cells:
            if cell.get('has_sd'): run.insert(0, cell)
            else: cells, run = cells + run + [cell], []
        return cells + run

    def call(self, name: str, reach: str, level: int = 3) -> str:
        "A name with `__` in it is no bold print."
        title = name.replace('_', r'\_')
        return f'show_doc({reach}, name={title!r}, title_level={level})'

IS_CLASS = re.compile(r'^#+ [A-Z]\w*$', re.M)
FIRST_LINE = re.compile(r'^\*(.+)\*\n(\S(?:.|\n(?!\n))*)', re.M)

class Signatures(Processor):
    "A class is no `def`, and a docstring is set alike to its paragraph's end."
    def cell(self, cell):
        if not is_code(cell) or not SHOWN.match(cell.source): return
        for data in (o.get('data', {}) for o in cell.get('outputs', ())):
            if 'text/markdown' not in data: continue
            text = ''.join(data['text/markdown'])
            if IS_CLASS.search(text): text = text.replace('```python\ndef ', '```python\nclass ', 1)
            data['text/markdown'] = FIRST_LINE.sub(r'*\1\n\2*', text, count=1)

def plain(text: str) -> str:
    "Markdown as words."
    text = re.sub(r'!?\[([^\]]*)\]\([^)]*\)', r'\1', text)
    return ' '.join(re.sub(r'<[^>]+>|[`*_#>|$\\]', '', text).split())

def last_sentence(text: str) -> str:
    "The sentence that stands directly before a picture; '' where that is a heading or a link."
    last = re.split(r'\n\s*\n', text.strip())[-1]
    if re.match('#+ .*$|.*colab.research', last): return ''
    return re.split(r'(?<=[.!?])\s+', plain(last))[-1]

def result_words(outputs: list) -> str:
    "What an `EditResult` or a `Diagram` among the outputs is, or ''."
    for data in outputs:
        said = ''.join(data.get('text/plain', ''))
        if said.startswith('Diagram: '): return said.removeprefix('Diagram: ')
        found = [re.search(rf"\b{name}=(['\"])(.*?)\1", said) for name in ('source', 'prompt')]
        if said.startswith('EditResult(') and all(found):
            source, prompt = (m[2] for m in found)
            return f'Edit of {source} into {prompt}: picture, boxes that were left, edit'
    return ''

class Pictures(Processor):
    """A picture without words of its own (`#| fig-alt:`) gets those of the result or diagram that
    it shows, or those that stand before it: the heading and the last sentence."""
    def begin(self):
        self.heading, self.said = getattr(self.nb, 'frontmatter_', {}).get('title', ''), ''

    def cell(self, cell):
        if cell.cell_type == 'markdown':
            headings = re.findall(r'^#+ (.*)', cell.source, re.M)
            if headings: self.heading = plain(headings[-1])
            self.said = last_sentence(cell.source)
        elif is_code(cell) and 'fig-alt' not in cell.source:
            shown = [o.get('data', {}) for o in cell.get('outputs', ())]
            if not any(mime.startswith('image/') for data in shown for mime in data): return
            before = f'{self.heading}: {self.said}'.strip(': ')[:240]
            words = json.dumps(result_words(shown) or before, ensure_ascii=False)
            cell.source = f'#| fig-alt: {words}\n{cell.source}'

FOLDED = '<details class="answer"><summary>{}</summary>\n{}\n</details>'

def as_html(output: dict, words: str) -> str:
    "An output as a browser shows it; `words` say what a picture shows."
    from nbconvert.filters.markdown_mistune import markdown2html_mistune
    data = {mime: ''.join(v) for mime, v in output.get('data', {}).items()
            if isinstance(v, (str, list))}
    if 'text/html' in data: return data['text/html']
    for mime in ('image/png', 'image/jpeg'):
        if mime in data:
            picture = data[mime].replace('\n', '')
            return f'<img class="img-fluid" alt="{words}" src="data:{mime};base64,{picture}">'
    if 'text/markdown' in data: return markdown2html_mistune(data['text/markdown'])
    text = ''.join(output.get('text', '')) or data.get('text/plain', '')
    return f'<pre><code>{html.escape(text)}</code></pre>'

def quotes_solution(cell) -> bool:
    "Do the outputs of an exercise repeat a text that its solution holds?"
    from regionedit.course.lab import BEGIN, END
    solution = cell.source.partition(BEGIN)[2].partition(END)[0]
    texts = [n.value for n in ast.walk(ast.parse(dedent(solution)))
             if isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) > 9]
    said = json.dumps(cell.outputs, ensure_ascii=False)
    return any(t in said for t in texts)

class Students(Processor):
    """A lesson as its student meets it: a stub in place of each solution; what the exercises and
    the cells to be predicted show is folded, and left out where it quotes a solution."""
    def cell(self, cell):
        from regionedit.course.lab import is_exercise, is_predicted, student_source
        if not (is_exercise(cell) or is_predicted(cell)): return
        alt = re.match(r'#\| fig-alt: "(.*)"\n', cell.source)
        outputs = [] if is_exercise(cell) and quotes_solution(cell) else cell.outputs
        shown = '\n'.join(as_html(o, html.escape(alt[1]) if alt else '') for o in outputs)
        title = 'The output' if is_predicted(cell) else 'What a solution prints'
        cell.source = student_source(cell.source)
        cell.outputs = [dict(output_type='display_data', metadata={}, data={
            'text/html': FOLDED.format(title, shown)})] if shown else []

PLAIN_WORD = re.compile(r'\[`(_?[a-z]*)`\]\(https?://[^)\s]*/(\w+)/\w+\.html#\w*\)')

class Links(Processor):
    """nbdev links whatever word in backticks is the name of something. A plain word is mostly an
    argument or a value: it stays linked on pages of its own room only."""
    def cell(self, cell):
        if cell.cell_type != 'markdown': return
        room = Path(self.nb.path_).parent.name
        def keep(m): return m[0] if m[2] == room and m[1][0] != '_' else f'`{m[1]}`'
        cell.source = PLAIN_WORD.sub(keep, cell.source)

OURS = {FrontmatterProc: [Pictures, Students], add_show_docs: [Methods],
        exec_show_docs: [Signatures], add_links: [Links]}

class Pages(FilterDefaults):
    "nbdev's steps, and after some of them ours."
    def base_procs(self):
        return [s for step in super().base_procs() for s in (step, *OURS.get(step, ()))]
