"Settings are checked when they are built."
import json, math
from dataclasses import FrozenInstanceError, fields

import pytest

from regionedit.method.config import FIELDS_HELP, Config

def test_the_papers_defaults():
    c = Config()
    assert (c.num_proposals, c.lambda_clip, c.lambda_dir, c.lambda_str, c.alpha, c.beta,
            c.lr) == (7, 1, 1, 1, 2, 1, .003)
    assert c.source_weight == 4, 'ours; 0 is the paper'

@pytest.mark.parametrize('wrong', [
    dict(num_anchors=0), dict(num_anchors=2.5), dict(num_anchors=True), dict(num_proposals=-1),
    dict(num_anchors='8'), dict(anchors='random'), dict(proposals='round'), dict(roi=None),
    dict(estimator='reinforce?'), dict(alpha=math.nan), dict(beta=math.inf), dict(lambda_dir=-1),
    dict(lr=0), dict(lr=None), dict(learning_steps=0),
    dict(min_size=0), dict(max_size=1.5), dict(min_size=.5, max_size=.4),
    dict(num_inference_steps=0), dict(guidance_scale=math.nan), dict(seed=-1), dict(seed=None)])
def test_bad_values_are_refused_and_named(wrong):
    with pytest.raises(ValueError, match='expected') as error: Config(**wrong)
    assert any(name in str(error.value) for name in wrong)

def test_whole_numbers_may_stand_for_numbers_and_none_for_the_editors_own():
    assert Config(alpha=1, num_inference_steps=None, guidance_scale=3).alpha == 1

def test_sizes_that_config_accepts_are_sizes_that_can_be_proposed():
    from regionedit.method.regions import proposal_sizes
    c = Config(min_size=.01, max_size=1)
    assert proposal_sizes(c.num_proposals, c.min_size,
                          c.max_size)[[0, -1]].tolist() == pytest.approx([.01, 1])

def test_it_survives_json_and_cannot_be_changed():
    c = Config(seed=2**62, guidance_scale=2.5)
    assert Config(**json.loads(json.dumps(c.as_dict()))) == c
    with pytest.raises(FrozenInstanceError): c.seed = 1

def test_every_field_has_a_help_line():
    assert set(FIELDS_HELP) == {f.name for f in fields(Config)} and all(FIELDS_HELP.values())
