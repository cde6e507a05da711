"CLIP: ResNet tower, or ViT with patches of 16."
import sys, json, torch, numpy as np, torch.nn.functional as F
from torch import nn
from world import *; from scenes import *; from loop import fit; from tok import tokenizer
import rec
VISION = dict(resnet=dict(image_size=128, layers=[1, 2, 2, 1], width=32, head_width=64), vit=dict(image_size=128, layers=6, width=256, head_width=64, patch_size=16))
def build(tower, vocab):
    from open_clip import CLIP
    m = CLIP(embed_dim=256, vision_cfg=VISION[tower], text_cfg=dict(context_length=64, width=192, heads=3, layers=2, vocab_size=vocab)); return m.to(memory_format=torch.channels_last)
def encode_text(m, t):
    L = t.shape[1]; x = m.token_embedding(t) + m.positional_embedding[:L]
    x = m.ln_final(m.transformer(x, attn_mask=m.attn_mask[:L, :L])); return F.normalize(x[torch.arange(len(x)), t.argmax(-1)] @ m.text_projection, dim=-1)
def clip_loss(im, tx, index, scale):
    "Pictures (n d), distinct texts (u d), whose text is which (n)."
    logits = scale * im.float() @ tx.float().T
    a = F.cross_entropy(logits, index)
    same = F.one_hot(index, len(tx)).float().T; b = -(same / same.sum(1, keepdim=True) * logits.T.log_softmax(1)).sum(1).mean()
    return (a + b) / 2
REL = (('to the left of', 0, -1), ('to the right of', 0, 1), ('above', 1, -1), ('below', 1, 1))
def say(c, b, rng, where=''):
    "A caption of things c (k) in boxes b (k 4)."
    names = [corpus_word(k, rng) for k in c]; words = [article(n, rng) for n in names]
    if len(c) == 1:
        col = ROWS[c[0]]['colour']; r = rng.random()
        if r < .1 and col: return article(f'{col} {names[0]}') if not names[0].startswith(('red', 'green')) else words[0]
        if r < .2:
            side = max(b[0][2] - b[0][0], b[0][3] - b[0][1]); return article(('large ' if side > 60 else 'small ' if side < 40 else '') + names[0])
        return words[0] + (' ' + where if where and rng.random() < .45 else '')
    if len(c) == 2 and rng.random() < .5:
        mid = [((q[0] + q[2]) / 2, (q[1] + q[3]) / 2) for q in b]; d = (mid[0][0] - mid[1][0], mid[0][1] - mid[1][1]); ax = int(abs(d[1]) > abs(d[0]))
        return f"{words[0]} {next(r for r, a, s in REL if a == ax and (d[a] < 0) == (s < 0))} {words[1]}"
    o = rng.permutation(len(c)); words = [words[i] for i in o]
    end = ' ' + where if where and rng.random() < .3 else ''
    return words[0] + ' and ' + words[1] + end if len(c) == 2 else f'{words[0]}, {words[1]} and {words[2]}'
def close(world, n):
    "A thing seen near: 128 x 128, as boxes and proposals show it."
    x, c, s = rec.batch(world, n, wear=True); return F.interpolate(x, (128, 128), mode='bicubic').clamp(0, 1), c
def close_sharp(world, n):
    S = 128; c, i, s, b = rec.loose(world, n, S); z = world.grounds(n, (S, S)); z = world.paste(z, i, s, b, world.rand(n) < .5)
    return world.lit(z), c
def batch(world, n, rng, tok, p):
    "Pictures (n 3 128 128) -1..1, tokens of distinct texts, index."
    near = int(n * .3); sharp = int(n * .2); rest = n - near - sharp; one, two = int(rest * .6), int(rest * .28)
    x1, c1 = close(world, near); x2, c2 = close_sharp(world, sharp); xs, cap = [x1, x2], [article(corpus_word(int(k), rng), rng) for k in torch.cat([c1, c2])]
    for k, m in ((1, one), (2, two), (3, rest - one - two)):
        low = 28 + 22 * max(0, 1 - p * 4); x, c, b, _ = draw(world, m, k, low=low, clutter=.35); xs.append(x); cap += [say(ci, bi, rng, wh) for ci, bi, wh in zip(c.tolist(), b.tolist(), world.said)]
    x = torch.cat(xs); x = x * world.uni(.85, 1.15, n, 3, 1, 1) + world.uni(-.05, .05, n, 1, 1, 1)
    grey = (world.rand(n, 1, 1, 1) < .08).float(); x = x * (1 - grey) + grey * x.mean(1, keepdim=True)
    texts = list(dict.fromkeys(cap)); where = {t: i for i, t in enumerate(texts)}
    return (x.clamp(0, 1) * 2 - 1).contiguous(memory_format=torch.channels_last), tok(texts, padding=True, truncation=True, max_length=64, return_tensors='pt').input_ids, torch.tensor([where[t] for t in cap])
def evaluator(tok):
    w = World(seed=10**6 + 5); n = 500
    x1, c1, b1, _ = draw(w, n, 1, clutter=.5)
    def boxes(x, b):
        S = x.shape[-1]; lo, hi = b[:, :2].clamp(min=0), b[:, 2:].clamp(max=S); th = torch.zeros(len(x), 2, 3); wh = (hi - lo) / S; th[:, 0, 0], th[:, 1, 1] = wh[:, 0], wh[:, 1]; mid = (hi + lo) / S - 1; th[:, 0, 2], th[:, 1, 2] = mid[:, 0], mid[:, 1]
        return F.grid_sample(x, F.affine_grid(th, (len(x), 3, 128, 128), align_corners=False), mode='bicubic', align_corners=False).clamp(0, 1)
    x2 = boxes(x1, b1[:, 0])
    wu = World(seed=10**6 + 3, sets=('noto-v1',) * 3); have = [i for i in TRAINED if float(wu.extent[0, FIRST[i]].sum()) > 0]
    old = wu.pick; wu.pick = lambda n, concepts=None, sets=None, first=False: old(n, have, 0, True)
    x3, c3, b3, _ = draw(wu, n, 1, clutter=0.); x3 = boxes(x3, b3[:, 0])
    toks = tok([article(ROWS[i]['name']) for i in TRAINED], padding=True, return_tensors='pt').input_ids; ids = torch.tensor(TRAINED)
    def ev(m, i):
        t = encode_text(m, toks).float()
        acc = lambda x, c: round((ids[(torch.cat([m.encode_image(q.contiguous(memory_format=torch.channels_last), normalize=True).float() for q in (x * 2 - 1).split(50)]) @ t.T).argmax(1)] == c.flatten()).float().mean().item(), 4)
        return dict(scene=acc(x1, c1), box=acc(x2, c1), unseen=acc(x3, c3), scale=round(m.logit_scale.exp().item(), 1))
    return ev
if __name__ == '__main__':
    tower, name, minutes, total = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]); B = 128
    torch.manual_seed(0); tok = tokenizer(64); m = build(tower, len(tok)); w = World(seed=11); rng = np.random.default_rng(11); print(sum(p.numel() for p in m.parameters()), flush=True)
    def step(m, p, i):
        x, t, idx = batch(w, B, rng, tok, p)
        return clip_loss(m.encode_image(x, normalize=True), encode_text(m, t), idx, m.logit_scale.exp().clamp(max=100))
    fit(name, m, step, total, minutes, lr=1e-3, wd=.05, evaluate=evaluator(tok), eval_every=300)
