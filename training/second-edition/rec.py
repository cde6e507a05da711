"The second judge: a small CNN on boxes, supervised, worn crops."
import sys, torch, torch.nn.functional as F
from torch import nn
from world import *; from loop import fit
SIDE = 48
def net(n):
    L = []; b = 3
    for i, w in enumerate((24, 48, 96, 128)):
        L += [nn.Conv2d(b, w, 3 if i else 4, 1 if i else 2, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU()]; b = w
        if i: L.append(nn.MaxPool2d(2))
    return nn.Sequential(*L, nn.Flatten(), nn.Dropout(.1), nn.Linear(9 * 128, n)).to(memory_format=torch.channels_last)
def loose(world, n, S=64):
    "A thing in a canvas S; it fills .45 to 1.05 of it, off the centre."
    c, i, s = world.pick(n); e = world.extent[s, i]; k = world.uni(.5, 1.04, n) * S
    wh = e / e.max(1, keepdim=True).values * k[:, None]; free = S - wh; o = free * world.uni(.1, .9, n, 2)
    return c, i, s, torch.cat([o, o + wh], 1)
def worn(world, x):
    n = len(x)
    for lo in (.45, .65):
        on = world.rand(n) < .3; h = x.shape[2]; k = int(h * lo)
        x = torch.where(on.view(-1, 1, 1, 1), F.interpolate(F.interpolate(x, (k, k), mode='area'), (h, h), mode='bicubic'), x)
    x = x * world.uni(.8, 1.2, n, 3, 1, 1) + world.uni(-.06, .06, n, 3, 1, 1)
    return (x + world.randn(*x.shape) * world.uni(0, .05, n, 1, 1, 1) * (world.rand(n, 1, 1, 1) < .5)).clamp(0, 1)
def batch(world, n, wear=True, squash=True):
    S = 64; z = world.grounds(n, (S, S))
    c2, i2, s2, b2 = loose(world, n, S); off = world.uni(.55, .9, n, 2) * S * torch.where(world.rand(n, 2) < .5, -1., 1.); one = world.rand(n) < .5
    off = torch.stack([torch.where(one, off[:, 0], world.uni(-.5, .5, n) * S), torch.where(one, world.uni(-.5, .5, n) * S, off[:, 1])], 1)
    z = world.paste(z, i2, s2, b2 + off.repeat(1, 2), world.rand(n) < .5, alpha=(world.rand(n) < .25).float().view(-1, 1, 1, 1))
    c, i, s, b = loose(world, n, S); z = world.lit(world.paste(z, i, s, b, world.rand(n) < .5))
    tight = world.rand(n) < .4                  # squashed to the thing's own box, as a true box is
    lo = torch.where(tight[:, None], b[:, :2] - .04 * (b[:, 2:] - b[:, :2]), torch.zeros_like(b[:, :2])).clamp(min=0); hi = torch.where(tight[:, None], b[:, 2:] + .04 * (b[:, 2:] - b[:, :2]), torch.full_like(b[:, :2], S)).clamp(max=S)
    th = torch.zeros(n, 2, 3); wh = (hi - lo) / S; th[:, 0, 0], th[:, 1, 1] = wh[:, 0], wh[:, 1]; mid = (hi + lo) / S - 1; th[:, 0, 2], th[:, 1, 2] = mid[:, 0], mid[:, 1]
    z = F.grid_sample(z, F.affine_grid(th, (n, 3, SIDE, SIDE), align_corners=False), mode='bilinear', align_corners=False)
    return (worn(world, z) if wear else z), c, s
_net = None
@torch.no_grad()
def judge(x, mask):
    "Names (indices) of what is in holes: x (n 3 H W) 0..1, mask (n 1 H W)."
    global _net
    if _net is None:
        from safetensors.torch import load_file
        _net = net(len(ROWS)); _net.load_state_dict({k[2:]: v for k, v in load_file('rec.ckpt').items() if k.startswith('e.')}); _net.eval()
    out = []
    for p, m in zip(x, mask):
        ys, xs = m[0].any(1).nonzero(), m[0].any(0).nonzero(); crop = p[:, ys[0]:ys[-1] + 1, xs[0]:xs[-1] + 1]
        out.append(F.interpolate(crop[None], (SIDE, SIDE), mode='bicubic', antialias=True).clamp(0, 1))
    return _net(torch.cat(out) * 2 - 1).argmax(1).tolist()
def evaluator():
    w = World(seed=10**6 + 2); x, c, s = batch(w, 600, wear=False); y, d, r = batch(w, 600)
    wu = World(seed=10**6 + 3, sets=('noto-v1',) * 3); have = [i for i in TRAINED if float(wu.extent[0, FIRST[i]].sum()) > 0]
    def unseen():
        import rec; old = World.pick
        World.pick = lambda self, n, concepts=have, sets=None, first=False: old(self, n, have, 0, True)
        r = batch(wu, 600, wear=False); World.pick = old; return r
    u, uc, _ = unseen()
    acc = lambda m, x, c: round((torch.cat([m(p * 2 - 1) for p in x.split(200)]).argmax(1) == c).float().mean().item(), 4)
    return lambda m, i: dict(clean=acc(m, x, c), worn=acc(m, y, d), unseen=acc(m, u, uc))
if __name__ == '__main__':
    w = World(seed=3); B = 192; torch.manual_seed(0)
    def step(m, p, i):
        x, c, s = batch(w, B); return F.cross_entropy(m((x * 2 - 1).contiguous(memory_format=torch.channels_last)).float(), c, label_smoothing=.05)
    fit('rec', net(len(ROWS)), step, int(sys.argv[2]), float(sys.argv[1]), lr=3e-3, wd=.02, ema_decay=.995, evaluate=evaluator(), eval_every=100)
