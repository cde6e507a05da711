"""Values in units of their own spread: weights mean the same with a CLIP whose cosines lie close
together."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from regionedit import EditResult, RegionEditor
from regionedit.method.clip import ImageFeatures
from regionedit.method.config import Config
from regionedit.method.table import MEASURES, TERMS, UNITS, on_scale, rescaled
from stubs import StubClip, StubEditor, picture, stub_vit

SOME = dict(num_anchors=4, num_proposals=5, learning_steps=4, progress=False)

class Narrow(StubClip):
    "The same features, pushed together by a large common vector; texts by another."
    def encode_images(self, images):
        f = super().encode_images(images)
        return ImageFeatures(F.normalize(f.pooled + 5 * F.one_hot(torch.tensor(3), 16), dim=-1),
                             f.tokens)
    def encode_texts(self, texts):
        return F.normalize(super().encode_texts(texts) + 5 * F.one_hot(torch.tensor(9), 16), dim=-1)

def test_by_hand():
    rows = np.random.default_rng(0).normal(size=(9, 6)) * [1, .1, 2, 3, .01, 5] + 4
    rows[4, 2] = np.nan
    found = rescaled(torch.tensor(rows), 'spread').numpy()
    known = np.delete(rows, 4, 0)
    for j, name in enumerate(MEASURES):
        z = (rows[:, j] - known[:, j].mean()) / known[:, j].std()
        assert np.allclose(found[:, j], known[:, j].mean() + UNITS[name] * z, equal_nan=True)
    assert torch.equal(rescaled(torch.tensor(rows), 'paper').nan_to_num(),
                       torch.tensor(rows).nan_to_num())

def test_what_has_no_spread_stays():
    one, same = torch.rand(1, 5), torch.ones(4, 6)
    assert torch.equal(rescaled(one, 'spread'), one)
    assert torch.equal(rescaled(same, 'spread'), same)

@pytest.mark.parametrize('options', [{}, dict(budget=7), dict(budget=9, preview_steps=2)])
def test_a_table_keeps_its_places(options):
    editor = RegionEditor(stub_vit(), StubClip(), StubEditor())
    paper = editor(picture(61, 43), 'a rocket', 'a cat', **SOME, **options).table
    table = on_scale(paper, 'spread')
    assert torch.equal(table.known, paper.known) and torch.equal(table.valid, paper.valid)
    places = [(table.index == u).nonzero()[0] for u in range(len(table.edits))]
    columns = dict(table.terms, s_t2i=table.s_t2i, s_i2i=table.s_i2i, s_src=table.s_src)
    for name, v in columns.items():
        values = torch.stack([v[tuple(p)] for p in places])
        assert values.std(correction=0) == pytest.approx(UNITS[name], rel=1e-3), name
        was = {**paper.terms, 's_t2i': paper.s_t2i, 's_i2i': paper.s_i2i, 's_src': paper.s_src}
        assert torch.equal(v[paper.known].argsort(), was[name][paper.known].argsort()), name

@pytest.mark.slow
def test_a_narrow_clip_chooses_as_a_wide_one_does(tmp_path):
    """Paper's scale: the terms' spreads change by different factors, so their shares do; on the scale
    'spread' they are those of the units with either."""
    shares = {}
    for name, clip in dict(wide=StubClip(), narrow=Narrow()).items():
        for scale in ('paper', 'spread'):
            result = RegionEditor(stub_vit(), clip, StubEditor())(
                picture(61, 43), 'a rocket', 'a cat', scale=scale, **SOME)
            spread = torch.stack([result.table.terms[t].std() for t in TERMS])
            shares[name, scale] = (spread / spread.sum()).tolist()
    assert shares['narrow', 'spread'] == pytest.approx(shares['wide', 'spread'], abs=.05)
    assert max(abs(a - b) for a, b in zip(shares['narrow', 'paper'], shares['wide', 'paper'])) > .1
    again = EditResult.load(result.save(tmp_path))
    assert again.config.scale == 'spread' and again.score == result.score

def test_the_learner_sees_the_scale():
    "What it wrote down of its choice is what stands in the table."
    result = RegionEditor(stub_vit(), Narrow(), StubEditor())(
        picture(61, 43), 'a rocket', 'a cat', scale='spread', **SOME)
    chosen, k = result.trajectory.chosen[-1], torch.arange(4)
    torch.testing.assert_close(result.trajectory.terms[-1], torch.stack(
        [result.table.terms[t][k, chosen] for t in TERMS], -1))

def test_scales_and_estimators():
    with pytest.raises(ValueError, match='expected scale="paper" with estimator="gumbel"'):
        Config(scale='spread', estimator='gumbel')
    public = RegionEditor(None, None, StubEditor(), public=True)
    assert public.config().scale == 'spread' and public.config(budget='full').scale == 'spread'
    assert public.config(scale='paper').scale == public.config(estimator='gumbel').scale == 'paper'
    assert RegionEditor(None, None, StubEditor()).config().scale == 'paper'
