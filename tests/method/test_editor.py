"""The whole method on stand-ins: any picture in, only the box changed, every promise of the
interface kept."""
import json, random, warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.method.config import WORKING_SIDE, Config, Task, working_copy
from regionedit.method.core import Note, contains, open_image, to_image, to_images, to_tensor
from regionedit import RegionEditor
from regionedit import EditResult
from stubs import StubClip, StubEditor, picture, stub_vit

FEW = dict(num_anchors=3, num_proposals=2, learning_steps=4, progress=False)

@pytest.fixture(scope='module')
def vit(): return stub_vit()

@pytest.fixture
def editor(vit) -> RegionEditor: return RegionEditor(vit, StubClip(), StubEditor())

def changed(result, image) -> np.ndarray:
    return (np.asarray(result.image) != np.asarray(open_image(image))).any(-1)

def with_orientation(image: Image.Image) -> Image.Image:
    image.getexif()[0x0112] = 6
    return image

PICTURES = {
    'wide': lambda: picture(97, 61),
    'tall': lambda: picture(45, 120),
    'strip': lambda: picture(300, 20),
    'tiny': lambda: picture(7, 5),
    'large': lambda: picture(1300, 700),
    'rgba': lambda: picture(80, 50).convert('RGBA'),
    'clear': lambda: Image.merge(
        'RGBA', (*picture(80, 50).split(), picture(80, 50, 1).getchannel(0))
    ),
    'grey': lambda: picture(50, 80).convert('L'),
    'cmyk': lambda: picture(80, 50).convert('CMYK'),
    'palette': lambda: picture(80, 50).convert('P'),
    '16 bit': lambda: Image.fromarray(
        np.random.default_rng(0).integers(0, 2**16, (50, 80)).astype(np.uint16)
    ),
    'exif': lambda: with_orientation(picture(90, 40)),
}

@pytest.mark.parametrize('kind', PICTURES)
def test_any_picture_is_changed_in_the_box_only(editor, kind):
    image = PICTURES[kind]()
    result = editor(image, 'a rocket', 'a cat', **FEW)
    upright = open_image(image)
    assert result.image.mode == 'RGB'
    assert result.image.size == upright.size == result.source_image.size
    for c in result.candidates:
        x0, y0, x1, y1 = c.box
        assert all(type(v) is int for v in c.box) and 0 <= x0 < x1 <= upright.width
        assert 0 <= y0 < y1 <= upright.height
        difference = (np.asarray(c.image) != np.asarray(upright)).any(-1)
        assert difference[y0:y1, x0:x1].mean() > .8
        assert difference.sum() == difference[y0:y1, x0:x1].sum()

def test_exif_turns_the_result(editor):
    assert editor(PICTURES['exif'](), 'a rocket', 'a cat', **FEW).image.size == (40, 90)

@pytest.mark.parametrize('size', [(90, 40), (1300, 700), (50, 111)])
def test_candidates(editor, size):
    result = editor(picture(*size), 'a rocket', 'a cat', alpha=1.5, beta=.25, **FEW)
    assert len(result.candidates) == 3 and result.box == result.candidates[0].box
    assert [c.score for c in result.candidates] == sorted((c.score for c in result.candidates),
                                                          reverse=True)
    rows = []
    cells = [s / n for s, n in zip(size, result.attention.shape[::-1])]    # width, height
    for c in result.candidates:
        grown = [v + s * cells[i % 2] for i, (v, s) in enumerate(zip(c.box, (-1, -1, 1, 1)))]
        assert contains(grown, c.anchor), 'in pixels of the input; sides move by less than a cell'
        assert c.score == pytest.approx(1.5 * c.s_t2i + .25 * c.s_i2i + 4 * c.s_src, abs=1e-6)
        row = next(k for k in range(3) if k not in rows
                   and any(tuple(b) == c.box
                           for b in result.trajectory.boxes[-1, k:k + 1].tolist()))
        m = result.trajectory.chosen[-1, row]
        assert result.table.boxes[row, m].tolist() == list(c.box)
        assert c.losses == {t: v[row, m].item() for t, v in result.table.terms.items()}
        assert (c.s_t2i, c.s_i2i) == (result.table.s_t2i[row, m].item(),
                                      result.table.s_i2i[row, m].item())
        assert c.edit is result.table.edits[result.table.index[row, m]]
        rows.append(row)

def test_boxes_and_anchors_are_in_pixels_of_a_large_input(editor):
    "A picture and its half: the same places, at twice the numbers."
    small = picture(512, 260)
    large = small.resize((1024, 520), Image.NEAREST)
    config = Config(num_anchors=3, num_proposals=2, learning_steps=4)
    a, b = (editor.run(Task(im, 'a rocket', 'a cat', config))
            for im in (working_copy(large), large))
    assert a.source_image.size == (512, 260)
    assert torch.equal(2 * a.table.boxes, b.table.boxes)
    for x, y in zip(a.candidates, b.candidates):
        assert [2 * v for v in x.anchor] == pytest.approx(y.anchor)
        assert [2 * v for v in x.box] == list(y.box) and x.score == pytest.approx(y.score, abs=.02)

def test_the_working_copy_is_never_larger():
    assert working_copy(picture(60, 41)).size == (60, 41)
    assert working_copy(picture(2 * WORKING_SIDE, 100)).size == (WORKING_SIDE, 50)
    assert working_copy(picture(1, 3 * WORKING_SIDE)).size == (1, WORKING_SIDE)

class Blank:
    "A picture of a size, without pixels."
    def __init__(self, size): self.size = tuple(size)
    def resize(self, size, how): return Blank(size)

def test_boxes_of_the_working_copy_and_of_the_picture_are_the_same_boxes():
    "Moved by less than half a working pixel, and back to the same box."
    rng = np.random.default_rng(0)
    for _ in range(200):
        task = Task(Blank(rng.integers(600, 5000, 2).tolist()), 'a rocket')
        work, size = task.image.size, task.picture.size
        x0, y0 = (int(rng.integers(0, w - 1)) for w in work)
        box = torch.tensor([x0, y0, int(rng.integers(x0 + 1, work[0] + 1)),
                            int(rng.integers(y0 + 1, work[1] + 1))])
        assert (task.up(box) - box * torch.tensor(size * 2)
                / torch.tensor(work * 2)).abs().max() <= .5 + 1e-4
        assert torch.equal(task.down(task.up(box)), box)

class Identity(StubEditor):
    "Returns what it is shown."
    size = 512
    def fill(self, images, masks, prompt, **kwargs): return images

@pytest.mark.slow
@pytest.mark.parametrize('size', [(777, 1023), (1023, 777), (2600, 1951), (500, 400)])
def test_what_the_editor_sees_is_where_it_is_pasted(vit, size):
    """The phase of a slow sinusoid in x and in y, in the edited box and in the source: less than a fiftieth of a pixel
    apart. In the copy that CLIP scores, where a window begins within a pixel, the same."""
    x, y = np.arange(size[0]), np.arange(size[1])
    waves = 2 * np.pi / 64
    pixels = np.stack([np.broadcast_to(128 + 100 * np.sin(waves * x), (size[1], size[0])),
                       np.broadcast_to(128 + 100 * np.sin(waves * y)[:, None], (size[1], size[0])),
                       np.zeros((size[1], size[0]))], -1)
    image, copies = Image.fromarray(pixels.round().astype(np.uint8)), []
    class Watching(StubClip):
        def encode_images(self, images): copies.append(images); return super().encode_images(images)
    result = RegionEditor(vit, Watching(), Identity())(image, 'a rocket', 'a cat',
                                                       **dict(FEW, min_size=.3, max_size=.5))
    def phase(values, axis, wave):
        return np.angle((values.mean(1 - axis)
                         * np.exp(-1j * wave * np.arange(values.shape[axis]))).sum()) / wave
    for edit in result.table.edits:
        made, before = (np.asarray(im.crop(edit.box), float) - 128
                        for im in (edit.paste(image), image))
        for channel, axis in ((0, 1), (1, 0)):
            assert abs(phase(made[..., channel], axis, waves)
                       - phase(before[..., channel], axis, waves)) < .02
    shown = next(c for c in copies if len(c) == 1 + len(result.table.edits))
    for edited, edit in zip(shown[1:], result.table.edits):
        small = edit.on(shown[0].size, image.size)
        made, before = (np.asarray(im.crop(small.box), float) - 128 for im in (edited, shown[0]))
        for channel, axis in ((0, 1), (1, 0)):
            wave = waves * image.size[1 - axis] / shown[0].size[1 - axis]
            assert abs(phase(made[..., channel], axis, wave)
                       - phase(before[..., channel], axis, wave)) < .02

@pytest.mark.parametrize('k, m', [(1, 1), (1, 3), (4, 1), (5, 4)])
def test_no_box_is_edited_twice(editor, k, m):
    result = editor(picture(60, 30), 'a rocket', 'a cat', num_anchors=k, num_proposals=m,
                    max_size=1., learning_steps=2, progress=False)
    distinct = {tuple(b) for b in result.table.boxes.flatten(0, 1).tolist()}
    assert editor.editor.windows == result.num_edits == len(distinct) <= k * m
    assert len(result.candidates) == k
    editor(picture(60, 30), 'a rocket', 'a cat', num_anchors=k, num_proposals=m, max_size=1.,
           learning_steps=2, progress=False)
    assert editor.editor.windows == len(distinct), 'a second call asks for nothing new'

@pytest.mark.slow
def test_the_same_seed_gives_the_same_pixels(vit):
    runs = [RegionEditor(vit, StubClip(), StubEditor())(picture(80, 50), 'a rocket', 'a cat',
                                                        seed=s, **FEW) for s in (5, 5, 6)]
    assert runs[0].image.tobytes() == runs[1].image.tobytes()
    assert torch.equal(runs[0].trajectory.probabilities, runs[1].trajectory.probabilities)
    assert runs[0].image.tobytes() != runs[2].image.tobytes()
    assert not torch.equal(runs[0].trajectory.probabilities[0],
                           runs[2].trajectory.probabilities[
                               0]), 'the network before its first step has a seed too'

def test_a_generator_stands_for_its_seed(editor):
    by_seed = editor(picture(80, 50), 'a rocket', 'a cat', seed=7, **FEW)
    by_generator = editor(picture(80, 50), 'a rocket', 'a cat',
                          generator=torch.Generator().manual_seed(7), **FEW)
    assert by_generator.seed == 7 and by_generator.image.tobytes() == by_seed.image.tobytes()

def test_the_callers_random_numbers_are_left_alone(editor):
    torch.manual_seed(3); np.random.seed(3); random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    editor(picture(80, 50), 'a rocket', 'a cat', seed=9, **FEW)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1] and random.getstate() == before[2]

def test_the_callers_picture_is_left_alone(editor):
    image = picture(80, 50); before = image.tobytes()
    editor(image, 'a rocket', 'a cat', **FEW)
    assert image.tobytes() == before

@pytest.mark.parametrize('texts', [('', 'a cat'), ('  \n', 'a cat'), (None, 'a cat'), (3, 'a cat'),
                                   ('a rocket', ''), ('a rocket', None)])
def test_texts_must_say_something(editor, texts):
    with pytest.raises(ValueError, match='expected (prompt|source) to be a text, got') as error:
        editor(picture(30, 20), *texts, **FEW)
    assert ('prompt' in str(error.value)) == (texts[1] == 'a cat') and editor.editor.windows == 0

@pytest.mark.parametrize('options', [dict(num_anchors=0), dict(alpha=float('nan')), dict(seed=-1),
                                     dict(estimator='magic'), dict(num_anchors=200)])
def test_bad_options_are_refused_before_any_edit(editor, options):
    with pytest.raises(ValueError, match='expected'):
        editor(picture(30, 30), 'a rocket', 'a cat', **dict(FEW, **options))
    assert editor.editor.windows == 0

def test_a_missing_file_and_a_damaged_one(editor, tmp_path):
    with pytest.raises(FileNotFoundError, match='expected a picture'):
        editor(tmp_path/'none.png', 'a rocket', 'a cat', **FEW)
    (tmp_path/'a.png').write_text('no picture')
    with pytest.raises(ValueError, match='expected a picture'):
        editor(tmp_path/'a.png', 'a rocket', 'a cat', **FEW)

def test_the_editors_arguments_arrive(vit):
    asked = []
    class Asked(StubEditor):
        def fill(self, images, masks, prompt, **kwargs):
            asked.append((prompt, kwargs['seed'], kwargs['num_inference_steps'],
                          kwargs['guidance_scale'], kwargs['callback_on_step_end']))
            return super().fill(images, masks, prompt, **kwargs)
    steps = []
    def note(editor, i, t, values): steps.append(i); return values
    RegionEditor(vit, StubClip(), Asked())(picture(40, 30), ' a rocket ', 'a cat', seed=4,
                                           num_inference_steps=3, guidance_scale=1.5,
                                           callback_on_step_end=note, **FEW)
    assert set(asked) == {('a rocket', 4, 3, 1.5, note)} and steps

def test_a_run_can_be_saved_and_read(editor, tmp_path):
    result = editor(picture(700, 350), 'a rocket', 'a cat', **FEW)
    loaded = EditResult.load(result.save(tmp_path))
    assert loaded.candidates[0].facts() == result.candidates[0].facts()
    assert loaded.config == result.config
    assert [c.image.tobytes() for c in loaded.candidates] == [c.image.tobytes()
                                                              for c in result.candidates]
    assert torch.equal(loaded.trajectory.terms, result.trajectory.terms)
    assert loaded.seconds == result.seconds

def test_every_stage_is_timed(editor):
    seconds = editor(picture(60, 40), 'a rocket', 'a cat', **FEW).seconds
    assert set(seconds) == {'attend', 'propose', 'edit', 'select', 'rank', 'total'}
    assert seconds['total'] == pytest.approx(sum(v for k, v in seconds.items() if k != 'total'),
                                             abs=1e-6)

@pytest.mark.slow
def test_the_bundled_vit_and_clip_work_together(scene):
    from regionedit.models.pretrained import load_vit
    from regionedit.models.pretrained import load_clip
    from regionedit.models.bundled import weights_folder
    editor = RegionEditor(load_vit(weights_folder('vit')), load_clip(weights_folder('clip')),
                          StubEditor())
    result = editor(scene.image.crop((0, 0, 128, 90)), 'a rocket', 'a cat', **FEW)
    box = np.zeros((90, 128), bool); x0, y0, x1, y1 = result.box; box[y0:y1, x0:x1] = True
    assert changed(result, scene.image.crop((0, 0, 128, 90)))[box].mean() > .8
    assert not changed(result, scene.image.crop((0, 0, 128, 90)))[~box].any()

def test_a_preset_brings_its_three_models(monkeypatch):
    import regionedit.models.pretrained as module
    from regionedit.models.presets import get_preset
    preset = get_preset('pocket')
    monkeypatch.setattr('regionedit.models.presets.bf16_is_fast', lambda device: True)
    for name in ('load_vit', 'load_clip'):
        monkeypatch.setattr(module, name, lambda folder, device, name=name: SimpleNamespace(
            asked=(name, folder, device)))
    monkeypatch.setattr(module, 'load_editor',
                        lambda kind, weights, device, dtype, **kwargs: (kind, weights, device,
                                                                        dtype, kwargs))
    loaded = RegionEditor.from_pretrained('pocket', guidance_scale=2.)
    assert loaded.vit.asked == ('load_vit', preset.vit, 'cpu')
    assert loaded.clip.asked == ('load_clip', preset.clip, 'cpu') and loaded.preset == 'pocket'
    assert loaded.clip.known is loaded.known and not loaded.known.unknown_words('an apple')
    assert loaded.editor == ('diffusion', preset.editor_weights, 'cpu', torch.bfloat16,
                             dict(preset.editor_args, guidance_scale=2.))
    with pytest.raises(ValueError, match='expected a preset out of'):
        RegionEditor.from_pretrained('no-such-preset')

def test_the_editor_sees_the_picture_itself_not_the_small_copy(vit):
    """Columns of one pixel: grey on the working copy, black and white in a window that is cut from
    the picture."""
    stripes = Image.fromarray(np.uint8(np.arange(2048) % 2 * 255)[None].repeat(1024, 0)).convert(
        'RGB')
    assert np.asarray(working_copy(stripes), float).std() < 20
    seen = []
    class Watching(StubEditor):
        size = 256
        def fill(self, images, masks, prompt, **kwargs): seen.extend(images); return images
    editor = RegionEditor(vit, StubClip(), Watching())
    result = editor(stripes, 'a rocket', 'a cat', num_anchors=1, num_proposals=1, proposals='centred',
                    min_size=.15,                    max_size=.15, progress=False)
    assert seen[0].size == (256, 256) and np.asarray(seen[0], float).std() > 60
    assert result.box[2] - result.box[0] == pytest.approx(.15 * 1024, abs=8)
    again = RegionEditor(vit, StubClip(), Watching()); again.cache = editor.cache
    again(working_copy(stripes), 'a rocket', 'a cat', num_anchors=1, num_proposals=1, proposals='centred',
                    min_size=.15,          max_size=.15, progress=False)
    # the copy on its own is another picture, also to the cache
    assert len(seen) == 2 and np.asarray(seen[1], float).std() < 20

# numbers under stress

class SickClip(StubClip):
    "Features of some pictures are no numbers; 0 is the source."
    def __init__(self, bad, value=float('nan')): self.bad, self.value = bad, value
    def encode_images(self, images):
        found = super().encode_images(images)
        found.pooled[[i for i in self.bad if i < len(images)]] = self.value
        return found

@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_a_candidate_without_numbers_is_left_out_and_the_result_says_so(vit, tmp_path, value):
    well = RegionEditor(vit, StubClip(), StubEditor())(picture(80, 50), 'a rocket', 'a cat', **FEW)
    assert well.left_out == []
    bad = [u + 1 for u in well.table.index[1].unique().tolist()]  # all edits of the second anchor
    with pytest.warns(UserWarning, match='left out'):
        result = RegionEditor(vit, SickClip(bad, value), StubEditor())(picture(80, 50), 'a rocket',
                                                                       'a cat', **FEW)
    assert {(1, 0), (1, 1)} <= set(result.left_out) and len(result.candidates) == 2
    assert well.candidates != result.candidates
    assert all(np.isfinite([c.score, c.s_t2i, c.s_i2i, *c.losses.values()]).all()
               for c in result.candidates)
    assert len(EditResult.load(result.save(tmp_path)).left_out) == len(result.left_out)

def test_no_candidate_at_all_is_one_sentence(vit):
    with pytest.raises(ValueError, match='expected losses that are numbers') as error:
        RegionEditor(vit, SickClip([0]), StubEditor())(picture(80, 50), 'a rocket', 'a cat', **FEW)
    assert '\n' not in str(error.value)

class SickEditor(StubEditor):
    """Windows whose pixels come out as no numbers, by number; told as a list with None, or by an
    error for the whole batch."""
    def __init__(self, bad, way='none', value=float('nan')):
        super().__init__(); self.bad, self.way, self.value = bad, way, value
    def fill(self, images, masks, prompt, **kwargs):
        first, made = (self.windows,
                       torch.stack([to_tensor(m)
                                    for m in super().fill(images, masks, prompt, **kwargs)]))
        if self.bad == 'all': made[:] = self.value
        elif self.way == 'none':
            made[[i - first for i in self.bad if 0 <= i - first < len(made)], 0, 3, 4] = self.value
        else:
            made[[i for i, im in enumerate(images) if im.tobytes() in self.bad], 0, 3,
                 4] = self.value
        return to_images(made) if self.way == 'none' else [to_image(m) for m in made]

@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('mask', ['box', 'patches'])
def test_pixels_that_are_no_numbers_cost_their_own_box_only(vit, tmp_path, value, mask):
    image, options = picture(80, 50), dict(FEW, mask=mask)
    well = RegionEditor(vit, StubClip(), StubEditor())(image, 'a rocket', 'a cat', **options)
    bad = well.table.index[1].unique().tolist()  # all edits of the second anchor
    with pytest.warns(Note, match=rf'left out \({len(bad)} of {well.num_edits} edits have pixels '
                                  r'that are not numbers\)') as told:
        result = RegionEditor(vit, StubClip(), SickEditor(bad, value=value))(
            image, 'a rocket', 'a cat', **options)
    expected = [(k, m) for k, row in enumerate(well.table.index.tolist()) for m, u in enumerate(row)
                if u in bad]
    assert len(told) == 1 and result.left_out == expected and len(result.candidates) == 2
    assert result.num_edits == well.num_edits
    for name, values in dict(result.table.terms, s_t2i=result.table.s_t2i,
                             s_i2i=result.table.s_i2i).items():
        before = dict(well.table.terms, s_t2i=well.table.s_t2i, s_i2i=well.table.s_i2i)[name]
        # the other boxes are as they would have been
        assert torch.equal(values.isnan(), ~result.table.valid)
        assert torch.equal(values[result.table.valid], before[result.table.valid])
    for i, (a, b) in enumerate(zip(result.table.edits, well.table.edits)):
        assert a.broken == (i in bad) and (a.broken or a == b)
        assert (not a.broken or a.paste(image).tobytes() == image.tobytes())
    loaded = EditResult.load(result.save(tmp_path))
    assert loaded.left_out == expected
    assert [e.broken for e in loaded.table.edits] == [e.broken for e in result.table.edits]
    assert loaded.image.tobytes() == result.image.tobytes()
    assert json.loads((tmp_path/'result.json').read_text())['left_out'] == [
        list(e) for e in expected]

def test_an_editor_that_refuses_a_batch_is_asked_for_each_window(vit):
    "What a loop of to_image does, as editors of others have it."
    shown, options = [], dict(FEW, num_anchors=2, proposals='centred')
    class Watching(StubEditor):
        def fill(self, images, *args, **kwargs):
            shown.extend(i.tobytes() for i in images); return super().fill(images, *args, **kwargs)
    well = RegionEditor(vit, StubClip(), Watching())(picture(80, 50), 'a rocket', 'a cat',
                                                     **options)
    with pytest.warns(Note, match='1 of'):
        result = RegionEditor(vit, StubClip(), SickEditor([shown[1]], 'raise'))(
            picture(80, 50), 'a rocket', 'a cat', **options)
    assert [e.broken for e in result.table.edits] == [i == 1 for i in range(len(shown))]
    assert all(torch.equal(v[result.table.valid], well.table.terms[t][result.table.valid])
               for t, v in result.table.terms.items())

@pytest.mark.parametrize('way', ['none', 'raise'])
@pytest.mark.parametrize('options',
                         [{}, dict(budget=2), dict(budget=4, preview_steps=1),
                          dict(mask='patches')])
def test_no_edit_of_numbers_at_all_is_one_sentence(vit, way, options):
    with pytest.raises(ValueError, match='expected of the editor pixels that are numbers, '
                                         'got NaN or infinity in all . edits; '
                                         'load it in torch.float32') as error:
        RegionEditor(vit, StubClip(), SickEditor('all', way))(picture(80, 50), 'a rocket', 'a cat',
                                                              **dict(FEW, **options))
    assert str(error.value).isprintable()

@pytest.mark.parametrize('options',
                         [dict(budget=3), dict(budget=5, preview_steps=1),
                          dict(budget=4, search='random')])
def test_a_budget_goes_on_past_pixels_that_are_no_numbers(vit, tmp_path, options):
    with pytest.warns(Note, match='not numbers'):
        result = RegionEditor(vit, StubClip(), SickEditor([2]))(picture(80, 50), 'a rocket',
                                                                'a cat', **dict(FEW, **options))
    assert (sum(e.broken for e in result.table.edits) == 1
            == len({int(result.table.index[e]) for e in result.left_out}))
    assert all(np.isfinite(c.score) for c in result.candidates)
    assert EditResult.load(result.save(tmp_path)).left_out == result.left_out

@pytest.mark.slow
def test_a_real_editor_with_a_weight_that_is_no_number(vit, tmp_path):
    import tiny
    from regionedit.models.pretrained import load_editor
    tiny.stable_diffusion(tmp_path)
    few = dict(FEW, num_anchors=2, num_inference_steps=2)
    def edit(**more):
        return RegionEditor(vit, StubClip(), load_editor('diffusion', tmp_path))(
            picture(80, 50), 'a red apple', 'a cat', **few, **more)
    # in the second window only
    def overflow(editor, step, t, values): values['latents'][1, 0, 0, 0] = torch.inf
    well = edit()
    with pytest.warns(Note, match='1 of . edits have pixels that are not numbers'):
        result = edit(callback_on_step_end=overflow)
    assert [e.broken for e in result.table.edits] == [i == 1 for i in range(well.num_edits)]
    assert all(torch.equal(v[result.table.valid], well.table.terms[t][result.table.valid])
               for t, v in result.table.terms.items())
    sick = RegionEditor(vit, StubClip(), load_editor('diffusion', tmp_path))
    next(sick.editor.unet.parameters()).data.view(-1)[0] = float('nan')
    with pytest.raises(ValueError, match='expected of the editor pixels that are numbers'):
        sick(picture(80, 50), 'a red apple', 'a cat', **few)

@pytest.mark.parametrize('made',
                         [lambda images: images[:1], lambda images: None,
                          lambda images: [3] * len(images),
                          lambda images: torch.zeros(len(images), 3, 24, 24)])
def test_an_editor_that_returns_something_else_is_told(vit, made):
    class Odd(StubEditor):
        def fill(self, images, masks, prompt, **kwargs): return made(images)
    with pytest.raises(ValueError, match="expected of the editor 'stub' a picture for each of . "
                                         "windows, got "):
        RegionEditor(vit, StubClip(), Odd())(picture(80, 50), 'a rocket', 'a cat', **FEW)

def test_features_without_numbers_are_told_before_any_edit(vit, monkeypatch):
    import regionedit.method.editor as module
    editor, attend = RegionEditor(vit, StubClip(), StubEditor()), module.attend
    def sick(*args):
        attention = attend(*args)
        attention.features[0] = float('nan')
        return attention
    monkeypatch.setattr(module, 'attend', sick)
    with pytest.raises(ValueError, match='expected features that are numbers'):
        editor(picture(80, 50), 'a rocket', 'a cat', **FEW)
    assert editor.editor.windows == 0

def test_a_prompt_that_says_what_is_there_has_no_direction(editor):
    with pytest.warns(UserWarning, match='mean the same') as told:
        result = editor(picture(80, 50), 'a cat', 'a cat', **FEW)
    assert len(told) == 1 and (result.table.terms['dir'] == 1).all() and result.left_out == []

def test_an_edit_that_changes_nothing_has_no_direction(vit):
    class Idle(StubEditor):
        def fill(self, images, masks, prompt, **kwargs): return images
    image = Image.new('RGB', (80, 50), (90, 60, 30))
    result = RegionEditor(vit, StubClip(), Idle())(image, 'a rocket', 'a cat', **FEW)
    assert (result.table.terms['dir'] == 1).all() and result.image.tobytes() == image.tobytes()

@pytest.mark.parametrize('size', [(64, 64), (1, 1), (1, 300), (2000, 3)])
@pytest.mark.parametrize('colour', ['black', 'white', (120, 7, 200)])
def test_a_picture_of_one_colour_has_anchors(editor, size, colour):
    result = editor(Image.new('RGB', size, colour), 'a rocket', 'a cat', **FEW)
    assert len({c.anchor for c in result.candidates}) == 3
    assert all(contains((0, 0, *size), c.anchor) for c in result.candidates)
    assert result.compare().width < 20_000

# texts

class Reader:
    "A tokenizer that reads four words."
    model_max_length = 4
    def __call__(self, text, verbose=True): return type('Tokens', (), dict(input_ids=text.split()))

@pytest.mark.parametrize('prompt, told',
                         [('one two three four', 0), ('one two three four five', 1)])
def test_what_the_editor_does_not_read_is_said_once(vit, prompt, told):
    class Reads(StubEditor): tokenizer = Reader()
    class Deaf(StubEditor): tokenizer = None
    RegionEditor(vit, StubClip(), Deaf())(picture(80, 50), prompt, 'a cat', **FEW)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        RegionEditor(vit, StubClip(), Reads())(picture(80, 50), prompt, 'a cat', **FEW)
    assert len(found) == told
    assert all('reads 4 tokens; of the prompt, which has 5, the first 4 are used' in str(w.message)
               for w in found)

@pytest.mark.parametrize('generator', [3, 'x', np.random.default_rng(0)])
def test_another_kind_of_generator(editor, generator):
    with pytest.raises(ValueError, match='expected generator to be a torch.Generator'):
        editor(picture(30, 20), 'a rocket', 'a cat', generator=generator, **FEW)

# a box or a mask of one's own

def test_an_edit_in_a_box_of_ones_own(editor):
    image = picture(1300, 700)
    result = editor(image, 'a rocket', 'a cat', box=(101, 203, 402, 515), budget=5,
                    estimator='rloo', num_anchors=4, progress=False)
    assert result.box == (101, 203, 402, 515) and result.num_edits == editor.editor.windows == 1
    assert len(result.candidates) == 1
    outside = np.ones((700, 1300), bool); outside[203:515, 101:402] = False
    assert not changed(result, image)[outside].any()
    assert changed(result, image)[~outside].mean() > .8
    assert np.array_equal(np.asarray(result.mask_image), np.uint8(~outside * 255))
    assert result.mask_image.mode == 'L'
    assert result.candidates[0].score == pytest.approx(2 * result.candidates[0].s_t2i
                                                       + result.candidates[0].s_i2i + 4
                                                       * result.candidates[0].s_src, abs=1e-5)

def test_a_mask_of_ones_own_is_kept_to_the_pixel(editor, tmp_path):
    image, mask = picture(80, 50), Image.new('L', (80, 50))
    mask.paste(255, (20, 10, 50, 20)); mask.paste(255, (20, 20, 30, 41))        # an L
    result = editor(image, 'a rocket', 'a cat', mask_image=mask, progress=False)
    assert result.box == (20, 10, 50, 41) and result.mask_image.tobytes() == mask.tobytes()
    white = np.asarray(mask) > 0
    assert not changed(result, image)[~white].any() and changed(result, image)[white].mean() > .8
    loaded = EditResult.load(result.save(tmp_path))
    assert loaded.image.tobytes() == result.image.tobytes()
    assert loaded.mask_image.tobytes() == mask.tobytes()
    plain = Image.new('RGB', (80, 50)); plain.paste('white', (3, 4, 30, 40))
    assert editor(image, 'a rocket', 'a cat', mask_image=plain,
                  progress=False).candidates[0].edit.patches is None

@pytest.mark.parametrize('own, told',
                         [(dict(box=(0, 0, 81, 50)),
                           'expected box as .* inside a picture of 80 x 50'),
                          (dict(box='here'), 'expected box as'),
    (dict(mask_image=Image.new('L', (80, 50))), 'something white in it, got 80 x 50, all black'),
                          (dict(mask_image=Image.new('L', (50, 80), 255)), 'mask_image of 80 x 50'),
    (dict(box=(0, 0, 9, 9), mask_image=Image.new('L', (80, 50), 255)), 'got both')])
def test_a_box_that_is_none(editor, own, told):
    with pytest.raises(ValueError, match=told) as error:
        editor(picture(80, 50), 'a rocket', 'a cat', progress=False, **own)
    assert '\n' not in str(error.value) and editor.editor.windows == 0

def test_the_box_alone(editor):
    assert editor.find_region(picture(80, 50), 'a rocket', 'a cat',
                              **FEW) == editor(picture(80, 50), 'a rocket', 'a cat', **FEW).box
