"""The teachers' test set: right answers pass, wrong ones are refused, and no solution leaves the
teachers' folder."""
import math, sys
from pathlib import Path

import nbformat
import pytest
import torch

from regionedit.course.lab import BEGIN, STUB, is_exercise, nbgrader_copy, own_lessons, student_copy

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT/'tools'))
PATH, = own_lessons(ROOT/'teachers')

def read(): return nbformat.read(PATH, as_version=4)

@pytest.fixture(scope='module')
def solved() -> dict:
    "The names of the notebook after all its cells were run, solutions included."
    names = {}
    for cell in read().cells:
        if cell.cell_type == 'code': exec(cell.source, names)
    return names

def test_students_get_no_solution_and_the_points_are_those_announced():
    copy = nbgrader_copy(student_copy(read()))
    nbformat.validate(copy)
    told = '\n'.join(c.source for c in copy.cells)
    assert BEGIN not in told and told.count(STUB) == sum(map(is_exercise, read().cells))
    points = [c.metadata.nbgrader.points for c in copy.cells
              if c.metadata.get('nbgrader', {}).get('grade')]
    assert len(points) == 9 and sum(points) == 19
    said = read().cells[1].source
    assert 'Nine questions' in read().cells[0].source and 'nineteen points' in said

def test_a_students_copy_stops_at_each_stub():
    names = {}
    for cell in student_copy(read()).cells:
        if cell.cell_type != 'code': continue
        if not is_exercise(cell): exec(cell.source, names); continue
        with pytest.raises(NotImplementedError, match='your turn'): exec(cell.source, names)

def wrong_step(before, after, source, prompt):
    return 1 - torch.cosine_similarity(after, prompt, 0)

def biased(logits, losses, rate):
    return logits - rate * logits.softmax(0) * losses

def no_roots(z, epsilon, now, then):
    x = (z - (1 - now) * epsilon) / now
    return then * x + (1 - then) * epsilon

def kept(start, steps):
    return [int(start * math.cos(math.pi * (i + 1) / (2 * steps)) + 1e-9) for i in range(steps)]

def random_test(key_of): assert key_of(torch.zeros(1).numpy(), (0, 0, 1, 1), 'a', 0) is not None

WRONG = [
    ('centre', lambda r, c, s, g: (r * s[0] / g[1] + 4, c * s[1] / g[0] + 4), 'column 12'),
    ('centre', lambda r, c, s, g: (c * s[0] / g[1], r * s[1] / g[0]), r'\(4, 4\)'),
    ('edits', lambda anchors, sides, size: len(anchors) * len(sides), '2'),
    ('edits', lambda anchors, sides, size: len({(*a, s) for a in anchors for s in sides}), '3'),
    ('edits', lambda anchors, sides, size: len(
        {tuple(min(max(v + d * s // 2, 0), size[0]) for d in (-1, 1) for v in a)
         for a in anchors for s in sides} if size[1] != 20 else [1]), 'limits of their own'),
    ('direction', wrong_step, 'expected'),
    ('direction', lambda b, a, s, p: 1 - (a - b) @ (p - s), 'longer'),
    ('direction', lambda b, a, s, p: 1 - torch.cosine_similarity(a - b, p - s, 0) + (
        (a - b).norm() * (p - s).norm() == 0), 'no direction'),
    ('denoise', no_roots, 'expected|clean|nothing'),
    ('denoise', lambda z, e, now, then: (z - (1 - now)**.5 * e) / now**.5, 'nothing changes'),
    ('settled', kept, 'stay unknown'),
    ('settled', lambda start, steps: [start // steps] * steps, 'stay unknown'),
    ('learn_step', biased, 'autograd'),
    ('learn_step', lambda z, l, r: z + r * (l - l.mean()), 'autograd'),
    ('worth_it', lambda t, s, t0, a, b: sorted(range(len(t)), key=lambda i: -a * t[i] - b * s[i]),
     r'\[2, 1\]'),
    ('worth_it', lambda t, s, t0, a, b: [i for i in range(len(t))
                                         if a * t[i] + b * s[i] > a * t0 + b], r'\[2, 1\]'),
    ('votes_for', lambda p: math.ceil(1.96**2 * p * (1 - p) / (p - .5)**2), 'interval|would do'),
    ('votes_for', lambda p: 100, 'interval|would do'),
    ('votes_for', lambda p: 1.96**2 / (4 * (p - .5)**2), 'whole numbers'),
    ('test_key', random_test, 'the same sum'),
]

@pytest.mark.parametrize('name, answer, told', WRONG, ids=lambda v: v if isinstance(v, str) else '')
def test_a_wrong_answer_is_refused_in_words(solved, name, answer, told):
    with pytest.raises(AssertionError, match=told): solved[f'check_{name}'](answer)

def test_each_question_is_tried_with_a_wrong_answer(solved):
    assert {name for name, *_ in WRONG} == {n.removeprefix('check_') for n in solved
                                            if n.startswith('check_')}

def test_no_solution_stands_on_the_site():
    from site_check import letters, read as text_of, solved as solution
    site = ' '.join(letters(text_of(p)) for p in (ROOT/'nbs').rglob('*.ipynb'))
    for cell in read().cells:
        lines = [letters(line) for line in solution(cell).split('\n')]
        whole = ''.join(lines)
        assert not whole or whole not in site
        longest = max(lines, key=len)
        assert not longest or longest not in site
