import sys, torch, torch.nn.functional as F
from torch import nn
from world import *; from windows import *; from loop import fit
from ae import conv, zero, Res, lap
import dec
from dec import Code, rec_loss
class AE2(Code):
    "Linear code, corrected by a network on the way in; the decoder also sees the surroundings."
    def __init__(self, c=24, fine=96, coarse=192, dd=3, de=2):
        super().__init__(c, fine, coarse, dd)
        self.encoder = nn.Sequential(nn.PixelUnshuffle(4), conv(48, fine), *(Res(fine) for _ in range(de)), nn.PixelUnshuffle(2), conv(4 * fine, coarse, 1), *(Res(coarse) for _ in range(de)), nn.SiLU(), zero(conv(coarse, c)))
        self.to(memory_format=torch.channels_last)
    def encode(self, x):
        return ((F.pixel_unshuffle(x, 8).movedim(1, -1) - self.mean) @ self.components / self.scale).movedim(-1, 1) + self.encoder(x)
def load(f='ae2.ckpt', part='e.'):
    from safetensors.torch import load_file
    c = AE2(); c.load_state_dict({k[2:]: v for k, v in load_file(f).items() if k.startswith(part)}); return c.eval().requires_grad_(False)
if __name__ == '__main__':
    torch.manual_seed(0); c = AE2(); w = World(seed=6); B = 8; G = 64; pool = []
    if not Path('ae2.ckpt').exists():
        from safetensors.torch import load_file
        c.load_state_dict({k[2:]: v for k, v in load_file('dec.ckpt').items() if k.startswith('e.')}, strict=False)
    base = dec.evaluator()
    def ev(m, i):
        r = base(m, i); w = World(seed=10**6); x, mask, *_ = code_batch(w, 64, kinds=('plain', 'noise', 'horizon', 'old')); x = x * 2 - 1
        z = m.encode(x); u = z.std((0, 2, 3), keepdim=True); y = m.decode(z + .2 * u * torch.randn_like(z)).clamp(-1, 1)
        r['psnr_noise'] = round((10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean().item(), 2); return r
    def step(m, p, i):
        if not pool:
            x, mask, _, _ = code_batch(w, G); pool.extend(zip((x * 2 - 1).split(B), mask.split(B)))
        x, mask = pool.pop(); holed = (torch.arange(B) % 4 == 0).view(-1, 1, 1, 1)
        x = torch.where(holed, x * (1 - mask), x).contiguous(memory_format=torch.channels_last)
        z = m.encode(x); unit = z.detach().float().std((0, 2, 3), keepdim=True)
        z = z + (.375 * torch.rand(B, 1, 1, 1) - .125).clamp(min=0) * unit * torch.randn_like(z)
        around = (torch.rand(B) < .6).view(-1, 1, 1, 1).float()
        return rec_loss(m.decode(z, x, 1 - around * (1 - mask)).float(), x)
    fit('ae2', c, step, int(sys.argv[2]), float(sys.argv[1]), lr=8e-4, wd=0., evaluate=ev, eval_every=150)
