"The exact gradient against what can be computed without it."
import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.special import softmax

from regionedit.method.estimators import entropy, exact_gradient, exact_loss

@pytest.fixture
def case():
    g = torch.Generator().manual_seed(4)
    return (torch.randn(3, 5, generator=g, dtype=torch.float64),
            torch.randn(3, 5, generator=g, dtype=torch.float64))

def expected(z, f): return (softmax(z.reshape(f.shape), axis=1) * f).sum(1).mean()

def test_loss_is_the_expectation_by_scipy(case):
    logits, losses = case
    assert exact_loss(logits, losses).item() == pytest.approx(
        expected(logits.numpy(), losses.numpy()), abs=1e-12)

def test_gradient_is_that_of_finite_differences(case):
    logits, losses = case
    by_scipy = approx_fprime(logits.numpy().ravel(), lambda z: expected(z, losses.numpy()), 1e-6)
    np.testing.assert_allclose(exact_gradient(logits, losses).numpy().ravel(), by_scipy, atol=1e-6)

def test_autograd_and_closed_form_agree(case):
    logits, losses = case
    leaf = logits.clone().requires_grad_()
    exact_loss(leaf, losses).backward()
    torch.testing.assert_close(leaf.grad, exact_gradient(logits, losses))

def test_it_is_the_mean_of_what_sampling_would_give():
    """The score-function estimator, averaged over all choices, is the same gradient: unbiased, and
    here without variance."""
    logits, losses = (torch.tensor([[.3, -1., 2.]], dtype=torch.float64),
                      torch.tensor([[1., 5., 2.]], dtype=torch.float64))
    pi = logits.softmax(-1)[0]
    mean = sum(pi[j] * losses[0, j] * (torch.eye(3, dtype=torch.float64)[j] - pi) for j in range(3))
    torch.testing.assert_close(exact_gradient(logits, losses)[0], mean)

def test_a_constant_added_to_an_anchors_losses_changes_nothing(case):
    logits, losses = case
    torch.testing.assert_close(exact_gradient(logits, losses + torch.tensor([[7.], [0.], [-3.]])),
                               exact_gradient(logits, losses))

def test_losses_are_constants(case):
    losses = case[1].clone().requires_grad_()
    exact_loss(case[0].clone().requires_grad_(), losses).backward()
    assert losses.grad is None

def test_entropy_of_certain_and_of_even_choices():
    assert entropy(torch.zeros(2, 4)).item() == pytest.approx(np.log(4))
    sure = torch.tensor([[200., 0., 0.]], requires_grad=True)
    entropy(sure).backward()
    assert entropy(sure).item() == 0 and sure.grad.isfinite().all()
