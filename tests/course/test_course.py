"""The course: how it is found and copied, what a student's copy leaves out, and that each lesson
has the parts it should have."""
import ast, json, re, subprocess, sys, zipfile
from pathlib import Path

import nbformat
import pytest

import regionedit.course.lab as course
from regionedit.cli import main
from regionedit.course.lab import (BEGIN, END, NOTE, STUB, copy_course, is_exercise, is_predicted,
                                   lessons, nbgrader_copy, student_copy, student_source)

NBS = Path(__file__).parents[2]/'nbs'/'course'
sys.path.append(str(NBS.parents[1]/'tools'))
import launch       # noqa: E402
LESSONS = sorted(p.name for p in NBS.glob('[0-9]*.ipynb'))

def code(source, tags=(), outputs=()):
    return nbformat.v4.new_code_cell(source, metadata=dict(tags=list(tags)) if tags else {},
                                     outputs=list(outputs), execution_count=7)

def printed(text): return nbformat.v4.new_output('stream', text=text)

# the splitter

def test_a_solution_becomes_one_line_at_the_marks_indentation():
    cell = (
        f'def f(x):\n    if x:\n        {BEGIN}\n        y = 2\n        return y\n        {END}\n  '
        '  return 0\n\ncheck_f(f)'
    )
    assert (student_source(cell) == f'def f(x):\n    if x:\n        {STUB}\n    return '
                                    '0\n\ncheck_f(f)')

def test_each_solution_of_a_cell_is_replaced():
    assert student_source(
        f'{BEGIN}\na\n{END}\nb\n\t{BEGIN}\n\tc\n\t{END}') == f'{STUB}\nb\n\t{STUB}'

@pytest.mark.parametrize('source', ['', 'x = 1\n', '# solution\nx', f'print("{BEGIN}")'])
def test_a_cell_without_marks_stays(source): assert student_source(source) == source

@pytest.mark.parametrize('source',
                         [f'{BEGIN}\nx', f'x\n{END}', f'{BEGIN}\n{BEGIN}\n{END}',
                          f'{BEGIN}\n{END}\n{END}'])
def test_marks_that_are_no_pairs_are_refused(source):
    with pytest.raises(ValueError, match='SOLUTION'): student_source(source)

def test_a_stub_stops_where_the_solution_stood():
    with pytest.raises(NotImplementedError, match='your turn'):
        exec(student_source(f'def f():\n    {BEGIN}\n    return 1\n    {END}\nf()'))

def small_lesson():
    return nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell('# One'), code('1 + 1', outputs=[printed('2')]),
        code(f'def f():\n    {BEGIN}\n    return 1\n    {END}\nf()', ['exercise'],
             [printed('solved')]), code('check(f)', ['exercise'], [printed('solved too')])])

def test_a_students_copy_loses_solutions_and_what_they_printed_and_nothing_else():
    notebook = small_lesson()
    before = nbformat.writes(notebook)
    copy = student_copy(notebook)
    assert nbformat.writes(notebook) == before, 'the argument stays as it was'
    assert [c.source for c in copy.cells] == ['# One', '1 + 1', f'def f():\n    {STUB}\nf()',
                                              'check(f)']
    assert [c.outputs for c in copy.cells[1:]] == [[printed('2')], [], []]
    assert copy.cells[1].execution_count == 7
    nbformat.validate(copy)

def test_what_is_to_be_predicted_is_not_told():
    guessed = code('40 + 2', ['predict'], [printed('42')])
    copy = student_copy(nbformat.v4.new_notebook(cells=[guessed, code('1', (), [printed('1')])]))
    assert (copy.cells[0].source, copy.cells[0].outputs) == ('40 + 2', [])
    assert copy.cells[1].outputs == [printed('1')]

# nbgrader

def graded_lesson():
    head = nbformat.v4.new_markdown_cell('## Exercises\n\n### Stretch: one')
    check = code('#| code-fold: true\ndef check(f): assert f() == 1')
    cells = small_lesson().cells
    return nbformat.v4.new_notebook(cells=[*cells[:2], head, check, cells[2]])

def test_an_exercise_becomes_an_answer_and_a_locked_check_with_points():
    copy = nbgrader_copy(graded_lesson())
    nbformat.validate(copy)
    assert len({c.id for c in copy.cells}) == len(copy.cells) == 6
    read, answer, check = (c.metadata.nbgrader for c in copy.cells[3:])
    assert 'nbgrader' not in copy.cells[1].metadata
    assert (read.grade, read.solution, read.locked) == (False, False, True)
    assert (answer.grade, answer.solution, answer.locked) == (False, True, False)
    assert (check.grade, check.solution, check.locked) == (True, False, True)
    assert check.points == 3 and 'points' not in answer and 'points' not in read
    assert len({m.grade_id for m in (read, answer, check)}) == 3
    assert copy.cells[5].source == 'f()' and copy.cells[4].source.endswith(END)
    assert STUB in nbgrader_copy(student_copy(graded_lesson())).cells[4].source

@pytest.mark.parametrize('name', LESSONS)
def test_every_exercise_of_a_lesson_has_points(name):
    lesson = nbformat.read(NBS/name, as_version=4)
    copy = nbgrader_copy(student_copy(lesson))
    marks = [c.metadata.nbgrader for c in copy.cells if 'nbgrader' in c.metadata]
    assert len(marks) == 3 * sum(map(is_exercise, lesson.cells))
    assert {m.points for m in marks if m.grade} == {1, 2, 3}

def test_nbgraders_own_schema_takes_the_copies():
    schema = pytest.importorskip('nbgrader.nbgraderformat')
    for path in lessons():
        schema.MetadataValidator().validate_nb(nbgrader_copy(nbformat.read(path, as_version=4)))

# the folder

@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    "A course of two lessons, and signatures that stay in this test."
    folder = tmp_path/'shipped'
    folder.mkdir()
    for name in ('00_a', '01_b'): nbformat.write(small_lesson(), folder/f'{name}.ipynb')
    monkeypatch.setattr(course, 'lessons', lambda: sorted(folder.glob('*.ipynb')))
    monkeypatch.setenv('JUPYTER_DATA_DIR', str(tmp_path/'jupyter'))
    return folder

def source_of(path, i): return nbformat.read(path, as_version=4).cells[i].source

def test_copies_are_trusted(shipped, tmp_path):
    from nbformat.sign import NotebookNotary
    assert copy_course(tmp_path/'new'/'folder') == []
    for student in (False, True):
        copy_course(tmp_path/'work', student)
        for p in (tmp_path/'work').glob('*.ipynb'):
            assert NotebookNotary().check_signature(nbformat.read(p, as_version=4))
    assert STUB in source_of(tmp_path/'work'/'00_a.ipynb', 2)

@pytest.mark.parametrize('home', ['a file', 'nothing there'])
def test_a_home_that_cannot_be_written(shipped, tmp_path, monkeypatch, home):
    "Jupyter's own files go beside the lessons then, signatures among them."
    from jupyter_core.paths import jupyter_runtime_dir
    from nbformat.sign import NotebookNotary
    (tmp_path/'file').write_text('')
    for name in ('JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'JUPYTER_CONFIG_DIR', 'IPYTHONDIR', 'XDG_DATA_HOME'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path/'file') if home == 'a file' else '/proc/nowhere')
    assert copy_course(tmp_path/'work') == []
    assert NotebookNotary().check_signature(nbformat.read(tmp_path/'work'/'00_a.ipynb', as_version=4))
    assert jupyter_runtime_dir() == str(tmp_path/'work'/'.jupyter') and lessons_of(tmp_path/'work') == ['00_a.ipynb', '01_b.ipynb']

def lessons_of(folder): return sorted(p.name for p in folder.glob('*.ipynb'))

def test_what_a_student_changed_is_kept_and_named(shipped, tmp_path):
    copy_course(tmp_path/'work', student=True)
    mine = tmp_path/'work'/'00_a.ipynb'
    mine.write_text(mine.read_text().replace(STUB, 'return 5'))
    (tmp_path/'work'/'notes.txt').write_text('mine too')
    for student in (True, False, True):
        assert copy_course(tmp_path/'work', student) == ['00_a.ipynb']
        assert source_of(mine, 2) == 'def f():\n    return 5\nf()'
    assert (tmp_path/'work'/'notes.txt').read_text() == 'mine too'

def test_what_nobody_changed_is_renewed(shipped, tmp_path):
    copy_course(tmp_path/'work', student=True)
    other = small_lesson(); other.cells[1].source = '2 + 2'
    nbformat.write(other, shipped/'00_a.ipynb')
    assert copy_course(tmp_path/'work') == []
    assert source_of(tmp_path/'work'/'00_a.ipynb', 1) == '2 + 2'
    assert BEGIN in source_of(tmp_path/'work'/'01_b.ipynb', 2)

@pytest.mark.parametrize('note', [None, 'no json', '[1]'])
def test_without_a_note_every_other_file_is_somebodys(shipped, tmp_path, note):
    copy_course(tmp_path/'work', student=True)
    (tmp_path/'work'/NOTE).unlink()
    if note: (tmp_path/'work'/NOTE).write_text(note)
    assert copy_course(tmp_path/'work') == ['00_a.ipynb', '01_b.ipynb']
    assert STUB in source_of(tmp_path/'work'/'00_a.ipynb', 2)
    assert copy_course(tmp_path/'work', student=True) == [], 'but what is the same is ours'

def test_a_removed_lesson_comes_back(shipped, tmp_path):
    copy_course(tmp_path/'work')
    (tmp_path/'work'/'01_b.ipynb').unlink()
    assert copy_course(tmp_path/'work') == [] and (tmp_path/'work'/'01_b.ipynb').exists()

def test_links_lead_to_what_is_there(shipped, tmp_path):
    lesson = small_lesson()
    lesson.cells[
        0].source = ('# One\n\n[a](../api/losses/00_text.ipynb), [b](01_b.ipynb), ![c](../x.png), '
                     '[d](../gallery.ipynb#e)')
    nbformat.write(lesson, shipped/'00_a.ipynb')
    copy_course(tmp_path/'work')
    assert (
        source_of(tmp_path / 'work' / '00_a.ipynb', 0) == '# '
        f'One\n\n[a]({course.SITE}/api/losses/text.html), [b](01_b.ipynb), ![c](../x.png), '
        f'[d]({course.SITE}/gallery.html#e)'
    )

# the command

@pytest.fixture
def started(monkeypatch) -> list:
    "What JupyterLab was asked to do."
    import jupyterlab.labapp
    found = []
    monkeypatch.setattr(jupyterlab.labapp, 'main', found.append)
    return found

def test_lab_copies_and_starts_on_the_first_lesson(shipped, started, tmp_path, capsys):
    work = tmp_path/'my course'
    assert main(['lab', str(work), '--student', '--no-browser',
                 '--jupyter=--port 8890 --allow-root']) == 0
    where = [f'--ServerApp.root_dir={work}', '--LabApp.default_url=/lab/tree/00_a.ipynb']
    assert started == [[*where, '--no-browser', '--port', '8890', '--allow-root']]
    assert STUB in source_of(work/'00_a.ipynb', 2)
    assert '2 of 2 lessons copied to' in capsys.readouterr().err
    assert main(['lab', str(work)]) == 0 and started[1] == where
    assert BEGIN in source_of(work/'00_a.ipynb', 2)

def test_lab_can_copy_only_and_names_what_it_kept(shipped, started, tmp_path, capsys):
    work = tmp_path/'w'
    work.mkdir(); (work/'01_b.ipynb').write_text('mine')
    assert main(['lab', str(work), '--no_start']) == 0 and started == []
    out, err = capsys.readouterr()
    assert out == f'jupyter lab {work}/00_a.ipynb\n' and '1 of 2' in err
    assert 'kept as you left them: 01_b.ipynb' in err and (work/'01_b.ipynb').read_text() == 'mine'

def test_lab_copies_a_teachers_own_notebooks_and_marks_them(shipped, started, tmp_path, capsys):
    own = tmp_path/'own'
    own.mkdir(); nbformat.write(graded_lesson(), own/'00_test.ipynb')
    work = tmp_path/'w'
    assert main(['lab', str(work), '--lessons', str(own), '--student', '--nbgrader',
                 '--no-start']) == 0
    assert lessons_of(work) == ['00_test.ipynb'] and '1 of 1' in capsys.readouterr().err
    assert STUB in source_of(work/'00_test.ipynb', 4)
    assert source_of(work/'00_test.ipynb', 5) == 'f()'
    assert main(['lab', str(work), '--lessons', str(tmp_path/'nowhere')]) == 2
    assert 'expected notebooks such as 00_test.ipynb' in capsys.readouterr().err and not started

def test_labs_mistakes_are_one_line(shipped, started, tmp_path, capsys, monkeypatch):
    def refused(*arguments):
        capsys.readouterr()
        assert main(['lab', *arguments]) == 2 and started == []
        line = capsys.readouterr().err.splitlines()[-1]
        return line if line.startswith('regionedit: ') else pytest.fail(line)
    (tmp_path/'file').write_text('')
    assert 'it is a file' in refused(str(tmp_path/'file'))
    assert 'quotation' in refused(str(tmp_path/'w'), '--jupyter="')
    monkeypatch.setitem(sys.modules, 'jupyterlab.labapp', None)
    assert 'pip install jupyterlab' in refused(str(tmp_path/'w'))
    monkeypatch.setattr(course, 'lessons', lessons)
    monkeypatch.setattr(course, '_PACKAGE', tmp_path/'nowhere'/'regionedit')
    assert 'reinstall regionedit' in refused(str(tmp_path/'w'))

@pytest.mark.slow
def test_the_wheel_carries_the_course_and_finds_it(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path/'site')
    program = (
        'from regionedit.course.lab import lessons; import json; print(json.dumps([[str(p),'
        ' p.read_text(encoding="utf8")] for p in lessons()]))'
    )
    run = subprocess.run([sys.executable, '-c', program], cwd=tmp_path/'site', env=dict(PATH=''),
                         capture_output=True, text=True)
    found = json.loads(run.stdout)
    assert all(path.startswith(str(tmp_path/'site'/'regionedit'/'course_data'))
               for path, _ in found)
    assert {Path(path).name: text for path, text in found} == {
        name: (NBS/name).read_text(encoding='utf8') for name in LESSONS}

# each lesson

def cells(name) -> list: return nbformat.read(NBS/name, as_version=4).cells

def text_of(name) -> str:
    return '\n\n'.join(c.source for c in cells(name) if c.cell_type == 'markdown')

def test_lessons_are_those_of_the_folder():
    assert [p.name for p in lessons()] == LESSONS and len(LESSONS) > 0

@pytest.mark.parametrize('name', LESSONS)
def test_a_lesson_has_its_parts(name):
    first, text = cells(name)[1].source, text_of(name)
    assert re.fullmatch(r'# .+\n\n> .+', cells(name)[0].source), 'title and subtitle, alone'
    assert len(re.findall(r'^\*Run time and memory: .+\*$', first, re.M)) == 1
    assert launch.links(name) in first.split('\n'), 'run python tools/launch.py'
    for part in ('Goals', 'What goes wrong', 'Summary', 'Exercises'):
        assert re.search(rf'^##? {part}', text, re.M | re.I), f'a heading "## {part}"'
    for link in re.findall(r'\]\(([^):#]+\.ipynb)', text):
        assert (NBS/link).exists(), f'no page at {link}'
    assert '<details>' in text and '<summary>' in text and text.count('<details>') == text.count(
        '</details>'), 'a hint to unfold'

@pytest.mark.parametrize('name', LESSONS)
def test_exercises_of_three_levels(name):
    levels, level = [], None
    for cell in cells(name):
        if cell.cell_type == 'markdown':
            for found in re.findall(r'^###? +(warm-up|core|stretch)\b', cell.source, re.M | re.I):
                level = found.lower()
        elif is_exercise(cell): levels.append(level)
    assert set(levels) == {'warm-up', 'core',
                           'stretch'}, 'below headings "### Warm-up", "### Core", "### Stretch"'

@pytest.mark.parametrize('name', LESSONS)
def test_an_exercise_has_one_solution_and_ends_with_the_check_above_it(name):
    before = None
    for cell in cells(name):
        if cell.cell_type != 'code': continue
        marks = [line.strip() for line in cell.source.split('\n') if line.strip() in (BEGIN, END)]
        assert marks == ([BEGIN, END] if is_exercise(cell)
                         else []), 'only a cell with the tag "exercise" holds a solution, and one'
        if is_exercise(cell):
            check, = re.findall(r'^(check_\w+)\(.*\)$', cell.source.strip().split('\n')[-1])
            assert (
                before.startswith('#| code-fold: true\n') and f'def {check}(' in before
            ), 'the check stands in the cell above'
            compile(student_source(cell.source), name, 'exec')
        before = cell.source

@pytest.mark.parametrize('name', LESSONS)
def test_a_lesson_has_900_to_1500_words(name):
    "Of text: neither code nor displayed formulas, nor the lines about running it."
    text = re.sub(r'(?s)```.*?```|\$\$.*?\$\$|\]\([^)\s]*\)|<[^>]+>', ' ', text_of(name))
    told = [line for line in text.split('\n') if not line.startswith(('*Run time', 'Work on it'))]
    assert 900 <= sum(bool(re.search(r'\w', word)) for word in ' '.join(told).split()) <= 1500

FIRST = [name for name in LESSONS if name < '09']

@pytest.mark.parametrize('name', FIRST)
def test_lessons_before_the_evidence_say_how_they_edit(name):
    "No edit leaves boxes, ranking or the fourth term to what the defaults may be."
    for cell in cells(name):
        if cell.cell_type != 'code': continue
        for node in ast.walk(ast.parse(cell.source)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                    and node.func.id in ('editor', 'models')): continue
            named = {k.arg for k in node.keywords}
            given = {ast.unparse(k.value) for k in node.keywords if k.arg is None}
            if given & {'settings', 'mistake'}: continue        # lesson 0, see its tests
            needed = {'ranking', 'source_weight'}
            if 'box' not in named: needed |= {'anchors', 'proposals'}
            assert needed <= named, ast.unparse(node)

QUESTION = re.compile(r'\b(Predict|Guess)\b')       # as a sentence begins with it

@pytest.mark.parametrize('name', LESSONS)
def test_a_question_to_predict_stands_above_its_cell(name):
    "The tag `predict` marks the cell whose output answers it."
    asked = [i for i, c in enumerate(cells(name))
             if c.cell_type == 'markdown' and QUESTION.search(c.source)]
    tagged = [i for i, c in enumerate(cells(name)) if is_predicted(c)]
    assert tagged == [i + 1 for i in asked], 'tag the code cell below each question with `predict`'
    assert asked, 'a lesson asks at least once'

def bare(source: str) -> list:
    "Assertions at the level of a cell, loops and all, that say nothing when they fail."
    inner = (ast.FunctionDef, ast.Lambda, ast.ClassDef)
    def found(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Assert) and child.msg is None: yield ast.unparse(child)
            if not isinstance(child, inner): yield from found(child)
    return list(found(ast.parse(source)))

def test_bare_by_hand():
    assert bare('for i in x:\n    assert i') == ['assert i']
    assert bare("assert a, 'mend the text'\ndef check(f): assert f") == []

@pytest.mark.parametrize('name', [n for n in LESSONS if n >= '09'])
def test_an_assertion_says_what_to_mend(name):
    "Outside checks and exercises, an assertion of a lesson guards a sentence of its text."
    assert [b for c in cells(name) if c.cell_type == 'code' and not is_exercise(c)
            for b in bare(c.source)] == []

# the page for teachers

def teachers_page() -> str:
    page = nbformat.read(NBS/'for_teachers.ipynb', as_version=4)
    return '\n\n'.join(c.source for c in page.cells if c.cell_type == 'markdown')

def test_teachers_find_a_note_on_every_lesson():
    noted = re.findall(r'^\*\*(\d\d)(?: and (\d\d))? .*\*Ask\*.*', teachers_page(), re.M)
    numbers = [n for pair in noted for n in pair if n]
    assert numbers == sorted(numbers) and {name[:2] for name in LESSONS} <= {*numbers}

def test_the_table_for_teachers_shows_the_lessons_there_are():
    page = nbformat.read(NBS/'for_teachers.ipynb', as_version=4)
    shown = str([c.outputs for c in page.cells if c.cell_type == 'code'])
    stored = re.findall(r'\[\d\d [^]]+\]\((\S+?\.ipynb)\)', shown)
    assert stored == LESSONS, 'run tools/stamp_lessons.py --pages nbs/course/for_teachers.ipynb'

def test_what_the_teachers_page_tells_to_type_is_known():
    from regionedit.cli import build_parser
    typed = re.findall(r'^regionedit (lab .*?)\s*(?:#.*)?$', teachers_page(), re.M)
    assert len(typed) >= 4
    for line in typed: assert build_parser().parse_args(line.split()).command == 'lab'
    for path in re.findall(r'^python (\S+)', teachers_page(), re.M):
        assert (NBS.parents[1]/path).exists()

@pytest.mark.slow
@pytest.mark.parametrize('name', LESSONS)
def test_a_lesson_runs_for_a_student_and_with_its_solutions(name, monkeypatch):
    """The student's copy fails at the exercises and nowhere else; then, in the same kernel, the
    solutions pass their checks."""
    import nbclient
    monkeypatch.setenv('IN_TEST', '1')
    monkeypatch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    lesson = nbformat.read(NBS/name, as_version=4)
    notebook, solved = student_copy(lesson), [c for c in lesson.cells if is_exercise(c)]
    undone = {i: 'your turn' for i, c in enumerate(notebook.cells) if is_exercise(c)}
    for cell in solved: cell['id'] += '-solved'
    notebook.cells += solved
    nbclient.NotebookClient(notebook, timeout=900, startup_timeout=300, kernel_name='python3',
                            allow_errors=True, resources={'metadata': {'path': str(NBS)}}).execute()
    errors = {i: o.evalue for i, c in enumerate(notebook.cells) if c.cell_type == 'code'
              for o in c.outputs if o.output_type == 'error'}
    assert errors == undone
