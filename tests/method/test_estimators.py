"""Five estimators on one table: those without bias agree with the exact gradient, the surrogate
with autograd, the released one with nothing."""
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import approx_fprime
from scipy.special import softmax
from torch import nn

from regionedit.method.clip import Clip
from regionedit.method.config import CHOICES, Config
from regionedit.method.core import to_tensor
from regionedit.method.edits import Edit
from regionedit.method.estimators import (ESTIMATORS, Gumbel, Reinforce, Released, Rloo,
                                          edit_losses, slope_maps, surrogate_slopes)
from regionedit.method.estimators import exact_gradient
from regionedit.method.learner import learn
from regionedit.method.regions import RegionGenerator
from regionedit.method.table import fill_table
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

@pytest.mark.parametrize('estimator', [Rloo(1), Rloo(2, samples=5), Reinforce(3)],
                         ids=['rloo', 'rloo 5', 'reinforce'])
def test_the_mean_is_the_exact_gradient_within_its_standard_error(estimator):
    logits, losses = numbers(K, M, seed=1), 2 + numbers(K, M, seed=2)
    found = gradients(estimator, logits, losses, 4000)
    z = (found.mean(0) - exact_gradient(logits, losses)) / (found.std(0) / len(found)**.5)
    assert z.abs().max() < 4 and z.square().mean() < 2.2
    wrong = (found.mean(0) - 1.2 * exact_gradient(logits, losses)) / (found.std(0) / len(found)**.5)
    assert wrong.abs().max() > 4, 'the test would notice a fifth too much'

@pytest.mark.parametrize('name', ['exact', 'rloo', 'reinforce'])
def test_they_descend_the_expectation_that_finite_differences_see(name):
    logits, losses = numbers(K, M, seed=3).double(), numbers(K, M, seed=4).double()
    by_scipy = approx_fprime(logits.numpy().ravel(),
                             lambda z: (softmax(z.reshape(K, M), axis=1)
                                        * losses.numpy()).sum(1).mean(), 1e-6)
    found = gradients(make(name, 5), logits, losses, 1 if name == 'exact' else 4000)
    error = found.std(0) / len(found)**.5 if len(found) > 1 else torch.full((K, M), 1e-6)
    assert ((found.mean(0).flatten() - torch.from_numpy(by_scipy)).abs() < 4
            * error.flatten()).all()

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
    clip, image, config = SmoothClip(), picture(32, 24), Config(lambda_dir=.7, lambda_str=2.)
    boxes = torch.tensor([[[8, 8, 14, 14], [5, 5, 17, 17], [0, 0, 24, 23]],
                          [[24, 2, 30, 8], [20, 0, 32, 12], [5, 5, 17, 17]]])
    table = fill_table(image, boxes, 'a rocket', 'a cat', Noise(), clip)
    return clip, image, table, config, surrogate_slopes(clip, image, table, 'a rocket', 'a cat',
                                                        config)

def test_tensors_score_as_pictures_do(case):
    clip, image, table, config, _ = case
    small = image.resize((16, 16), Image.BICUBIC)       # at CLIP's own size nothing is resized
    again = fill_table(small, table.boxes.clamp(max=16), 'a rocket', 'a cat', Noise(), clip)
    pixels = torch.stack([to_tensor(small)] + [to_tensor(e.paste(small)) for e in again.edits])
    torch.testing.assert_close(edit_losses(clip, pixels, clip.encode_texts(['a rocket', 'a cat']),
                                           config)[again.index], again.loss(config))

def test_slopes_are_those_of_autograd_and_of_finite_differences(case):
    clip, image, table, config, slopes = case
    source, texts, k, j = to_tensor(image), clip.encode_texts(['a rocket', 'a cat']), 0, 1
    edit = to_tensor(table.edits[table.index[k, j]].paste(image))
    masks = torch.zeros(3, 1, 24, 32)
    for mask, (x0, y0, x1, y1) in zip(masks, table.boxes[k].tolist()): mask[..., y0:y1, x0:x1] = 1
    def loss(y):
        return edit_losses(clip,
                           torch.stack([source,
                                        source + (y.view(3, 1, 1, 1) * masks).sum(0)
                                        * (edit - source)]), texts, config).sum()
    y = torch.tensor([0., 1., 0.], requires_grad=True)
    loss(y).backward()
    torch.testing.assert_close(slopes[k, j], y.grad, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        differences = torch.stack([(loss(y + d) - loss(y - d)) / .02 for d in .01 * torch.eye(3)])
    torch.testing.assert_close(slopes[k, j], differences, atol=2e-3, rtol=2e-2)

def test_the_surrogate_sees_nothing_outside_the_edited_box(case):
    clip, image, table, config, slopes = case
    for edit, map in zip(table.edits,
                         slope_maps(clip, image, table.edits, 'a rocket', 'a cat', config)):
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
    _, _, table, _, slopes = case
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
    from dataclasses import replace
    clip, image, table, config, slopes = case
    index = table.index.clone(); index[0, 1] = -1
    found = surrogate_slopes(clip, image, replace(table, index=index), 'a rocket', 'a cat', config)
    assert found[0, 1].eq(0).all() and torch.equal(found[0, [0, 2]], slopes[0, [0, 2]])

def test_the_surrogate_of_what_is_left_out_is_zero(case):
    "A broken edit, and one with a loss that is no number."
    from dataclasses import replace
    clip, image, table, config, slopes = case
    def lost(values): return values.masked_fill(table.index == 1, torch.nan)
    odd = replace(table, terms={t: lost(v) for t, v in table.terms.items()},
                  edits=tuple(replace(e, broken=i == 1) for i, e in enumerate(table.edits)))
    assert odd.index[0, 1] == 1
    assert slope_maps(clip, image, odd.edits, 'a rocket', 'a cat', config)[1].eq(0).all()
    for edits in (odd.edits, table.edits):
        found = surrogate_slopes(clip, image, replace(odd, edits=edits), 'a rocket', 'a cat',
                                 config)
        assert found[0, 1].eq(0).all() and torch.equal(found[odd.valid], slopes[odd.valid])
        assert found.isfinite().all()
