"""What the script computes is what Python computes: terms, losses, scores, ranks, winners and the
next change of winner, under node, on random bundles and on results of the stubs."""
import json, random, shutil, subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regionedit.explorer.bundle import make_bundle, packed
from regionedit.method.config import Config
from regionedit.method.learner import trajectory_of
from regionedit.method.losses import rank
from regionedit.method.regions import METHODS
from regionedit.method.table import TERMS
from stubs import stub_result

pytestmark = pytest.mark.skipif(not shutil.which('node'), reason='needs node')
SCRIPT = Path(__file__).parents[2]/'regionedit'/'explorer'/'explorer.js'

DRIVER = '''
import { readFileSync } from 'node:fs';
const m = await import('data:text/javascript;base64,' + readFileSync(process.argv[1]).toString('base64'));
const out = JSON.parse(readFileSync(0, 'utf8')).map(({ bundle, weights, ends, map }) => {
  const t = m.openTable(bundle), start = m.weightsOf(bundle.config);
  const plain = a => Array.from(a, v => Number.isFinite(v) ? v : null);
  return {
    values: Object.fromEntries(Object.entries(m.tableValues(t, start)).map(([n, v]) => [n, plain(v)])),
    own: m.ranking(t, start, 'learned'),
    curves: Object.values(t.runs).map(r => ({ chosen: [...r.chosen], loss: [...m.learningCurve(t, r, start)] })),
    turned: weights.map(w => ({
      loss: plain(m.losses(t, w)), filled: [...m.filledLosses(t, w)],
      learned: m.ranking(t, w, 'learned'), best: m.ranking(t, w, 'best'),
      map: m.winnerMap(t, w, 'best', map, map),
      next: Object.fromEntries(m.WEIGHTS.flatMap(n => ['learned', 'best'].flatMap(how => [-1, 1].map(sign =>
        [`${n} ${how} ${sign}`, m.nextChange(t, w, how, n, sign, sign < 0 ? 0 : ends)])))),
    })) };
});
process.stdout.write(JSON.stringify(out));
'''
END, GRID = 3., [0., .5, 1., 1.5, 2., 2.5, 3.]

def winners(s_t2i, s_i2i, alphas, betas, evidence=0.):      # (b a) long
    "Who has the highest score for each pair of weights; of equal scores the first."
    score = alphas[None, :, None] * s_t2i + betas[:, None, None] * s_i2i + evidence
    return (score == score.amax(-1, keepdim=True)).float().argmax(-1)

def under_node(cases: list) -> list:
    "The script's answer to each case, in one process."
    run = subprocess.run(['node', '--input-type=module', '-e', DRIVER, str(SCRIPT)], text=True,
                         input=json.dumps(cases), capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)

def random_result(seed: int):
    "A result with a random table, some of it unknown, of random size."
    g, dice, base = torch.Generator().manual_seed(seed), random.Random(seed), stub_result()
    k, m = dice.randint(1, 9), dice.randint(1, 8)
    def values(*shape): return torch.rand(*shape, generator=g)
    corner = (values(k, m, 2) * 10).long()
    boxes = torch.cat([corner, corner + 1 + (values(k, m, 2) * 8).long()], -1)
    index = torch.arange(k * m).view(k, m) % len(base.table.edits)
    terms = {t: values(k, m) for t in TERMS}
    if seed % 3 == 0 and m > 1:
        index = index.masked_fill(hidden := values(k, m) < .3, -1)
        terms = {t: v.masked_fill(hidden, torch.nan) for t, v in terms.items()}
        index[0, 0], terms = 0, {t: v.index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(.5))
                                 for t, v in terms.items()}
    table = replace(base.table, boxes=boxes, index=index, terms=terms, s_t2i=values(k, m),
                    s_i2i=values(k, m), s_src=values(k, m) if seed % 2 else None)
    config = Config(alpha=3 * dice.random(), beta=3 * dice.random(),
                    source_weight=3 * dice.random(), lambda_clip=2 * dice.random(),
                    lambda_dir=2 * dice.random(), lambda_str=2 * dice.random(),
                    ranking='all' if seed % 4 == 1 else 'paper')
    class Record:
        probabilities = [values(k, m).softmax(-1) for _ in range(4)]
        choose = staticmethod(lambda p: p.argmax(-1) if seed % 5 else p.argmin(-1))     # or a draw
    return replace(base, table=table, config=config, candidates=[],
                   trajectory=trajectory_of(Record, table, config))

def weights_of(c) -> dict:
    return dict(alpha=c.alpha, beta=c.beta, source=c.source_weight, clip=c.lambda_clip,
                dir=c.lambda_dir, str=c.lambda_str, all=c.ranking == 'all')

def config_of(w) -> Config:
    return Config(alpha=w['alpha'], beta=w['beta'], source_weight=w['source'],
                  lambda_clip=w['clip'], lambda_dir=w['dir'], lambda_str=w['str'],
                  ranking='all' if w['all'] else 'paper')

def ranked(result, w: dict, how: str, table=None) -> list:
    "Python's order: (anchor, proposal, score)."
    table, config = table or result.table, config_of(w)
    k = torch.arange(len(table.index))
    loss = table.loss(config).masked_fill(~table.valid, torch.inf)
    chosen = result.trajectory.chosen[-1] if how == 'learned' else loss.argmin(1)
    kept = table.valid[k, chosen].nonzero()[:, 0]
    score = table.score(config)[kept, chosen[kept]]
    return [(int(kept[i]), int(chosen[kept[i]]), score[i].item()) for i in rank(score)]

def in_double(table):
    "The same table with numbers of 64 bits: where two scores cross is told more finely."
    wide = {n: v.double() for n, v in dict(s_t2i=table.s_t2i, s_i2i=table.s_i2i, s_src=table.s_src)
            .items() if v is not None}
    return replace(table, terms={t: v.double() for t, v in table.terms.items()}, **wide)

SEEDS = range(20)
RESULTS = [random_result(seed) for seed in SEEDS]

@pytest.fixture(scope='module')
def answers():
    dice, cases = random.Random(7), []
    for result in RESULTS:
        own = weights_of(result.config)
        turned = [{n: v if n == 'all' else round(END * dice.random(), 2) for n, v in own.items()}
                  for _ in range(3)] + [dict.fromkeys(own, 0)]
        cases.append(dict(bundle=make_bundle(result), weights=turned, ends=END, map=GRID))
    return list(zip(RESULTS, cases, under_node(cases)))

def close(script: list, python: torch.Tensor):
    "Equal to 1e-5, unknown in the same places."
    got = torch.tensor([float('nan') if v is None else v for v in script],
                       dtype=torch.float32)
    assert torch.allclose(got, python.flatten().float(), atol=1e-5, rtol=1e-5, equal_nan=True)

def same_order(script: list, python: list):
    assert [(e['k'], e['m']) for e in script] == [p[:2] for p in python]
    assert [e['score'] for e in script] == pytest.approx([p[2] for p in python], abs=1e-5)

def test_terms_losses_and_scores(answers):
    for result, _, said in answers:
        t, c = result.table, result.config
        for name in TERMS: close(said['values'][name], t.terms[name])
        close(said['values']['loss'], t.loss(c).masked_fill(~t.valid, torch.nan))
        close(said['values']['score'], t.score(c).masked_fill(~t.valid, torch.nan))
        same_order(said['own'], ranked(result, weights_of(c), 'learned'))

def test_learning(answers):
    for result, _, said in answers:
        path, known = result.trajectory, result.table.valid.any(1)
        expected = (path.probabilities * result.table.loss(result.config)).sum(-1)[:, known].mean(-1)
        close(said['curves'][0]['loss'], expected)
        assert said['curves'][0]['chosen'] == path.chosen.flatten().tolist()

def test_ranks_under_other_weights(answers):
    for result, case, said in answers:
        for w, turned in zip(case['weights'], said['turned']):
            t = result.table
            close(turned['loss'], t.loss(config_of(w)).masked_fill(~t.valid, torch.nan))
            close(turned['filled'], t.loss(config_of(w)))
            for how in ('learned', 'best'): same_order(turned[how], ranked(result, w, how))

def test_map_of_winners(answers):
    for result, case, said in answers:
        for w, turned in zip(case['weights'], said['turned']):
            k, m, _ = zip(*sorted(ranked(result, w, 'best')))
            t, axis = result.table, torch.tensor(GRID)
            extra = t.evidence(config_of(w))
            extra = extra[list(k), list(m)] if torch.is_tensor(extra) else extra
            if w['all']: extra = extra - config_of(w).loss(dict(t.terms, clip=0))[list(k), list(m)]
            who = winners(t.s_t2i[list(k), list(m)], t.s_i2i[list(k), list(m)], axis, axis, extra)
            assert turned['map'] == [k[i] for i in who.flatten().tolist()]

@pytest.mark.parametrize('seed', SEEDS)
def test_next_change_of_winner(answers, seed):
    "Python's own ranking, a hair before and a hair behind the value that the script names."
    result, case, said = answers[seed]
    fine, hair = in_double(result.table), 1e-6
    for w, turned in zip(case['weights'][:3], said['turned']):
        for key, found in turned['next'].items():
            name, how, sign = key.split()
            end, sign = 0. if sign == '-1' else END, int(sign)
            def winner(value): return ranked(result, {**w, name: value}, how, fine)[0][:2]
            now = winner(w[name])
            last = end if found is None else found['value'] - sign * hair
            steps = torch.linspace(w[name], last, 23).tolist() if (last - w[name]) * sign > 0 else []
            assert all(winner(min(max(v, 0.), END)) == now for v in steps[:-1]), key
            if found and 0 <= (behind := found['value'] + sign * hair):
                assert winner(behind) == (found['k'], found['m']) != now, key

def test_what_is_named_by_hand():
    "Two candidates: at alpha = 1 they are equal, above it the first wins."
    result = random_result(2)
    two = torch.tensor
    table = replace(result.table, boxes=result.table.boxes[:1, :1].expand(2, 1, 4).contiguous(),
                    index=two([[0], [1]]), terms={t: two([[.1], [.1]]) for t in TERMS},
                    s_t2i=two([[.8], [.3]]), s_i2i=two([[.25], [.75]]), s_src=None)
    config = Config(alpha=2., beta=1.)
    class Record: probabilities, choose = [torch.ones(2, 1)], staticmethod(lambda p: p.argmax(-1))
    result = replace(result, table=table, config=config,
                     trajectory=trajectory_of(Record, table, config))
    said, = under_node([dict(bundle=make_bundle(result), weights=[weights_of(config)], ends=3,
                             map=[0, 2])])
    assert said['turned'][0]['next']['alpha learned -1'] == dict(value=pytest.approx(1.), k=1, m=0)
    assert said['turned'][0]['next']['alpha learned 1'] is None
    assert said['turned'][0]['map'] == [0, 0, 1, 0]     # all weights 0: the first

def test_scales_and_sinks():
    code = DRIVER.split('const out')[0] + '''
      const map = [1, 10, 100, 1000];
      const near = a => Array.from(a, v => Math.round(1000 * v) / 1000);
      console.log(JSON.stringify({ linear: near(m.scaled(map, 'linear')), log: near(m.scaled(map, 'log')),
        rank: near(m.scaled([5, 1, 5, 9], 'rank')), sink: m.sink(map), none: m.sink([1, 1, 1, 1]) }));'''
    run = subprocess.run(['node', '--input-type=module', '-e', code, str(SCRIPT)], text=True,
                         capture_output=True, timeout=60)
    said = json.loads(run.stdout)
    assert said['linear'] == [0, .009, .099, 1] and said['log'] == [0, .333, .667, 1]
    assert said['rank'] == [.5, 0, .5, 1]
    assert said['sink'] == dict(share=pytest.approx(1000 / 1111), at=3) and said['none'] is None

def holding(attention: torch.Tensor, share: float) -> list:     # 1 inside, row by row
    "The fewest patches that hold a share of the attention, of equal ones the first."
    values = attention.flatten().double()
    order = values.argsort(descending=True, stable=True)
    before = values[order].cumsum(0) - values[order]
    return (before < (share - 1e-9) * values.sum())[order.argsort()].int().tolist()

@pytest.mark.parametrize('size', [(60, 40), (128, 128), (37, 210)])
def test_anchors_by_rule_and_the_patches_that_hold_a_share(size):
    "Python's rules on the same map, of equal values the first."
    g, grid = torch.Generator().manual_seed(size[0]), (5, 7)
    attention = torch.rand(grid, generator=g).mul(9).round().div(9)
    code = DRIVER.split('const out')[0] + '''
      const { map, grid, size } = JSON.parse(readFileSync(0, 'utf8')), out = { mass: {} };
      for (const rule of ['spread', 'topk']) out[rule] = m.chooseAnchors(Float32Array.from(map), grid, rule, 8, size);
      for (const share of [.05, .6, 1]) out.mass[share] = [...m.massRegion(Float32Array.from(map), share)];
      console.log(JSON.stringify(out));'''
    run = subprocess.run(['node', '--input-type=module', '-e', code, str(SCRIPT)], text=True,
                         input=json.dumps(dict(map=attention.flatten().tolist(), grid=grid,
                                               size=size)), capture_output=True, timeout=60)
    said = json.loads(run.stdout)
    for rule, choose in METHODS.items():
        assert torch.tensor(said[rule]).allclose(choose(attention, 8, size), atol=1e-3)
    for share, inside in said['mass'].items():
        assert inside == holding(attention, float(share))

def test_numbers_arrive_as_they_are():
    values = torch.tensor([[1e-9, float('nan')], [-3.25, 1 / 3]])
    sent = packed(values)
    assert sent['shape'] == [2, 2] and len(sent['data']) == 24

def of_the_script(names: str, program: str, **given):
    "What a program makes of names that the script keeps to itself."
    code = f"""import {{ readFileSync }} from 'node:fs';
      const text = readFileSync(process.argv[1], 'utf8') + '\\nexport {{ {names} }};';
      const m = await import('data:text/javascript;base64,' + Buffer.from(text).toString('base64'));
      const given = JSON.parse(readFileSync(0, 'utf8'));
      console.log(JSON.stringify(await (async () => {{ {program} }})()));"""
    run = subprocess.run(['node', '--input-type=module', '-e', code, str(SCRIPT)], text=True,
                         input=json.dumps(given), capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)

def contrast(a, b) -> float:        # WCAG 2.1; colours as 0..255
    light = [sum(w * (v / 3294.6 if v <= 10 else ((v / 255 + .055) / 1.055)**2.4)
                 for v, w in zip(c, (.2126, .7152, .0722))) + .05 for c in (a, b)]
    return max(light) / min(light)

def test_a_cells_number_can_be_read_on_any_colour_of_the_map():
    "By 4.5 to 1, whatever the theme."
    said = of_the_script('ramp, inkOn', """return ['inferno', 'cividis'].flatMap(name =>
      Array.from({ length: 101 }, (_, i) => m.ramp(name, i / 100)).map(c => [c, m.inkOn(c)]));""")
    inks = {'#000': (0, 0, 0), '#fff': (255, 255, 255)}
    assert len(said) == 202 and {ink for _, ink in said} == {*inks}
    assert min(contrast(colour, inks[ink]) for colour, ink in said) > 4.5

def test_where_no_weight_counts_nobody_wins():
    "The sentence below the ranking; with `ranking='all'` direction and structure count, and then somebody does."
    result = replace(random_result(1), config=replace(random_result(1).config, ranking='paper'))
    none = dict.fromkeys(weights_of(result.config), 0) | dict(all=False)
    turned = [none, none | dict(source=1), none | dict(beta=1), none | dict(clip=1, dir=1),
              none | dict(all=True), none | dict(all=True, str=1)]
    said = of_the_script('Explorer', """const t = m.openTable(given.bundle);
      return given.turned.map(w => m.Explorer.prototype.rankingWords.call({ t, ranked: m.ranking(t, w, 'learned'),
        s: { w, turned: 'alpha', how: 'learned' }, limits: () => ({ alpha: 3 }) }));""",
                         bundle=make_bundle(result), turned=turned)
    assert [s.startswith('All weights of the score are 0: every score is the same') for s in said] == [True, False, False, True, True, False]
    assert all('comes first at alpha = 0.00' in s for i, s in enumerate(said) if i in (1, 2, 5))
