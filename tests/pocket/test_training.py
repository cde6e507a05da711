"Training is one loop: it can be cut and resumed without a trace, and writes no pickle."
import json, math, os, pickle, subprocess, sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn
from safetensors.torch import load_file, save_file

from regionedit.pocket import training
from regionedit.pocket.clip import ClipRecipe, pictures_and_words
from regionedit.pocket.compose import Composer
from regionedit.pocket.scenes import SEEDS, draw_scene
from regionedit.pocket.training import Recipe, train, learning_rate, load_checkpoint, save_checkpoint
from regionedit.models.bundled import weights_folder

class Clock:
    "Stands for the module `time`: only the recipe makes it go on."
    def __init__(self): self.now = 1000.
    def time(self): return self.now

class Line(Recipe):
    "Learns y = 2x - 1 from the world's random numbers; each batch takes 20 seconds."
    def __init__(self, clock, stop_at=None):
        super().__init__(name='line', batch_size=4, lr=.05)
        self.clock, self.stop_at, self.seen, self.done = clock, stop_at, [], []
    def build(self): return nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    def world(self, device): return SimpleNamespace(g=torch.Generator(device))
    def batch(self, world, count):
        if len(self.seen) == self.stop_at: raise KeyboardInterrupt
        self.seen.append(world.g.initial_seed()); self.clock.now += 20
        x = torch.rand(count, 1, generator=world.g)
        return dict(x=x, y=2 * x - 1, note='not a tensor')
    def loss(self, model, batch, progress): return (model(batch['x']) - batch['y']).float().square().mean()
    def after_step(self, model, progress): self.done.append(progress)
    def evaluate(self, model): return dict(training=float(model.training), error=self.loss(model, dict(x=torch.tensor([[.5]]), y=torch.zeros(1, 1)), 1).item())
    def save(self, model, folder): save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder/'line.safetensors')
    def load(self, model, folder): model.load_state_dict(load_file(folder/'line.safetensors'))

@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training, 'time', clock)
    return clock

def run(clock, out, minutes=4, resume=False, stop_at=None):
    recipe = Line(clock, stop_at)
    return recipe, train(recipe, out, minutes, resume, progress=False)

def same(a: dict, b: dict): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

# resuming

def test_cut_and_resumed_equals_uncut(clock, tmp_path):
    "12 steps; the cut comes at step 10, the last checkpoint is of step 9."
    whole, card = run(clock, tmp_path/'whole')
    with pytest.raises(KeyboardInterrupt): run(clock, tmp_path/'cut', stop_at=10)
    clock.now += 5000                                                   # nobody trains meanwhile
    rest, resumed = run(clock, tmp_path/'cut', resume=True)
    assert card['steps'] == resumed['steps'] == 12 and len(rest.seen) == 3 and rest.seen == whole.seen[9:] and rest.done == pytest.approx(whole.done[9:])
    assert same(*(load_file(tmp_path/n/'checkpoint.safetensors') for n in ('whole', 'cut')))        # parameters, average, moments
    assert same(*(load_file(tmp_path/n/'weights'/'line.safetensors') for n in ('whole', 'cut'))) and card == resumed

def test_a_finished_run_can_be_given_more_time(clock, tmp_path):
    run(clock, tmp_path, minutes=1)
    rest, card = run(clock, tmp_path, minutes=2, resume=True)
    assert card['steps'] == 6 and len(rest.seen) == 3 and card['minutes'] == 2

def test_a_run_whose_time_is_up_takes_no_step(clock, tmp_path):
    run(clock, tmp_path, minutes=1)
    before = load_file(tmp_path/'checkpoint.safetensors')
    rest, card = run(clock, tmp_path, minutes=1, resume=True)
    assert rest.seen == [] and card['steps'] == 3 and same(before, load_file(tmp_path/'checkpoint.safetensors'))

def test_without_resume_it_begins_anew(clock, tmp_path):
    first, _ = run(clock, tmp_path, minutes=1)
    again, card = run(clock, tmp_path, minutes=1)
    assert again.seen == first.seen and card['steps'] == 3

def test_it_starts_from_weights(clock, tmp_path):
    run(clock, tmp_path/'first')
    weights = tmp_path/'first'/'weights'
    card = train(Line(clock), tmp_path/'second', 0, start=weights, progress=False)
    assert card['steps'] == 0 and same(load_file(tmp_path/'second'/'weights'/'line.safetensors'), load_file(weights/'line.safetensors'))
    assert card['command'].endswith(f'--start {weights} --lr 0.05 --keep 0')

def test_it_keeps_a_share_of_the_weights_it_began_with(clock, tmp_path):
    run(clock, tmp_path/'first')
    before = load_file(tmp_path/'first'/'weights'/'line.safetensors')
    for name, keep in (('all', 0.), ('some', .25)): card = train(Line(clock), tmp_path/name, 1, start=tmp_path/'first'/'weights', keep=keep, progress=False)
    after, mixed = (load_file(tmp_path/name/'weights'/'line.safetensors') for name in ('all', 'some'))
    assert not same(before, after) and card['command'].endswith('--keep 0.25')
    for k in before: assert torch.allclose(mixed[k], .25 * before[k] + .75 * after[k])
    with pytest.raises(ValueError, match='a run that began with weights'): train(Line(clock), tmp_path/'first', 0, resume=True, keep=.25, progress=False)

def test_a_recipe_that_cannot_start_from_weights_says_so(tmp_path):
    class Other(Line): load = Recipe.load
    with pytest.raises(ValueError, match='expected a model that can start from weights, line cannot'): train(Other(None), tmp_path, 0, start=tmp_path, progress=False)

def test_what_a_model_was_trained_upon_is_laid_out_and_never_mixed(tmp_path):
    for name, content in dict(one=b'1', two=b'2').items():
        (tmp_path/name/'vae').mkdir(parents=True)
        (tmp_path/name/'vae'/'model.safetensors').write_bytes(content)
    training.lay_out(tmp_path/'one', tmp_path/'root'); training.lay_out(tmp_path/'one', tmp_path/'root')
    assert (tmp_path/'root'/'autoencoder'/'weights'/'model.safetensors').read_bytes() == b'1'
    with pytest.raises(ValueError, match='found another; train into another folder'): training.lay_out(tmp_path/'two', tmp_path/'root')

def test_clip_brings_its_tokenizer_and_nothing_else(tmp_path):
    "Training a tokenizer anew may give another: equally frequent pairs are merged in any order."
    training.lay_out(weights_folder('clip'), tmp_path); training.lay_out(weights_folder('clip'), tmp_path)
    assert {f.name for f in (tmp_path/'tokenizer').iterdir()} - {'README.md'} == {'vocab.json', 'merges.txt', 'tokenizer.json', 'tokenizer_config.json'}
    assert (tmp_path/'tokenizer'/'vocab.json').read_bytes() == (weights_folder('clip')/'vocab.json').read_bytes()
    (tmp_path/'tokenizer'/'merges.txt').write_text('another')
    with pytest.raises(ValueError, match='found another'): training.lay_out(weights_folder('clip'), tmp_path)

@pytest.mark.slow
def test_a_tokenizer_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    from regionedit.pocket import clip
    def cut(folder, texts):
        folder.mkdir(exist_ok=True)
        (folder/'vocab.json').write_text('{"a": 0')
        raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(clip, 'train_tokenizer', cut)
        with pytest.raises(KeyboardInterrupt): clip.shared_tokenizer(tmp_path)
    monkeypatch.setattr(clip, 'tokenizer_corpus', lambda: ['a cat', 'a dog'] * 50)
    assert clip.shared_tokenizer(tmp_path).tokenize('a cat') == ['a</w>', 'cat</w>']
    merges = tmp_path/'tokenizer'/'merges.txt'
    merges.write_text('\n'.join(merges.read_text().splitlines()[:-1]) + '\n')
    with pytest.raises(ValueError, match='whole tokenizer'): clip.shared_tokenizer(tmp_path)

@pytest.mark.slow
def test_clip_sees_near_views_and_scenes_and_the_seed_decides():
    def made(seed): return pictures_and_words(Composer(seed, places=1), np.random.default_rng(seed), 20)
    (pixels, texts, shows), (again, same_texts, _), (other, *_) = made(1), made(1), made(2)
    assert pixels.shape == (20, 3, 128, 128) and len(texts) == 20 and 0 <= pixels.min() and pixels.max() <= 1
    assert torch.equal(pixels, again) and texts == same_texts and not torch.equal(pixels, other)
    assert [len(s) for s in shows] == [1] * 17 + [2] * 2 + [3]

@pytest.mark.slow
def test_clip_goes_on_from_what_it_saved(tmp_path):
    from regionedit.models.pretrained import load_clip
    training.lay_out(weights_folder('clip'), tmp_path)
    recipe = ClipRecipe(root=tmp_path)
    model = recipe.build(); recipe.load(model, weights_folder('clip'))
    picture, bundled = draw_scene(1_000_003).image, load_clip(weights_folder('clip'))
    pixels = torch.from_numpy(np.array(picture)).movedim(-1, 0)[None] / 127.5 - 1
    features = model.eval().encode_image(pixels, normalize=True)
    assert torch.allclose(features, bundled.encode_images([picture]).pooled, atol=1e-5)

@pytest.mark.slow
def test_clip_begins_on_pictures_of_half_the_size(tmp_path):
    "Both sizes reach the pooling as a map of the same size; the switch comes at `small`."
    training.lay_out(weights_folder('clip'), tmp_path)
    recipe, seen = ClipRecipe(root=tmp_path), []
    model = recipe.build()
    model.visual.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    for recipe.progress in (0., recipe.small - .01, recipe.small + .01):
        batch = recipe.batch(recipe.world('cpu'), 12)
        assert torch.isfinite(recipe.loss(model, batch, recipe.progress))
    assert seen == [(64, 64), (64, 64), (128, 128)] and len(batch['pixels']) == 6

@pytest.mark.slow
def test_the_pooling_that_is_trained_is_the_librarys_when_it_is_saved(tmp_path):
    "Weights in, statistics of other pictures taken, weights out: the same features."
    from regionedit.models.pretrained import load_clip
    training.lay_out(weights_folder('clip'), tmp_path)
    recipe = ClipRecipe(root=tmp_path)
    model = recipe.build(); recipe.load(model, weights_folder('clip'))
    assert model.visual.attnpool.norm.running_mean.abs().max() > .1, 'statistics were taken'
    (tmp_path/'saved').mkdir(); recipe.save(model.eval(), tmp_path/'saved')
    pictures = [draw_scene(1_000_003 + i).image for i in range(3)]
    before, after = (load_clip(folder).encode_images(pictures).pooled
                     for folder in (weights_folder('clip'), tmp_path/'saved'))
    assert (before * after).sum(1).min() > .995       # 8 bits a number, rounded twice

def test_dino_goes_on_from_a_vit(tmp_path):
    from regionedit.models.pretrained import load_vit
    from regionedit.pocket.dino import DinoRecipe
    recipe = DinoRecipe()
    model = recipe.build(); recipe.load(model, weights_folder('vit'))
    bundled = load_vit(weights_folder('vit'))
    for network in model.values(): assert same(network['vit'].state_dict(), bundled.state_dict())
    recipe.save(model, tmp_path)
    assert same(load_file(tmp_path/'model.safetensors'), load_file(weights_folder('vit')/'model.safetensors'))

@pytest.mark.parametrize('instructions', [True, False])
def test_half_precision_where_the_processor_has_it(monkeypatch, instructions):
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: instructions)
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: True)
    with training.half_precision(): made = torch.ones(2, 2) @ torch.ones(2, 2)
    assert made.dtype == (torch.bfloat16 if instructions else torch.float32)

def test_what_is_compiled_for_training_is_judged_as_it_is(clock, tmp_path, monkeypatch):
    "Held-out figures come in other shapes and another mode, for which it would be compiled anew."
    recipe, made = Line(clock), []
    recipe.compiled = ('',)
    def backend(graph, inputs): made.append(torch.is_grad_enabled()); return graph.forward
    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, 'compile', lambda self, **how: compile(self, backend=backend, **how))
    train(recipe, tmp_path, 1, compile=True, progress=False)
    assert made == [True]       # once, in training

def test_nothing_to_resume(clock, tmp_path):
    with pytest.raises(FileNotFoundError, match='to resume from, found none'): run(clock, tmp_path, resume=True)

def test_every_step_has_its_own_seed_of_the_training_split(clock, tmp_path):
    recipe, _ = run(clock, tmp_path)
    assert recipe.seen == list(SEEDS['train'][:12])

def test_the_log_says_held_out_figures_on_the_way(clock, tmp_path):
    "Every five minutes of training: after steps 15 and 30 of 30."
    run(clock, tmp_path, minutes=10)
    lines = [json.loads(l) for l in (tmp_path/'log.jsonl').read_text().splitlines()]
    judged = [l for l in lines if 'error' in l]
    assert [l['step'] for l in judged] == [15, 30] and all(l['training'] == 0 for l in judged)

@pytest.mark.slow
def test_it_learns(clock, tmp_path):
    start = training.torch.manual_seed(0) and Line(clock).build()
    recipe, card = run(clock, tmp_path, minutes=100)
    model = recipe.build(); model.load_state_dict(load_file(tmp_path/'weights'/'line.safetensors'))
    x = torch.linspace(0, 6 / 7, 7)[:, None]
    def error(m): return (m(x) - 2 * x + 1).square().mean().item()
    assert error(model) < .2 * error(start)

# checkpoints

def trained() -> tuple:
    torch.manual_seed(1)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=.01, fused=True)
    for _ in range(3):
        optimizer.zero_grad(); model(torch.randn(5, 3)).square().sum().backward(); optimizer.step()
    return model, average(model, 1), optimizer

def average(model, add=0):
    ema = EMAModel(model.parameters(), decay=.9)
    ema.shadow_params = [p + add for p in ema.shadow_params]
    return ema

def test_a_checkpoint_brings_everything_back(tmp_path, monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('not allowed')
    for module, names in ((torch, ('load', 'save')), (pickle, ('load', 'loads', 'dump', 'dumps'))):
        for name in names: monkeypatch.setattr(module, name, refuse)
    model, ema, optimizer = trained()
    save_checkpoint(tmp_path/'c.safetensors', model, ema, optimizer, dict(step=7, seconds=1.25))
    other = nn.Linear(3, 2)
    other_ema, other_optimizer = average(other), torch.optim.AdamW(other.parameters(), lr=.01, fused=True)
    assert load_checkpoint(tmp_path/'c.safetensors', other, other_ema, other_optimizer) == dict(step=7, seconds=1.25)
    assert same(model.state_dict(), other.state_dict()) and other_ema.optimization_step == 7
    assert all(map(torch.equal, ema.shadow_params, other_ema.shadow_params))
    a, b = optimizer.state_dict()['state'], other_optimizer.state_dict()['state']
    assert a.keys() == b.keys() == {0, 1} and all(same(a[i], b[i]) and a[i].keys() == {'step', 'exp_avg', 'exp_avg_sq'} and a[i]['step'] == 3 for i in a)
    assert [p.name for p in tmp_path.iterdir()] == ['c.safetensors']

def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    model, ema, optimizer = trained()
    path = tmp_path/'c.safetensors'
    save_checkpoint(path, model, ema, optimizer, dict(step=1))
    before = path.read_bytes()
    def half(tensors, path, metadata): path.write_bytes(b'half'); raise OSError('disk full')
    monkeypatch.setattr(training, 'save_file', half)
    with pytest.raises(OSError): save_checkpoint(path, model, ema, optimizer, dict(step=2))
    assert path.read_bytes() == before

# what is left behind

def test_the_card_says_how_the_weights_were_made(clock, tmp_path):
    _, card = run(clock, tmp_path)
    assert json.loads((tmp_path/'weights'/'card.json').read_text()) == card
    assert card['model'] == 'line' and card['command'] == 'regionedit train line --minutes 4' and (card['steps'], card['batch_size'], card['minutes'], card['parameters']) == (12, 4, 4, 10)
    assert card['held_out']['training'] == 0 and math.isfinite(card['held_out']['error']) and 'Apache-2.0' in card['licence']

def test_the_average_is_what_is_kept(clock, tmp_path):
    run(clock, tmp_path)
    checkpoint, kept = load_file(tmp_path/'checkpoint.safetensors'), load_file(tmp_path/'weights'/'line.safetensors')
    for i, (name, _) in enumerate(Line(clock).build().named_parameters()):
        assert torch.equal(kept[name], checkpoint[f'ema.{i}']) and not torch.equal(kept[name], checkpoint[f'model.{name}'])

def test_the_average_by_hand(clock, tmp_path, monkeypatch):
    "Two steps: the first average is the parameters, the second moves by 1 - 2/11 of the way."
    monkeypatch.setattr(training, 'learning_rate', lambda highest, progress: .5)      # a step long enough to be measured
    for steps in (1, 2): run(clock, tmp_path/str(steps), minutes=steps / 3)
    one, two = (load_file(tmp_path/str(n)/'checkpoint.safetensors') for n in (1, 2))
    for i, (name, _) in enumerate(Line(clock).build().named_parameters()):
        before, after = one[f'model.{name}'], two[f'model.{name}']
        torch.testing.assert_close(one[f'ema.{i}'], before)
        torch.testing.assert_close(two[f'ema.{i}'], before + 9 / 11 * (after - before))
        assert not torch.equal(before, after)

def test_the_log_has_a_line_each_quarter_of_a_minute(clock, tmp_path):
    run(clock, tmp_path, minutes=1)
    lines = [json.loads(l) for l in (tmp_path/'log.jsonl').read_text().splitlines()]
    assert [l['step'] for l in lines] == [1, 2, 3] and [l['seconds'] for l in lines] == [20, 40, 60] and all(l['loss'] > 0 for l in lines)

# rate

def test_learning_rate_at_its_ends():
    assert learning_rate(.4, 0) == pytest.approx(.4 * 1e-3) and learning_rate(.4, 1) == pytest.approx(0, abs=1e-12) and learning_rate(.4, 1.3) == pytest.approx(0, abs=1e-12)
    assert learning_rate(.4, .5) == pytest.approx(.2) and learning_rate(.4, .01) == pytest.approx(.4 * .501 * .5 * (1 + math.cos(math.pi * .01)))
    rates = [learning_rate(.4, p / 100) for p in range(101)]
    assert rates.index(max(rates)) == 2 and all(a > b for a, b in zip(rates[2:], rates[3:]))

def test_the_optimiser_uses_the_rate(clock, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(training, 'learning_rate', lambda highest, progress: asked.append((highest, progress)) or 0.)
    torch.manual_seed(0)
    start = Line(clock).build().state_dict()
    run(clock, tmp_path, minutes=1)
    assert [h for h, _ in asked] == [.05] * 3 and [p for _, p in asked] == pytest.approx([0, 1 / 3, 2 / 3])
    assert all(torch.equal(v, load_file(tmp_path/'checkpoint.safetensors')[f'model.{k}']) for k, v in start.items())

def test_a_recipe_must_be_filled_in():
    class Half(Recipe):
        def build(self): return nn.Linear(1, 1)
    with pytest.raises(TypeError, match='batch'): Half()

# what the loop asks of every recipe

def test_every_recipe_takes_what_the_loop_hands_it():
    import importlib, inspect
    from regionedit.cli import RECIPES
    wanted = {name: list(inspect.signature(getattr(Recipe, name)).parameters) for name in ('world', 'batch', 'loss')}
    for module, cls in RECIPES.values():
        recipe = getattr(importlib.import_module(f'regionedit.pocket.{module}'), cls)
        for name, parameters in wanted.items():
            assert list(inspect.signature(getattr(recipe, name)).parameters) == parameters, f'{cls}.{name}'

def test_small_numbers_count_as_zero_while_training_only():
    small = torch.tensor([1e-39])
    with training.no_denormals(): assert (small * 1).item() == 0
    assert (small * 1).item() > 0


TWO = """
import json, sys, torch
from torch import nn
from regionedit.pocket.training import Recipe, train, company, of_the_first, share_gradients

rank, count = company()
p = nn.Parameter(torch.zeros(2, 3)); p.grad = torch.full((2, 3), rank + 1.)
share_gradients([p, nn.Parameter(torch.zeros(1))])
assert count == 2 and torch.equal(p.grad, torch.full((2, 3), 1.5)) and of_the_first(rank + .5) == .5

class Mean(Recipe):
    def build(self): return nn.Linear(1, 1)
    def world(self, device): return None
    def batch(self, world, count): return dict(x=torch.randn(count, 1))
    def loss(self, model, batch, progress): return (model(batch['x']).float() - batch['x']).square().mean()
    def evaluate(self, model): return dict(weight=model.weight.item())
    def save(self, model, folder): (folder/'saved').write_text('once')

recipe = Mean(name='mean', batch_size=8, root=sys.argv[1])
weights = []
recipe.after_step = lambda model, done: weights.append(model.weight.item())
card = train(recipe, sys.argv[1], minutes=.01, progress=False)
print(json.dumps([rank, weights, card]), flush=True)
"""

@pytest.mark.slow
def test_two_processes_make_the_same_steps_and_save_once(tmp_path):
    (tmp_path/'two.py').write_text(TWO)
    out = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', tmp_path/'two.py', tmp_path/'out'],
                         capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'))
    assert out.returncode == 0, out.stderr[-2000:]
    said = sorted(json.loads(line) for line in out.stdout.splitlines() if line.startswith('['))
    (_, first, card), (_, second, none) = said
    assert first == second and len(first) == card['steps'] > 1 and none == {}
    assert card['batch_size'] == 16 and card['threads'] == 2 and (tmp_path/'out'/'weights'/'saved').exists()
