"""State that cannot lie: an editor is asked what it is at each edit, what was meddled with is not remembered, and neither the
caller's modes of torch nor other threads change a result."""
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import tiny
from regionedit import RegionEditor
from regionedit.method.editor import seed_from
from regionedit.method.table import state_of
from regionedit.models.pretrained import load_editor
from stubs import StubClip, StubEditor, picture, stub_vit

FEW = dict(num_anchors=2, num_proposals=1, learning_steps=3, num_inference_steps=None,
           progress=False)

@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    found = {name: tmp_path_factory.mktemp(name) for name in ('sd', 'amused')}
    tiny.stable_diffusion(found['sd']); tiny.amused(found['amused'])
    return found

@pytest.fixture(scope='module')
def vit(): return stub_vit()

def load(folders, kind):
    return load_editor(kind, folders['amused' if kind == 'maskgit' else 'sd'],
                       num_inference_steps=2, guidance_scale=3.)

def network(editor):
    return (editor.pipe.unet if hasattr(editor, 'pipe') else getattr(editor, 'unet', None)
            or editor.transformer)

# the editor as it is now (A1)

class LowRank(nn.Module):
    "A layer with a correction of low rank, as an adapter puts it in place of a layer."
    def __init__(self, base, scaling):
        super().__init__()
        self.base, self.scaling = base, scaling
        self.down, self.up = (nn.Linear(base.in_features, 2, bias=False),
                              nn.Linear(2, base.out_features, bias=False))
        for i, layer in enumerate((self.down, self.up)): nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(i))
    def forward(self, x): return self.base(x) + self.scaling * self.up(self.down(x))

def adapted(editor, scaling=1.):
    "Put an adapter into the first attention layer; again only to set its strength."
    for parent in list(network(editor).modules()):
        for name, child in parent.named_children():
            if isinstance(child, LowRank): child.scaling = scaling; return
            if name == 'to_q': setattr(parent, name, LowRank(child, scaling)); return

def weaker(editor): network(editor).conv_out.weight.data.mul_(.9)  # past the version counter
def in_place(editor):
    with torch.no_grad(): network(editor).conv_out.bias.add_(.1)
def other_steps(editor):
    if hasattr(editor, 'pipe'): editor.call['num_inference_steps'] = 3
    else: editor.num_inference_steps = 3
def other_guidance(editor):
    if hasattr(editor, 'pipe'): editor.call['guidance_scale'] = 9.
    else: editor.guidance_scale = 9.
def other_scheduler(editor):
    from diffusers import EulerDiscreteScheduler
    owner = getattr(editor, 'pipe', editor)
    owner.scheduler = EulerDiscreteScheduler.from_config(owner.scheduler.config)
def same_class_other_settings(editor):
    owner = getattr(editor, 'pipe', editor)
    owner.scheduler = type(owner.scheduler).from_config(owner.scheduler.config, beta_end=.02)

def mirrored(editor):
    "The same numbers in another order."
    weights = next(p for m in (editor.unet if hasattr(editor, 'unet') else editor.pipe.unet).modules()
                   for p in m.parameters(recurse=False) if p.dim() == 4 and p.shape[-1] > 1)
    weights.data = weights.data.flip(-1)

CHANGES = (other_steps, other_guidance, other_scheduler, same_class_other_settings, weaker,
           in_place, adapted, mirrored)

@pytest.mark.slow
@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('kind', ['diffusion', 'pipeline'])
def test_a_changed_editor_never_returns_old_pixels(folders, vit, kind, change):
    editor = RegionEditor(vit, StubClip(), load(folders, kind))
    before = editor(picture(80, 50), 'a red apple', 'a cat', **FEW)
    again = editor(picture(80, 50), 'a red apple', 'a cat', **FEW)
    assert editor.cache.misses == before.num_edits
    assert again.image.tobytes() == before.image.tobytes()
    change(editor.editor)
    after = editor(picture(80, 50), 'a red apple', 'a cat', **FEW)
    assert editor.cache.misses == 2 * before.num_edits
    fresh = load(folders, kind); change(fresh)
    alone = RegionEditor(vit, StubClip(), fresh)(picture(80, 50), 'a red apple', 'a cat', **FEW)
    assert [e.crop.tobytes()
            for e in after.table.edits] == [e.crop.tobytes() for e in alone.table.edits] != [
                e.crop.tobytes() for e in before.table.edits]

@pytest.mark.parametrize('kind', ['diffusion', 'maskgit', 'pipeline'])
def test_every_setting_counts_and_an_edit_is_none(folders, kind):
    editor = load(folders, kind)
    states = [state_of(editor)]
    editor.fill([picture(editor.size, editor.size)],
                [picture(editor.size, editor.size).convert('L')], 'a cat')
    assert state_of(editor) == states[0], 'to be used is no change'
    changes = CHANGES[:2] + (CHANGES[2:] if kind != 'maskgit' else ())
    if kind == 'maskgit':
        for name in ('temperature', 'schedule', 'dilate', 'feather', 'windows_per_pass'):
            changes += (lambda e, name=name: setattr(e, name,
                                                     'linear' if name == 'schedule' else 3),)
        changes += (lambda e: next(e.transformer.parameters()).data.mul_(.9),
                    lambda e: next(e.vqvae.parameters()).data.add_(1.))
    if kind != 'maskgit': changes += (lambda e: adapted(e, .5),)
    for change in changes: change(editor); states.append(state_of(editor))
    assert len(set(states)) == len(states)

def test_an_editor_of_others_with_a_network_in_it(vit):
    class Other(StubEditor):
        def __init__(self): super().__init__(); self.network = nn.Linear(3, 3)
    editor = RegionEditor(vit, StubClip(), Other())
    for _ in range(2): editor(picture(80, 50), 'a rocket', 'a cat', **FEW)
    windows = editor.editor.windows
    editor.editor.network.weight.data.mul_(.9)
    editor(picture(80, 50), 'a rocket', 'a cat', **FEW)
    assert (
        editor.editor.windows == 2 * windows
    ), 'a counter of its own is no setting, its weights are'

# what was meddled with (D7)

@pytest.mark.slow
@pytest.mark.parametrize('kind', ['diffusion', 'pipeline'])
def test_what_a_callback_may_have_changed_is_neither_kept_nor_handed_out(folders, vit, kind):
    editor = RegionEditor(vit, StubClip(), load(folders, kind))
    def edit(**more):
        return [e.crop.tobytes()
                for e in editor(picture(80, 50), 'a red apple', 'a cat', **FEW, **more).table.edits]
    def zero(owner, step, t, values): return dict(latents=values['latents'] * 0)
    meddled = edit(callback_on_step_end=zero)
    plain = edit()
    assert len(editor.cache) == len(plain) and set(plain).isdisjoint(meddled)
    assert edit(callback_on_step_end=zero) == meddled and edit() == plain

@pytest.mark.slow
def test_an_edit_that_was_interrupted_is_not_kept(folders, vit):
    editor, alone = (RegionEditor(vit, StubClip(), load(folders, 'diffusion')) for _ in range(2))
    def stop(owner, step, t, values): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        editor(picture(80, 50), 'a red apple', 'a cat', callback_on_step_end=stop, **FEW)
    assert not editor.cache
    assert editor(picture(80, 50), 'a red apple', 'a cat',
                  **FEW).image.tobytes() == alone(picture(80, 50), 'a red apple', 'a cat',
                                                  **FEW).image.tobytes()

@pytest.mark.slow
def test_an_interrupted_pipeline_is_not_kept(folders, vit):
    editor = RegionEditor(vit, StubClip(), load(folders, 'pipeline'))
    def stop(pipe, step, t, values): pipe._interrupt = True; return values
    cut = editor(picture(80, 50), 'a red apple', 'a cat', callback_on_step_end=stop, **FEW)
    assert not editor.cache
    assert editor(picture(80, 50), 'a red apple', 'a cat',
                  **FEW).image.tobytes() != cut.image.tobytes()

# a generator's state (A5)

def test_a_state_is_a_seed():
    def drawn(seed, n):
        g = torch.Generator().manual_seed(seed); torch.rand(n, generator=g); return g
    assert seed_from(drawn(7, 0)) == 7
    assert seed_from(drawn(7, 5)) == seed_from(drawn(7, 5)) not in (7, seed_from(drawn(7, 6)),
                                                                    seed_from(drawn(8, 5)))
    for seed in (-1, -2**63, 2**63, 2**64 - 1, 2**63 - 1, 0):
        g = torch.Generator().manual_seed(seed)
        state = g.get_state()
        assert 0 <= seed_from(g) < 2**63 and torch.equal(g.get_state(),
                                                         state), 'it is read, not moved on'
    assert seed_from(torch.Generator().manual_seed(2**63)) != seed_from(
        torch.Generator().manual_seed(2**63 + 1))

@pytest.mark.parametrize('seed', [5, -1, 2**63 + 3])
def test_the_same_state_gives_the_same_pixels(vit, seed):
    def edit(n):
        g = torch.Generator().manual_seed(seed); torch.rand(n, generator=g)
        return RegionEditor(vit, StubClip(), StubEditor())(picture(80, 50), 'a rocket', 'a cat',
                                                           generator=g, **FEW)
    first, again, other = edit(3), edit(3), edit(4)
    assert first.image.tobytes() == again.image.tobytes() != other.image.tobytes()
    assert first.seed == again.seed != other.seed
    by_seed = RegionEditor(vit, StubClip(), StubEditor())(picture(80, 50), 'a rocket', 'a cat',
                                                          seed=first.seed, **FEW)
    assert by_seed.image.tobytes() == first.image.tobytes(), 'the seed in the result makes it again'

# the caller's torch (D3)

@pytest.fixture(scope='module')
def whole(folders):
    "The bundled ViT, CLIP and region network with an editor whose scheduler counts its steps."
    from regionedit.models.bundled import weights_folder
    from regionedit.models.pretrained import load_clip, load_vit
    return RegionEditor(load_vit(weights_folder('vit')), load_clip(weights_folder('clip')),
                        load(folders, 'diffusion'), rgn=weights_folder('rgn'))

def facts(result):
    return (result.image.tobytes(), result.box, [c.score for c in result.candidates],
            result.trajectory.probabilities.tolist(),
            result.table.terms['dir'].nan_to_num(9.).tolist())

def float64():
    class Mode:
        def __enter__(self): torch.set_default_dtype(torch.float64)
        def __exit__(self, *args): torch.set_default_dtype(torch.float32)
    return Mode()

def deterministic():
    class Mode:
        def __enter__(self): torch.use_deterministic_algorithms(True)
        def __exit__(self, *args): torch.use_deterministic_algorithms(False)
    return Mode()

MODES = dict(no_grad=torch.no_grad, inference=torch.inference_mode, grad=torch.enable_grad,
             float64=float64, deterministic=deterministic,
             autocast=lambda: torch.autocast('cpu', dtype=torch.bfloat16))

@pytest.mark.slow
@pytest.mark.parametrize('estimator', ['exact', 'gumbel', 'amortised', 'rloo'])
@pytest.mark.parametrize('mode', MODES)
def test_a_mode_of_the_caller_changes_nothing(whole, mode, estimator):
    def edit():
        whole.cache.clear()
        return facts(whole(picture(140, 90), 'a red apple', 'a cat', estimator=estimator, seed=3,
                           **dict(FEW, num_proposals=2)))
    expected, before = edit(), (torch.get_default_dtype(), torch.is_grad_enabled(),
                                torch.get_rng_state())
    with MODES[mode](): found = edit()
    assert found == expected
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])

@pytest.mark.parametrize('kind', ['diffusion', 'maskgit', 'pipeline'])
def test_the_noise_does_not_depend_on_the_default_dtype(folders, kind):
    def edit():
        editor = load(folders, kind)
        return editor.fill([picture(editor.size, editor.size)],
                           [picture(editor.size, editor.size).convert('L')], 'a cat',
                           seed=1)[0].tobytes()
    expected = edit()
    with float64() if kind != 'pipeline' else nullcontext(): assert edit() == expected

def test_the_trained_network_loads_in_any_mode():
    from regionedit.method.amortised import load_network
    from regionedit.models.bundled import weights_folder
    state = torch.get_rng_state()
    with float64(): network = load_network(weights_folder('rgn'))
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert torch.equal(torch.get_rng_state(), state)

# other threads (D3)

@pytest.mark.slow
@pytest.mark.parametrize('kind', ['diffusion', 'pipeline', 'maskgit'])
def test_four_threads_find_what_each_finds_alone(whole, folders, kind):
    cases = [(picture(120 + 10 * i, 90, i), dict(prompt=p, source='a cat', seed=i, estimator=e))
             for i, (p, e) in enumerate(
        [('a red apple', 'exact'), ('a rocket on a table', 'rloo'),
         ('a red apple on a table', 'exact'), ('an apple', 'gumbel')])]
    def one(editor, case): return facts(editor(case[0], **case[1], **FEW))
    alone = [one(RegionEditor(whole.vit, whole.clip, load(folders, kind)), c) for c in cases]
    shared = RegionEditor(whole.vit, whole.clip, load(folders, kind))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda c: one(shared, c), cases * 2))
    assert together == alone * 2

def test_drawing_a_network_leaves_other_threads_numbers_alone():
    from regionedit.method.regions import RegionGenerator
    def parameters(seed):
        return torch.cat([p.flatten() for p in RegionGenerator(24, 3, seed=seed).parameters()])
    with torch.random.fork_rng(devices=[]):      # as torch's own layers are drawn
        torch.manual_seed(5)
        layers = [nn.Conv2d(72, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1),
                  nn.Linear(64 * 49, 64), nn.Linear(64, 3)]
    assert torch.equal(parameters(5),
                       torch.cat([p.detach().flatten() for l in layers for p in l.parameters()]))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(parameters, [i % 4 for i in range(24)]))
    assert all(torch.equal(found[i], parameters(i % 4)) for i in range(24))
