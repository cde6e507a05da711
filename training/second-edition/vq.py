import sys, torch, torch.nn.functional as F
from torch import nn
from world import *; from windows import *; from loop import fit
from ae import conv, zero, Res, rec_loss, lap
P = 5
class VQ(nn.Module):
    "16 x 16 tokens of 5 x 5 pixels: principal components, a codebook by k-means, a decoder that sees neighbours and surroundings. Pixels -1..1."
    def __init__(self, c=32, codes=8192, fine=128, coarse=160, dd=3):
        super().__init__(); self.c = c
        self.register_buffer('components', torch.zeros(3 * P * P, c)); self.register_buffer('mean', torch.zeros(3 * P * P)); self.register_buffer('book', torch.zeros(codes, c))
        self.low = nn.Sequential(conv(c, coarse), *(Res(coarse) for _ in range(dd)))
        self.around = nn.Sequential(nn.PixelUnshuffle(P), zero(conv(4 * P * P, coarse)))
        self.high = nn.Sequential(*(Res(coarse) for _ in range(dd)), nn.SiLU(), zero(conv(coarse, 3 * P * P)), nn.PixelShuffle(P))
        self.to(memory_format=torch.channels_last)
    def encode(self, x): return ((F.pixel_unshuffle(x, P).movedim(1, -1) - self.mean) @ self.components).movedim(-1, 1)
    def tokens(self, z):
        p = z.movedim(1, -1).flatten(0, 2).float(); half = self.book.square().sum(1) / 2
        return torch.cat([(half - q @ self.book.T).argmin(1) for q in p.split(8192)]).view(len(z), *z.shape[2:])
    def codes(self, t): return self.book[t].movedim(-1, 1)
    def blocks(self, z): return F.pixel_shuffle((z.movedim(1, -1) @ self.components.T + self.mean).movedim(-1, 1), P)
    def decode(self, z, image=None, mask=None):
        lin = self.blocks(z)
        if image is None: image, mask = torch.zeros_like(lin), torch.ones_like(lin[:, :1])
        return lin + self.high(self.low(z) + self.around(torch.cat([image * (1 - mask), 1 - mask], 1)))
def make(world, codes=8192, c=32, n=2400):
    v = VQ(c, codes); x = torch.cat([code_batch(world, 64)[0] for _ in range(n // 64)]) * 2 - 1
    b = F.pixel_unshuffle(x, P).movedim(1, -1).flatten(0, 2); b = b[torch.randperm(len(b))[:400000]]; m = b.mean(0)
    val, u = torch.linalg.eigh(((b - m).T @ (b - m) / len(b)).double()); v.components = u[:, val.argsort(descending=True)[:c]].float(); v.mean = m
    pts = (b - m) @ v.components
    cen = pts[torch.randperm(len(pts))[:codes]]
    for _ in range(7):
        half = cen.square().sum(1) / 2; own = torch.cat([(half - q @ cen.T).argmin(1) for q in pts.split(8192)])
        cnt = torch.bincount(own, minlength=codes)[:, None]; mean = torch.zeros_like(cen).index_add_(0, own, pts) / cnt.clamp(min=1)
        cen = torch.where(cnt > 0, mean, pts[torch.randint(len(pts), (codes,))])
    v.book = cen; return v
def evaluator(n=128):
    w = World(seed=10**6); x, mask, c, s = code_batch(w, n); x = x * 2 - 1
    def ev(m, i):
        q = m.codes(m.tokens(m.encode(x))); lin = m.blocks(q).clamp(-1, 1); r0, r1 = m.decode(q).clamp(-1, 1), m.decode(q, x, mask).clamp(-1, 1)
        ps = lambda r: round((10 * torch.log10(4 / (r - x).square().mean((1, 2, 3)))).mean().item(), 2)
        mm = mask[..., 1:-1, 1:-1]; sh = lambda r: round(((lap(r).abs() * mm).mean((1, 2, 3)) / (lap(x).abs() * mm).mean((1, 2, 3))).median().item(), 3)
        return dict(lin=ps(lin), psnr=ps(r0), sharp=sh(r0), sharp_around=sh(r1))
    return ev
if __name__ == '__main__':
    torch.manual_seed(0); w = World(seed=1)
    if Path('vq_start.pt').exists(): m = VQ(); m.load_state_dict(torch.load('vq_start.pt'))
    else: m = make(w); torch.save(m.state_dict(), 'vq_start.pt')
    B = 32
    def step(m, p, i):
        x, mask, _, _ = code_batch(w, B); x = x * 2 - 1
        with torch.no_grad(), torch.autocast('cpu', enabled=False): q = m.codes(m.tokens(m.encode(x)))
        around = (torch.arange(B) % 2 == 0).view(-1, 1, 1, 1).float()
        return rec_loss(m.decode(q, x, 1 - around * (1 - mask)).float(), x)
    fit('vq', m, step, int(sys.argv[2]), float(sys.argv[1]), lr=1.2e-3, wd=0., evaluate=evaluator(), eval_every=100)
