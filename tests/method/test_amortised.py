"A network that chooses before any edit: what it is shown, what it says, and what is edited then."

import numpy as np
import pytest
import torch
from PIL import Image

from regionedit.method.amortised import (Sight, TextRegionNetwork, pick_anchors, clip_in_boxes,
                                         foreseen, load_network, moved, moves_between, places,
                                         save_network, worth_editing)
from regionedit.method.attention import Attention
from regionedit.models.pretrained import load_vit
from regionedit.models.pretrained import load_clip
from types import SimpleNamespace

from regionedit.method.config import Config, Task, working_copy
from regionedit.method.core import ModelNotAvailable
from regionedit import RegionEditor
from regionedit.pocket.backgrounds import background_image
from regionedit.pocket.scenes import sprite
from regionedit.models.bundled import weights_folder
from regionedit import EditResult
from regionedit.method.table import EditCache, fill_table, weights_of
from stubs import StubClip, StubEditor, picture, stub_vit

BOXES = torch.tensor([[[2, 2, 8, 8], [0, 0, 12, 12]], [[20, 6, 26, 12], [18, 4, 28, 14]],
                      [[4, 14, 10, 20], [0, 0, 12, 12]]])

def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

@pytest.fixture(scope='module')
def clip(): return load_clip(weights_folder('clip'))

@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return TextRegionNetwork(192, 256).eval().requires_grad_(False)

@pytest.fixture(scope='module')
def vit(): return load_vit(weights_folder('vit'))

@pytest.fixture
def editor():
    "Stand-ins, and an untrained network that fits them."
    torch.manual_seed(0)
    small = TextRegionNetwork(24, 16).eval().requires_grad_(False)
    return RegionEditor(stub_vit(), StubClip(), StubEditor(), rgn=small)

# what it is shown

@pytest.mark.parametrize('size, at',
                         [((192, 128), (130, 20)), ((128, 192), (20, 130)), ((128, 128), (70, 10))])
def test_clip_sees_the_thing_in_its_own_box(clip, size, at):
    """An apple far from the diagonal, in pictures of three shapes: of four boxes, its own agrees
    with its name most."""
    image = background_image('on the grass', 1).resize(size)
    apple = sprite('red apple', 'noto', 44)
    image.paste(apple, at, apple)
    x, y = at
    boxes = torch.tensor(
        [[[x, y, x + 44, y + 44], [y, x, y + 44, x + 44] if size[0] == size[1]
          else [70, 70, 114, 114]],
         [[4, 4, 48, 48], [size[0] - 60, size[1] - 50, size[0] - 8, size[1] - 4]]])
    seen = clip_in_boxes(clip, image, boxes)
    assert seen.shape == (2, 2, 256)
    assert torch.allclose(seen.norm(dim=-1), torch.ones(2, 2), atol=1e-5)
    assert (seen @ clip.encode_texts(['an apple'])[0]).flatten().argmax() == 0

def test_places_by_hand():
    """A picture of 40 x 20; attention twice the mean on the right half, so a box there has log 2
    ... and nothing is left on the left."""
    maps = torch.zeros(1, 4, 8); maps[..., 4:] = 2 / 32
    attention = Attention(maps, torch.zeros(3, 4, 8), (40, 20))
    found = places(torch.tensor([[[25, 5, 35, 15], [0, 0, 40, 20]]]), attention)[0]
    torch.testing.assert_close(found[0],
                               torch.tensor([.5, 0., np.log(.5), np.log(.5), np.log(2)],
                                            dtype=torch.float32), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1],
                               torch.tensor([0., 0., np.log(2), 0., 0.], dtype=torch.float32),
                               atol=1e-5, rtol=0)
    assert places(torch.tensor([[[2, 2, 8, 8]]]), attention)[0, 0, 4] == pytest.approx(np.log(1e-3))

# the network

def sight(n=2, p=6):
    unit = lambda *shape, seed: torch.nn.functional.normalize(numbers(*shape, seed=seed), dim=-1)
    return Sight(numbers(n, p, 192), unit(n, p, 256, seed=1), numbers(n, p, 5, seed=2),
                 *(unit(n, 256, seed=i) for i in (3, 4, 5)))

def test_boxes_have_no_order_and_pictures_do_not_meet(network):
    all_of_it = sight()
    logits, order = network(*all_of_it), torch.tensor([3, 0, 5, 1, 2, 4])
    turned = network(all_of_it.vit[:, order], all_of_it.clip[:, order], all_of_it.place[:, order],
                     *all_of_it[3:])
    torch.testing.assert_close(turned, logits[:, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network(*(x[1:] for x in all_of_it)), logits[1:], atol=1e-4,
                               rtol=1e-4)

@pytest.mark.parametrize('p', [1, 2, 56, 90])
def test_any_number_of_boxes(network, p):
    logits = network(*sight(1, p))
    assert logits.shape == (1, p) and logits.isfinite().all()

def test_both_texts_count(network):
    a = sight()
    assert (network(*a) - network(*a._replace(prompt=a.source, source=a.prompt))).abs().max() > 1e-3

def test_saved_and_loaded(network, tmp_path):
    save_network(network, tmp_path)
    again = load_network(tmp_path)
    assert again.config == network.config and not again.training
    # kept in 16 bits
    torch.testing.assert_close(again(*sight()), network(*sight()), atol=.02, rtol=.02)
    for broken in (lambda: (tmp_path/'model.safetensors').write_bytes(b'x'),
                   lambda: (tmp_path/'config.json').write_text('{"vit_dim": 3}'),
                   lambda: (tmp_path/'config.json').unlink()):
        broken()
        with pytest.raises(ModelNotAvailable, match='regionedit train rgn'): load_network(tmp_path)

# moves

def test_moves_there_and_back():
    g = torch.Generator().manual_seed(0)
    low = torch.randint(20, 40, (50, 2, 2), generator=g)
    boxes = torch.cat([low, low + torch.randint(8, 20, (50, 2, 2), generator=g)], -1)
    a, b = boxes[:, 0], boxes[:, 1]
    assert torch.equal(moved(a, moves_between(a, b), (90, 90)), b)
    assert torch.equal(moved(a, torch.zeros(50, 4), (90, 90)), a)
    far = moved(a, 9 * torch.randn(50, 4, generator=g), (90, 61))
    assert (far[:, :2] >= 0).all() and (far[:, :2] < far[:, 2:]).all()
    assert (far[:, 2:] <= torch.tensor([90, 61])).all()

@pytest.mark.slow
def test_a_network_that_moves_edits_the_moved_box(vit, clip, tmp_path):
    torch.manual_seed(1)
    network = TextRegionNetwork(192, 256, moves=True).eval().requires_grad_(False)
    assert network.look(*sight())[1].abs().max() <= .5
    save_network(network, tmp_path)
    again = load_network(tmp_path)
    assert again.config['moves'] and again.look(*sight())[1].shape == (2, 6, 4)
    options = dict(estimator='amortised', num_anchors=3, progress=False)
    still = TextRegionNetwork(192, 256).eval().requires_grad_(False)
    still.load_state_dict({k: v for k, v in network.state_dict().items() if 'move' not in k})
    large = picture(512, 260).resize((1024, 520), Image.NEAREST)
    here, there, big = (RegionEditor(vit, clip, StubEditor(), rgn=r)(
        im, 'a rocket', 'a cat', **options)
        for r, im in ((still, working_copy(large)), (network, working_copy(large)), (network, large)))
    assert torch.equal(here.trajectory.probabilities, there.trajectory.probabilities)
    assert not torch.equal(here.table.boxes, there.table.boxes)
    assert {e.box for e in there.table.edits} == {c.box for c in there.candidates}
    assert torch.equal(big.table.boxes, 2 * there.table.boxes)

# the choice

def fill(editor, clip, config, logits=None):
    "The table of a task; only what the logits prefer, if there are any."
    task, models = (Task(picture(30, 24), 'a rocket', 'a cat', config),
                    SimpleNamespace(editor=editor, clip=clip, cache=EditCache()))
    return fill_table(models, task, BOXES,
                      None if logits is None else worth_editing(logits, BOXES, config.budget))

def test_choices_by_hand():
    "Shares 4 : .7 : 8."
    logits = torch.tensor([[1., 3.], [.35, .35], [5., 3.]]).log()
    anchors, chosen = pick_anchors(logits)
    assert anchors.tolist() == [2, 0, 1] and chosen.tolist() == [1, 0, 0]
    assert pick_anchors(logits, 1)[0].tolist() == [2]
    assert pick_anchors(logits, 5)[0].tolist() == [2, 0, 1]

def test_only_the_chosen_are_edited_and_as_in_the_full_table():
    editor, clip = StubEditor(), StubClip()
    logits = torch.tensor([[0., 1.], [3., 0.], [0., 2.5]])
    table = fill(editor, clip, Config(budget=3), logits)
    assert editor.windows == table.num_edits == 2, 'two of the three chosen boxes are the same'
    assert table.known.tolist() == [[False, True], [True, False], [False, True]]
    assert torch.equal(table.valid, table.known)
    full = fill(StubEditor(), clip, Config())
    for name, values in dict(full.terms, s_t2i=full.s_t2i, s_i2i=full.s_i2i).items():
        torch.testing.assert_close(dict(table.terms, s_t2i=table.s_t2i,
                                        s_i2i=table.s_i2i)[name][table.known], values[table.known])
    assert fill(StubEditor(), clip, Config(budget=1), logits).known.nonzero().tolist() == [[1, 0]]

def test_a_trajectory_of_one_state():
    logits = torch.tensor([[0., 1.], [3., 0.], [0., -2.]])
    config = Config(budget=2, source_weight=0)
    table = fill(StubEditor(), StubClip(), config, logits)
    with pytest.warns(UserWarning, match='default weights'): t = foreseen(logits, table, config)
    assert len(t) == 1 and t.chosen.tolist() == [[1, 0, 0]]
    assert t.boxes[0].tolist() == [BOXES[0, 1].tolist(), BOXES[1, 0].tolist(), BOXES[2, 0].tolist()]
    torch.testing.assert_close(t.probabilities[0].sum(-1), torch.ones(3))
    assert t.terms[0, :2].isfinite().all() and t.terms[0, 2].isnan().all()
    assert t.expected_loss.item() == pytest.approx(t.terms[0, :2].sum(-1).mean().item())
    with pytest.warns(UserWarning, match='default weights'):
        foreseen(logits, table, Config(lambda_dir=2.))

# in the editor

@pytest.mark.parametrize('k, m', [(8, 7), (3, 2), (1, 1)])
def test_it_edits_no_more_than_one_box_an_anchor(editor, tmp_path, k, m):
    result = editor(picture(90, 61), 'a rocket', 'a cat', estimator='amortised', num_anchors=k,
                    num_proposals=m, progress=False)
    assert 1 <= result.num_edits == editor.editor.windows <= k
    assert result.table.boxes.shape == (k, m, 4)
    assert [c.score for c in result.candidates] == sorted((c.score for c in result.candidates),
                                                          reverse=True)
    assert {c.box for c in result.candidates} == {e.box for e in result.table.edits}
    assert (result.table.index >= 0).sum() >= result.num_edits
    again = EditResult.load(result.save(tmp_path))
    assert again.box == result.box
    assert torch.equal(again.trajectory.probabilities, result.trajectory.probabilities)
    assert again.table._repr_png_()[:4] == b'\x89PNG'

def test_a_budget_of_one_is_the_single_best_anchor(editor):
    result = editor(picture(90, 61), 'a rocket', 'a cat', estimator='amortised', budget=1,
                    num_anchors=3, progress=False)
    assert result.num_edits == editor.editor.windows == 1

def test_boxes_are_in_pixels_of_a_large_input(editor):
    options = dict(prompt='a rocket', source='a cat', estimator='amortised', budget=2,
                   num_anchors=3, progress=False)
    large = picture(512, 260).resize((1024, 520), Image.NEAREST)
    a, b = (editor(im, **options) for im in (working_copy(large), large))
    assert torch.equal(b.table.boxes, 2 * a.table.boxes) and [2 * v for v in a.box] == list(b.box)
    assert torch.equal(b.trajectory.boxes, 2 * a.trajectory.boxes)

def test_other_models_are_refused_in_one_sentence(vit, clip, network):
    for models in (RegionEditor(stub_vit(), StubClip(), StubEditor(), rgn=network),
                   RegionEditor(stub_vit(), clip, StubEditor(), rgn=network),
                   RegionEditor(vit, StubClip(), StubEditor(), rgn=network)):
        with pytest.raises(ValueError, match='expected for estimator="amortised".*got .*; '
                                             'use a pocket preset') as error:
            models(picture(60, 40), 'a rocket', 'a cat', estimator='amortised', progress=False)
        assert '\n' not in str(error.value) and models.editor.windows == 0

# whose features it has learned from

class SeeingClip(StubClip):
    "A stub with weights."
    def __init__(self): self.model = torch.nn.Linear(3, 2)

def test_the_digest_follows_every_weight_and_no_device():
    vit, same = stub_vit(), stub_vit()
    assert weights_of(vit) == weights_of(same, None, 'no module') and len(weights_of(vit)) == 12
    with torch.no_grad(): same.norm.bias[-1] += 1e-6
    assert weights_of(vit) != weights_of(same)
    swapped = torch.nn.Linear(2, 1)
    with torch.no_grad(): swapped.weight.copy_(torch.tensor([[1., 2.]]))
    before = weights_of(swapped)
    with torch.no_grad(): swapped.weight.copy_(torch.tensor([[2., 1.]]))
    assert weights_of(swapped) != before, 'a sum would not see it'

def test_a_network_of_other_eyes_is_refused(tmp_path):
    "Widths are the same, weights are not: check_fits alone lets it pass."
    vit, clip = stub_vit(), SeeingClip()
    own = dict(width=16, layers=1, heads=2)
    network = TextRegionNetwork(24, 16, **own, eyes=weights_of(vit, clip.model))
    save_network(network, tmp_path)
    editor = RegionEditor(vit, clip, StubEditor(), rgn=tmp_path)
    image, ask = picture(48, 48), dict(estimator='amortised', num_anchors=2, num_proposals=2, progress=False)
    assert editor(image, 'a rocket', 'a cat', **ask).num_edits <= 2
    for part in (vit, clip.model):
        weight = next(part.parameters())
        with torch.no_grad(): weight.view(-1)[-1] += 1e-3
        with pytest.raises(ValueError, match='trained with .weights .*, got others') as told: editor(image, 'a rocket', 'a cat', **ask)
        assert '\n' not in str(told.value)
        with torch.no_grad(): weight.view(-1)[-1] -= 1e-3
        editor.rgn.config['eyes'] = weights_of(vit, clip.model)       # after rounding
        editor(image, 'a rocket', 'a cat', **ask)
    editor.rgn = TextRegionNetwork(24, 16, **own)
    assert editor(image, 'a rocket', 'a cat', **ask).num_edits <= 2, 'one that does not say is believed'

def test_the_bundled_network_learned_with_the_eyes_it_comes_with(vit, clip):
    "It says whose features it knows, so that those of others are refused; retrained eyes would be others."
    assert load_network(weights_folder('rgn')).config['eyes'] == weights_of(vit, clip.model) != ''
