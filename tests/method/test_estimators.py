"""Five estimators on one table: those without bias agree with the exact gradient, the surrogate
with autograd, the released one with nothing."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.special import softmax
from torch import nn

from regionedit.method.clip import Clip
from regionedit.method.config import CHOICES, Config, Task
from regionedit.method.core import to_tensor
from regionedit.method.estimators import (ESTIMATORS, Gumbel, Reinforce, Released, Rloo,
                                          edit_losses, rounding_of, slope_maps, surrogate_slopes)
from regionedit.method.estimators import exact_gradient
from regionedit.method.learner import learn
from regionedit.method.regions import RegionGenerator
from types import SimpleNamespace

from regionedit.method.table import EditCache, EditTable, fill_table
from stubs import picture

K, M = 3, 4

def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

def make(name, seed=0, slopes=None):
    return ESTIMATORS[name](seed, numbers(K, M, M, seed=9) if slopes is None else slopes)

def gradients(estimator, logits, losses, n):
    out = []
    for _ in range(n):
        leaf = logits.clone().requires_grad_()
        estimator(leaf, losses).backward()
        out.append(leaf.grad)
    return torch.stack(out)

def test_config_offers_what_is_registered():
    assert set(CHOICES['estimator']) == {*ESTIMATORS, 'amortised'}

# without bias

@pytest.mark.slow
@pytest.mark.parametrize('estimator', [Rloo(1), Rloo(2, samples=5), Reinforce(3)],
                         ids=['rloo', 'rloo 5', 'reinforce'])
def test_the_mean_is_the_exact_gradient_within_its_standard_error(estimator):
    logits, losses = numbers(K, M, seed=1), 2 + numbers(K, M, seed=2)
    found = gradients(estimator, logits, losses, 4000)
    z = (found.mean(0) - exact_gradient(logits, losses)) / (found.std(0) / len(found)**.5)
    assert z.abs().max() < 4 and z.square().mean() < 2.2
    wrong = (found.mean(0) - 1.2 * exact_gradient(logits, losses)) / (found.std(0) / len(found)**.5)
    assert wrong.abs().max() > 4, 'the test would notice a fifth too much'

def test_the_exact_gradient_is_the_one_that_finite_differences_see():
    "What the sampled ones agree with, above."
    logits, losses = numbers(K, M, seed=3).double(), numbers(K, M, seed=4).double()
    by_scipy = approx_fprime(logits.numpy().ravel(),
                             lambda z: (softmax(z.reshape(K, M), axis=1)
                                        * losses.numpy()).sum(1).mean(), 1e-6)
    found = gradients(make('exact'), logits, losses, 1)[0]
    assert ((found.flatten() - torch.from_numpy(by_scipy)).abs() < 4e-6).all()

def test_rloo_by_hand():
    """Losses 1 and 3, one sample of each: the better is 2 below the other, so -2/2 and +2/2 times
    the derivatives of log pi."""
    class Both(Rloo):
        def sample(self, logits, n): return torch.tensor([[0, 1]])
    leaf = torch.zeros(1, 2, requires_grad=True)
    Both()(leaf, torch.tensor([[1., 3.]])).backward()
    torch.testing.assert_close(leaf.grad, torch.tensor([[-1., 1.]]))

def test_the_moving_baseline_does_not_know_the_sample_it_judges():
    estimator, losses = Reinforce(0), torch.full((1, 2), 5.)
    first = estimator(torch.zeros(1, 2), losses)
    assert first.item() == pytest.approx(5 * np.log(.5))
    assert estimator.baseline.item() == pytest.approx(.5)
    for _ in range(200): last = estimator(torch.zeros(1, 2), losses)
    assert abs(last.item()) < 1e-4, 'a constant loss is soon all baseline'

@pytest.mark.parametrize('name', ESTIMATORS)
def test_a_seed_decides_the_samples_and_nothing_else_does(name):
    logits, losses = numbers(K, M), numbers(K, M, seed=1)
    values = []
    for seed in (1, 1, 2):
        estimator = make(name, seed)
        values.append([estimator(logits, losses).item() for _ in range(5)])
        torch.rand(1)
    assert values[0] == values[1] and (name == 'exact' or values[0] != values[2])

# where it passes and where it stops

@pytest.mark.parametrize('name', ESTIMATORS)
def test_the_gradient_reaches_every_parameter_or_none(name):
    network, losses = (RegionGenerator(dim=4, num_proposals=M, hidden=8),
                       numbers(6, M, seed=1).requires_grad_())
    make(name, slopes=numbers(6, M, M))(network(numbers(6, M, 4, 7, 7)), losses).backward()
    arrived = [p.grad is not None and bool(p.grad.abs().max() > 0) for p in network.parameters()]
    assert all(arrived) if ESTIMATORS[name].learns else not any(arrived)
    assert losses.grad is None

@pytest.mark.parametrize('name', ESTIMATORS)
def test_a_proposal_of_no_probability_is_neither_drawn_nor_pushed(name):
    logits, losses = numbers(K, M).masked_fill(torch.arange(M) == 2, -1e4), numbers(K, M, seed=1)
    losses[:, 2] = -1e6
    leaf = logits.clone().requires_grad_()
    estimator = make(name)
    for _ in range(50): value = estimator(leaf, losses); value.backward()
    assert value.abs() < 100 and (leaf.grad is None or leaf.grad[:, 2].eq(0).all())

def test_gumbel_needs_slopes():
    with pytest.raises(ValueError, match='expected slopes'): Gumbel()

# the surrogate

class Tower(nn.Module):
    "A smooth stand-in for CLIP's image tower."
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.patches, self.out = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, 8)
        self.visual = type('Visual', (),
                           dict(preprocess_cfg=dict(mean=(.5,) * 3, std=(.4,) * 3, size=16)))()
    def forward_intermediates(self, image, **kwargs):
        x = self.patches(image).tanh()
        return dict(image_features=nn.functional.normalize(self.out(x.mean((2, 3))), dim=-1),
                    image_intermediates=[x])

class SmoothClip(Clip):
    "Texts are given."
    def __init__(self): super().__init__(Tower(), type('Tokenizer', (), dict(context_length=8))())
    def encode_texts(self, texts):
        return nn.functional.normalize(torch.stack([numbers(8, seed=len(t)) for t in texts]),
                                       dim=-1)

class Noise:
    "Replaces a window by noise of its own."
    name, size, config = 'noise', 16, {}
    def fill(self, images, masks, prompt, **kwargs):
        return [picture(16, 16, i) for i in range(len(images))]

@pytest.fixture(scope='module')
def case():
    clip, task = SmoothClip(), Task(picture(32, 24), 'a rocket', 'a cat',
                                    Config(lambda_dir=.7, lambda_str=2., source_weight=0))
    boxes = torch.tensor([[[8, 8, 14, 14], [5, 5, 17, 17], [0, 0, 24, 23]],
                          [[24, 2, 30, 8], [20, 0, 32, 12], [5, 5, 17, 17]]])
    table = fill_table(SimpleNamespace(editor=Noise(), clip=clip, cache=EditCache()), task, boxes)
    return clip, task, table, surrogate_slopes(clip, task, table)

SMALL = torch.tensor([[[1, 1, 6, 6], [2, 3, 12, 14], [0, 0, 16, 15]]])

@pytest.mark.parametrize('size', [(16, 16), (32, 24), (61, 40)])
def test_tensors_score_as_pictures_do(case, size):
    "At any size: what Pillow's rounding adds is a constant of the surrogate."
    clip, task, table, _ = case
    task = Task(picture(*size), task.prompt, task.source, task.config)
    again = fill_table(SimpleNamespace(editor=Noise(), clip=clip, cache=EditCache()), task, SMALL)
    pictures = [task.picture] + [e.paste(task.picture) for e in again.edits]
    pixels, texts = (torch.stack([to_tensor(p) for p in pictures]),
                     clip.encode_texts([task.prompt, task.source]))
    found = edit_losses(clip, pixels, texts, task.config, rounding_of(clip, pictures))
    torch.testing.assert_close(found[again.index], again.loss(task.config))
    if size != (16, 16):
        assert (edit_losses(clip, pixels, texts, task.config)[again.index]
                - again.loss(task.config)).abs().max() > 1e-5

def test_slopes_are_those_of_autograd_and_of_finite_differences(case):
    clip, task, table, slopes = case
    made, k, j = table.edits[table.index[0, 1]].paste(task.picture), 0, 1
    source, edit, texts = (to_tensor(task.picture), to_tensor(made),
                           clip.encode_texts(['a rocket', 'a cat']))
    masks = torch.zeros(3, 1, 24, 32)
    for mask, (x0, y0, x1, y1) in zip(masks, table.boxes[k].tolist()): mask[..., y0:y1, x0:x1] = 1
    def loss(y):
        blend = source + (y.view(3, 1, 1, 1) * masks).sum(0) * (edit - source)
        return edit_losses(clip, torch.stack([source, blend]), texts, task.config,
                           rounding_of(clip, [task.picture, made])).sum()
    y = torch.tensor([0., 1., 0.], requires_grad=True)
    loss(y).backward()
    torch.testing.assert_close(slopes[k, j], y.grad, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        differences = torch.stack([(loss(y + d) - loss(y - d)) / .02 for d in .01 * torch.eye(3)])
    torch.testing.assert_close(slopes[k, j], differences, atol=2e-3, rtol=2e-2)

def test_the_surrogate_has_every_term_of_the_loss(case):
    """Evidence of a weight that decides everything: the network goes where the source is seen, as
    with the exact loss."""
    clip, task, table, slopes = case
    s_src = torch.tensor([[.1, .3, .2], [.4, .1, .2]])
    seen, heavy = replace(table, s_src=s_src), replace(task,
                                                       config=replace(task.config,
                                                                      source_weight=1000.))
    found = surrogate_slopes(clip, heavy, seen)
    torch.testing.assert_close(found, slopes - 1000 * s_src[:, None].expand(-1, 3, -1), atol=1e-3,
                               rtol=1e-5)
    for name in ('exact', 'gumbel'):
        config = replace(heavy.config, estimator=name, learning_steps=200, lr=.01)
        network = RegionGenerator(6, 3, hidden=8)
        assert learn(network, numbers(2, 3, 6, 7, 7), seen, config,
                     slopes=found).chosen[-1].tolist() == [1, 0]

def test_the_surrogate_sees_nothing_outside_the_edited_box(case):
    clip, task, table, slopes = case
    for edit, map in zip(table.edits,
                         slope_maps(clip, task, table.edits)):
        x0, y0, x1, y1 = edit.box
        inside = torch.zeros(24, 32, dtype=torch.bool); inside[y0:y1, x0:x1] = True
        assert map[~inside].eq(0).all() and map[inside].abs().max() > 0
    # nested: all larger boxes look the same
    for j in range(3): torch.testing.assert_close(slopes[0, j, j:], slopes[0, j, j].expand(3 - j))
    assert (slopes[0, 2, 0] - slopes[0, 2, 2]).abs() > 1e-4
    assert slopes[1, 0, 2] == 0, 'a box beside the edited one'

def test_straight_through_is_autograd_through_softmax(case):
    *_, slopes = case
    estimator, leaf = Gumbel(4, slopes, temperature=.7), numbers(2, 3).requires_grad_()
    noise = -torch.empty(2, 3).exponential_(generator=torch.Generator().manual_seed(4)).log()
    losses = numbers(2, 3, seed=1)
    value = estimator(leaf, losses)
    value.backward()
    soft = ((leaf.detach() + noise) / .7).softmax(-1)
    for k in range(2):
        j = soft[k].argmax()
        by_hand = (soft[k].diag() - soft[k].outer(soft[k])) @ slopes[k, j] / .7 / 2
        torch.testing.assert_close(leaf.grad[k], by_hand)
    assert value.item() == pytest.approx(losses[range(2), soft.argmax(-1).tolist()].mean().item())

def test_the_surrogate_cannot_tell_a_larger_box_from_the_edited_one(case):
    """Whatever is sampled, the preference between it and a larger box is moved by the noise only:
    the derivative in units of probability is the same."""
    *_, slopes = case
    estimator, logits = Gumbel(0, slopes[:1]), torch.zeros(1, 3)
    for seed in range(10):
        leaf = logits.clone().requires_grad_()
        estimator.generator.manual_seed(seed); estimator(leaf, torch.zeros(1, 3)).backward()
        soft = (-torch.empty(1,
                             3).exponential_(
                                 generator=torch.Generator().manual_seed(seed)).log()).softmax(-1)
        j = soft.argmax().item()
        ratio = (leaf.grad / soft)[0, j:]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), atol=1e-5, rtol=1e-3)

# in the loop

@pytest.mark.parametrize('name', ESTIMATORS)
def test_one_loop_for_all(case, name):
    _, _, table, slopes = case
    network = RegionGenerator(6, 3, hidden=8)
    start = [p.detach().clone() for p in network.parameters()]
    t = learn(network, numbers(2, 3, 6, 7, 7), table,
              Config(estimator=name, learning_steps=30, lr=.01), slopes=slopes)
    moved = [bool((p != s).any()) for p, s in zip(network.parameters(), start)]
    if name == 'released':
        assert not any(moved) and all(p.grad is None for p in network.parameters())
        assert torch.equal(t.probabilities[0], t.probabilities[-1])
    else: assert all(moved)
    loss = table.loss(Config())
    if name == 'exact':
        assert (loss.gather(1, t.chosen[-1][:, None])[:, 0] - loss.min(1).values).max() < .01

def test_the_released_loss_lets_itself_be_called_backward_on():
    loss = Released()(numbers(2, 3).requires_grad_(), numbers(2, 3))
    loss.backward()
    assert loss.grad == 1 and loss.grad_fn is None

def test_the_surrogate_of_a_partial_table_is_zero_where_nothing_was_made(case):
    clip, task, table, slopes = case
    index = table.index.clone(); index[0, 1] = -1
    found = surrogate_slopes(clip, task, replace(table, index=index))
    assert found[0, 1].eq(0).all() and torch.equal(found[0, [0, 2]], slopes[0, [0, 2]])

def test_the_surrogate_of_what_is_left_out_is_zero(case):
    "A broken edit, and one with a loss that is no number."
    clip, task, table, slopes = case
    def lost(values): return values.masked_fill(table.index == 1, torch.nan)
    odd = replace(table, terms={t: lost(v) for t, v in table.terms.items()},
                  edits=tuple(replace(e, broken=i == 1) for i, e in enumerate(table.edits)))
    assert odd.index[0, 1] == 1
    assert slope_maps(clip, task, odd.edits)[1].eq(0).all()
    for edits in (odd.edits, table.edits):
        found = surrogate_slopes(clip, task, replace(odd, edits=edits))
        assert found[0, 1].eq(0).all() and torch.equal(found[odd.valid], slopes[odd.valid])
        assert found.isfinite().all()


def test_the_released_choice_is_a_draw_for_each_anchor():
    """As gumbel_softmax(hard=True): each proposal as often as the softmax says, not the most
    probable one; the same seed draws the same."""
    p = torch.tensor([.5, .3, .2]).expand(2, 4000, 3)
    drawn = ESTIMATORS['released'](seed=3).choose(p)
    assert drawn.shape == (2, 4000)
    assert torch.allclose(torch.bincount(drawn.flatten()) / 8000, p[0, 0], atol=.02)
    assert torch.equal(drawn, ESTIMATORS['released'](seed=3).choose(p))
    assert not torch.equal(drawn, ESTIMATORS['released'](seed=4).choose(p))
    certain = torch.tensor([[[0., 1., 0.]]])
    assert all(ESTIMATORS['released'](seed=s).choose(certain).item() == 1 for s in range(50))
    for name in set(ESTIMATORS) - {'released'}:
        if not ESTIMATORS[name].needs_slopes: assert (ESTIMATORS[name]().choose(p) == 0).all()


def test_a_released_run_differs_between_anchors_that_look_alike():
    "One network, equal features, equal losses: the argmax is one index at all anchors, a draw is not."
    config = Config(estimator='released', learning_steps=1)
    features, k = torch.ones(40, 3, 4, 7, 7), 40
    boxes = torch.tensor([0, 0, 4, 4]).repeat(k, 3, 1)
    zeros = torch.zeros(k, 3)
    table = EditTable(boxes, torch.zeros(k, 3, dtype=torch.long), (),
                      dict.fromkeys(('clip', 'dir', 'str'), zeros), zeros, zeros)
    path = learn(RegionGenerator(4, 3), features, table, config)
    assert len(set(path.chosen[-1].tolist())) == 3
    again = learn(RegionGenerator(4, 3), features, table, config)
    assert torch.equal(path.chosen, again.chosen)
