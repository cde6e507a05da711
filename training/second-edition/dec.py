import sys, torch, torch.nn.functional as F
from torch import nn
from world import *; from windows import *; from loop import fit
from ae import conv, zero, Res, lap
class Code(nn.Module):
    "f8 code: principal components of 8 x 8 blocks; a decoder that also sees the surroundings."
    def __init__(self, c=24, fine=96, coarse=192, dd=3):
        super().__init__()
        self.register_buffer('components', torch.zeros(192, c)); self.register_buffer('mean', torch.zeros(192)); self.register_buffer('scale', torch.ones(c))
        self.low = nn.Sequential(conv(c, coarse), *(Res(coarse) for _ in range(dd)), nn.SiLU(), conv(coarse, 4 * fine, 1), nn.PixelShuffle(2))
        self.around = nn.Sequential(nn.PixelUnshuffle(4), zero(conv(64, fine)))
        self.high = nn.Sequential(*(Res(fine) for _ in range(dd)), nn.SiLU(), zero(conv(fine, 48)), nn.PixelShuffle(4))
        self.to(memory_format=torch.channels_last)
    def encode(self, x): return ((F.pixel_unshuffle(x, 8).movedim(1, -1) - self.mean) @ self.components / self.scale).movedim(-1, 1)
    def linear(self, z): return F.pixel_shuffle(((z.movedim(1, -1) * self.scale) @ self.components.T + self.mean).movedim(-1, 1), 8)
    def decode(self, z, image=None, mask=None):
        "image (n 3 H W) -1..1 known where mask (n 1 H W) is 0; z unit variance a channel."
        lin = self.linear(z)
        if image is None: image, mask = torch.zeros_like(lin), torch.ones_like(lin[:, :1])
        return lin + self.high(self.low(z) + self.around(torch.cat([image * (1 - mask), 1 - mask], 1)))
def rec_loss(s, x):
    e = (s - x) / 2
    g = (e[..., :, 1:] - e[..., :, :-1]).abs().mean() + (e[..., 1:, :] - e[..., :-1, :]).abs().mean()
    en = (F.avg_pool2d(lap(s / 2).abs(), 3, 2) - F.avg_pool2d(lap(x / 2).abs(), 3, 2)).abs().mean()
    return e.abs().mean() + 12 * e.square().mean() + g + 1. * en
def start():
    from safetensors.torch import load_file
    t = load_file('ae24.ckpt'); c = Code(); c.components.copy_(t['e.components']); c.mean.copy_(t['e.mean'])
    w = World(seed=77); x = torch.cat([code_batch(w, 64)[0] for _ in range(16)]) * 2 - 1
    c.scale.copy_(c.encode(x).movedim(1, 0).flatten(1).std(1)); return c
def load(f='dec.ckpt', part='e.'):
    from safetensors.torch import load_file
    c = Code(); c.load_state_dict({k[2:]: v for k, v in load_file(f).items() if k.startswith(part)}); return c.eval().requires_grad_(False)
def evaluator(n=96):
    w = World(seed=10**6); x, mask, c, s = code_batch(w, n, kinds=('plain', 'noise', 'gradient', 'horizon', 'old', 'old')); x = x * 2 - 1; mm = mask[..., 1:-1, 1:-1]
    def ev(m, i):
        from torchvision.utils import save_image
        z = m.encode(x); r0, r1 = m.decode(z).clamp(-1, 1), m.decode(z, x, mask).clamp(-1, 1)
        save_image(torch.stack([x[:16], r0[:16]]).flatten(0, 1) / 2 + .5, 'dec.png', nrow=16)
        ps = lambda r: round((10 * torch.log10(4 / (r - x).square().mean((1, 2, 3)))).mean().item(), 2)
        sh = lambda r: round(((lap(r).abs() * mm).mean((1, 2, 3)) / (lap(x).abs() * mm).mean((1, 2, 3))).median().item(), 3)
        return dict(psnr=ps(r0), sharp=sh(r0), linear=ps(m.linear(z)), sharp_around=sh(r1), psnr_in=round((10 * torch.log10(4 * mask.mean((1, 2, 3)) / ((r1 - x).square() * mask).mean((1, 2, 3)))).mean().item(), 2))
    return ev
if __name__ == '__main__':
    torch.manual_seed(0); c = start(); w = World(seed=5); B = 8; G = 64; pool = []
    def step(m, p, i):
        if not pool:
            x, mask, _, _ = code_batch(w, G); pool.extend(zip((x * 2 - 1).split(B), mask.split(B)))
        x, mask = pool.pop(); x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast('cpu', enabled=False):
            z = m.encode(x); z = z + (.24 * torch.rand(B, 1, 1, 1) - .12).clamp(min=0) * torch.randn_like(z)
        around = (torch.rand(B) < .6).view(-1, 1, 1, 1).float()
        return rec_loss(m.decode(z, x, 1 - around * (1 - mask)).float(), x)
    fit('dec', c, step, int(sys.argv[2]), float(sys.argv[1]), lr=8e-4, wd=0., evaluate=evaluator(), eval_every=150)
