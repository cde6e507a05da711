import sys, torch, torch.nn.functional as F
from torch import nn
from world import *; from windows import *; from loop import fit
def conv(a, b, k=3): return nn.Conv2d(a, b, k, padding=k // 2)
def zero(l):
    for p in l.parameters(): nn.init.zeros_(p)
    return l
class Res(nn.Module):
    def __init__(self, w): super().__init__(); self.one, self.two = conv(w, w), conv(w, w)
    def forward(self, h): return h + self.two(F.silu(self.one(F.silu(h))))
class AE(nn.Module):
    "f8 code: linear part of principal components and two networks; the decoder also sees the surroundings."
    def __init__(self, c=24, fine=96, coarse=192, de=2, dd=3):
        super().__init__(); self.c = c
        self.register_buffer('components', torch.zeros(192, c)); self.register_buffer('mean', torch.zeros(192))
        self.encoder = nn.Sequential(nn.PixelUnshuffle(4), conv(48, fine), *(Res(fine) for _ in range(de)), nn.PixelUnshuffle(2), conv(4 * fine, coarse, 1), *(Res(coarse) for _ in range(de)), nn.SiLU(), zero(conv(coarse, c)))
        self.low = nn.Sequential(conv(c, coarse), *(Res(coarse) for _ in range(dd)), nn.SiLU(), conv(coarse, 4 * fine, 1), nn.PixelShuffle(2))
        self.around = nn.Sequential(nn.PixelUnshuffle(4), zero(conv(64, fine)))
        self.high = nn.Sequential(*(Res(fine) for _ in range(dd)), nn.SiLU(), zero(conv(fine, 48)), nn.PixelShuffle(4))
        self.to(memory_format=torch.channels_last)
    def encode(self, x):
        return ((F.pixel_unshuffle(x, 8).movedim(1, -1) - self.mean) @ self.components).movedim(-1, 1) + self.encoder(x)
    def decode(self, z, image=None, mask=None):
        "image (n 3 H W) -1..1 known where mask (n 1 H W) is 0."
        lin = F.pixel_shuffle((z.movedim(1, -1) @ self.components.T + self.mean).movedim(-1, 1), 8)
        if image is None: image, mask = torch.zeros(len(z), 3, *lin.shape[2:]), torch.ones(len(z), 1, *lin.shape[2:])
        return lin + self.high(self.low(z) + self.around(torch.cat([image * (1 - mask), 1 - mask], 1)))
def pca(x, c):
    b = F.pixel_unshuffle(x, 8).movedim(1, -1).flatten(0, 2).double(); m = b.mean(0)
    v, u = torch.linalg.eigh((b - m).T @ (b - m) / len(b)); o = v.argsort(descending=True)[:c]
    return u[:, o].float(), m.float()
def lap(x): return 4 * x[..., 1:-1, 1:-1] - x[..., :-2, 1:-1] - x[..., 2:, 1:-1] - x[..., 1:-1, :-2] - x[..., 1:-1, 2:]
def rec_loss(s, x, wmap=None):
    e = (s - x) / 2; w = 1 if wmap is None else wmap
    ed = lambda t: (t[..., :, 1:] - t[..., :, :-1], t[..., 1:, :] - t[..., :-1, :])
    g = sum(d.abs().mean() for d in ed(e))
    en = (F.avg_pool2d(lap(s / 2).abs(), 4) - F.avg_pool2d(lap(x / 2).abs(), 4)).abs().mean()
    return .5 * (w * e.abs()).mean() + 24 * (w * e.square()).mean() + .5 * g + .4 * en
def step_with(world, B=32):
    def step(m, p, i):
        x, mask, _, _ = code_batch(world, B); x = x * 2 - 1
        shown = torch.where((torch.arange(B) % 10 < 3).view(-1, 1, 1, 1), x * (1 - mask), x).contiguous(memory_format=torch.channels_last)
        z = m.encode(shown); noise = (.3 * torch.rand(B, 1, 1, 1) - .1).clamp(min=0)
        z = z + noise * z.detach().std((0, 2, 3), keepdim=True) * torch.randn_like(z)
        around = (torch.arange(B) % 2 == 0).view(-1, 1, 1, 1).float()
        s = m.decode(z, shown, 1 - around * (1 - mask)).float()
        return rec_loss(s, shown)
    return step
def evaluator(n=128):
    w = World(seed=10**6); x, mask, c, s = code_batch(w, n); x = x * 2 - 1
    def ev(m, i):
        z = m.encode(x); r = torch.cat([m.decode(z), m.decode(z, x, mask)]).clamp(-1, 1); r0, r1 = r.chunk(2)
        ps = lambda r: (10 * torch.log10(4 / (r - x).square().mean((1, 2, 3)))).mean().item()
        sh = lambda r: ((lap(r).abs() * mask[..., 1:-1, 1:-1]).mean((1, 2, 3)) / (lap(x).abs() * mask[..., 1:-1, 1:-1]).mean((1, 2, 3))).median().item()
        return dict(psnr=round(ps(r0), 2), sharp=round(sh(r0), 3), psnr_in=round((10 * torch.log10(4 * mask.mean((1, 2, 3)) / ((r1 - x).square() * mask).mean((1, 2, 3)))).mean().item(), 2), sharp_around=round(sh(r1), 3))
    return ev
if __name__ == '__main__':
    c, fine, coarse, minutes, name, total = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5], int(sys.argv[6])
    torch.manual_seed(0); w = World(seed=1); m = AE(c, fine, coarse)
    x = torch.cat([code_batch(w, 64)[0] for _ in range(24)]) * 2 - 1; m.components, m.mean = pca(x, c)
    m = fit(name, m, step_with(w), total, minutes, lr=1.2e-3, wd=0., evaluate=evaluator(), eval_every=60)
    z = m.encode(x[:512]); print({k: getattr(torch, k)(z.detach().movedim(1, 0).flatten(1), 1) for k in ('mean', 'std')})
