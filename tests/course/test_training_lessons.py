"""Lessons 6 and 7: their checks accept right answers, written in several ways, and refuse the wrong
ones that students give, each with a sentence that helps."""
from pathlib import Path
import re

import matplotlib
import nbformat
import pytest

from regionedit.course.lab import is_exercise, student_source

NBS = Path(__file__).parents[2]/'nbs'/'course'

def world(name: str) -> dict:       # name -> value
    "What a lesson's imports and checks define; nothing is trained."
    cells = [c for c in nbformat.read(NBS/name, as_version=4).cells if c.cell_type == 'code']
    matplotlib.use('agg')
    found = {}
    exec(cells[0].source, found)
    for cell in cells:
        if 'def check_' in cell.source or 'For the check' in cell.source or (
                'def clip_loss' in cell.source):
            exec(cell.source, found)
    return found

def solutions(name: str) -> dict:   # name of the function -> source
    cells = [c for c in nbformat.read(NBS/name, as_version=4).cells if is_exercise(c)]
    return {re.search(r'^def (\w+)', c.source, re.M)[1]: c.source for c in cells}

@pytest.fixture(scope='module')
def painter() -> dict: return world('06_train_a_painter.ipynb')

def answer(world: dict, name: str, source: str):
    "The check's word on an answer."
    there = dict(world)
    exec(source, there)
    there[f'check_{name}'](there[name])

@pytest.mark.parametrize('name', ['ends', 'train_clean', 'hidden_loss', 'remove_start', 'walk'])
def test_the_painters_solutions_are_right(painter, name):
    answer(painter, name, solutions('06_train_a_painter.ipynb')[name])

@pytest.mark.parametrize('name', ['06_train_a_painter.ipynb', '07_train_a_guide.ipynb'])
def test_an_exercise_that_is_not_done_says_so(name, request):
    there = request.getfixturevalue('painter' if name.startswith('06') else 'guide')
    for function, source in solutions(name).items():
        with pytest.raises(NotImplementedError, match='^your turn$'):
            answer(there, function, student_source(source))

LOOP = '''
def train_clean(network, optimizer, x, steps, generator):
    losses = []
    for _ in range(steps):
        t = torch.rand(len(x), generator=generator) * .9 + .1
        noise = torch.randn(x.shape, generator=generator)
        z = (1 - t[:, None]) * x + t[:, None] * noise
        loss = ((network(z, t) - x).square() / t[:, None]**2).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    return losses
'''
START = '''
@torch.no_grad()
def remove_start(average, start, decay, steps):
    share = decay**steps
    for a, s in zip(average.parameters(), start.parameters()):
        a.copy_((a - share * s) / (1 - share))
'''
WALK = '''
def walk(velocity, noise, steps):
    z, t = noise, 1.
    for i in range(steps):
        v, then = velocity(z, t), 1 - (i + 1) / steps
        trial = z - v / steps
        if i + 1 < steps: trial = z - (v + velocity(trial, then)) / 2 / steps
        z, t = trial, then
    return z
'''
HIDDEN = '''
def hidden_loss(logits, tokens, hidden, share):
    total = 0
    for l, t, h, s in zip(logits, tokens, hidden, share):
        each = F.cross_entropy(l[None], t[None], reduction='none')[0]
        total = total + each[h].sum() / s / h.numel()
    return total / len(share)
'''
ENDS = '''
def ends(z, v, t):
    t = t.view(-1, 1, 1, 1)
    x = z - t * v
    return x, x + v
'''

@pytest.mark.parametrize('name, source', [('train_clean', LOOP), ('remove_start', START),
                                          ('walk', WALK), ('hidden_loss', HIDDEN), ('ends', ENDS)])
def test_another_right_answer_is_right(painter, name, source): answer(painter, name, source)

WRONG = [       # exercise, a right answer, what is changed, what the sentence says
    ('ends', ENDS, ('return x, x + v', 'return x + v, x'), 'code: off by'),
    ('ends', ENDS, ('z - t * v', 'z + t * v'), 'walk back'),
    ('ends', ENDS, ('    t = t.view(-1, 1, 1, 1)\n', ''), 'three more'),
    ('ends', ENDS, ('x = z - t * v', 'x = (z - t * (x_ := z + (1 - t) * v)) / (1 - t)'),
     'nothing need be divided'),
    ('ends', ENDS, ('return x, x + v', 'return x'), 'expected the code and the noise'),
    ('ends', ENDS, ('    t = t.view(-1, 1, 1, 1)\n',
                    '    t.mul_(2); t = t.view(-1, 1, 1, 1)\n'), 't was changed'),
    ('train_clean', LOOP, ('(network(z, t) - x).square() / t[:, None]**2',
                           '(network(z, t) - x).square()'), 'loss of the clean code'),
    ('train_clean', LOOP, ('(network(z, t) - x).square() / t[:, None]**2',
                           '(network(z, t) - noise + x).square()'), 'turn it into a velocity'),
    ('train_clean', LOOP, ('(network(z, t) - x).square() / t[:, None]**2',
                           '((network(z, t) - z) / t[:, None] - noise + x).square()'),
     'sign is wrong'),
    ('train_clean', LOOP, ('(network(z, t) - x).square() / t[:, None]**2',
                           '(z - network(z, t) - noise + x).square()'), 'divide by t'),
    ('train_clean', LOOP, ('(network(z, t) - x).square() / t[:, None]**2',
                           '((z - network(z, t)) / t[:, None] - x + noise).square()'),
     'sign is wrong'),
    ('train_clean', LOOP, ('t[:, None]**2', 't[:, None]'), 'first loss'),
    ('train_clean', LOOP, ('* .9 + .1', ''), 'times reach from'),
    ('train_clean', LOOP, (' * .9 + .1', '.clamp(min=.1)'), 'mean of .55'),
    ('train_clean', LOOP, ('optimizer.zero_grad(); ', ''), 'old gradients'),
    ('train_clean', LOOP, (' optimizer.step()', ''), 'have not moved'),
    ('train_clean', LOOP, ('loss.item()', 'loss'), 'floats'),
    ('train_clean', LOOP, ('    return losses', ''), 'return a loss'),
    ('train_clean', LOOP, ('range(steps)', 'range(steps - 1)'), 'asked 5 times'),
    ('train_clean', LOOP, ('torch.rand(len(x), generator=generator)',
                           'torch.rand(1, generator=generator).expand(len(x))'), 'same time'),
    ('train_clean', LOOP, ('torch.rand(len(x)', 'torch.randn(len(x)'), 'times reach from'),
    ('train_clean', LOOP, ('torch.randn(x.shape', 'torch.rand(x.shape'), 'deviation'),
    ('train_clean', LOOP, ('(1 - t[:, None]) * x + t[:, None] * noise',
                           't[:, None] * x + (1 - t[:, None]) * noise'), 'does not hold'),
    ('train_clean', LOOP, ('(1 - t[:, None]) * x + t[:, None] * noise',
                           '(1 - t[:, None]).sqrt() * x + t[:, None].sqrt() * noise'),
     'does not hold'),
    ('train_clean', LOOP, ('generator=generator', 'generator=torch.Generator().manual_seed(0)'),
     'same times'),
    ('train_clean', LOOP, ('network(z, t)', 'network(z, t[:, None])'), 'a time per row'),
    ('hidden_loss', HIDDEN, ('each[h].sum()', 'each[~h].sum()'), 'known cells were graded'),
    ('hidden_loss', HIDDEN, ('each[h].sum()', 'each.sum()'), 'all cells'),
    ('hidden_loss', HIDDEN, (' / s /', ' /'), 'share was forgotten'),
    ('hidden_loss', HIDDEN, (' / s /', ' * s /'), 'do not multiply'),
    ('hidden_loss', HIDDEN, (' / s / h.numel()', ' / h.sum()'), 'that was expected'),
    ('hidden_loss', HIDDEN, (' / s /', ' / share.mean() /'), 'its own share'),
    ('hidden_loss', HIDDEN, (' / h.numel()', ''), '16 cells'),
    ('hidden_loss', HIDDEN, ('    return total / len(share)', '    return total'), 'not the sum'),
    ('hidden_loss', HIDDEN, ('each[h].sum() / s / h.numel()', 'each[h].mean() / s'),
     'by the hidden cells and by'),
    ('hidden_loss', HIDDEN, ('each[h].sum() / s / h.numel()',
                             '(each[h].mean() * h.float().mean()) / s'), 'got nan'),
    ('hidden_loss', HIDDEN, ('    return total / len(share)',
                             '    return total / hidden.any(2).any(1).sum()'), 'counts in the mean'),
    ('hidden_loss', HIDDEN, ('F.cross_entropy(l[None],', 'F.cross_entropy(l[None].softmax(1),'),
     'axis 1'),
    ('hidden_loss', HIDDEN, ('total / len(share)', 'float(total / len(share))'),
     'one number, as a tensor'),
    ('remove_start', START, (' / (1 - share)', ''), '7/8 only'),
    ('remove_start', START, (' / (1 - share)', ' / share'), 'by what is left'),
    ('remove_start', START, ('(a - share * s)', 'a'), 'not taken away'),
    ('remove_start', START, ('decay**steps', '1 - (1 - decay)'), 'share is 1/8'),
    ('remove_start', START, ('decay**steps', 'decay**(steps - 1)'), 'one step less'),
    ('remove_start', START, ('decay**steps', 'decay**(steps + 1)'), 'one step more'),
    ('remove_start', START, ('a - share * s', 'a + share * s'), '1/8 of the start'),
    ('remove_start', START, ('a.copy_((a - share * s) / (1 - share))',
                             'a = (a - share * s) / (1 - share)'), 'in place'),
    ('remove_start', START, ('share * s)', 's.mul_(share))'), 'start itself'),
    ('remove_start', START, ('@torch.no_grad()\n', ''), 'no_grad'),
    ('remove_start', START, ('zip(average.parameters(), start.parameters())',
                             '[(average.weight, start.weight)]'), 'bias'),
    ('walk', WALK, ('(v + velocity(trial, then)) / 2', 'v'), '7 times|1 times|ask'),
    ('walk', WALK, ('if i + 1 < steps:', 'if True:'), 't = 0'),
    ('walk', WALK, ('z, t = noise, 1.', 'z, t = noise, 0.'), 't = 0'),
    ('walk', WALK, ('velocity(trial, then)', 'velocity(trial, (t + then) / 2)'), 'at the times'),
    ('walk', WALK, ('velocity(trial, then)', 'velocity(trial, t)'), 'at the times'),
    ('walk', WALK, ('range(steps)', 'range(steps - 1)'), 'asked for 0 times'),
    ('walk', WALK, ('z - v / steps', 'z + v / steps'), 'leads to the noise'),
    ('walk', WALK, ('trial = z - (v +', 'trial = trial - (v +'), 'from its beginning'),
    ('walk', WALK, ('trial = z - (v + velocity(trial, then)) / 2 / steps',
                    'trial = z - (v + velocity(trial, then)) / steps'), 'mean of both'),
    ('walk', WALK, ('(v + velocity(trial, then)) / 2', 'velocity(trial, then)'), 'mean of both'),
    ('walk', WALK, ('(v + velocity(trial, then)) / 2', '(v, velocity(trial, then))[0]'),
     'mean of both'),
    ('walk', WALK, ('velocity(trial, then)', 'velocity(z, then)'), 'where the first leads'),
    ('walk', WALK, ('    return z', '    return noise'), 'away from'),
]

@pytest.mark.parametrize('name, right, change, says', WRONG)
def test_a_wrong_painter_is_refused_with_a_sentence(painter, name, right, change, says):
    assert change[0] in right
    with pytest.raises(AssertionError, match=says):
        answer(painter, name, right.replace(*change))

# lesson 7

@pytest.fixture(scope='module')
def guide() -> dict: return world('07_train_a_guide.ipynb')

LOWEST = '''
def lowest(batch, temperature):
    right, wrong = math.exp(1 / temperature), math.exp(-1 / temperature)
    return -math.log(right / (right + (batch - 1) * wrong))
'''
CONTRASTIVE = '''
def contrastive(pictures, texts, temperature, same):
    u = pictures / pictures.norm(dim=1, keepdim=True)
    w = texts / texts.norm(dim=1, keepdim=True)
    e = (u @ w.T / temperature).exp()
    keep = (same[:, None] != same[None]) | torch.eye(len(same), dtype=torch.bool)
    rows, columns = ((e.diag() / (e * keep).sum(a)).log() for a in (1, 0))
    return -(rows + columns).mean() / 2
'''
TARGETS = '''
def targets(similarity, temperature, rounds):
    with torch.no_grad():
        q = similarity / temperature
        for _ in range(rounds):
            q = q.log_softmax(0)
            q = q.log_softmax(1)
        return q.exp()
'''
ABOUT = '''
def about(p, label):
    def entropy(p): return -(p * p.clamp(min=1e-20).log()).sum()
    total = entropy(p.mean(0))
    for c in set(label.tolist()):
        group = p[label == c]
        total = total - len(group) / len(p) * entropy(group.mean(0))
    return total
'''
GUIDES = dict(lowest=LOWEST, contrastive=CONTRASTIVE, targets=TARGETS, about=ABOUT)

@pytest.mark.parametrize('name', GUIDES)
def test_the_guides_solutions_are_right(guide, name):
    answer(guide, name, solutions('07_train_a_guide.ipynb')[name])
    answer(guide, name, GUIDES[name])

WRONG_GUIDES = [        # exercise, what is changed in a right answer, what the sentence says
    ('lowest', ('-math.log', 'math.log'), 'minus a logarithm'),
    ('lowest', ('(batch - 1)', 'batch'), 'batch - 1 others'),
    ('lowest', ('math.exp(-1 / temperature)', '1'), 'expected'),
    ('lowest', ('math.exp(1 / temperature), math.exp(-1 / temperature)',
                'math.exp(temperature), math.exp(-temperature)'), 'divided by the temperature'),
    ('lowest', ('-math.log(right / (right + (batch - 1) * wrong))', '0.'), 'expected'),
    ('contrastive', (' / pictures.norm(dim=1, keepdim=True)', ''), 'length'),
    ('contrastive', (' / texts.norm(dim=1, keepdim=True)', ''), 'length'),
    ('contrastive', ('texts.norm(dim=1, keepdim=True)', 'texts.norm()'), 'length'),
    ('contrastive', ('(e * keep)', 'e'), 'still count as wrong'),
    ('contrastive', ('(e * keep)', 'e.where(keep, torch.ones(()))'), 'logit of 0'),
    ('contrastive', (' | torch.eye(len(same), dtype=torch.bool)', ''), 'expected 0|stays|text i'),
    ('contrastive', ('e.diag() / (e * keep).sum(a)', '(e * ((same[:, None] == same))).sum(a) / '
                     'e.sum(a)'), 'not added to the right'),
    ('contrastive', ('((e.diag() / (e * keep).sum(a)).log() for a in (1, 0))',
                     '(((e / e.sum(a, keepdim=True)).log() * (same[:, None] == same)).sum(a) / '
                     '(same[:, None] == same).sum(a) for a in (1, 0))'), 'not counted as right'),
    ('contrastive', ('-(rows + columns).mean() / 2', '-rows.mean()'), 'only pictures'),
    ('contrastive', ('-(rows + columns).mean() / 2', '-columns.mean()'), 'only texts'),
    ('contrastive', ('.mean() / 2', '.mean()'), 'both directions, not'),
    ('contrastive', ('.mean() / 2', '.sum() / 2'), 'over pairs'),
    ('contrastive', ('/ temperature', '* temperature'), 'divided by the temperature'),
    ('contrastive', ('-(rows', '(rows'), 'text i'),
    ('contrastive', ('u @ w.T', 'u @ w.flip(0).T'), 'text i'),
    ('contrastive', ('pictures / pictures', 'pictures.detach() / pictures.detach()'),
     'no gradient'),
    ('contrastive', ('-(rows + columns).mean()', '-(rows + columns)'), 'one number'),
    ('contrastive', ('.mean() / 2', '.mean().item() / 2'), 'one number'),
    ('contrastive', ('(same[:, None] != same[None]) |', '(same[:, None] != 4) & '
                     '(same[None] != 4) |'), 'text i'),
    ('targets', ('with torch.no_grad()', 'if True'), 'no gradient'),
    ('targets', ('            q = q.log_softmax(0)\n', ''), 'this is the softmax'),
    ('targets', ('            q = q.log_softmax(0)\n            q = q.log_softmax(1)\n',
                 '            q = q.log_softmax(1)\n            q = q.log_softmax(0)\n'),
     'pictures come last'),
    ('targets', ('            q = q.log_softmax(1)\n', ''), 'pictures come last'),
    ('targets', ('/ temperature', '* temperature'), 'divide by the temperature'),
    ('targets', (' / temperature', ''), 'temperature was forgotten'),
    ('targets', ('similarity / temperature', '(similarity / temperature).log()'),
     'exponential was forgotten'),
    ('targets', ('range(rounds)', 'range(1)'), 'one round, not three'),
    ('targets', ('range(rounds)', 'range(rounds - 1)'), 'one round less'),
    ('targets', ('range(rounds)', 'range(rounds + 1)'), 'one round more'),
    ('targets', ('range(rounds)', 'range(3)'), 'a quarter of the six'),
    ('targets', ('q = similarity / temperature', 'q = similarity.div_(temperature)'),
     'were changed'),
    ('targets', ('q.exp()', 'q.exp().mean(0)'), r'answers \(n p\)'),
    ('about', ('p.clamp(min=1e-20).log()', 'p.log()'), 'not a number'),
    ('about', ('.log()', '.log2()'), 'natural logarithm'),
    ('about', ('return total', 'return -total'), 'other way round'),
    ('about', ('total - len', 'total + len'), 'mean answer of each label'),
    ('about', ('entropy(group.mean(0))', 'entropy(group) / len(group)'),
     'mean answer of each label'),
    ('about', ('len(group) / len(p)', '1 / len(label.unique())'), 'number of pictures'),
    ('about', ('len(group) / len(p) * ', ''), 'expected'),
    ('about', ('entropy(p.mean(0))', 'entropy(p) / len(p)'), 'expected'),
    ('about', ('group.mean(0)', 'group.sum(0)'), 'expected'),
]

@pytest.mark.parametrize('name, change, says', WRONG_GUIDES)
def test_a_wrong_guide_is_refused_with_a_sentence(guide, name, change, says):
    assert change[0] in GUIDES[name]
    with pytest.raises(AssertionError, match=says):
        answer(guide, name, GUIDES[name].replace(*change))

# what the texts of these exercises say is true

def test_the_weighted_loss_is_on_average_minus_the_logarithm_of_the_probability(painter):
    "With right answers the bound of masked diffusion is reached: two cells of two codes."
    import torch
    solution = dict(painter)
    exec(solutions('06_train_a_painter.ipynb')['hidden_loss'].replace(
        'check_hidden_loss(hidden_loss)', ''), solution)
    joint = torch.tensor([[.4, .1], [.2, .3]]).double()         # code of the first, of the second
    shares = (torch.arange(2000, dtype=torch.double) + .5) / 2000
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        tokens, mean = torch.tensor([[[a, b]]]), 0.
        for pattern in ((True, False), (False, True), (True, True)):
            hidden = torch.tensor([[pattern]])
            first = joint.sum(1) if pattern[1] else joint[:, b] / joint[:, b].sum()
            second = joint.sum(0) if pattern[0] else joint[a] / joint[a].sum()
            logits = torch.stack([first, second], 1).log()[None, :, None]       # (1 2 1 2)
            chance = shares**sum(pattern) * (1 - shares)**(2 - sum(pattern))
            loss = solution['hidden_loss'](logits, tokens, hidden, torch.ones(1).double())
            mean = mean + (chance / shares * loss).mean().item()
        assert mean == pytest.approx(-joint[a, b].log().item() / 2, abs=1e-4)

def test_without_its_start_an_average_is_that_of_the_trained_networks(painter):
    import torch
    solution = dict(painter)
    exec(solutions('06_train_a_painter.ipynb')['remove_start'].replace(
        'check_remove_start(remove_start)', ''), solution)
    torch.manual_seed(0)
    start, *trained = [torch.nn.Linear(2, 3) for _ in range(6)]
    average = torch.nn.Linear(2, 3); average.load_state_dict(start.state_dict())
    with torch.no_grad():
        for network in trained:
            for a, w in zip(average.parameters(), network.parameters()): a.lerp_(w, 1 - .8)
    solution['remove_start'](average, start, .8, 5)
    shares = torch.tensor([.8**i for i in (4, 3, 2, 1, 0)])
    right = sum(s * n.weight for s, n in zip(shares / shares.sum(), trained))
    assert torch.allclose(average.weight, right, atol=1e-5)

def test_the_answers_of_the_exercise_are_those_of_the_pocket_vit(guide):
    import torch
    from regionedit.pocket.dino import sinkhorn
    solution = dict(guide)
    exec(solutions('07_train_a_guide.ipynb')['targets'].replace('check_targets(targets)', ''),
         solution)
    s = torch.rand(9, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(solution['targets'](s, .1, 3), sinkhorn(s, .1, 3), atol=1e-5)
