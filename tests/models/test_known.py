"What a model has never learned is said before it edits; what it knows is passed over in silence."
import json
import warnings

import numpy as np
from PIL import Image
import pytest
import torch

from regionedit import Note, RegionEditor
from regionedit.models.bundled import KNOWN
from regionedit.models.pretrained import Detector, Known, texture
from stubs import StubClip, StubEditor, stub_vit

def detector(bias): return Detector([0.] * 33, [1.] * 33, [[0.] * 34], [0., bias])

@pytest.fixture
def known():
    return Known({'hot dog': [], 'violin': ['fiddle'], 'cherry': []},
                 frozenset('a on the grass'.split()), {'violinist': 'violin'}, detector(-1.), 'do')

@pytest.mark.parametrize('text, unknown', [
    ('A hot dog on the grass', []), ('hot dogs', []), ('a fiddle', []), ('cherries', []),
    ('a hot violin', ['hot']), ('Zebra, zebra and a violin', ['zebra', 'and'])])
def test_unknown_words(known, text, unknown): assert known.unknown_words(text) == unknown

@pytest.mark.parametrize('word, near', [
    ('violinist', 'violin'), ('fidle', 'violin'), ('Violinist', 'violin'), ('qqq', '')])
def test_the_nearest_thing(known, word, near): assert known.nearest_to(word) == near

def test_one_sentence_each(known):
    picture = Image.new('RGB', (20, 20))
    assert known.remarks(picture, 'a fiddle') == []
    word, = known.remarks(picture, 'a zebra', 'a zebra')
    assert "'zebra'" in word and '3 drawn things' in word and word.endswith('do')
    foreign = Known(known.things, known.words, known.nearest, detector(1.), 'do')
    said = foreign.remarks(picture, 'a violinist')
    assert len(said) == 2 and 'picture is unlike' in said[0] and "nearest: 'violin'" in said[1]

def test_the_detector_is_two_layers():
    "One hidden unit that is the third number, by hand."
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8))
    number = texture(torch.from_numpy(np.array(picture)).movedim(-1, 0)[None] / 255)[0, 2].item()
    row = [0.] * 34
    row[2] = -2.
    asked = Detector([0.] * 33, [1.] * 33, [row], [3., .5])
    assert asked(picture) == pytest.approx(3 * max(0, -2 * number) + .5, rel=1e-4)

def test_texture_knows_flat_from_rough():
    flat, rough = torch.full((1, 3, 128, 128), .3), torch.rand(1, 3, 128, 128)
    assert (texture(rough) > texture(flat)).all() and texture(flat).shape == (1, 33)

def test_a_file_is_read_back(known, tmp_path):
    data = dict(vars(known), words=sorted(known.words), detector=vars(known.detector))
    (tmp_path/'known.json').write_text(json.dumps(data), encoding='utf-8')
    assert Known.read(tmp_path/'known.json') == known

# the bundled file

def test_every_noun_outside_the_list_is_named():
    known = Known.read(KNOWN)
    for noun in ('violinist', 'zeppelin', 'kangaroo', 'sailor', 'stethoscope', 'accordion'):
        assert known.unknown_words(f'a {noun} on the grass') == [noun]

def test_photographs_are_told_from_drawings():
    "The bundled detector, on the photographs that the package carries and on scenes that it never met."
    from regionedit.method.core import open_image
    from regionedit.models.bundled import EXAMPLES, PHOTOGRAPHS, example
    from regionedit.pocket.scenes import SEEDS, draw_scene
    alarm = Known.read(KNOWN).detector
    assert all(alarm(open_image(example(name))) > 0 for name in PHOTOGRAPHS)
    drawn = [draw_scene(s).image for s in SEEDS['bench'][320_000:320_030]]
    drawn += [open_image(example(name)) for name in EXAMPLES]
    assert sum(alarm(image) > 0 for image in drawn) <= 1

def test_an_editor_says_it_and_the_result_keeps_it():
    from regionedit.pocket.scenes import draw_scene
    from regionedit.results.saved import facts
    drawn = draw_scene(1_000_010).image
    asked = RegionEditor(stub_vit(), StubClip(), StubEditor(), known=Known.read(KNOWN))
    with pytest.warns(Note, match='zeppelin'):
        result = asked(drawn, 'a zeppelin', 'an apple',
                       num_anchors=1, num_proposals=1, progress=False)
    assert len(result.notes) == 1 and facts(result)['notes'] == result.notes
    with warnings.catch_warnings():
        warnings.simplefilter('error', Note)
        assert asked(drawn, 'a bus', 'an apple', num_anchors=1,
                     num_proposals=1, progress=False).notes == ()
