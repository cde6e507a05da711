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

@pytest.mark.parametrize('name', ['ends', 'train_flow', 'hidden_loss', 'follow', 'walk'])
def test_the_painters_solutions_are_right(painter, name):
    answer(painter, name, solutions('06_train_a_painter.ipynb')[name])

@pytest.mark.parametrize('name', ['06_train_a_painter.ipynb', '07_train_a_guide.ipynb'])
def test_an_exercise_that_is_not_done_says_so(name, request):
    there = request.getfixturevalue('painter' if name.startswith('06') else 'guide')
    for function, source in solutions(name).items():
        with pytest.raises(NotImplementedError, match='^your turn$'):
            answer(there, function, student_source(source))

LOOP = '''
def train_flow(network, optimizer, x, steps, generator):
    losses = []
    for _ in range(steps):
        t = torch.rand(len(x), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        loss = F.mse_loss(network((1 - t[:, None]) * x + t[:, None] * noise, t), noise - x)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    return losses
'''
FOLLOW = '''
@torch.no_grad()
def follow(average, network, decay):
    for a, w in zip(average.parameters(), network.parameters()):
        a.mul_(decay).add_(w, alpha=1 - decay)
'''
WALK = '''
def walk(velocity, noise, steps):
    z, t = noise, 1.
    for i in range(steps): z, t = z - velocity(z, t) / steps, 1 - (i + 1) / steps
    return z
'''
HIDDEN = '''
def hidden_loss(logits, tokens, hidden):
    each = F.cross_entropy(logits, tokens, reduction='none')
    return (each * hidden).sum() / hidden.sum().clamp(min=1)
'''
ENDS = '''
def ends(z, v, t):
    t = t.view(-1, 1, 1, 1)
    x = z - t * v
    return x, x + v
'''

@pytest.mark.parametrize('name, source', [('train_flow', LOOP), ('follow', FOLLOW), ('walk', WALK),
                                          ('hidden_loss', HIDDEN), ('ends', ENDS)])
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
    ('train_flow', LOOP, ('noise - x)', 'x - noise)'), 'target is noise - x'),
    ('train_flow', LOOP, ('noise - x)', 'noise)'), 'target is noise - x'),
    ('train_flow', LOOP, ('noise - x)', 'x)'), 'target is noise - x'),
    ('train_flow', LOOP, ('optimizer.zero_grad(); ', ''), 'old gradients'),
    ('train_flow', LOOP, (' optimizer.step()', ''), 'have not moved'),
    ('train_flow', LOOP, ('loss.item()', 'loss'), 'floats'),
    ('train_flow', LOOP, ('    return losses', ''), 'return a loss'),
    ('train_flow', LOOP, ('range(steps)', 'range(steps - 1)'), 'asked 5 times'),
    ('train_flow', LOOP, ('torch.rand(len(x), generator=generator)',
                          'torch.rand(1, generator=generator).expand(len(x))'), 'same time'),
    ('train_flow', LOOP, ('torch.rand(len(x)', 'torch.randn(len(x)'), 'times reach from'),
    ('train_flow', LOOP, ('torch.randn(x.shape', 'torch.rand(x.shape'), 'deviation'),
    ('train_flow', LOOP, ('(1 - t[:, None]) * x + t[:, None] * noise',
                          't[:, None] * x + (1 - t[:, None]) * noise'), 'does not hold'),
    ('train_flow', LOOP, ('(1 - t[:, None]) * x + t[:, None] * noise',
                          '(1 - t[:, None]).sqrt() * x + t[:, None].sqrt() * noise'),
     'does not hold'),
    ('train_flow', LOOP, ('generator=generator', 'generator=torch.Generator().manual_seed(0)'),
     'same times'),
    ('train_flow', LOOP, ('noise, t)', 'noise, t[:, None])'), 'a time per row'),
    ('hidden_loss', HIDDEN, ('each * hidden', 'each * ~hidden'), 'expected'),
    ('hidden_loss', HIDDEN, ('(each * hidden).sum() / hidden.sum().clamp(min=1)', 'each.mean()'),
     'all cells'),
    ('hidden_loss', HIDDEN, ('(each * hidden).sum() / hidden.sum().clamp(min=1)',
                             'each[~hidden].mean()'), 'known cells were graded'),
    ('hidden_loss', HIDDEN, (' / hidden.sum().clamp(min=1)', ''), 'the sum'),
    ('hidden_loss', HIDDEN, ('(each * hidden).sum() / hidden.sum().clamp(min=1)',
                             '(each * hidden).mean()'), 'count as zero'),
    ('hidden_loss', HIDDEN, ('(each * hidden).sum() / hidden.sum().clamp(min=1)',
                             '((each * hidden).sum((1, 2)) / hidden.sum((1, 2))).mean()'),
     'mean of two means'),
    ('hidden_loss', HIDDEN, ('.clamp(min=1)', ''), 'nothing hidden'),
    ('hidden_loss', HIDDEN, ('F.cross_entropy(logits, tokens,',
                             'F.cross_entropy(logits.softmax(1), tokens,'), 'axis 1'),
    ('follow', FOLLOW, ('a.mul_(decay).add_(w, alpha=1 - decay)',
                        'a.mul_(1 - decay).add_(w, alpha=decay)'), 'share that stays'),
    ('follow', FOLLOW, ('a.mul_(decay)', 'w.mul_(decay)'), 'network itself'),
    ('follow', FOLLOW, ('a.mul_(decay).add_(w, alpha=1 - decay)',
                        'a = decay * a + (1 - decay) * w'), 'in place'),
    ('follow', FOLLOW, ('@torch.no_grad()\n', ''), 'no_grad'),
    ('follow', FOLLOW, ('zip(average.parameters(), network.parameters())',
                        '[(average.weight, network.weight)]'), 'bias'),
    ('follow', FOLLOW, ('alpha=1 - decay', 'alpha=1'), '1.2'),
    ('walk', WALK, ('z - velocity', 'z + velocity'), 'leads to the noise'),
    ('walk', WALK, ('z, t = noise, 1.', 'z, t = noise, 0.'), 't = 0'),
    ('walk', WALK, ('1 - (i + 1) / steps', '1 - (i + .5) / steps'), 'times it was at'),
    ('walk', WALK, ('range(steps)', 'range(steps - 1)'), 'asked for 0 times'),
    ('walk', WALK, ('z - velocity(z, t) / steps', 'z - velocity(z, t)'), 'one part in steps'),
    ('walk', WALK, ('z - velocity(z, t) / steps', 'z - velocity(noise, t) / steps'), 'away from'),
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
def contrastive(pictures, texts, temperature):
    u = pictures / pictures.norm(dim=1, keepdim=True)
    w = texts / texts.norm(dim=1, keepdim=True)
    s = u @ w.T / temperature
    rows, columns = s.log_softmax(1).diag(), s.log_softmax(0).diag()
    return -(rows + columns).mean() / 2
'''
TARGETS = '''
def targets(similarity, centre, temperature, momentum):
    with torch.no_grad():
        p = ((similarity - centre) / temperature).softmax(1)
        return p, centre * momentum + similarity.mean(0) * (1 - momentum)
'''
INFORMATION = '''
def information(p):
    mean = p.mean(0)
    log = lambda v: v.clamp(min=1e-20).log()
    return ((p * log(p)).sum(1).mean() - (mean * log(mean)).sum()).item()
'''
GUIDES = dict(lowest=LOWEST, contrastive=CONTRASTIVE, targets=TARGETS, information=INFORMATION)

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
    ('targets', ('with torch.no_grad()', 'if True'), 'no gradient'),
    ('targets', ('softmax(1)', 'softmax(0)'), 'add up to 1'),
    ('targets', ('similarity - centre', 'similarity + centre'), 'not added'),
    ('targets', ('(similarity - centre)', 'similarity'), 'forgotten'),
    ('targets', ('/ temperature', '* temperature'), 'divide by the temperature'),
    ('targets', ('((similarity - centre) / temperature)', '(similarity / temperature - centre)'),
     'before the division'),
    ('targets', ('p = ((similarity - centre)', 'p = ((similarity - centre * momentum - '
                 'similarity.mean(0) * (1 - momentum))'), 'old centre'),
    ('targets', ('centre * momentum + similarity.mean(0) * (1 - momentum)',
                 'centre * (1 - momentum) + similarity.mean(0) * momentum'), 'share of the old'),
    ('targets', ('similarity.mean(0)', 'similarity.mean(1, keepdim=True)'), 'a number per prototype'),
    ('targets', ('similarity.mean(0)', 'p.mean(0)'), 'new centre: expected'),
    ('targets', ('centre * momentum', 'centre.mul_(momentum)'), 'old centre was changed'),
    ('information', ('v.clamp(min=1e-20).log()', 'v.log()'), 'not a number'),
    ('information', ('.log()', '.log2()'), 'natural logarithm'),
    ('information', ('((p * log(p)).sum(1).mean() - (mean * log(mean)).sum())',
                     '((mean * log(mean)).sum() - (p * log(p)).sum(1).mean())'), 'other way round'),
    ('information', ('(p * log(p)).sum(1).mean() - ', '-'), 'mean answer'),
    ('information', (' - (mean * log(mean)).sum()', ' * -1'), 'mean answer|other way round'),
    ('information', ('p.mean(0)', 'p.mean(1)'), 'expected'),
    ('information', ('.sum(1).mean()', '.mean()'), 'expected'),
]

@pytest.mark.parametrize('name, change, says', WRONG_GUIDES)
def test_a_wrong_guide_is_refused_with_a_sentence(guide, name, change, says):
    assert change[0] in GUIDES[name]
    with pytest.raises(AssertionError, match=says):
        answer(guide, name, GUIDES[name].replace(*change))
