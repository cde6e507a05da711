"""Lessons 0 to 3 and 9: their checks refuse each wrong answer that students give, with a sentence
that helps, and pass the solution; and the running example they follow stands in one place."""
import ast
import importlib.util
import re
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.course.lab import is_exercise, lessons, running_example
from regionedit.method.core import to_tensor
from regionedit.method.estimators import exact_gradient
from regionedit.method.regions import proposal_sizes, propose, spread_anchors

ROOT = Path(__file__).parents[2]
PAGES = {p.name[:2]: p for p in lessons() if p.name[:2] in ('00', '01', '02', '03', '09')}

# what the cells above a check have made, small enough to be drawn here

GREY = Image.new('RGB', (12, 9), (90, 90, 90))
PAIRS = [(.9, .2), (.6, .6), (.2, .9)]
EDITED = Image.new('RGB', (12, 9), (90, 90, 90))
EDITED.paste((1, 2, 3), (3, 2, 7, 6))
RESULT = SimpleNamespace(box=(3, 2, 7, 6), source_image=GREY, image=EDITED, candidates=[
    SimpleNamespace(s_t2i=a, s_i2i=b) for a, b in PAIRS])

def drawn(seed: int) -> torch.Generator: return torch.Generator().manual_seed(seed)

SEEN = SimpleNamespace(mean=torch.rand(16, 16, generator=drawn(0)))
SQUARE = SimpleNamespace(size=(128, 128))
ANCHORS = torch.tensor([[4., 76.], [60., 60.], [124., 12.]])
GRID = torch.tensor([[1., 5, 2, 0], [3, 0, 4, 7], [6, 2, 1, 3], [0, 8, 2, 5]])
TOKENS = torch.randn(3, 5, 8, generator=drawn(1))

def cosines(a, b):
    a, b = (t / t.norm(dim=-1, keepdim=True) for t in (a, b))
    return ((a @ a.T - b @ b.T)**2).mean().sqrt()

UNIT = torch.nn.functional.normalize(torch.randn(2, 8, generator=drawn(2)), dim=1)
PIXELS = torch.full((3, 8, 8), .5)
TARGET = (PIXELS * 255).round() / 255 + 6 / 255         # the nearer, the lower the loss

WORLD = {
    '00': dict(np=np, result=RESULT),
    '01': dict(torch=torch, spread_anchors=spread_anchors, seen=SEEN, image=SQUARE),
    '02': dict(torch=torch, image=SQUARE, anchors=ANCHORS, exact_gradient=exact_gradient, grid=GRID,
               centred=propose(ANCHORS, proposal_sizes(), (128, 128)),
               sides=(proposal_sizes() * 128).round().int()),
    '03': dict(torch=torch, plt=plt, Image=Image, show_image=lambda *_: None, after=UNIT[0],
               text=UNIT[1], source_text=UNIT[0], image=Image.new('RGB', (8, 8), (128,) * 3),
               names=['a', 'b', 'c'], answers=dict(a=0, b=1, c=2),
               pictures=SimpleNamespace(tokens=TOKENS[[0, 1]]),
               found=torch.stack([torch.zeros(3)] * 2 + [torch.stack(
                   [cosines(t, TOKENS[0]) for t in TOKENS])]),
               wanted=dict(clip=float(1 - UNIT[0] @ UNIT[1]),
                           str=float(cosines(TOKENS[1], TOKENS[0]))),
               unchanged=dict(clip=6 / 255), Config=lambda **_: None,
               clip=SimpleNamespace(encode_images=lambda n: SimpleNamespace(
                   tokens=TOKENS[list(n)]))),
    '09': dict(np=np, torch=torch, combinations=combinations, points=torch.tensor(PAIRS))}

def distance(pixels): return (pixels - TARGET).abs().mean()

def source_of(page: str, name: str) -> str:
    "The cell of a lesson that defines a function."
    found, = [c.source for c in nbformat.read(PAGES[page], as_version=4).cells
              if c.cell_type == 'code' and f'def {name}(' in c.source]
    return found

def prepared(page: str, check: str) -> dict:
    "A namespace in which the check can be called."
    space = dict(WORLD[page])
    exec(source_of(page, check), space)
    if check == 'check_fool':
        space['edit_losses'] = lambda clip, pictures, texts, config: distance(pictures[1])[None]
        space['judge'] = lambda made: torch.stack([distance(to_tensor(p)) for p in made])[None]
    return space

# wrong answers: (page, check) -> exercise, then (what is wrong, its code, what the check says)

PATCH = 'return int(p[1] * g[0] / s[1]), int(p[0] * g[1] / s[0])'
AROUND = 'x0, y0 = (math.floor(v - side / 2 + .5) for v in a); '
CUT = 'return max(x0, 0), max(y0, 0), min(x0 + side, s[0]), min(y0 + side, s[1])'
POOL = ('part = g[a[0]:b[0] + 1, a[1]:b[1] + 1]; '
        'bins = lambda n: [slice(math.floor(i * n / p), math.ceil((i + 1) * n / p)) '
        'for i in range(p)]; ')
CELLS = ('return torch.stack([torch.stack([part[r, c].{} for c in bins(part.shape[1])]) '
         'for r in bins(part.shape[0])])')
SOFT = 'soft = ((z + n) / t).softmax(-1); mean = (soft * l).sum(-1, keepdim=True); '
UNITS = 'a, b = (v / v.norm(dim=1, keepdim=True) for v in (a, b)); '
COSINES = 'a, b = (v / v.norm(dim=-1, keepdim=True) for v in (t, s)); d = a @ a.T - b @ b.T; '
FAR = '''taken = []
for i, p in enumerate(points):
    if len(taken) < k and all({} for j in taken): taken.append(i)
return taken'''
EUCLID = 'math.dist(p, points[j]) >= distance'
STEP = '''now = pixels.clone()
for _ in range(steps):
    now.requires_grad_()
    g, = torch.autograd.grad(loss(now), now)
    now = {}
return now'''
LIMITS = '''low, high, (t, v) = {start}, math.inf, c[i]
for s, w in c:
    text, source = t - s, {source}
    if text > 0: {above}
    elif text < 0: {below}
    {equal}
return {end}'''
RIGHT_LIMITS = dict(start='0.', source='w - v', above='low = max(low, source / text)',
                    below='high = min(high, source / text)', equal='elif source > 0: return None',
                    end='(low, high) if low <= high else None')
SORTED = 'return sorted(range(len(t)), key=lambda i: -({}))'

WRONG = {
    ('00', 'check_share'): ('box, size', [
        ('one pixel too many', 'return (box[2]-box[0]+1) * (box[3]-box[1]+1) / size[0] / size[1]',
         r'\+ 1'),
        ('in percent', 'return 100*(box[2]-box[0])*(box[3]-box[1])/size[0]/size[1]', 'expected'),
        ('a share of the width', 'return (box[2]-box[0])/size[0]', 'expected'),
        ('corners only', 'return box[2]*box[3]/size[0]/size[1]', 'expected'),
        ('pixels', 'return (box[2]-box[0])*(box[3]-box[1])', 'expected'),
        ('nothing returned', 'pass', 'a number')]),
    ('00', 'check_detector'): ('before, after, box', [
        (name, f'd = {differs}; d[box[1]:{y}, box[0]:{x}] = False; r, c = np.nonzero(d); '
               f'return {back} if len(r) else None', why) for name, differs, y, x, back, why in (
            ('closed box', '(np.array(before) != np.array(after)).any(-1)', 'box[3] + 1',
             'box[2] + 1', '(c[0], r[0])', 'half-open'),
            ('row, column', '(np.array(before) != np.array(after)).any(-1)', 'box[3]', 'box[2]',
             '(r[0], c[0])', r'\(row, column\)'),
            ('yes or no', '(np.array(before) != np.array(after)).any(-1)', 'box[3]', 'box[2]',
             'True', r'expected \(x, y\)'),
            ('blue alone', '(np.array(before) != np.array(after))[..., 2]', 'box[3]', 'box[2]',
             '(c[0], r[0])', 'one colour'),
            ('darker alone', '(np.array(before) > np.array(after)).any(-1)', 'box[3]', 'box[2]',
             '(c[0], r[0])', 'up or down'),
            ('all colours', '(np.array(before) != np.array(after)).all(-1)', 'box[3]', 'box[2]',
             '(c[0], r[0])', 'was not found'),
            ('with a tolerance',
             '(abs(np.array(before).astype(int) - np.array(after)) > 3).any(-1)',
             'box[3]', 'box[2]', '(c[0], r[0])', 'was not found'),
            ('rows below forgotten', '(np.array(before) != np.array(after)).any(-1)', '9', 'box[2]',
             '(c[0], r[0])', 'was not found'))] + [
        ('nothing found', 'return None', 'was not found'),
        ('the inside too', 'd = (np.array(before) != np.array(after)).any(-1); '
         'r, c = np.nonzero(d); return (c[0], r[0]) if len(r) else None', 'allowed')]),
    ('00', 'check_taste'): ('candidates, i', [
        (name, f'for t in np.linspace({low}, 1, {n}):\n    s = [{a} * c.s_t2i + {b} * c.s_i2i '
               f'for c in candidates]\n    if s[i] >= max(s): return {back}\nreturn {last}', why)
        for name, low, n, a, b, back, last, why in (
            ('too coarse', 0, 11, 't', '(1 - t)', '(t, 1 - t)', 'None', 'fine enough'),
            ('swapped', 0, 9999, 't', '(1 - t)', '(1 - t, t)', 'None', 'alpha comes first'),
            ('never none', 0, 9999, 't', '(1 - t)', '(t, 1 - t)', '(2, 1)', 'below the line'),
            ('weights below 0', -9, 9999, 't', '(1 - t)', '(t, 1 - t)', 'None', '0 or more'))]),
    ('01', 'check_patch'): ('p, s, g', [
        ('column, row', 'return int(p[0] * g[1] / s[0]), int(p[1] * g[0] / s[1])', 'row comes'),
        ('rounded', 'return round(p[1] * g[0] / s[1]), round(p[0] * g[1] / s[0])', 'expected'),
        ('floats', 'return p[1] * g[0] // s[1], p[0] * g[1] // s[0]', 'int'),
        ('patches of 8', 'return int(p[1] // 8), int(p[0] // 8)', '20 pixels'),
        ('size the wrong way', 'return int(p[1] * g[0] / s[0]), int(p[0] * g[1] / s[1])',
         'size is'),
        ('grid the wrong way', 'return int(p[1] * g[1] / s[1]), int(p[0] * g[0] / s[0])',
         'size is'),
        ('counted from 1', 'return int(p[1] * g[0] / s[1]) + 1, int(p[0] * g[1] / s[0]) + 1',
         'first pixel'),
        ('a number', 'return int(p[1] * g[0] / s[1])', 'row, column')]),
    ('01', 'check_far_apart'): ('points, k, distance', [
        ('Chebyshev', FAR.format('max(abs(p[0] - points[j][0]), abs(p[1] - points[j][1])) '
                                 '>= distance'), 'max'),
        ('Manhattan', FAR.format('abs(p[0] - points[j][0]) + abs(p[1] - points[j][1]) '
                                 '>= distance'), r'3 \+ 3'),
        ('x alone', FAR.format('abs(p[0] - points[j][0]) >= distance'), 'expected'),
        ('squared', FAR.format('math.dist(p, points[j])**2 >= distance'), 'expected'),
        ('farther than', FAR.format('math.dist(p, points[j]) > distance'), 'not nearer than'),
        ('the last alone', FAR.replace('for j in taken', 'for j in taken[-1:]').format(EUCLID),
         'all taken'),
        ('blocked by points left out', FAR.replace('for j in taken', 'for j in range(i)').format(
            EUCLID), 'left out'),
        ('no limit', FAR.replace('len(taken) < k and ', '').format(EUCLID), 'stop at k'),
        ('points', FAR.replace('return taken', 'return [points[i] for i in taken]').format(EUCLID),
         'positions')]),
    ('02', 'check_box'): ('a, side, s', [
        ('one more', AROUND + 'return max(x0, 0), max(y0, 0), min(x0 + side + 1, s[0]), '
         'min(y0 + side + 1, s[1])', r'"\+ 1"'),
        ('not cut', AROUND + 'return x0, y0, x0 + side, y0 + side', 'becomes 0'),
        ('pushed', AROUND + 'x0, y0 = (min(max(v, 0), n - side) for v, n in zip((x0, y0), s)); '
         'return x0, y0, x0 + side, y0 + side', 'do not push'),
        ('shrunk', 'r = min(side // 2, *map(int, a), *(int(n - v) for v, n in zip(a, s))); '
         'return tuple(int(v) for v in (a[0] - r, a[1] - r, a[0] + r, a[1] + r))', 'shrink'),
        ('to even', 'x0, y0 = (round(v - side / 2) for v in a); ' + CUT, 'not to even'),
        ('down', 'x0, y0 = (math.floor(v - side / 2) for v in a); ' + CUT, 'half up'),
        ('x and y', 'y0, x0 = (math.floor(v - side / 2 + .5) for v in a); ' + CUT, r'\(x, y\)'),
        ('height and width', AROUND + CUT.replace('s[0]', 's[9]').replace('s[1]', 's[0]').replace(
            's[9]', 's[1]'), 'limits'),
        ('floats', AROUND + CUT.replace('return ', 'return tuple(map(float, (') + ')))', 'int'),
        ('size', AROUND + 'return x0, y0, side, side', 'expected')]),
    ('02', 'check_pool'): ('g, a, b, p', [
        ('mean', POOL + CELLS.format('mean()'), 'maximum'),
        ('bins that do not overlap', POOL.replace('math.ceil', 'max(math.floor(i * n / p) + 1, '
         'math.floor').replace(') * n / p))', ') * n / p)))') + CELLS.format('max()'), 'both bins'),
        ('the last left out', POOL.replace('b[0] + 1', 'b[0]').replace('b[1] + 1', 'b[1]')
         + CELLS.format('max()'), ''),
        ('not below zero', POOL + CELLS.format('max().clamp(min=0)'), 'below zero'),
        ('the whole grid', POOL.replace('[a[0]:b[0] + 1, a[1]:b[1] + 1]', '') + CELLS.format(
            'max()'), 'expected'),
        ('columns, rows', POOL.replace('a[0]:b[0] + 1, a[1]:b[1] + 1',
                                        'a[1]:b[1] + 1, a[0]:b[0] + 1')
         + CELLS.format('max()'), 'expected'),
        ('flat', POOL + CELLS.format('max()') + '.flatten()', 'a tensor')]),
    ('02', 'check_straight_through'): ('z, l, n, t', [
        ('no temperature', SOFT + 'return soft * (l - mean)', '1 / temperature'),
        ('no noise', 'soft = z.softmax(-1); return (soft * (l - (soft * l).sum()))[None].expand('
         'len(n), -1)', 'exact gradient'),
        ('uphill', SOFT + 'return soft * (mean - l) / t', 'sign'),
        ('no baseline', SOFT + 'return soft * l / t', 'autograd'),
        ('hard', SOFT + 'hard = torch.nn.functional.one_hot(soft.argmax(-1), 4); '
         'return hard * (l - mean) / t', 'autograd'),
        ('averaged', SOFT + 'return (soft * (l - mean) / t).mean(0)', 'one row')]),
    ('03', 'check_cosine'): ('a, b', [
        ('not normalised', 'return 1 - a @ b.T', 'a length of its own'),
        ('one length for all', 'return 1 - (a / a.norm()) @ (b / b.norm()).T', 'of its own'),
        ('lengths of columns', 'return 1 - (a / a.norm(dim=0)) @ (b / b.norm(dim=0)).T',
         'expected|of its own'),
        ('the cosine', UNITS + 'return a @ b.T', 'right angle'),
        ('without the sign', UNITS + 'return 1 - (a @ b.T).abs()', 'opposite'),
        ('an angle', UNITS + 'return torch.arccos((a @ b.T).clamp(-1, 1)) * 2 / math.pi',
         'root of 5'),
        ('squared lengths', 'a, b = (v / (v * v).sum(1, keepdim=True) for v in (a, b)); '
         'return 1 - a @ b.T', 'expected'),
        ('columns for a', UNITS + 'return 1 - b @ a.T', 'a row for each of a'),
        ('pair by pair', UNITS + 'return 1 - (a * b[:2]).sum(1)', 'a table'),
        ('nothing', 'pass', 'return')]),
    ('03', 'check_structure'): ('t, s', [
        ('not normalised', 'd = t @ t.T - s @ s.T; return (d**2).mean().sqrt()', 'cosines'),
        ('the norm', COSINES + 'return d.norm()', 'divide by t'),
        ('mean square', COSINES + 'return (d**2).mean()', 'root'),
        ('mean of absolutes', COSINES + 'return d.abs().mean()', 'root'),
        ('part by part', 'a, b = (v / v.norm(dim=-1, keepdim=True) for v in (t, s)); '
         'return (((a * b).sum(-1) - 1)**2).mean().sqrt()', 'expected|part by part|root|mean'),
        ('across', 'a, b = (v / v.norm(dim=-1, keepdim=True) for v in (t, s)); '
         'return ((a @ b.T - b @ b.T)**2).mean().sqrt()', 'expected|part by part')]),
    ('03', 'check_fool'): ('loss, pixels, reach, steps', [
        ('too far', STEP.format('(now.detach() - reach * g.sign()).clamp(0, 1)'), 'clamp'),
        ('uphill', STEP.format('(now.detach() + reach / 6 * g.sign()).clamp(pixels - reach, '
                               'pixels + reach)'), 'risen'),
        ('nothing', 'return pixels', 'risen'),
        ('timid', STEP.format('(now.detach() - reach / 400 * g.sign())'), 'all of the reach'),
        ('flat', STEP.format('now.detach() - reach / 20 * g.sign()').replace(
            'return now', 'return now.flatten()'), 'expected pixels')]),
    ('09', 'check_order_of'): ('t, v, alpha, beta', [
        ('worst first', SORTED.format('-alpha * t[i] - beta * v[i]'), 'best first'),
        ('no beta', SORTED.format('alpha * t[i] + v[i]'), 'beta 0'),
        ('no alpha', SORTED.format('t[i] * 2 + beta * v[i]'), 'expected'),
        ('ties reversed', 'n = len(t); return sorted(range(n), key=lambda i: (alpha * t[i] '
         '+ beta * v[i], i))[::-1]', 'equal scores'),
        ('scores', 'return sorted((alpha * a + beta * b for a, b in zip(t, v)), reverse=True)',
         'indices'),
        ('softmax', 'e = lambda x: np.exp(x) / np.exp(x).sum(); s = alpha * e(np.array(t)) '
         '+ beta * e(np.array(v)); return np.argsort(-s, kind="stable").tolist()', 'softmax'),
        ('nothing', 'pass', 'return')]),
    ('09', 'check_winning'): ('c, i', [
        (name, LIMITS.format(**(RIGHT_LIMITS | change)), says) for name, change, says in (
            ('upside down', dict(above='low = max(low, text / (source or 1))'), 'expected'),
            ('divides by 0', dict(equal='else: low = max(low, source / text)'), 'divides by 0'),
            ('equal texts ignored', dict(equal='else: pass'), 'equal in text'),
            ('equal texts lose', dict(equal='else: return None'), 'expected'),
            ('lower limits alone', dict(below='pass'), 'alpha = 0|never both'),
            ('upper limits alone', dict(above='pass'), 'from alpha = .7'),
            ('the last limit', dict(above='low = source / text'), 'expected'),
            ('the lowest of the lower limits', dict(above='low = min(low, source / text)'), 'expected'),
            ('the highest of the upper limits', dict(below='high = max(high, source / text)'), 'expected'),
            ('limits exchanged', dict(above='high = min(high, source / text)',
                                      below='low = max(low, source / text)'), 'expected'),
            ('below 0', dict(start='-math.inf'), 'never below 0|from alpha = 0'),
            ('an empty interval', dict(end='low, high'), 'never both'),
            ('none where endless', dict(end='(low, high) if low <= high < math.inf else None'),
             'wins for ever'),
            ('one number', dict(end='low if low <= high else None'), 'len|expected'),
            ('the sign', dict(source='v - w'), 'expected'))] + [
        ('by trying', 'found = [a / 100 for a in range(2001) if a / 100 * c[i][0] + c[i][1] >= '
         'max(a / 100 * t + v for t, v in c) - 1e-9]\n'
         'return (found[0], found[-1]) if found else None', 'wins for ever')]),
    ('09', 'check_expected_best'): ('values, k', [
        ('put back', 's = sorted(values); n = len(s); return sum(v * ((i + 1)**k - i**k) '
         'for i, v in enumerate(s)) / n**k', 'put back'),
        ('at random', 'r = np.random.default_rng(0); return np.mean([max(r.choice(values, k, '
         'replace=False)) for _ in range(300)])', 'at random'),
        ('not sorted', 'n = len(values); return sum(v * math.comb(i, k - 1) for i, v in '
         'enumerate(values)) / math.comb(n, k)', 'expected|all'),
        ('off by one', 's = sorted(values); n = len(s); return sum(v * math.comb(i + 1, k - 1) '
         'for i, v in enumerate(s)) / math.comb(n, k)', 'all'),
        ('the worst', 's = sorted(values, reverse=True); n = len(s); return sum(v * math.comb(i, '
         'k - 1) for i, v in enumerate(s)) / math.comb(n, k)', 'all'),
        ('nothing', 'pass', 'return')])}

CASES = [(page, check, arguments, *wrong) for (page, check), (arguments, answers) in WRONG.items()
         for wrong in answers]

def answer(arguments: str, body: str):
    "A function from its code."
    space = dict(np=np, torch=torch, math=__import__('math'))
    lines = '\n'.join(f'    {line}' for line in body.split('\n'))
    exec(f'def f({arguments}):\n{lines}', space)
    return space['f']

@pytest.fixture(autouse=True)
def quiet():
    matplotlib.use('agg')
    yield
    plt.close('all')

@pytest.mark.parametrize('page, check, arguments, what, body, says', CASES,
                         ids=[f'{c[1][6:]}: {c[3]}' for c in CASES])
def test_a_wrong_answer_is_refused_with_a_sentence(page, check, arguments, what, body, says):
    with pytest.raises(AssertionError) as refused:
        prepared(page, check)[check](answer(arguments, body))
    told = str(refused.value)
    assert re.search(says, told) and len(told.splitlines()[0]) > 15, told

@pytest.mark.parametrize('page, check', WRONG, ids=[c[6:] for _, c in WRONG])
def test_the_solution_passes(page, check):
    space = prepared(page, check)
    cell, = [c.source for c in nbformat.read(PAGES[page], as_version=4).cells
             if is_exercise(c) and f'{check}(' in c.source]
    exec(cell, dict(space, math=__import__('math')))

def test_every_check_of_these_lessons_has_wrong_answers():
    found = {(page, name) for page, path in PAGES.items()
             for c in nbformat.read(path, as_version=4).cells if is_exercise(c)
             for name in re.findall(r'^(check_\w+)\(', c.source, re.M)}
    assert found - set(WRONG) == {('01', 'check_listen')}, 'that one needs the models'

# the running example

@pytest.fixture(scope='module')
def tool():
    path = ROOT/'tools'/'running_example.py'
    spec = importlib.util.spec_from_file_location('running_example', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def test_the_example_is_what_it_says():
    example = running_example()
    assert example.thing in example.source and example.wanted in example.prompt
    assert example.scene.background in example.prompt
    x0, y0, x1, y1 = example.box
    assert 0 <= x0 < x1 <= example.image.width and 0 <= y0 < y1 <= example.image.height
    for wanted in (example.thing, 'a unicorn of the east'):
        with pytest.raises(ValueError, match='expected wanted'): running_example(wanted=wanted)

@pytest.mark.parametrize('page', PAGES)
def test_lessons_take_the_example_from_its_place(page):
    code = '\n'.join(c.source for c in nbformat.read(PAGES[page], as_version=4).cells
                     if c.cell_type == 'code')
    assert 'running_example()' in code and not re.search(r'draw_scene\(\d', code)

def calls(page: str, tool) -> list:
    "The settings of each edit of the whole example in a lesson."
    found = []
    for cell in nbformat.read(PAGES[page], as_version=4).cells:
        if cell.cell_type != 'code': continue
        for node in ast.walk(ast.parse(cell.source)):
            if not isinstance(node, ast.Call): continue
            words = {k.arg: k.value for k in node.keywords if k.arg in tool.OPTIONS}
            if 'ranking' in words and 'anchors' in words:
                found.append({name: ast.literal_eval(value) for name, value in words.items()})
    return found

@pytest.mark.parametrize('page', ['00', '02', '03', '09'])
def test_lessons_edit_as_the_tool_does(page, tool):
    found = calls(page, tool)
    assert found and all(words == tool.OPTIONS for words in found), found

def test_the_tool_sees_what_teaches(tool):
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 30, 30]],
                          [[0, 0, 40, 40], [0, 0, 20, 20], [0, 0, 40, 40]]])
    losses = torch.tensor([[3., 1., 2.], [1., 2., 1.]])
    table = SimpleNamespace(boxes=boxes, loss=lambda config: losses)
    assert tool.rows_of(SimpleNamespace(table=table, config=None)) == [(1, 3, 20), (1, 2, 40)]
    good = dict(named=True, gone=True, iou=.8, anchors=4, interior=2, sizes=3, places=[.8, .1])
    assert tool.teaches(good)
    for worse in (dict(named=False), dict(gone=False), dict(iou=.5), dict(anchors=3),
                  dict(interior=1), dict(sizes=2), dict(places=[.8, .4])):
        assert not tool.teaches(good | worse), worse
