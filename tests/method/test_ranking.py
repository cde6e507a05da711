"The score of LR eq. 7 and the order it gives."
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine

from regionedit.method.losses import rank, scores

def test_score_is_the_weighted_sum_of_cosines():
    generator = torch.Generator().manual_seed(0)
    edits, text = torch.randn(6, 8, generator=generator), torch.randn(8, generator=generator)
    tokens, source_tokens = (torch.randn(6, 4, 5, generator=generator),
                             torch.randn(4, 5, generator=generator))
    s, s_t2i, s_i2i = scores(edits, tokens, source_tokens, text, alpha=3., beta=.5)
    assert s.shape == s_t2i.shape == s_i2i.shape == (6,)
    assert np.allclose(s_t2i, [1 - cosine(e, text) for e in edits], atol=1e-5)
    assert np.allclose(s_i2i,
                       [np.mean([1 - cosine(p, q) for p, q in zip(e, source_tokens)])
                        for e in tokens], atol=1e-5)
    assert torch.allclose(s, 3 * s_t2i + .5 * s_i2i)

def test_the_papers_weights():
    east, north = torch.eye(2)
    edits = torch.stack([north, east])
    s, _, _ = scores(edits, edits[:, None], east[None], north)
    assert s.tolist() == [2., 1.]       # the text counts twice, the source once

def test_order_is_best_first_and_stable():
    assert rank(torch.tensor([.1, .7, -.2, .7, .9])).tolist() == [4, 1, 3, 0, 2]
    many = torch.zeros(300); many[250] = 1.     # long enough for an unstable sort to show
    assert rank(many).tolist() == [250, *range(250), *range(251, 300)]

def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match='expected a number for each candidate'):
        rank(torch.tensor([.1, float('nan')]))


def test_ranking_with_the_losses_that_the_score_leaves_out():
    "Two edits: the score prefers the first, which misses direction and structure."
    from regionedit.method.config import Config
    from regionedit.method.table import EditTable
    one = lambda a, b: torch.tensor([[a], [b]])
    table = EditTable(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.long), (),
                      dict(clip=one(.7, .72), dir=one(.9, .5), str=one(.4, .1)),
                      one(.3, .28), one(.9, .8), s_src=one(.2, .1))
    paper, every = Config(), Config(ranking='all', lambda_dir=2., lambda_str=3., lambda_clip=9.)
    assert torch.equal(table.score(paper), 2 * table.s_t2i + table.s_i2i + 4 * table.s_src)
    torch.testing.assert_close(table.score(every), table.score(paper) - 2 * table.terms['dir']
                               - 3 * table.terms['str'])
    assert rank(table.score(paper)[:, 0]).tolist() == [0, 1]
    assert rank(table.score(every)[:, 0]).tolist() == [1, 0]
