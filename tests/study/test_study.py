"A blind study: balance, blindness, nothing lost, statistics against scipy and choix."
import csv, io, itertools, json, math

import choix
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from regionedit.study.analysis import analyse, cluster_bootstrap, effective, holm, preferences, wilson
from regionedit.study.answers import Session, attentive, keep_attentive, read_answers
from regionedit.study.analysis import bradley_terry, strengths_of, win_matrix
from regionedit.study.setup import SPOILED, Design, deal, schedule
from regionedit.study.setup import create_study, load_study, spoil
from regionedit.study.analysis import Crowd, coverage, simulate
from stubs import picture, stub_result

PAPER = Design(range(60), ['ours', *'ABCDE'])

# the plan

def test_the_papers_protocol():
    sessions = schedule(PAPER, 203)
    pairs = [[t for t in trials if t.kind == 'pair'] for trials in sessions]
    assert all(len(p) == 40 and len({t.item for t in p}) == 40 for p in pairs)
    for trials in pairs:
        for other in 'ABCDE':
            of_it = [t for t in trials if other in (t.left, t.right)]
            assert len(of_it) == 8 and sum(t.left == 'ours' for t in of_it) == 4
    shown = np.zeros((5, 60), int)
    for t in sum(pairs, []): shown['ABCDE'.index(({t.left, t.right} - {'ours'}).pop()), t.item] += 1
    assert shown.sum() == 203 * 40 and (shown.sum(1) == 1624).all() and shown.max() - shown.min() <= 2

def test_order_and_sides_depend_on_the_seed_only():
    assert schedule(PAPER, 5)[:3] == schedule(PAPER, 3) == schedule(PAPER, 3)
    assert schedule(PAPER, 1) != schedule(Design(range(60), PAPER.methods, seed=1), 1)
    assert [t.item for t in schedule(PAPER, 1)[0]] != [t.item for t in schedule(PAPER, 2)[1]]

@pytest.mark.parametrize('items, methods, pairs, against', [(1, 2, 1, 'first'), (3, 4, 18, 'all'), (7, 3, 5, 'first'), (5, 2, 5, 'first'), (10, 5, 33, 'all')])
def test_any_design_is_balanced(items, methods, pairs, against):
    design = Design(range(items), [f'm{i}' for i in range(methods)], pairs=pairs, repeats=0, checks=1, against=against)
    hands = deal(design, 30)
    counts = np.zeros((len(design.contests), items), int)
    for hand in hands:
        assert len(set(hand)) == len(hand) == pairs, 'no question twice'
        for i, c in hand: counts[c, i] += 1
    assert np.ptp(counts.sum(1)) <= 1 and np.ptp(counts) <= 3
    each = [np.bincount([c for _, c in hand], minlength=len(design.contests)) for hand in hands]
    assert max(np.ptp(e) for e in each) <= 1

def test_repeats_are_mirrored_and_late_and_checks_have_a_right_answer():
    for trials in schedule(PAPER, 20):
        assert [t.number for t in trials] == list(range(46)) and trials[0].kind == 'pair'
        place = {(t.item, t.left, t.right): t.number for t in trials if t.kind == 'pair'}
        repeats, checks = ([t for t in trials if t.kind == kind] for kind in ('repeat', 'check'))
        assert len({(t.item, t.left) for t in repeats}) == 4 and all(t.number - place[t.item, t.right, t.left] >= 5 for t in repeats)
        assert len(checks) == 2 and all(SPOILED in (t.left, t.right) and {t.left, t.right} & set(PAPER.methods) for t in checks)
    lefts = [t.left == SPOILED for trials in schedule(PAPER, 200) for t in trials if t.kind == 'check']
    assert .4 < np.mean(lefts) < .6

@pytest.mark.parametrize('change', [dict(methods=['a']), dict(methods=['a', 'a']), dict(items=[]), dict(items=[1, 1]), dict(pairs=0), dict(pairs=301),
                                    dict(repeats=36), dict(repeats=-1), dict(checks=-1), dict(against='some')])
def test_designs_that_cannot_be_dealt_are_refused(change):
    with pytest.raises(ValueError, match='expected'): Design(**{**dict(items=range(60), methods=PAPER.methods), **change})

# set-up

@pytest.fixture
def folders(tmp_path):
    "Two methods with three pictures of other sizes, and the sources."
    for m, size in (('source', (40, 30)), ('secretive', (40, 30)), ('other', (20, 15))):
        (tmp_path/m).mkdir()
        for i in range(3): picture(*size, seed=len(m) + i).save(tmp_path/m/f'{i}.png')
    return {m: tmp_path/m for m in ('secretive', 'other')}, {str(i): f'a thing {i}' for i in range(3)}, tmp_path/'source'

@pytest.fixture
def study(tmp_path, folders): return create_study(tmp_path/'study', *folders, repeats=1, checks=1)

def test_a_study_is_made_of_saved_results_alone(tmp_path):
    for m, seeds in dict(ours=(0, 1), theirs=(2, 3)).items():
        for i, seed in enumerate(seeds): stub_result(seed).save(tmp_path/m/f'in/{i}')
    found = create_study(tmp_path/'study', dict(ours=tmp_path/'ours', theirs=tmp_path/'theirs'), checks=0)
    assert list(found.items) == ['in/0', 'in/1'] and found.items['in/1']['prompt'] == stub_result().prompt
    trial = schedule(found.design, 1)[0][0]
    sides = dict(zip((trial.left, trial.right), found.pair(trial)))
    assert sides['ours'].tobytes() == stub_result(int(trial.item[-1])).image.tobytes()

def test_nothing_shown_tells_the_method(tmp_path, study):
    names = [p.name for p in (study.folder/'pictures').iterdir()]
    assert len(names) == 9 and not any(m in n for n in names for m in study.design.methods)
    for trials in schedule(study.design, 6):
        for t in trials: assert {p.size for p in study.pair(t)} == {study.source(t).size} == {(40, 30)}
    for p in (study.folder/'pictures').iterdir():
        with Image.open(p) as im: assert im.info == {} and im.mode == 'RGB'

def test_a_study_opens_as_it_was_and_not_if_it_was_changed(study):
    again = load_study(study.folder)
    assert again == study and again.digest == study.digest and schedule(again.design, 2) == schedule(study.design, 2)
    path = study.folder/'study.json'
    said = json.loads(path.read_text()); said['question'] = 'Which is prettier?'; path.write_text(json.dumps(said))
    with pytest.raises(ValueError, match='changed or damaged'): load_study(study.folder)
    path.write_text('[]')
    with pytest.raises(ValueError, match='changed or damaged'): load_study(study.folder)
    with pytest.raises(FileNotFoundError): load_study(study.folder/'none')

def test_a_study_is_not_written_over(study, folders):
    with pytest.raises(ValueError, match='has one'): create_study(study.folder, *folders)

def test_inputs_that_some_lack_are_left_out(tmp_path, folders):
    (folders[0]['other']/'1.png').unlink()
    with pytest.warns(UserWarning, match='1 inputs'): found = create_study(tmp_path/'s', *folders)
    assert list(found.items) == ['0', '2'] and found.design.pairs == 2

def test_what_is_missing_is_said(tmp_path, folders):
    methods, prompts, sources = folders
    for args, words in [((methods, None, sources), 'prompt'), ((methods, prompts), 'unedited'), ((dict(methods, none=tmp_path/'nowhere'), prompts, sources), 'found none'), (({'a': methods['other']}, prompts, sources), 'two methods')]:
        with pytest.raises(ValueError, match=words): create_study(tmp_path/'s', *args)
    stub_result(0).save(tmp_path/'x'/'0')
    (tmp_path/'y'/'0').mkdir(parents=True); stub_result(1).save(tmp_path/'y'/'0')
    said = json.loads((tmp_path/'y'/'0'/'result.json').read_text()); said['prompt'] = 'another'; (tmp_path/'y'/'0'/'result.json').write_text(json.dumps(said))
    with pytest.raises(ValueError, match='one prompt'): create_study(tmp_path/'s', dict(x=tmp_path/'x', y=tmp_path/'y'))

def test_spoiling_keeps_the_pixels_and_loses_the_picture():
    image = picture(40, 32)
    spoilt = spoil(image, 1)
    assert spoilt.size == image.size and np.array_equal(*(np.sort(np.asarray(im).reshape(-1, 3), 0) for im in (spoilt, image)))
    assert np.abs(np.asarray(spoilt, int) - np.asarray(image)).mean() > 40 and spoil(picture(3, 2)).size == (3, 2)

# answers

def run(session, choose):
    while session.trial: session.answer(choose(session.trial))
    return session

def test_every_answer_is_on_disk_at_once_and_a_session_resumes(study):
    one = Session(study)
    for k in range(3):
        one.answer('left', 1.234)
        assert len(one.path.read_text().splitlines()) == k + 1
    assert json.loads(one.path.read_text().splitlines()[0]) == dict(one.answers[0], seconds=1.23, study=study.digest, participant=1)
    for torn in ('{"stu', '{"study": "x"', 'null'):
        with open(one.path, 'a') as f: f.write(torn)
        again = Session(study, 1)
        assert len(again.answers) == 3 and again.trial == one.trial
    run(again, lambda t: 'right')
    assert [json.loads(line)['answer'] for line in again.path.read_text().splitlines()] == ['left'] * 3 + ['right'] * 2
    assert Session(study, 1).trial is None
    with pytest.raises(ValueError, match='open'): again.answer('left')

def test_two_windows_do_not_mix(study):
    one, two = Session(study, 4), Session(study, 4)
    one.answer('left')
    with pytest.raises(ValueError, match='another window'): two.answer('right')
    assert len(one.path.read_text().splitlines()) == 1

def test_participants_get_numbers_of_their_own(study):
    assert Session(study, 2).participant == 2 and [Session(study).participant for _ in range(3)] == [1, 3, 4]
    for number in (0, -1, 'x', True):
        with pytest.raises(ValueError, match='number'): Session(study, number)

def test_answers_of_another_study_are_refused(tmp_path, study, folders):
    other = create_study(tmp_path/'other study', *folders, repeats=1, checks=1, seed=1)
    path = run(Session(other), lambda t: 'left').path
    (study.folder/'answers').mkdir(exist_ok=True); (study.folder/'answers'/'0001.jsonl').write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=study.digest): Session(study, 1)
    with pytest.raises(ValueError, match=study.digest): read_answers(study)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(lines[1:]))
    with pytest.raises(ValueError, match='order'): Session(other, 1)
    path.write_text(lines[0] + 'rubbish\n' + lines[1])
    with pytest.raises(ValueError, match='line 2'): Session(other, 1)

def test_who_does_not_look_is_seen(study):
    run(Session(study), lambda t: 'left' if 'secretive' in t.left or t.right == SPOILED else 'right')
    run(Session(study), lambda t: 'right' if t.right == SPOILED else 'left')
    rows = read_answers(study)
    found = attentive(rows)
    assert found[1]['checks'] == 1 and found[2]['checks'] == 0
    assert (found[1]['consistent'], found[2]['consistent'], found[2]['left'] > .5) == (1, 0, True)
    assert {r['participant'] for r in keep_attentive(rows)} == {1} and keep_attentive(rows, 0) == rows

# statistics

@pytest.mark.parametrize('wins, n', [(0, 1), (3, 3), (5, 12), (700, 1000), (1307, 1624), (4100, 8120), (812, 1624)])
def test_wilson_by_scipy(wins, n):
    by_scipy = stats.binomtest(wins, n)
    for level in (.9, .95): assert wilson(wins, n, level) == pytest.approx(tuple(by_scipy.proportion_ci(level, method='wilson')), abs=1e-12)

def test_the_papers_half_widths():
    for rate, printed in ((80.5, 1.9), (73.2, 2.2), (88.2, 1.6), (91.9, 1.3), (90.8, 1.4)):
        low, high = wilson(rate / 100 * 1624, 1624)
        assert round(50 * (high - low), 1) == printed
    assert round(np.mean([80.5, 73.2, 88.2, 91.9, 90.8]), 1) == 84.9

def test_holm_by_brute_force():
    "Closed testing with Bonferroni: a hypothesis falls if every set that contains it does."
    rng = np.random.default_rng(0)
    for _ in range(30):
        p = rng.random(5).round(2) ** 2
        closed = [max(min(1, len(s) * min(p[list(s)])) for k in range(1, 6) for s in itertools.combinations(range(5), k) if i in s) for i in range(5)]
        assert holm(list(p)) == pytest.approx(closed)

def clustered(seed=0, n=300):
    rng = np.random.default_rng(seed)
    people, pictures = rng.integers(12, size=n), rng.integers(9, size=n)
    return people, pictures, (rng.random(n) < .3 + .3 * (people % 2) + .2 * (pictures % 2)).astype(int)

def test_the_two_way_variance_pair_by_pair():
    people, pictures, won = clustered()
    e, n, variance = won - won.mean(), len(won), 0.
    for i in range(n):
        for j in range(n): variance += e[i] * e[j] * (12 / 11 * (people[i] == people[j]) + 9 / 8 * (pictures[i] == pictures[j]) - (i == j))
    assert effective(people, pictures, won) == pytest.approx(won.mean() * (1 - won.mean()) * n * n / variance)
    assert effective(people, pictures, won) < n / 3

def test_answers_worth_as_much_as_they_are():
    people, pictures, won = clustered()
    assert effective(range(300), range(300), won) == pytest.approx(300, rel=.01)
    e = won - won.mean()
    of_pictures = 9 / 8 * sum(e[pictures == i].sum() ** 2 for i in range(9)) / 300**2
    assert effective(np.zeros(300), pictures, won) == pytest.approx(won.mean() * (1 - won.mean()) / of_pictures), 'of one person nothing is known about others'
    assert effective(people, pictures, np.ones(300)) == 9 and effective([1] * 4, [1] * 4, [1, 0, 1, 1]) == 4

def test_the_bootstrap_over_people_is_scipys():
    people, _, won = clustered()
    low, high = cluster_bootstrap(people, np.zeros(300), won, draws=20_000)
    sums = np.array([[won[people == p].sum(), (people == p).sum()] for p in range(12)])
    by_scipy = stats.bootstrap((sums[:, 0], sums[:, 1]), lambda a, b, axis=-1: a.sum(axis) / b.sum(axis), paired=True, n_resamples=20_000, method='percentile', rng=1).confidence_interval
    assert (low, high) == pytest.approx(tuple(by_scipy), abs=.01)

@pytest.mark.slow
def test_resampling_both_counts_an_answer_as_often_as_its_person_times_its_picture():
    people, pictures, won = clustered(n=40)
    rng, rates = np.random.default_rng(3), []
    for _ in range(4000):
        p, i = rng.integers(12, size=12), rng.integers(9, size=9)
        w = np.array([(p == a).sum() * (i == b).sum() for a, b in zip(people, pictures)])
        if w.sum(): rates.append((w * won).sum() / w.sum())
    names = [len(set(people.tolist())), len(set(pictures.tolist()))]
    assert names == [12, 9]
    assert cluster_bootstrap(people, pictures, won, draws=8000) == pytest.approx(tuple(np.quantile(rates, (.025, .975))), abs=.03)

def test_strengths_by_choix():
    rng, data = np.random.default_rng(0), []
    for _ in range(400):
        a, b = rng.choice(5, 2, replace=False)
        data.append((a, b) if rng.random() < 1 / (1 + np.exp(.4 * (a - b))) else (b, a))
    wins = np.zeros((5, 5))
    for a, b in data: wins[a, b] += 1
    by_choix = choix.mm_pairwise(5, data, max_iter=100_000, tol=1e-12)
    assert bradley_terry(wins, prior=0) == pytest.approx(by_choix - by_choix.mean(), abs=1e-6)
    assert np.abs(bradley_terry(wins) - bradley_terry(wins, prior=0)).max() < .1

def test_strengths_of_a_star_are_logits_of_its_rates():
    wins = np.array([[0, 30, 45], [10, 0, 0], [5, 0, 0]])
    s = bradley_terry(wins, prior=0)
    assert (s[0] - s[1], s[0] - s[2]) == pytest.approx((math.log(3), math.log(9)))
    never_lost = bradley_terry(np.array([[0, 9], [0, 0]]))
    assert never_lost[0] - never_lost[1] == pytest.approx(math.log(9.5 / .5))
    with pytest.raises(ValueError, match='chain'): bradley_terry(np.array([[0, 3, 0], [1, 0, 0], [0, 0, 0]]))

# from the answers to the table, on a crowd whose preference is known

def test_the_table_counts_first_answers_only():
    rows = simulate(schedule(PAPER, 30), Crowd(dict(ours=1., A=0, B=0, C=0, D=0, E=2.)))
    found = preferences(rows, PAPER.contests, draws=50)
    for f in found:
        count = [r for r in rows if r['kind'] == 'pair' and f.other in (r['left'], r['right'])]
        assert f.n == len(count) == 240 and f.wins == sum(r[r['answer']] == 'ours' for r in count)
        assert (f.low, f.high) == wilson(f.wins, f.n) and f.p_holm >= f.p and f.cluster_p_holm >= f.cluster_p
    assert found[0].rate > .5 > found[4].rate
    f = found[0]
    assert f.cluster_p == pytest.approx(2 * stats.norm.sf(abs(f.rate - .5) / math.sqrt(.25 / f.n_effective)))
    with pytest.raises(ValueError, match='none'): preferences(rows, [('A', 'B')])

def test_the_table_is_exported(tmp_path, study, capsys):
    for choose in ('left', 'right'): run(Session(study), lambda t: choose if SPOILED not in (t.left, t.right) else 'left' if t.right == SPOILED else 'right')
    analyse([str(study.folder), '--csv', str(tmp_path/'t.csv')])
    wins = sum(r[r['answer']] == 'secretive' for r in read_answers(study) if r['kind'] == 'pair')
    assert '2 of 2 participants' in (said := capsys.readouterr().out) and f'secretive over other: {wins / 6:.1%} of 6 answers' in said
    with open(tmp_path/'t.csv') as f: row, = csv.DictReader(f)
    assert row['ours'] == 'secretive' and (int(row['wins']), int(row['n'])) == (wins, 6)
    assert len(list(csv.DictReader(io.StringIO(read_answers(study).to_csv())))) == 10

def test_a_crowds_true_rate_by_drawing_it():
    crowd = Crowd(dict(A=.7, B=0.), people=.6, pictures=.9, lapses=.1)
    u = np.random.default_rng(0).normal(0, math.sqrt(2 * (.36 + .81)), 400_000)
    assert crowd.rate('A', 'B') == pytest.approx(.9 * (1 / (1 + np.exp(-.7 - u))).mean() + .05, abs=2e-3)
    assert crowd.rate('A', 'B') + crowd.rate('B', 'A') == pytest.approx(1)

def test_a_simulated_study_recovers_what_it_was_made_with():
    design = Design(range(60), 'ABCD', against='all', pairs=36)
    truth = dict(A=1., B=.4, C=-.4, D=-1.)
    rows = simulate(schedule(design, 60), Crowd(truth, people=.2, pictures=.2, left=1.), seed=2)
    assert attentive(rows)[1]['checks'] == 1
    for f in preferences(rows, design.contests, draws=50): assert f.rate == pytest.approx(Crowd(truth, .2, .2).rate(f.ours, f.other), abs=.09), 'a liking for the left button favours nobody'
    found = strengths_of(rows, list('ABCD'), draws=60)
    assert [s.method for s in found] == list('ABCD') and all(s.low < s.strength < s.high for s in found)
    pairs = [r for r in rows if r['kind'] == 'pair']
    assert win_matrix(pairs, list('ABCD')).sum() == len(pairs) == 60 * 36 and np.diff([s.strength for s in found]) == pytest.approx([-.6, -.8, -.6], abs=.3)

def test_intervals_keep_their_promise_where_people_and_pictures_differ():
    found = coverage(Design(range(25), 'AB', pairs=15, repeats=0, checks=0), 15, Crowd(dict(A=.5, B=0), .5, 1.), studies=60, draws=100)
    assert found['clusters']['covered'] >= .85 and found['bootstrap']['covered'] >= .85 and found['independent']['covered'] <= .85
