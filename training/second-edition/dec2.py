import sys
from ae2 import *
from dec import lap
def sharp_loss(s, x):
    e = (s - x) / 2
    g = (e[..., :, 1:] - e[..., :, :-1]).abs().mean() + (e[..., 1:, :] - e[..., :-1, :]).abs().mean()
    en = (F.avg_pool2d(lap(s / 2).abs(), 3, 2) - F.avg_pool2d(lap(x / 2).abs(), 3, 2)).abs().mean()
    return e.abs().mean() + 8 * e.square().mean() + g + 3. * en
if __name__ == '__main__':
    torch.manual_seed(0); c = AE2(); w = World(seed=8); B = 8; G = 64; pool = []
    from safetensors.torch import load_file
    c.load_state_dict({k[2:]: v for k, v in load_file('ae2_frozen.ckpt').items() if k.startswith('e.')}); c.encoder.requires_grad_(False)
    def step(m, p, i):
        if not pool:
            x, mask, _, _ = code_batch(w, G); pool.extend(zip((x * 2 - 1).split(B), mask.split(B)))
        x, mask = pool.pop(); x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(): z = m.encode(x)
        z = z + (.3 * torch.rand(B, 1, 1, 1) - .1).clamp(min=0) * torch.randn_like(z)
        around = (torch.rand(B) < .8).view(-1, 1, 1, 1).float()
        return sharp_loss(m.decode(z, x, 1 - around * (1 - mask)).float(), x)
    fit('dec2', c, step, int(sys.argv[2]), float(sys.argv[1]), lr=5e-4, wd=0., evaluate=dec.evaluator(), eval_every=300)
