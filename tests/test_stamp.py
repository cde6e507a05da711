"""The tool that executes pages in place: what it writes, keeps, skips and reports, with the
execution itself replaced."""
import base64, importlib.util, io, sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

spec = importlib.util.spec_from_file_location(
    'stamp_lessons', Path(__file__).parent.parent / 'tools' / 'stamp_lessons.py'
)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

HEAD = f'# A\n\n> b\n\n{tool.STAMP} not measured yet.*\n\nText.'

def png(image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, 'PNG', compress_level=0)
    return base64.b64encode(buffer.getvalue()).decode()

def shown(data): return nbformat.v4.new_output('display_data', data)

@pytest.fixture
def pages(tmp_path, monkeypatch) -> Path:
    "A tree with two lessons and a reference page; running one of the name `bad` fails."
    for name in ('nbs/course/00_a', 'nbs/course/01_bad', 'nbs/api/00_c'):
        path = tmp_path/f'{name}.ipynb'
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(
            nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_markdown_cell(HEAD if 'course' in name else '# C'),
                       nbformat.v4.new_code_cell('1')]), path)
    (tmp_path/'settings.ini').write_text((tool.ROOT/'settings.ini').read_text())
    (tmp_path/'regionedit').mkdir()
    def execute(notebook, folder, timeout):
        if not notebook.cells[1].source: raise RuntimeError('Traceback\nNameError: x')
        notebook.cells[1].outputs = [nbformat.v4.new_output('stream', text='ran')]
        return 12.4, 1_260_000_000
    for name, value in dict(ROOT=tmp_path, COURSE=tmp_path/'nbs'/'course',
                            STATE=tmp_path/'build'/'state.json', execute=execute).items():
        monkeypatch.setattr(tool, name, value)
    # and back, at the end
    for name in ('IN_TEST', 'MPLBACKEND', 'HF_HUB_OFFLINE', 'TOKENIZERS_PARALLELISM', 'PYTHONPATH'):
        monkeypatch.setenv(name, '')
    monkeypatch.chdir(tmp_path)
    return tmp_path/'nbs'

def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['stamp_lessons.py', *map(str, arguments)])
    return tool.main()

def spoil(path, source=''):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = source
    nbformat.write(notebook, path)

def test_lessons_are_stamped_and_pages_are_not(pages, monkeypatch, capsys):
    assert run(monkeypatch, '--pages', pages) == 0 and 'all executed' in capsys.readouterr().out
    lesson, page = (nbformat.read(pages/p, as_version=4)
                    for p in ('course/00_a.ipynb', 'api/00_c.ipynb'))
    head = lesson.cells[0].source.split('\n')
    assert head[4].startswith(f'{tool.STAMP} 12 s and 1.3 GB on ') and head[4].endswith('.*')
    assert head[:4] + head[5:] == HEAD.split('\n')[:4] + HEAD.split('\n')[5:]
    assert page.cells[0].source == '# C'
    assert page.cells[1].outputs[0].text == lesson.cells[1].outputs[0].text == 'ran'

def test_the_page_for_teachers_is_no_lesson(pages, monkeypatch):
    page = pages/'course'/'for_teachers.ipynb'
    page.write_bytes((pages/'api'/'00_c.ipynb').read_bytes())
    assert run(monkeypatch, '--pages', page) == 0
    assert nbformat.read(page, as_version=4).cells[1].outputs[0].text == 'ran'

def test_a_failure_is_named_leaves_its_page_alone_and_is_all_that_is_done_again(
    pages, monkeypatch, capsys):
    bad = pages/'course'/'01_bad.ipynb'
    spoil(bad)
    before = bad.read_bytes()
    assert run(monkeypatch, '--pages', pages/'course', pages/'api'/'00_c.ipynb') == 1
    assert bad.read_bytes() == before
    assert capsys.readouterr().out.endswith('1 failed:\nnbs/course/01_bad.ipynb: NameError: x\n')
    spoil(bad, '2'); spoil(pages/'api'/'00_c.ipynb', '3')       # repaired, and another one changed
    assert run(monkeypatch, '--pages', pages, '--resume') == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if 'done before' in line] == [
        'nbs/course/00_a.ipynb']
    assert out.count(' KB') == 2
    assert run(monkeypatch, '--pages',
               pages) == 0 and capsys.readouterr().out.count(
                   ' KB') == 3, 'without --resume all are done'

def test_a_lesson_without_the_line_is_refused():
    for head in ('# A', HEAD + '\n' + tool.STAMP):
        with pytest.raises(ValueError, match='Run time and memory'):
            tool.stamp(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(head)]), 1, 1)

def test_views_go_and_pictures_get_a_palette():
    flat = Image.new('RGBA', (60, 40), (255, 0, 0, 255))
    flat.paste((0, 0, 0, 0), (0, 0, 30, 40))
    bar = shown({tool.VIEW: {'model_id': '1'}, 'text/plain': '100%'})
    view = shown({tool.VIEW: {'model_id': '1'}, 'text/plain': 'Page', 'text/html': '<b>x</b>'})
    text, picture = shown({'text/plain': '1'}), shown({'image/png': png(flat)})
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell('x', outputs=[bar, view, text, picture])])
    tool.tidy(notebook)
    page, kept, small = notebook.cells[0].outputs
    assert kept == text and sorted(page.data) == ['text/html', 'text/plain']
    assert len(small.data['image/png']) < len(png(flat)) / 4
    image = Image.open(io.BytesIO(base64.b64decode(small.data['image/png'])))
    assert image.mode == 'P' and image.convert('RGB').getpixel((5, 5)) == (
        255, 255,
        255) and image.convert('RGB').getpixel((50, 5)) == (255, 0,
                                                            0), 'what is transparent becomes white'
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 1)).astype(np.uint8).repeat(3, 2)
    noise[:3, :3] = 0, 0, 255
    rare = np.array(
        Image.open(io.BytesIO(base64.b64decode(tool.smaller(png(Image.fromarray(noise)))))).convert(
            'RGB')).astype(int)
    assert abs(rare[1, 1] - (0, 0, 255)).max() < 20, 'nine blue pixels among grey ones stay blue'
    assert tool.smaller(small.data['image/png']) == small.data[
        'image/png'], 'and no smaller a second time'

@pytest.mark.slow
def test_a_page_is_executed_in_a_process_that_is_measured(tmp_path):
    cells = [nbformat.v4.new_code_cell(c)
             for c in ('import time; time.sleep(.3); block = bytearray(300_000_000)',
                       'print(len(block))')]
    notebook = nbformat.v4.new_notebook(cells=cells)
    seconds, peak = tool.execute(notebook, tmp_path, 60)
    assert len(notebook.cells) == 2 and notebook.cells[1].outputs[0].text == '300000000\n'
    assert .3 < seconds < 30 and 3e8 < peak < 2e9
