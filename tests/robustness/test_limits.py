"""The ends of ranges: settings, gradients by hand and by torch's own check, tables with tiny and
huge gaps."""
import math

import pytest
import torch

from types import SimpleNamespace

from regionedit.method.config import RANGES, Config, Task
from regionedit.method.estimators import entropy, exact_gradient, exact_loss
from regionedit.method.learner import learn, standardise
from regionedit.method.regions import RegionGenerator
from regionedit.method.table import EditCache, EditTable, fill_table
from stubs import StubClip, StubEditor, picture


# settings

@pytest.mark.parametrize('name', RANGES)
def test_a_range_ends_where_it_says(name):
    kind, low, high = RANGES[name]
    for value in (low, high):
        assert getattr(Config(**dict(dict(min_size=.01, max_size=1), **{name: value})),
                       name) == value
    below, above = (low - 1, high + 1) if kind is int else (low - 1e-9 if low else -1e-9,
                                                            high * 1.001)
    for value in (below, above, math.nan, math.inf, -math.inf, 'x', True, [low]):
        with pytest.raises(ValueError, match=f'expected {name} '): Config(**{name: value})

@pytest.mark.parametrize('name', ['seed', 'guidance_scale'])
def test_an_endless_number_is_refused(name):
    with pytest.raises(ValueError, match=f'expected {name} '): Config(**{name: 10**400})

# gradients

def test_expected_loss_and_gradient_by_hand():
    "Two anchors, three proposals: probabilities (1/2, 1/4, 1/4) and (1/8, 1/8, 3/4)."
    pi = torch.tensor([[1/2, 1/4, 1/4], [1/8, 1/8, 3/4]], dtype=torch.float64)
    losses = torch.tensor([[4., 0., 8.], [8., 0., 4.]], dtype=torch.float64)  # expectations 4 and 4
    assert exact_loss(pi.log() + 5, losses).item() == pytest.approx(4)
    expected = torch.tensor([[0, -1/2, 1/2], [1/4, -1/4, 0]], dtype=torch.float64)  # pi (f - 4) / 2
    torch.testing.assert_close(exact_gradient(pi.log(), losses), expected)

def test_torchs_own_check_of_derivatives():
    g = torch.Generator().manual_seed(0)
    logits, losses = (torch.randn(2, 4, generator=g, dtype=torch.float64, requires_grad=True),
                      torch.randn(2, 4, generator=g, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda z: exact_loss(z, losses), (logits,))
    assert torch.autograd.gradcheck(entropy, (logits,))

# tables

def test_the_structure_term_worked_without_the_package():
    image, boxes, clip = (picture(48, 30), torch.tensor([[[2, 3, 20, 9], [30, 5, 48, 30]]]),
                          StubClip())
    table = fill_table(SimpleNamespace(editor=StubEditor(), clip=clip, cache=EditCache()),
                       Task(image, 'a rocket', 'a cat', Config(source_weight=0)), boxes)
    tokens = clip.encode_images([image] + [e.paste(image) for e in table.edits]).tokens.double()
    def similarity(t):
        return torch.tensor([[(a @ b / (a.norm() * b.norm())).item() for a in t] for b in t])
    expected = [(similarity(t) - similarity(tokens[0])).square().mean().sqrt().item()
                for t in tokens[1:]]
    assert table.terms['str'][0].tolist() == pytest.approx(expected, abs=1e-5)
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)

@pytest.mark.parametrize('change', [dict(name='other'), dict(config=dict(scheduler='another'))])
def test_another_editor_is_another_edit(change):
    cache, boxes = EditCache(), torch.tensor([[[2, 3, 20, 9]]])
    for attributes in ({}, change, {}):
        editor = StubEditor()
        for k, v in attributes.items(): setattr(editor, k, v)
        fill_table(SimpleNamespace(editor=editor, clip=StubClip(), cache=cache),
                   Task(picture(48, 30), 'a rocket', 'a cat', Config(source_weight=0)), boxes)
    assert (cache.misses, cache.hits) == (2, 1)

# learning

def features(seed, k=8, m=7, d=12):
    "Unlike each other in every anchor and proposal."
    return torch.randn(k, m, d, 7, 7, generator=torch.Generator().manual_seed(seed))

def table_of(losses):
    k, m = losses.shape
    zero = torch.zeros_like(losses)
    return EditTable(torch.arange(k * m * 4).view(k, m, 4), torch.arange(k * m).view(k, m), (),
                     dict(clip=losses, dir=zero, str=zero), losses, losses)

@pytest.mark.slow
@pytest.mark.parametrize('gap', [1e-4, 1., 1e4])
def test_the_best_is_found_whatever_the_size_of_the_gaps(gap):
    "Three tables of losses evenly spaced by `gap` in random order, on random features."
    found = []
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        losses = .7 + gap * torch.stack([torch.randperm(7, generator=g) for _ in range(8)]).float()
        trajectory = learn(RegionGenerator(12, 7, seed=seed), features(seed), table_of(losses),
                           Config())
        found += (trajectory.chosen[-1] == losses.argmin(1)).tolist()
        assert trajectory.expected_loss[-1] < trajectory.expected_loss[0]
    assert sum(found) >= .95 * len(found)

@pytest.mark.parametrize('scale', [1e-3, 1., 1e5])
def test_standardise_keeps_the_order_at_any_scale(scale):
    losses = scale * torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    out = standardise(losses)
    assert torch.equal(out.argsort(1), losses.argsort(1)) and out.mean(1).abs().max() < 1e-5
    torch.testing.assert_close(out.square().mean(1), torch.ones(5), rtol=1e-3, atol=0)

@pytest.mark.parametrize('value', [.1, .7, 3.3])
def test_equal_losses_become_zero(value): assert standardise(torch.full((2, 7), value)).eq(0).all()

@pytest.mark.parametrize('estimator', ['exact', 'rloo', 'reinforce'])
@pytest.mark.parametrize('value', [0., 3.3, -1e-9, 1e12])
def test_features_that_are_all_alike_fail_no_edit(estimator, value):
    "A network without positions sees the same everywhere on a picture of one colour."
    losses = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    trajectory = learn(RegionGenerator(12, 5), torch.full((4, 5, 12, 7, 7), value),
                       table_of(losses), Config(estimator=estimator, learning_steps=5))
    assert trajectory.probabilities.isfinite().all() and trajectory.probabilities[0].max() < .9
