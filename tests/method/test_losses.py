"The three terms of the loss against scipy, loops and hands."
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist, cosine

from regionedit.method.losses import SHORTEST, direction_loss
from regionedit.method.losses import self_similarity, structure_loss
from regionedit.method.losses import clip_loss

def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)

def test_text_loss_is_the_cosine_distance():
    edits, text = 3 * unit(5, 16), unit(16, seed=1)
    expected = [cosine(e, text) for e in edits.double().numpy()]
    assert clip_loss(edits, text).shape == (5,)
    assert np.allclose(clip_loss(edits, text), expected, atol=1e-6)

def test_text_loss_of_as_many_edits_as_features():
    edits = torch.eye(3)        # n = d: rows and columns must not be exchanged
    assert torch.allclose(
        clip_loss(edits + torch.tensor([[0., 1., 0.], [0., 0., 0.], [0., 0., 0.]]),
                  torch.tensor([1., 0., 0.])), torch.tensor([1 - 2 ** -.5, 1., 1.]), atol=1e-6)

def test_direction_loss_is_the_cosine_distance_of_the_steps():
    edits, source, text, word = unit(5, 16), unit(16, seed=1), unit(16, seed=2), unit(16, seed=3)
    expected = [cosine(e - source.double().numpy(), (text - word).double().numpy())
                for e in edits.double().numpy()]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert np.allclose(direction_loss(edits, source, text, word), expected, atol=1e-5)

def test_direction_has_a_sign():
    x, y, a, b = unit(4, 16)
    there, back = direction_loss(y[None], x, b, a), direction_loss(x[None], y, b, a)
    assert torch.allclose(there + back, torch.tensor([2.]), atol=1e-5)
    assert abs(there.item() - 1) > .01

def test_an_unchanged_picture_has_no_direction():
    source, text, word = unit(16, seed=1), unit(16, seed=2), unit(16, seed=3)
    rounding = F.normalize(source + 1e-7 * unit(16, seed=4), dim=0)
    loss = direction_loss(torch.stack([source, rounding, text]), source, text, word)
    assert loss[:2].tolist() == [1., 1.] and loss[2] != 1
    tiny = source + 10 * SHORTEST * unit(16, seed=5)        # small, but a step
    assert direction_loss(tiny[None], source, text, word).item() != 1

def test_a_prompt_that_says_what_is_there_is_reported():
    source, text = unit(16, seed=1), unit(16, seed=2)
    with pytest.warns(UserWarning, match='decides nothing'):
        assert direction_loss(unit(3, 16), source, text, text).tolist() == [1., 1., 1.]

def test_self_similarity_is_the_cosine_of_patches():
    tokens = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    Q = self_similarity(tokens)
    assert Q.shape == (3, 7, 7)
    for q, t in zip(Q, tokens): assert np.allclose(q, 1 - cdist(t, t, 'cosine'), atol=1e-6)

def test_structure_loss_is_the_root_mean_square_difference():
    tokens = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(0))
    first = 1 - cdist(tokens[0], tokens[0], 'cosine')
    expected = [np.sqrt(np.mean((1 - cdist(t, t, 'cosine') - first) ** 2)) for t in tokens]
    loss = structure_loss(tokens, tokens[0])
    assert loss.shape == (4,) and np.allclose(loss, expected, atol=1e-5) and loss[0] < 1e-5

def test_structure_loss_by_hand():
    source, opposite = torch.tensor([[1., 0.], [2., 0.]]), torch.tensor([[[1., 0.], [-3., 0.]]])
    # two of four places differ by 2
    assert torch.allclose(structure_loss(opposite, source), torch.tensor([2 ** .5]))

def test_structure_loss_does_not_grow_with_the_number_of_patches():
    source, edit = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0))
    doubled = structure_loss(edit.repeat(2, 1)[None], source.repeat(2, 1))
    assert torch.allclose(doubled, structure_loss(edit[None], source), atol=1e-6)

def test_structure_loss_sees_places_and_not_contents():
    tokens = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).Q
    assert structure_loss((3 * tokens @ rotation)[None], tokens) < 1e-5
    assert structure_loss(tokens.roll(1, 0)[None], tokens) > .1

@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_features_that_are_no_numbers_are_not_taken_for_no_direction(value):
    edits, source, text, word = unit(4, 16), unit(16, seed=1), unit(16, seed=2), unit(16, seed=3)
    well, sick = direction_loss(edits, source, text, word), edits.clone()
    sick[2, 5] = value
    loss = direction_loss(sick, source, text, word)
    assert loss.isfinite().tolist() == [True, True, False, True]
    assert torch.equal(loss[[0, 1, 3]], well[[0, 1, 3]])
    sick = source.clone(); sick[5] = value
    assert not direction_loss(edits, sick, text, word).isfinite().any()
