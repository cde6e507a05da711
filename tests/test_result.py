"A result is written as PNG, JSON and safetensors, and read back as it was."
import json, pickle, sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.result import SCHEMA, EditResult, draw_boxes, facts
from stubs import stub_result

@pytest.fixture
def result() -> EditResult: return stub_result()

def same(a, b):
    "Equal to the last bit, whatever it is made of."
    if isinstance(a, torch.Tensor): assert a.dtype == b.dtype and torch.equal(a, b)
    elif isinstance(a, Image.Image): assert (a.mode, a.size, a.tobytes()) == (b.mode, b.size, b.tobytes())
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a: same(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b): same(x, y)
    elif hasattr(a, '__dataclass_fields__'):
        assert type(a) is type(b)
        for f in fields(a): same(getattr(a, f.name), getattr(b, f.name))
    else: assert type(a) is type(b) and a == b

def test_what_is_saved_comes_back_to_the_last_bit(result, tmp_path):
    folder = result.save(tmp_path/'new'/'folder')
    loaded = EditResult.load(folder)
    same(result, loaded)
    same([c.image for c in result.candidates], [c.image for c in loaded.candidates])
    assert (loaded.box, loaded.score, loaded.seed, loaded.num_edits) == ((30, 10, 35, 14), .9, 2**62 + 1, 5)

def test_nothing_is_pickled_or_unpickled(result, tmp_path, monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('not allowed')
    for name in ('load', 'save'): monkeypatch.setattr(torch, name, refuse)
    for name in ('load', 'loads', 'dump', 'dumps', 'Unpickler', 'Pickler'): monkeypatch.setattr(pickle, name, refuse)
    EditResult.load(result.save(tmp_path))
    assert {p.suffix for p in tmp_path.rglob('*') if p.is_file()} == {'.png', '.json', '.safetensors'}

def test_it_loads_without_any_model(result, tmp_path, monkeypatch):
    result.save(tmp_path)
    for name in ('timm', 'open_clip', 'diffusers', 'transformers', 'torchvision'): monkeypatch.setitem(sys.modules, name, None)    # an import of these fails
    assert EditResult.load(str(tmp_path)).image.tobytes() == result.image.tobytes()

def test_pictures_on_disk_are_what_they_are_called(result, tmp_path):
    result.save(tmp_path)
    def pixels(name): return np.asarray(Image.open(tmp_path/name)).astype(int)
    edit, source = pixels('edit.png'), pixels('source.png')
    assert source.shape == (21, 37, 3) and (source == np.asarray(result.source_image)).all()
    changed = (edit != source).any(-1)
    assert changed[10:14, 30:35].any() and changed.sum() == changed[10:14, 30:35].sum()      # only in the best candidate's box
    assert (tmp_path/'boxes.png').exists() and len(list((tmp_path/'edits').iterdir())) == 5

def test_result_json_says_what_the_interface_promises(result, tmp_path):
    said = json.loads((result.save(tmp_path)/'result.json').read_text())
    assert {'box', 'score', 's_t2i', 's_i2i', 'num_edits', 'seconds', 'seed', 'preset', 'prompt', 'source', 'versions', 'candidates'} <= said.keys()
    assert said['schema'] == SCHEMA and said['box'] == [30, 10, 35, 14] and said['num_edits'] == 5 and said['prompt'] == 'a rocket "über" all'
    assert [c['anchor'] for c in said['candidates']] == [[32.5, 12.25], [4.125, 5.5]] and said['size'] == [37, 21]
    assert said == json.loads(json.dumps(facts(result)))

def test_a_folder_is_written_over(result, tmp_path):
    result.save(tmp_path)
    other = stub_result(seed=1)
    same(other, EditResult.load(other.save(tmp_path)))

@pytest.mark.parametrize('schema', [None, 0, SCHEMA + 1, str(SCHEMA)])
def test_another_schema_is_refused(result, tmp_path, schema):
    path = result.save(tmp_path)/'result.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()), schema=schema)))
    with pytest.raises(ValueError, match=f'expected a result of schema {SCHEMA}, got {schema};'): EditResult.load(tmp_path)

def test_no_result_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a saved result.*result.json.*EditResult.save'): EditResult.load(tmp_path)

def test_a_candidates_picture_is_the_source_outside_its_box(result):
    for c in result.candidates:
        x0, y0, x1, y1 = c.box
        inside = np.zeros((21, 37), bool); inside[y0:y1, x0:x1] = True
        changed = (np.asarray(c.image) != np.asarray(result.source_image)).any(-1)
        assert not changed[~inside].any() and changed[inside].mean() > .9

def test_the_best_candidate_speaks_for_the_result(result):
    turned = replace(result, candidates=result.candidates[::-1])
    assert turned.box == (0, 0, 12, 12) and turned.score == .3 and turned.image.tobytes() == result.candidates[1].image.tobytes()

def test_boxes_are_drawn_where_they_are():
    result = stub_result()
    drawn = np.asarray(draw_boxes(replace(result, source_image=Image.new('RGB', (37, 21)), candidates=result.candidates[:1]), 210)).astype(int)
    assert drawn.shape == (210, 370, 3)
    yellow = (drawn == (255, 220, 0)).all(-1)
    ys, xs = yellow.nonzero()
    assert abs(xs.min() - 300) <= 1 and abs(xs.max() - 349) <= 1 and abs(ys.min() - 100) <= 1 and abs(ys.max() - 139) <= 1
    assert drawn[122:124, 325:327].reshape(-1, 3).tolist() == [[255, 60, 60]] * 4            # the anchor

def test_comparison_has_three_pictures_of_one_height(result):
    width = round(37 * 63 / 21)
    sheet = np.asarray(result.compare(63))
    assert sheet.shape == (63, 3 * width + 16, 3)
    assert (sheet[:, :width] == np.asarray(result.source_image.resize((width, 63)))).all() and (sheet[:, width:width + 8] == 255).all()
    assert (sheet[:, -width:] == np.asarray(result.image.resize((width, 63)))).all()
