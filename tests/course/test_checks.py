"""The checks of the exercises: each lets its lesson's solution pass, and refuses the wrong answers
that students give with a sentence that says what is wrong."""
import re
from pathlib import Path

import nbformat
import pytest

from regionedit.course.lab import is_exercise

NBS = Path(__file__).parents[2]/'nbs'/'course'

# What a check finds in its lesson besides its own cell: lines of imports and of small stand-ins,
# and names of functions of the lesson, whose cells are run.
COMMON = (
    'import math, json, tempfile\nfrom math import comb, ceil, log\nfrom pathlib import Path\n'
    'from itertools import combinations, product\nimport numpy as np\nimport torch\n'
    'from torch import nn\nimport torch.nn.functional as F\n'
)
NEEDS = {
    '08_gradients': ('', 'reinforce'),
    '10_judging_edits': ('', 'half_width', 'wilson'),
    '13_your_own_picture': ('from PIL import Image\nfrom matplotlib.cbook import get_sample_data\n'
                            'from regionedit.batch.jobs import read_jobs\n'
                            'from regionedit.method.core import open_image\n'
                            'def sample_picture(): return Image.open(get_sample_data('
                            "'Minduka_Present_Blue_Pack.png')).convert('RGBA')\n"
                            'gift = sample_picture()\n',),
    '15_ten_questions_a': ("opposite = {'above': 'below', 'below': 'above', 'to the left of': "
                           "'to the right of', 'to the right of': 'to the left of'}\n",)}

def function_of(source: str, name: str) -> str:
    "One function of a cell."
    return re.search(rf'^def {name}\(.*?(?=^\S|\Z)', source, re.M | re.S)[0]

def lesson(name: str) -> tuple:     # cells, names that its checks may use
    cells = [c for c in nbformat.read(NBS/f'{name}.ipynb', as_version=4).cells
             if c.cell_type == 'code']
    stand_ins, *functions = NEEDS.get(name, ('',))
    space = {}
    exec(COMMON + stand_ins, space)
    for f in functions + (['bias_and_deviation'] if name == '08_gradients' else []):
        cell, = [c for c in cells if re.search(rf'^def {f}\(', c.source, re.M)]
        exec(function_of(cell.source, f), space)
    return cells, space

def check_of(name: str, exercise: str) -> tuple:    # the check, the lesson's answer
    cells, space = lesson(name)
    i, = [i for i, c in enumerate(cells) if is_exercise(c) and f'def {exercise}(' in c.source]
    exec(cells[i - 1].source, space)
    answer, call = cells[i].source.rsplit('\n\n', 1)
    exec(answer, space)
    return space[call.split('(')[0]], space[exercise], space

STD, N = 'std((1, 2, 3), keepdim=True)', 'c.sum(1, keepdim=True)'
TOTAL = '(g * c).sum(1, keepdim=True)'

# lesson, function: wrong answers, each with words of the sentence that refuses it
WRONG = {
    ('04_diffusion_by_hand', 'guide'): [
        (f'lambda free, told, w: (lambda g: {back})({guided})', says) for back, guided, says in (
            ('g', 'free + w * (told - free)', 'kept its size'),
            ('g * told.std() / g.std()', 'free + w * (told - free)', 'a size of its own'),
            ('g * told.std((2, 3), keepdim=True) / g.std((2, 3), keepdim=True)',
             'free + w * (told - free)', 'all channels together'),
            (f'g * g.{STD} / told.{STD}', 'free + w * (told - free)', 'gives told|upside down'),
            (f'g * (g.{STD} / told.{STD})**(w > 1)', 'free + w * (told - free)', 'upside down'),
            (f'g * free.{STD} / g.{STD}', 'free + w * (told - free)', 'gives told'),
            (f'g / g.{STD}', 'free + w * (told - free)', 'gives told'),
            (f'g * told.{STD} / g.{STD}', 'told + w * (free - told)', 'gives told'),
            (f'g * told.{STD} / g.{STD}', 'told + (w - 1) * (free - told)', 'expected deviations'),
            (f'g * told.{STD} / g.{STD}', 'free.add_(w * (told - free))', 'free itself'),
            (f'(g - g.mean((1, 2, 3), keepdim=True)) * told.{STD} / g.{STD} '
             '+ told.mean((1, 2, 3), keepdim=True)', 'free + w * (told - free)', 'nothing else'))],
    ('04_diffusion_by_hand', 'noise_from'): [
        ('lambda v, z, a: a * v + (1 - a) * z', 'the noise is off'),
        ('lambda v, z, a: a.sqrt() * z - (1 - a).sqrt() * v', 'the noise is off'),
        ('lambda v, z, a: (v + (1 - a).sqrt() * (a.sqrt() * z - (1 - a).sqrt() * v)) / a.sqrt()',
         'do not divide by its root')],
    ('04_diffusion_by_hand', 'keep_outside'): [
        ('lambda z, s, e, c, a: torch.where(c > 0, z, s)', 'the noise of that level'),
        ('lambda z, s, e, c, a: torch.where(c > 0, z, a * s + (1 - a) * e)', 'that level'),
        ('lambda z, s, e, c, a: torch.where(c > 0, a.sqrt() * s + (1 - a).sqrt() * e, z)',
         'inside the mask nothing'),
        ('lambda z, s, e, c, a: torch.where(c > 0, z, a.sqrt() * s + (1 - a).sqrt() * '
         'torch.randn_like(e))', 'that level'),
        ('lambda z, s, e, c, a: z.mul_(c).add_((1 - c) * (a.sqrt() * s + (1 - a).sqrt() * e))',
         'z itself was changed')],
    ('05_maskgit_by_hand', 'still_unknown'): [
        ('lambda start, i, n: 0 if i == n - 1 else round(start * math.cos(math.pi / 2 * (i + 1) / '
         'n))', 'expected'),
        ('lambda start, i, n: int(start * math.cos(math.pi / 2 * i / n))', 'after step i'),
        ('lambda start, i, n: int(start * (1 - (i + 1) / n))', 'cos')],
    ('05_maskgit_by_hand', 'ask_again'): [
        ('lambda c, u, n: c <= c.flatten().sort().values[n - 1]', 'left = 0'),
        ('lambda c, u, n: (c.flatten().argsort().argsort() < n).view_as(u)', 'never be asked'),
        ('lambda c, u, n: (c.masked_fill(~u, -9).flatten().argsort(descending=True).argsort() < n)'
         '.view_as(u)', 'left = 1'),
        ('lambda c, u, n: u & (c <= c[u].sort().values[n - 1]) if n else u & False',
         'equally sure')],
    ('05_maskgit_by_hand', 'share_of_wins'): [
        ('lambda p, n, g: torch.bincount(torch.multinomial(p, n, True, generator=g), minlength='
         'len(p)) / n', 'no torch.multinomial'),
        ('lambda p, n, g: torch.bincount((p / torch.rand(n, len(p), generator=g)).argmax(1), '
         'minlength=len(p)) / n', 'exponential'),
        ('lambda p, n, g: torch.bincount((p / torch.empty(len(p)).exponential_(generator=g))'
         '.argmax().repeat(n), minlength=len(p)) / n', 'new for each race'),
        ('lambda p, n, g: torch.bincount((p / torch.empty(n, len(p)).exponential_()).argmax(1), '
         'minlength=len(p)) / n', 'from the same seed'),
        ('lambda p, n, g: torch.bincount((p / torch.empty(n, len(p)).exponential_(generator=g))'
         '.argmax(1), minlength=len(p))', 'add up to 1')],
    ('08_gradients', 'arrived'): [
        ('lambda n, loss: (loss.backward(), all(p.grad is not None for p in n.parameters()))[1]',
         'rounded outputs'),
        ('lambda n, loss: all(p.grad is not None for p in n.parameters())', 'backward'),
        ('lambda n, loss: (loss.backward(), any(p.grad is not None and bool(p.grad.abs().max() > 0)'
         ' for p in n.parameters()))[1]', 'last layer'),
        ('lambda n, loss: (loss.backward(), all(p.grad is not None and bool(p.grad.sum() != 0) '
         'for p in n.parameters()))[1]', 'cancel'),
        ('lambda n, loss: (loss.backward(), all(p.grad is not None and bool((p.grad != 0).all()) '
         'for p in n.parameters()))[1]', 'one entry may be zero'),
        ('lambda n, loss: (loss.backward(), torch.tensor(True))[1]', 'expected True or False')],
    ('08_gradients', 'advantages'): [
        (f'lambda f, c: (lambda g: {answer})(f.nan_to_num(0))', says) for answer, says in (
            (f'g - ({TOTAL} - g) / ({N} - 1)', 'expected|each of the two draws counts'),
            (f'(g - ({TOTAL} - g) / ({N} - 1)) * (c > 0)', 'each of the two draws counts'),
            (f'c * (g - ({TOTAL} - c * g) / ({N} - c))', 'same box is one of the others'),
            (f'c * (g - {TOTAL} / {N})', 'two boxes, each drawn once'),
            (f'c * (g - {TOTAL} / {N}) * torch.where({N} > 2, 1, 2)', 'without the draw itself'),
            ('(c > 0) * (g - ((g * (c > 0)).sum(1, keepdim=True) - g) / ((c > 0).sum(1, '
             'keepdim=True) - 1))', 'boxes were compared, not draws'),
            ('c * (g - ((g * (c > 0)).sum(1, keepdim=True) - g) / ((c > 0).sum(1, '
             'keepdim=True) - 1))', 'a box drawn twice'),
            (f'c * (({TOTAL} - g) / ({N} - 1) - g)', 'two boxes, each drawn once'),
            (f'c * (g - ({TOTAL} - g) / {N})', 'two boxes, each drawn once'),
            ('c * (g - ((g * c).sum(0, keepdim=True) - g) / (c.sum(0, keepdim=True) - 1))',
             'two boxes, each drawn once|nan'),
            (f'(c * (g - ({TOTAL} - g) / ({N} - 1))).sum(1)', 'a number per box'))] + [
        (f'lambda f, c: c * (f - ((f * c).sum(1, keepdim=True) - f) / ({N} - 1))', 'never drawn'),
        (f'lambda f, c: (f.copy_(f.nan_to_num(0)), c * (f - ({TOTAL.replace("g", "f", 1)} - f) / '
         f'({N} - 1)))[1]', 'f itself was changed')],
    ('08_gradients', 'best_baseline'): [
        ('lambda pi, f: (pi * f).sum()', 'expected about'),
        ('lambda pi, f: f.mean()', 'a slightly different b'),
        ('lambda pi, f: (pi**2 * f).sum() / (pi**2).sum()', 'expected about')],
    ('10_judging_edits', 'psnr_of'): [
        ("lambda mse: float('inf') if mse == 0 else -20 * np.log10(mse)", 'the factor is 10'),
        ("lambda mse: float('inf') if mse == 0 else -10 * np.log(mse)", '20 dB'),
        ('lambda mse: -10 * np.log10(max(mse, 1e-10))', 'infinite')],
    ('10_judging_edits', 'votes_behind'): [
        ('lambda p, h: int(1.959964**2 * p * (1 - p) / h**2)', 'round to the nearest'),
        ('lambda p, h: round(p * (1 - p) / h**2)', '1.96 times'),
        ('lambda p, h: round(1.959964 * p * (1 - p) / h)', '1.96 times'),
        ('lambda p, h: round(1.959964**2 * .25 / h**2)', '1.96 times'),
        ('lambda p, h: round(1.644854**2 * p * (1 - p) / h**2)', '1.96 times'),
        ('lambda p, h: float(round(1.959964**2 * p * (1 - p) / h**2))', 'whole numbers')],
    ('10_judging_edits', 'by_people'): [
        ('lambda v, n, g: np.quantile(v.ravel()[g.integers(v.size, size=(n, v.size))].mean(1), '
         '(.025, .975))', "one person's votes stay together"),
        ('lambda v, n, g: np.quantile([g.permutation(v.mean(1)).mean() for _ in range(n)], '
         '(.025, .975))', 'putting back'),
        ('lambda v, n, g: np.quantile(v.mean(1)[g.integers(len(v), size=(n, len(v)))].mean(1), '
         '(.05, .95))', 'that is 90 %'),
        ('lambda v, n, g: (lambda m: (m.mean() - m.std(), m.mean() + m.std()))('
         'v.mean(1)[g.integers(len(v), size=(n, len(v)))].mean(1))', 'that is 68 %'),
        ('lambda v, n, g: np.quantile(v.mean(1)[g.integers(len(v), size=(n, 8))].mean(1), '
         '(.025, .975))', 'as many people as there are'),
        ('lambda v, n, g: np.quantile(v.mean(1)[g.integers(len(v), size=(n, len(v)))], '
         '(.025, .975))', 'average their votes'),
        ('lambda v, n, g: np.quantile(v.mean(1)[g.integers(len(v), size=(n, len(v)))].mean(1), '
         '(.975, .025))', 'lower end comes first'),
        ('lambda v, n, g: np.quantile(v.mean(1)[np.random.randint(len(v), size=(n, len(v)))]'
         '.mean(1), (.025, .975))', 'rng was not asked'),
        ('lambda v, n, g: np.quantile(v.mean(0)[g.integers(v.shape[1], size=(n, v.shape[1]))]'
         '.mean(1), (.025, .975))', 'expected about'),
        ('lambda v, n, g: np.quantile(v.mean(1)[g.integers(len(v), size=(n, len(v)))].sum(1), '
         '(.025, .975))', 'expected about'),
        ('lambda v, n, g: v.mean()', 'a lower and an upper end')],
    ('11_failures', 'share'): [
        ('lambda a, b: sum(b[0] <= x <= b[2] and b[1] <= y < b[3] for x, y in a) / len(a)',
         'right edge'),
        ('lambda a, b: sum(b[0] <= x < b[2] and b[1] <= y <= b[3] for x, y in a) / len(a)',
         'lower edge'),
        ('lambda a, b: sum(b[0] < x < b[2] and b[1] < y < b[3] for x, y in a) / len(a)',
         'left edge'),
        ('lambda a, b: sum(b[0] <= x < b[2] and b[1] <= y < b[3] for x, y in a) / 4',
         'divide by their number'),
        ('lambda a, b: sum(b[0] <= y < b[2] and b[1] <= x < b[3] for x, y in a) / len(a)',
         'x is compared with')],
    ('11_failures', 'first_suspect'): [
        ("lambda n: 'editor' if n['drawn'] < .5 else 'anchors' if n['anchors'] == 0 else "
         "'box' if n['overlap'] < .3 else 'none'", 'one seed is enough'),
        ("lambda n: 'editor' if n['drawn'] == 0 else 'anchors' if n['anchors'] < .3 else "
         "'box' if n['overlap'] < .3 else 'none'", 'one anchor on the object is enough'),
        ("lambda n: 'editor' if n['drawn'] == 0 else 'anchors' if n['anchors'] == 0 else "
         "'box' if n['area'] > 2 else 'none'", 'small box beside'),
        ("lambda n: 'editor' if n['drawn'] == 0 else 'anchors' if n['anchors'] == 0 else "
         "'box' if n['overlap'] <= .3 else 'none'", 'not below'),
        ("lambda n: 'anchors' if n['anchors'] == 0 else 'editor' if n['drawn'] == 0 else "
         "'box' if n['overlap'] < .3 else 'none'", 'the editor comes first'),
        ("lambda n: 'editor' if n['drawn'] == 0 else 'box' if n['overlap'] < .3 else "
         "'anchors' if n['anchors'] == 0 else 'none'", 'no box can be right')],
    ('11_failures', 'largest_rate'): [
        ('lambda s, n, doubt=.05: 1 - doubt**(1 / n)', 'or fewer'),
        ('lambda s, n, doubt=.05: s / n', 'or fewer'),
        ('lambda s, n, doubt=.05: min(1, (s + 3) / n)', 'or fewer'),
        ('lambda s, n, doubt=.05: {(0, 1): .95, (0, 3): .6316, (0, 30): .095, (1, 4): .7514, '
         '(2, 3): .983, (3, 3): 1}.get((s, n), 1 - .05**(1 / n))', 'doubt 0.25')],
    ('12_remedies', 'by_words'): [
        ('lambda fit: fit.amax(1).argsort()', 'the other way'),
        ('lambda fit: fit.mean(1).argsort(descending=True)', 'the mean of the crops'),
        ('lambda fit: fit[:, 0].argsort(descending=True)', 'their first one'),
        ('lambda fit: fit.amax(0).argsort(descending=True)', 'each of the four'),
        ('lambda fit: fit.sort(descending=True).values[:, 0].sort(descending=True).values',
         'each of the four'),
        ('lambda fit: fit.mul_(-1).amin(1).argsort()', 'fit itself was changed')],
    ('12_remedies', 'seeds_needed'): [
        ("lambda r, w: float('inf') if r == 0 else ceil(w / r)", '(1 - rate)^n'),
        ("lambda r, w: float('inf') if r == 0 else 1 if r == 1 else int(log(1 - w) / log(1 - r))",
         'the least number'),
        ("lambda r, w: float('inf') if r == 0 else 1 if r == 1 else int(log(1 - w) / log(1 - r)) "
         "+ 1", 'the least number'),
        ("lambda r, w: ceil(log(1 - w) / log(1 - r)) if 0 < r < 1 else 1", 'never succeeds')],
    ('12_remedies', 'choose_small'): [
        ('lambda l, b, side, w: (l + w * (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]))'
         '.argmin(1)', 'the share is that of the area'),
        ('lambda l, b, side, w: (l + w * (b[..., 2] - b[..., 0]) / side).argmin(1)',
         'the share is that of the area'),
        ('lambda l, b, side, w: (l - w * (b[..., 2] - b[..., 0])**2 / side**2).argmin(1)',
         'the smallest box wins'),
        ('lambda l, b, side, w: (l + w * (b[..., 2] - b[..., 0])**2 / side**2).argmax(1)',
         'the least loss wins'),
        ('lambda l, b, side, w: l.add_(w * (b[..., 2] - b[..., 0])**2 / side**2).argmin(1)',
         'losses itself was changed')],
    ('13_your_own_picture', 'scale_up'): [
        ('lambda b, s, w: tuple(round(v * w[0] / s[0]) for v in b)', 'three times as high'),
        ('lambda b, s, w: (int(b[0] * w[0] / s[0]), int(b[1] * w[1] / s[1]), int(b[2] * w[0] / '
         's[0]), int(b[3] * w[1] / s[1]))', 'nearest'),
        ('lambda b, s, w: (b[0] * w[0] / s[0], b[1] * w[1] / s[1], b[2] * w[0] / s[0], b[3] * w[1] '
         '/ s[1])', 'whole numbers'),
        ('lambda b, s, w: tuple(round(v * s[i % 2] / w[i % 2]) for i, v in enumerate(b))',
         'twice as wide')],
    ('13_your_own_picture', 'on_white_paper'): [
        ('lambda p: p[..., :3]', 'white'),
        ('lambda p: np.uint8(p[..., 3:] / 255. * p[..., :3] + (1 - p[..., 3:] / 255.) * 255)',
         'to the nearest'),
        ('lambda p: np.uint8(p[..., 3:] / 255. * 255 + (1 - p[..., 3:] / 255.) * p[..., :3] + .5)',
         'white'),
        ('lambda p: p[..., 3:] / 255. * p[..., :3] + (1 - p[..., 3:] / 255.) * 255', 'uint8')],
    ('13_your_own_picture', 'jobs_of'): [
        ("lambda d, s, p: [dict(image=f.name, source=s, prompt=p) for f in sorted(d.glob('*')) "
         "if f.suffix in ('.png', '.jpg')]", 'folders below count too'),
        ("lambda d, s, p: [dict(image=str(f), source=s, prompt=p) for f in sorted(d.rglob('*')) "
         "if f.suffix in ('.png', '.jpg')]", 'relative to the folder'),
        ("lambda d, s, p: [dict(image=f.relative_to(d).as_posix(), source=s, prompt=p) for f in "
         "sorted(d.rglob('*')) if f.is_file()]", 'notes do not'),
        ("lambda d, s, p: [dict(image=f.relative_to(d).as_posix(), source=p, prompt=s) for f in "
         "sorted(d.rglob('*')) if f.suffix in ('.png', '.jpg')]", 'both texts')],
    ('15_ten_questions_a', 'background_share'): [
        ('lambda m, b: sum(m[y][x] for y in range(b[1], b[3]) for x in range(b[0], b[2])) / '
         '((b[2] - b[0]) * (b[3] - b[1]))', 'one is background'),
        ('lambda m, b: sum(1 - m[x][y] for y in range(b[1], b[3]) for x in range(b[0], b[2])) / '
         '((b[2] - b[0]) * (b[3] - b[1]))', 'mask[y][x]'),
        ('lambda m, b: sum(1 - m[y][x] for y in range(b[1], b[3] + 1) for x in range(b[0], b[2] + '
         '1)) / ((b[2] - b[0] + 1) * (b[3] - b[1] + 1))', 'of the four pixels'),
        ('lambda m, b: sum(1 - m[y][x] for y in range(b[1], b[3]) for x in range(b[0], b[2]))',
         'of the four pixels')],
    ('15_ten_questions_a', 'decisive'): [
        ('lambda t: {n for n in t if t[n].argmin() == sum(t.values()).argmin()}', 'all agree'),
        ('lambda t: {n for n in t if sum(t.values()).argmax() != sum(v for m, v in t.items() if '
         'm != n).argmax()}', 'the second wins'),
        ('lambda t: [n for n in t if sum(t.values()).argmin() != sum(v for m, v in t.items() if '
         'm != n).argmin()]', 'the second wins'),
        ('lambda t: {n for n in t if sum(t.values()).argmin() == sum(v for m, v in t.items() if '
         'm != n).argmin()}', 'the second wins')],
    ('15_ten_questions_a', 'exchange'): [
        ("lambda t: next((f' {h} '.join(reversed(t.split(f' {h} '))) for h in opposite), None)",
         'got'),
        ("lambda t: next((t.replace(h, opposite[h]) for h in opposite if h in t), None)", 'got'),
        ("lambda t: next((f' {h} '.join(reversed(t.split(f' {h} '))) for h in opposite if h in t),"
         " t)", 'cannot be exchanged'),
        ("lambda t: next((h.join(reversed(t.split(h))) for h in opposite if h in t), None)",
         'got')],
    ('16_ten_questions_b', 'attentive_rate'): [
        ('lambda p, c: (p - c) / (1 - c)', 'observed as .77'),
        ('lambda p, c: p / (1 - c)', 'observed as .77'),
        ('lambda p, c: (1 - c) * p + c / 2', 'observed as .77')],
    ('16_ten_questions_b', 'sign_test'): [
        ('lambda w, n: sum(comb(n, i) for i in range(max(w, n - w), n + 1)) / 2**n', '0 of 5'),
        ('lambda w, n: 2 * sum(comb(n, i) for i in range(max(w, n - w), n + 1)) / 2**n', 'even'),
        ('lambda w, n: min(1., 2 * sum(comb(n, i) for i in range(w, n + 1)) / 2**n)', 'two-sided'),
        ('lambda w, n: min(1., 2 * comb(n, w) / 2**n)', 'an even split')],
    ('16_ten_questions_b', 'grow'): [
        ('lambda m, b: F.max_pool2d(m[None].float(), 3, 1, 1)[0] > 0', 'leave the box'),
        ('lambda m, b: sum(torch.roll(m, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1))'
         '.bool() & b', 'opposite edge'),
        ('lambda m, b: (F.conv2d(m[None, None].float(), torch.tensor([[[[0., 1, 0], [1, 1, 1], '
         '[0, 1, 0]]]]), padding=1)[0, 0] > 0) & b', 'square of nine'),
        ('lambda m, b: (F.max_pool2d(m[None].float(), 3, 1, 1)[0] * b)', 'bools')]}

@pytest.mark.parametrize('name, exercise', WRONG, ids=lambda v: str(v))
def test_a_check_takes_the_lessons_answer(name, exercise, capsys):
    check, answer, _ = check_of(name, exercise)
    check(answer)
    assert capsys.readouterr().out.startswith('right')

@pytest.mark.parametrize('name, exercise, wrong, sentence',
                         [(*where, *mutant) for where, mutants in WRONG.items()
                          for mutant in mutants])
def test_a_check_refuses_a_wrong_answer_with_a_sentence(name, exercise, wrong, sentence):
    check, _, space = check_of(name, exercise)
    with pytest.raises(AssertionError) as caught: check(eval(wrong, space))
    said = str(caught.value).split('\nassert')[0]
    assert any(words in said for words in sentence.split('|')), said

def test_every_exercise_of_these_lessons_has_wrong_answers():
    for name in {name for name, _ in WRONG}:
        cells, _ = lesson(name)
        found = {re.search(r'^def (\w+)\(', c.source, re.M)[1] for c in cells if is_exercise(c)}
        assert found == {e for n, e in WRONG if n == name}
