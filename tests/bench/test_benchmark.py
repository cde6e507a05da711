"The benchmark with stand-ins for the models: rows, resuming, intervals, goals, the command; DiffEdit's box against diffusers' rule."
from concurrent.futures import Future
import csv, json, math

import numpy as np
import pytest
import torch
from PIL import Image

import regionedit.cli as cli
from regionedit.method.amortised import TextRegionNetwork
from regionedit.bench import command, rows as bench_rows
from regionedit.bench.baselines import BASELINES, Outcome, BenchTask
from regionedit.bench.baselines import bounding_box, difference_map, noise_difference, sliding_windows, threshold
from regionedit.bench.metrics import bootstrap, bootstrap_means
from regionedit.bench.baselines import CONSTANTS, MAIN, METHODS, Remembering, ceiling, methods_for
from regionedit.bench.report import GOALS, best_constant, corrected, differences, goals, goals_markdown, markdown, report, summary
from regionedit.batch.engine import Here, keep
from regionedit.bench.rows import CODE, COLUMNS, FIRST, MADE_BY, MEASURES, WORLDS, around, code_of, draw_case, made_by, on_named, read_rows, run_case, run_rows, scenes_of
from regionedit.method.config import CHOICES, Config
from regionedit.method.core import ModelNotAvailable, box_iou
from regionedit import RegionEditor
from regionedit.method.edits import Edit
from regionedit.pocket.judge import Recogniser
from regionedit.pocket.scenes import draw_scene, split_of
from stubs import StubClip, StubEditor, picture, stub_vit

CONFIG = Config(num_anchors=2, num_proposals=2, learning_steps=2)

@pytest.fixture(scope='module')
def judge():
    torch.manual_seed(0)
    return Recogniser().eval()

@pytest.fixture
def models(): return RegionEditor(stub_vit(), StubClip(), StubEditor(), 'stub')

# cases

def test_cases_come_from_benchmark_seeds_and_ask_for_what_is_not_there():
    for i in range(8):
        case, scene = draw_case(FIRST + i, 3), draw_scene(FIRST + i, num_objects=1 + (FIRST + i) % 2)
        names = [o.name for o in scene.objects]
        assert split_of(case.scene) == 'bench' and case.task.image.tobytes() == scene.image.tobytes() and case.task.seed == 3
        assert case.task.truth == scene.objects[0].box and names[0] in case.task.source and case.wanted in case.task.prompt and case.wanted not in names
        assert case.others == tuple(o.box for o in scene.objects[1:]) and case.old == names[0]
    assert {len(draw_case(FIRST + i, 0).others) for i in range(2)} == {0, 1}
    assert not {*range(FIRST, FIRST + 10_000)} & {*range(200_000, 200_024)}, 'scenes of the development'

def test_a_world_is_unknown_in_its_own_way():
    from regionedit.pocket.scenes import HELD_OUT_STYLE
    from regionedit.pocket.vocabulary import stranger
    for i in range(4):
        case, s = draw_case(i, 2, 'strangers'), stranger(i)
        assert (case.task.image.tobytes(), case.task.truth, case.wanted, case.old, case.others) == (s.image.tobytes(), s.box, s.wanted, s.name, ())
        for world in ('unseen', 'clutter'): assert draw_case(FIRST + i, 0, world).others == ()
    drawn = draw_scene(FIRST, num_objects=1, **{k: v for k, v in WORLDS['unseen'].items() if k != 'num_objects'})
    assert WORLDS['unseen']['styles'] == (HELD_OUT_STYLE,) and draw_case(FIRST, 0, 'unseen').task.image.tobytes() == drawn.image.tobytes()
    assert scenes_of('known', 3) == range(FIRST, FIRST + 3) and scenes_of('strangers', 100) == range(100)
    with pytest.raises(ValueError, match='at most 100'): scenes_of('strangers', 101)

def test_the_noise_changes_nothing_but_the_noise():
    a, b = draw_case(FIRST, 0), draw_case(FIRST, 1)
    assert (a.task.prompt, a.task.source, a.wanted, a.task.image.tobytes()) == (b.task.prompt, b.task.source, b.wanted, b.task.image.tobytes())

@pytest.mark.parametrize('box, expected', [((0, 0, 10, 10), 1), ((20, 0, 30, 10), 0), ((0, 0, 30, 10), 0), ((50, 50, 60, 60), 0)])
def test_on_named(box, expected): assert on_named(box, (0, 0, 10, 10), [(20, 0, 30, 10)]) == expected

def test_background_by_hand():
    "A box of 6 x 6 in a picture of 10 x 10 whose true box is 4 x 4 of it: 20 of 84 pixels are given to the editor for nothing."
    image, case = Image.new('RGB', (10, 10)), None
    edit = Edit((0, 0, 6, 6), (0, 0, 8, 8), Image.new('RGB', (8, 8), (51, 51, 51)))
    case = bench_rows.Case(0, 0, BenchTask(image, 'a', 'b', (1, 1, 5, 5)), 'cat')
    found = around(case, Outcome(edit.box, 0., edit, 1, 0.))
    assert found['changed'] == pytest.approx(20 / 84) and found['kept'] == pytest.approx(10 * math.log10(84 / (20 * .2**2)), abs=1e-3)

# methods

def test_every_estimator_and_every_baseline_takes_part():
    assert {'ours', 'halving-16', 'random-16', 'topk-random', 'diffedit', 'fitted', 'shifted', 'centred', 'paper-constant-3', 'paper-random-size'} | set(BASELINES) | set(CHOICES['estimator']) - {'exact'} <= set(METHODS)

def test_diffedit_needs_a_denoiser(models): assert set(METHODS) - set(methods_for(models)) == {'diffedit'}

def test_estimators_share_the_edits_and_are_counted_as_if_alone(models):
    task = draw_case(FIRST, 0).task
    found = {n: METHODS[n](models, task, CONFIG) for n in ('ours', 'rloo', 'released')}
    assert {o.num_edits for o in found.values()} == {models.editor.windows} and models.cache.misses == models.editor.windows
    assert all(o.score <= o.best + 1e-6 and o.best == found['ours'].best for o in found.values())

@pytest.mark.slow
def test_the_pages_methods_ask_for_little_more_than_one_table(models):
    "Constant boxes share one table of squares beside ours; what is left are boxes of random size, one box each, and what the network moved."
    task = draw_case(FIRST, 0).task
    ours = METHODS['ours'](models, task, Config(learning_steps=1))
    before = models.editor.windows
    for name in (*CONSTANTS, *(f'paper-{n}' for n in CONSTANTS), 'released', 'evidence', 'halving-16'):
        assert name in MAIN and METHODS[name](models, task, Config(learning_steps=1)).num_edits >= 1
    squares = 8 * 7
    assert before == ours.num_edits <= squares and models.editor.windows - before <= squares
    constant = METHODS['constant-3'](models, task, Config())
    assert constant.seconds >= models.price * constant.num_edits > 0, 'charged as if alone'

def test_the_ceiling_is_the_best_box_on_offer(models):
    assert ceiling(torch.tensor([[[0, 0, 4, 4]], [[0, 0, 8, 4]]]), (0, 0, 8, 8)) == .5
    task = draw_case(FIRST, 0).task
    found = {n: METHODS[n](models, task, CONFIG) for n in ('ours', 'truth', 'constant-2')}
    assert found['truth'].ceiling == 1 and found['ours'].ceiling >= box_iou(found['ours'].box, task.truth)
    assert found['constant-2'].ceiling >= box_iou(found['constant-2'].box, task.truth)

def test_seconds_are_charged_as_if_alone(models):
    from regionedit.bench.baselines import charged
    class Result: seconds = dict(total=10., edit=8.)
    assert charged(models, Result, 0, 4) == 10 and models.price == 2
    class Cached: seconds = dict(total=3., edit=1.)
    assert charged(models, Cached, 3, 0) == 2 + 3 * 2 and charged(models, Cached, 1, 1) == 2 + 2 * 2

def test_a_remembering_clip_says_the_same_and_asks_once():
    class Counting(StubClip):
        asked = 0
        def encode_images(self, images): self.asked += len(images); return super().encode_images(images)
        def encode_texts(self, texts): self.asked += len(texts); return super().encode_texts(texts)
    plain, clip = StubClip(), Remembering(Counting())
    images = [picture(9, 7, i) for i in (0, 1, 0)]
    for _ in range(2):
        a, b = clip.encode_images(images), plain.encode_images(images)
        assert torch.equal(a.pooled, b.pooled) and torch.equal(a.tokens, b.tokens) and torch.equal(clip.encode_texts(['a', 'b', 'a']), plain.encode_texts(['a', 'b', 'a']))
    assert clip.asked == 4

# rows

@pytest.mark.slow
def test_a_run_can_be_cut_anywhere(models, judge, tmp_path):
    names, path = ['ours', 'truth', 'whole'], tmp_path/'bench.csv'
    run_rows(keep(lambda: (models, judge)), path, 2, 1, names, config=CONFIG)
    whole = path.read_text()
    strip = lambda text: [{k: v for k, v in r.items() if k != 'seconds'} for r in csv.DictReader(text.splitlines())]
    assert len(read_rows(path)) == 6
    for cut in (0, 3, len(whole) // 3, len(whole) - 2):
        path.write_text(whole[:cut])
        run_rows(keep(lambda: (models, judge)), path, 2, 1, names, config=CONFIG)
        order = lambda rows: sorted(rows, key=lambda r: (r['scene'], r['method']))
        assert order(strip(path.read_text())) == order(strip(whole)), cut
    edits = models.editor.windows
    run_rows(keep(lambda: (models, judge)), path, 2, 1, names, config=CONFIG)
    assert models.editor.windows == edits, 'nothing was left to do'

def test_rows_that_others_made_are_refused(models, judge, tmp_path, monkeypatch):
    "Other settings, other weights, other code, another world: one sentence, and the file stays as it is."
    path = tmp_path/'bench.csv'
    def run(config=CONFIG, **more): run_rows(keep(lambda: (models, judge)), path, 1, 1, ['truth'], config=config, **more)
    run()
    models.preset = 'another'
    run()
    rows, before = read_rows(path), path.read_bytes()
    assert [r['preset'] for r in rows] == ['stub', 'another'] and all(len(r[k]) == 12 for r in rows for k in MADE_BY)
    def refused(match, **more):
        with pytest.raises(ValueError, match=match) as told: run(**more)
        assert path.read_bytes() == before and '\n' not in str(told.value)
    refused('got 1 of 2 rows of others', config=Config(alpha=1., num_anchors=2, num_proposals=2, learning_steps=2))
    with torch.no_grad(): models.vit.norm.weight[-1] += 1e-3
    refused('got 1 of 2 rows of others')
    with torch.no_grad(): models.vit.norm.weight[-1] = rows[0].get('none', 1.)
    run()
    monkeypatch.setattr(bench_rows, 'code_of', lambda: 'another code')
    refused('got 2 of 2 rows of others')
    monkeypatch.undo()
    refused('rows of the world strangers', world='strangers')
    run()
    assert path.read_bytes() == before

def test_the_code_that_decides_a_row_is_all_there():
    "A room that moves must not fall out of the digest."
    import regionedit
    root = __import__('pathlib').Path(regionedit.__file__).parent
    assert all(list(root.glob(pattern)) for pattern in CODE) and len(code_of()) == 12
    named = {f.relative_to(root).as_posix() for pattern in CODE for f in root.glob(pattern)}
    assert {'method/editor.py', 'editors/maskgit.py', 'pocket/scenes.py', 'pocket/judge.py', 'bench/rows.py'} <= named

@pytest.mark.slow
def test_the_file_does_not_tell_how_many_worked(models, judge, tmp_path):
    "Cases end in any order on a cluster; here the last comes first."
    class Backwards(Here):
        def __init__(self): self.calls = []
        def submit(self, call, *args):
            future = Future()
            if args[0:1] and isinstance(args[0], tuple): self.calls.append((future, call, args))
            else: future.set_result(call(*args))
            if len(self.calls) == 4:
                for future_, call_, args_ in reversed(self.calls): future_.set_result(call_(*args_))
            return future
    kept, names = keep(lambda: (models, judge)), ['ours', 'truth']
    run_rows(kept, tmp_path/'a.csv', 2, 2, names, config=CONFIG)
    run_rows(kept, tmp_path/'b.csv', 2, 2, names, config=CONFIG, engine=(Backwards(), 9))
    a, b = ([{k: v for k, v in r.items() if k != 'seconds'} for r in read_rows(tmp_path/f'{n}.csv')] for n in 'ab')
    assert a == b and len(a) == 8

def test_the_digests_follow_settings_and_every_weight(models, judge):
    before = made_by(models, judge, CONFIG)
    assert before == made_by(models, judge, CONFIG) and tuple(before) == MADE_BY
    other = made_by(models, judge, Config())
    assert other['settings'] != before['settings'] and other['models'] == before['models'] and other['code'] == before['code']
    weight = list(models.vit.parameters())[-3]
    with torch.no_grad(): weight.view(-1)[-1] += 1e-3
    assert made_by(models, judge, CONFIG)['models'] != before['models'], 'the last number of a tensor counts too'

def test_the_digest_follows_the_region_network(models, judge):
    before = made_by(models, judge, CONFIG)['models']
    models.rgn = TextRegionNetwork(8, 16, width=16, layers=1, heads=2)
    assert made_by(models, judge, CONFIG)['models'] != before

def test_another_file_is_refused(tmp_path):
    (tmp_path/'bench.csv').write_text('a,b\n1,2\n')
    with pytest.raises(ValueError, match='expected the columns'): read_rows(tmp_path/'bench.csv')
    assert read_rows(tmp_path/'none.csv') == []

def test_a_row_is_measured_against_the_truth(models, judge):
    case = draw_case(FIRST + 1, 0)
    row, = run_case(models, judge, case, ['truth'], CONFIG, {})
    assert set(row) | {'preset', 'world', 'scene', 'noise', *MADE_BY, 'objects'} == set(COLUMNS)
    assert (row['iou'], row['hit'], row['named'], row['changed'], row['edits']) == (1, 1, 1, 0, 1) and row['kept'] == row['psnr'] == math.inf
    whole, = run_case(models, judge, case, ['whole'], CONFIG, {})
    assert whole['changed'] == 1 and whole['kept'] < 30 and whole['psnr'] == math.inf and whole['best'] == whole['score']

@pytest.mark.slow
def test_replaced_needs_the_new_there_and_the_old_gone(models, judge, monkeypatch):
    "The judge's answers are given: for the chosen box, then for the true one after the edit."
    case = draw_case(FIRST, 0)
    for there, left, expected in ((case.wanted, 'x', 1), (case.wanted, case.old, 0), ('x', 'x', 0)):
        def says(judge, pictures):
            assert pictures[1].size == (case.task.truth[2] - case.task.truth[0], case.task.truth[3] - case.task.truth[1])
            return [there, left]
        monkeypatch.setattr(bench_rows, 'recognise', says)
        row, = run_case(models, judge, case, ['truth'], CONFIG, {})
        assert (row['replaced'], row['recogniser'], row['gone'], row['covered']) == (expected, there == case.wanted, left != case.old, 1)
    monkeypatch.setattr(bench_rows, 'recognise', lambda judge, pictures: [case.wanted, 'x'])
    small, = run_case(models, judge, case, ['constant-1'], CONFIG, {})
    assert small['covered'] < .7 and small['replaced'] == 0

def test_released_takes_other_sizes_at_other_anchors(models):
    task = draw_case(FIRST, 0).task
    result = models.run(task.with_config(Config(estimator='released', num_anchors=8, learning_steps=1)))
    assert len(set(result.trajectory.chosen[-1].tolist())) > 2, 'a draw an anchor, not one index'

def test_constants_without_evidence_rank_by_the_papers_score(models):
    task = draw_case(FIRST, 0).task
    with_it, without = (METHODS[n](models, task, CONFIG) for n in ('constant-4', 'paper-constant-4'))
    assert without.score != with_it.score and without.num_edits == with_it.num_edits

def test_a_file_of_an_older_version_is_read_and_not_gone_on_with(models, judge, tmp_path):
    path, kept = tmp_path/'bench.csv', keep(lambda: (models, judge))
    run_rows(kept, path, 1, 1, ['truth'], config=CONFIG)
    fresh = path.read_text()
    lines = list(csv.DictReader(fresh.splitlines()))
    with open(path, 'w', newline='') as f:
        old = csv.DictWriter(f, [c for c in COLUMNS if c not in ('replaced', 'seam')], extrasaction='ignore')
        old.writeheader(); old.writerows(lines)
    rows = read_rows(path)
    said = report(rows)
    assert 'replaced' not in rows[0] and 'iou' in said['methods']['stub']['truth'] and '| truth |' in markdown(said)
    assert said['ours_less'] == {'stub': {}} and 'nan' not in json.dumps(said).lower()
    with pytest.raises(ValueError, match='got 1 of 1 rows of others'): run_rows(kept, path, 1, 1, ['truth'], config=CONFIG)

def test_the_editor_is_not_excused_before_compositing(models, judge):
    "The stub repaints its whole window: outside the box that shows before compositing and not after."
    row, = run_case(models, judge, draw_case(FIRST, 0), ['truth'], CONFIG, {})
    assert row['psnr_raw'] < 40 and row['ssim_raw'] < 1 and (row['ssim'], row['features']) == (1, 0)

# report

def made_up(n: int = 20, **share) -> list:
    "Rows of methods that succeed in a share of scenes; every second scene has two objects; two noises."
    rows = []
    for s in range(n):
        for noise in range(2):
            for m, p in share.items():
                facts = dict.fromkeys(MEASURES, 0.) | dict(recogniser=float(s < p * n), kept=math.inf if m == 'truth' else 30., named=float(s % 4 != 1), score=.9 * (1 + s), best=1. * (1 + s))
                rows.append(dict(preset='p', world='known', settings='s', models='m', code='c', scene=s, noise=noise, method=m.replace('_', '-'), objects=1 + s % 2, **facts))
    return rows

def test_goals_stand_as_they_were_set():
    "The numbers of the table that was there before the models were trained."
    asked = {(w, p, o, m, c): least for w, p, o, m, c, least in GOALS}
    assert asked['known', 'pocket', 1, 'ours', 'replaced'] == .7 and asked['unseen', 'pocket', 1, 'ours', 'replaced'] == .65 and asked['clutter', 'pocket', 1, 'ours', 'replaced'] == .55
    assert [asked[w, 'pocket', 1, 'ours', 'iou50'] for w in ('known', 'unseen', 'clutter', 'strangers')] == [.8, .75, .65, .5]
    assert asked['known', 'pocket', 2, 'ours', 'replaced'] == .5 and asked['known', 'pocket-maskgit', 1, 'ours', 'replaced'] == .55
    assert asked['known', 'pocket', 1, 'amortised', 'replaced'] == .65 and asked['unseen', 'pocket', 1, 'amortised', 'replaced'] == .6
    assert asked['known', 'pocket', 1, 'ours', 'covered'] == asked['known', 'pocket', 1, 'ours', 'ceiling'] == .85 and len(GOALS) == 13

def test_goals_by_hand():
    rows = [dict(r, preset='pocket', edits=50. + r['scene']) for r in with_replaced(ours=.6, amortised=.9, constant_1=.3)]
    for r in rows: r['replaced'] = r['replaced'] if r['objects'] == 1 else 0.
    found = goals(rows, 'pocket')
    one = found['known, ours: replaced']
    assert one['value'][0] == pytest.approx(.6) and one['goal'] == .7 and not one['reached']
    assert found['known, amortised: replaced']['reached'] and found['known, ours, one of two objects: replaced']['value'] == (0, 0, 0)
    apart = found['known, ours less constant-1, the best constant box: replaced']
    assert apart['reached'] == (apart['value'][1] > 0) and apart['value'][0] == pytest.approx(.15)
    assert found['known, ours: most edits'] == dict(value=(89,) * 3, goal=56, reached=False)
    assert not any('unseen' in what or 'strangers' in what for what in found) and goals(rows, 'p') == {}
    alike = [dict(r, preset='pocket') for r in with_replaced(ours=.5, constant_1=.5)]
    assert goals(alike, 'pocket')['known, ours less constant-1, the best constant box: replaced']['reached'] is False

def test_noises_are_averaged_before_scenes_are_resampled():
    rows = made_up(n=4, ours=1.)
    for r in rows: r['iou'], r['seconds'], r['psnr'] = float(r['noise']), 300., math.inf
    found = summary(rows)['p']['ours']
    assert found['iou'] == (.5, .5, .5) and found['seconds'] == (300, 300, 300) and found['psnr'] == (100, 100, 100)

def test_the_means_of_many_columns_are_the_bootstrap_of_each():
    values = np.random.default_rng(0).exponential(size=(40, 3))
    found = bootstrap_means(values, 'abc', draws=8000)
    for row, column in zip(found.values(), values.T): assert tuple(row) == pytest.approx(bootstrap(column, draws=8000), abs=.02)

def test_the_report_is_json_and_reads_as_tables():
    said = report(made_up(ours=.8, topk_random=.5), 3.)
    assert json.loads(json.dumps(said)) and said['scenes'] == 20 and said['noises'] == 2 and said['rows'] == 80
    assert markdown(said).count('\n') == 3 and '| topk-random |' in markdown(said) and '| p: topk-random |' in goals_markdown(said)
    assert not any(share in goals_markdown(said) for share in ('71', '83.9', '84')), 'beside no figure of people'

def with_replaced(**share):
    rows = made_up(40, **share)
    for r in rows: r['replaced'] = r['recogniser']
    return rows

def test_the_best_constant_box_is_chosen_on_these_scenes():
    rows = with_replaced(ours=.8, constant_1=.2, constant_2=.6, constant_3=.4, paper_constant_1=.1)
    assert best_constant(rows, 'p') == 'constant-2' and best_constant(rows, 'p', 'paper-constant-') == 'paper-constant-1'
    assert best_constant(with_replaced(ours=1.), 'p') is None
    found = differences(rows, 'p')
    assert found['best of constant-*']['value'] == found['constant-2']['value'] and found['constant-2']['value'][0] == pytest.approx(.2)
    assert 'paper-constant-1' not in found, 'no paper-ranking to hold it against'

def test_methods_without_evidence_are_held_against_ours_without_it():
    rows = with_replaced(**{'ours': .9, 'paper_ranking': .3, 'paper_constant_1': .5, 'released': .1})
    found = differences(rows, 'p')
    assert found['paper-constant-1']['value'][0] == pytest.approx(-.2) and found['released']['value'][0] == pytest.approx(.8) and found['paper-ranking']['value'][0] == pytest.approx(.6)

def test_holm_over_all_comparisons():
    def holm_by_hand(p):
        "Step down: the smallest times all, the next times all but one, never less than one before."
        order, found, worst = sorted(range(len(p)), key=lambda i: p[i]), [0.] * len(p), 0.
        for place, i in enumerate(order): worst = found[i] = max(worst, min(1., p[i] * (len(p) - place)))
        return found
    rows = with_replaced(ours=.6, a=.5, b=.3, c=.1, constant_1=.6)
    parts = {p: differences([dict(r, preset=p) for r in rows], p) for p in 'pq'}
    found, once = corrected(parts), ('a', 'b', 'c', 'constant-1')
    by_hand = holm_by_hand([parts[p][m]['chance'] for p in 'pq' for m in once])
    assert [found[p][m]['holm'] for p in 'pq' for m in once] == pytest.approx(by_hand), 'both parts together, the best constant box not twice'
    assert found['p']['best of constant-*']['holm'] == found['p']['constant-1']['holm'] == 1 and found['p']['c']['holm'] < .01
    assert found['p']['b']['holm'] > corrected({'p': parts['p']})['p']['b']['holm'], 'more comparisons, less certainty'
    assert corrected({'p': {}}) == {'p': {}}

def test_one_and_two_objects_apart():
    rows = with_replaced(ours=.5)
    for r in rows: r['replaced'] = float(r['objects'] == 1)
    said = report(rows)['by_objects']
    assert said[1]['p']['ours']['replaced'][0] == 1 and said[2]['p']['ours']['replaced'][0] == 0

# DiffEdit

def test_the_threshold_is_diffusers():
    "mask_thresholding_ratio of StableDiffusionDiffEditPipeline.generate_mask, step by step."
    difference = torch.from_numpy(np.random.default_rng(0).exponential(size=(9, 7))).float()
    clamped = difference.clamp(0, difference.mean() * 3.) / (difference.mean() * 3.)
    assert torch.equal(threshold(difference), clamped > .5)
    assert threshold(torch.zeros(3, 3)).any(), 'never empty'

def test_bounding_box():
    mask = torch.zeros(9, 7, dtype=torch.bool)
    mask[2:5, 3] = True
    assert bounding_box(mask) == (3, 2, 4, 5) and Image.fromarray(mask.numpy()).getbbox() == (3, 2, 4, 5)
    with pytest.raises(ValueError, match='empty'): bounding_box(mask & False)

@pytest.mark.parametrize('size', [(128, 128), (50, 90), (9, 5)])
def test_windows_cover_the_picture(size):
    seen = torch.zeros(size[1], size[0])
    for x0, y0, x1, y1 in sliding_windows(size, .5, 4):
        assert 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]
        seen[y0:y1, x0:x1] += 1
    assert len(sliding_windows(size, .5, 4)) == 16 and (size[1] > 2 * size[0] or seen[0, 0] and seen[-1, -1])

def test_the_difference_is_between_the_texts():
    "A denoiser that guesses the number of letters times the number of the cell."
    class Unet:
        device, dtype = torch.device('cpu'), torch.float32
        def __call__(self, x, t, encoder_hidden_states):
            assert x.shape[1:] == (9, 4, 4) and (x[:, 4] == 1).all(), 'latents, a mask of ones, the hole'
            level = encoder_hidden_states.mean((1, 2)).view(-1, 1, 1, 1)
            return type('Out', (), dict(sample=level * torch.arange(16.).view(1, 1, 4, 4).expand(len(x), 4, 4, 4)))()
    class Scheduler:
        config = type('C', (), dict(num_train_timesteps=1000))
        def add_noise(self, z, n, t): assert t.item() == 500; return z + n
    class Posterior:
        def __init__(self, z): self.mean = z
    class Vae:
        dtype, config = torch.float32, type('C', (dict,), dict(scaling_factor=1.))()
        def encode(self, x): return type('E', (), dict(latent_dist=Posterior(torch.nn.functional.adaptive_avg_pool2d(x, 4)[:, [0, 0, 1, 2]])))()
    class Tokens(dict):
        input_ids = property(lambda self: self['input_ids'])
    class Encoder:
        device = 'cpu'
        def __call__(self, ids): return (ids[..., None].float(),)
    class Tokenizer:
        model_max_length = 2
        def __call__(self, texts, **kwargs): return Tokens(input_ids=torch.tensor([[len(t)] * 2 for t in texts]))
    editor = type('E', (), dict(unet=Unet(), scheduler=Scheduler(), vae=Vae(), text_encoder=Encoder(), tokenizer=Tokenizer(), size=16))()
    found = noise_difference(editor, picture(16, 16), 'cat', 'rocket', draws=3)
    assert torch.equal(found, 3 * torch.arange(16.).view(4, 4)), 'six letters less three'
    assert difference_map(editor, picture(32, 24), 'cat', 'cat').max() == 0 and difference_map(editor, picture(32, 24), 'cat', 'rocket').shape == (24, 32)

# the command

@pytest.fixture
def bench(monkeypatch, models, judge, tmp_path):
    "Run `regionedit bench` on stand-ins; returns the status."
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', lambda preset: models)
    monkeypatch.setattr('regionedit.pocket.judge.load_recogniser', lambda: judge)
    return lambda *more: cli.main(['bench', '--preset', 'stub', '--scenes', '1', '--seeds', '1', '--methods', 'whole,truth', '--out', str(tmp_path/'out'), *more])

def test_the_command_writes_and_prints(bench, capsys, tmp_path):
    assert bench('--json') == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert out.count('\n') == 1 and err == '' and set(said['methods']['stub']) == {'whole', 'truth'}
    assert json.loads((tmp_path/'out'/'report.json').read_text()) == said and len(read_rows(tmp_path/'out'/'bench.csv')) == 2
    assert bench() == 0 and '| truth |' in capsys.readouterr().out

def test_resume_keeps_rows_and_a_new_start_does_not(bench, models, capsys):
    assert bench('--json') == 0
    edits = models.editor.windows
    assert bench('--json', '--resume') == 0 and models.editor.windows == edits
    models.cache.clear()
    assert bench('--json') == 0 and models.editor.windows == 2 * edits

def test_resume_refuses_what_other_models_made(bench, models, capsys, tmp_path):
    assert bench('--json') == 0
    before = (tmp_path/'out'/'bench.csv').read_bytes()
    with torch.no_grad(): models.vit.cls_token += 1
    capsys.readouterr()
    assert bench('--json', '--resume') == 2 and (tmp_path/'out'/'bench.csv').read_bytes() == before
    err = capsys.readouterr().err
    assert 'got 2 of 2 rows of others' in err and err.count('\n') == 1
    assert bench('--json') == 0 and (tmp_path/'out'/'bench.csv').read_bytes() != before

@pytest.mark.parametrize('more, told', [(('--world', 'mars'), 'mars'), (('--world', 'strangers', '--scenes', '101'), 'at most 100'), (('--scenes', '0'), '--scenes'), (('--seeds', '0'), '--seeds'), (('--methods', 'magic'), 'magic'), (('--methods', ','), 'none'), (('--scenes', 'x'), '--scenes')])
def test_mistakes_are_one_line_and_no_model_is_loaded(bench, monkeypatch, capsys, more, told):
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', lambda preset: pytest.fail('loaded'))
    assert bench(*more) == 2
    err = capsys.readouterr().err
    assert told in err and err.count('\n') == 1

def test_presets_are_split_and_default_to_what_is_there(monkeypatch):
    assert command.chosen_presets(['a,b', 'c', 'a']) == ['a', 'b', 'c']
    def get(name):
        if name == 'pocket-maskgit': raise ModelNotAvailable('no weights')
        return name
    monkeypatch.setattr(command, 'get_preset', get)
    assert command.chosen_presets(None) == ['pocket']
