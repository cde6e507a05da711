"""Slides of the lessons: python tools/slides.py FOLDER

nbconvert makes a deck of each lesson for reveal.js, which lies beside the decks, so that they need
no network. Which parts are shown is decided by rule. Each heading begins a slide. Of the text, a
slide shows lists, tables, formulas, questions and tasks; the rest is for the speaker, who presses
S. Code is shown if it is short, its output always. Solutions and hints are left out.
"""
import argparse, re, shutil, sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
sys.path.append(str(TOOLS))
from launch import COURSE, START, outside       # noqa: E402

LONGEST, PATHS = 14, ('reveal', 'katex')        # lines of code on a slide; folders beside the decks
TEMPLATE = '''{% extends 'index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}
<link rel="stylesheet" href="katex/katex.min.css">
<style>
.reveal .slides { text-align: left }
.reveal .slides section { max-height: 100%; overflow-y: auto }
.reveal pre, .reveal pre code { white-space: pre-wrap; overflow-wrap: anywhere; max-height: none }
.reveal .slides pre { box-sizing: border-box; width: 100%; margin: 0; box-shadow: none }
.reveal .jp-RenderedHTMLCommon { font-size: 28px }
.reveal .jp-RenderedHTMLCommon table { font-size: 22px }
.reveal img { max-height: 500px; width: auto; background: white }
.reveal h1, .reveal h2, .reveal h3 { text-transform: none }
.jp-InputPrompt, .jp-OutputPrompt { display: none }
</style>
{% endblock %}
{% block footer_js %}
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script src="katex/katex.min.js"></script>
<script src="katex/auto-render.min.js"></script>
<script>
renderMathInElement(document.body, {delimiters: [{left: '$$', right: '$$', display: true},
                                                 {left: '$', right: '$', display: false}]});
Reveal.initialize({hash: true, slideNumber: true, center: false, width: 1280, height: 720,
                   transition: 'none', plugins: [RevealNotes]});
</script>
{% endblock %}'''

SEEN = re.compile(r'#|[-*] |\d+\. |\||\$\$|>|```|\*\*|.*\b(Predict|Guess)\b', re.S)

def paragraphs(text: str) -> list:
    "Of a markdown cell, without hints and without the lines about running it."
    text = re.sub(r'(?s)<details>.*?</details>', '', text)
    found = [p.strip() for p in re.split(r'\n\s*\n', text)]
    return [p for p in found if p and not p.startswith(('*Run time', START))]

def slide(source: str, kind: str):
    import nbformat
    return nbformat.v4.new_markdown_cell(source, metadata=dict(slideshow=dict(slide_type=kind)))

def text_slides(cell, tasks: bool) -> list:     # of cells
    "A text as a slide for each heading, and what else it says as notes; a task is shown whole."
    made = []
    for p in paragraphs(outside(cell.source)):
        if p.startswith('#') or not made:
            made.append((('slide' if re.match('##? ', p) else 'subslide'), [], []))
        made[-1][1 if tasks or SEEN.match(p) else 2].append(p)
    cells = []
    for kind, shown, said in made:
        if not shown: shown, said = said[:1], said[1:]
        cells.append(slide('\n\n'.join(shown), kind))
        if said: cells.append(slide('\n\n'.join(said), 'notes'))
    return cells

def code_slide(cell):
    "A code cell as a slide, or None: short code, and what a slide can show of its outputs."
    lines = [line for line in cell.source.split('\n') if not line.startswith('#|')]
    hidden = re.match(r'#\| (hide|code-fold|include: false|echo: false)', cell.source)
    cell.outputs = [o for o in cell.outputs if 'text/html' not in o.get('data', {})
                    and o.output_type != 'error']
    short = not hidden and len(lines) <= LONGEST
    if not cell.outputs and not short: return None
    if short: cell.source = '\n'.join(lines)
    else: cell['transient'] = dict(remove_source=True)
    cell.metadata['slideshow'] = dict(slide_type='subslide')
    return cell

def deck(lesson):
    "A lesson, as `nbformat.read` gives it, as a notebook of slides."
    from regionedit.course.lab import is_exercise
    cells, tasks, made = [*lesson.cells], False, []
    for i, cell in enumerate(cells):
        if cell.cell_type == 'markdown':
            tasks = tasks or bool(re.search(r'^## Exercises', cell.source, re.M))
            made += text_slides(cell, tasks)
            if re.search(r'^## Summary', cell.source, re.M): tasks = False
        elif not (is_exercise(cell) or any(map(is_exercise, cells[i + 1:i + 2]))):
            made += filter(None, [code_slide(cell)])
    lesson.cells = made
    return lesson

def export(path: Path) -> str:
    "A lesson's deck as a page."
    import nbformat
    from nbconvert import SlidesExporter
    lesson = deck(nbformat.read(path, as_version=4))
    lesson.metadata['title'] = lesson.cells[0].source.split('\n')[0].lstrip('# ')
    exporter = SlidesExporter(raw_template=TEMPLATE, reveal_url_prefix='reveal')
    return exporter.from_notebook_node(lesson)[0]

def write(folder: Path, pages: list = None) -> list:        # of str, the decks' names
    "Decks of the lessons, and what they need, in a folder."
    pages, names = pages or sorted(COURSE.glob('[0-9]*.ipynb')), []
    for name in PATHS: shutil.copytree(TOOLS/name, folder/name, dirs_exist_ok=True)
    theme = folder/'reveal'/'dist'/'theme'/'white.css'      # its fonts are not here
    style = re.sub(r'@import[^;]*;', '', theme.read_text(encoding='utf8'))
    theme.write_text(style, encoding='utf8')
    for path in pages:
        names.append(f'{re.sub(r"^[0-9]+_", "", path.stem)}.html')
        (folder/names[-1]).write_text(export(path), encoding='utf8')
    return names

WALK = '''async () => {
    const faults = [], slides = Reveal.getSlides();
    for (const slide of slides) {
        const at = Reveal.getIndices(slide);
        Reveal.slide(at.h, at.v);
        await new Promise(requestAnimationFrame);
        const box = slide.getBoundingClientRect();
        for (const part of slide.querySelectorAll('pre, img, table')) {
            const cut = part.scrollWidth > part.clientWidth + 1 && part.tagName === 'PRE';
            if (cut || part.getBoundingClientRect().right > box.right + 2)
                faults.push(`slide ${at.h}/${at.v}: ${part.tagName} is cut: `
                            + part.textContent.slice(0, 40));
        }
    }
    return [slides.length, faults];
}'''

def look(tab, name: str) -> list:
    "What is wrong with a deck in a browser."
    tab.set_viewport_size(dict(width=1280, height=720))
    tab.wait_for_function('() => window.Reveal && Reveal.isReady()')
    count, cut = tab.evaluate(WALK)
    few = [] if count > 10 else [f'{name}: {count} slides, expected more than 10']
    return few + [f'{name}: {fault}' for fault in cut]

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='where the decks go')
    folder = parser.parse_args().folder
    print(*(folder/name for name in write(folder)), sep='\n')
    return 0

if __name__ == '__main__': sys.exit(main())
