import sys
from unet import *
import unet
from ae2 import AE2
def load(f, part='e.'):
    from safetensors.torch import load_file
    c = AE2(); c.load_state_dict({k[2:]: v for k, v in load_file(f).items() if k.startswith(part)}); return c.eval().requires_grad_(False)
class P3(Painter):
    def __init__(self, seed=1):
        super().__init__(load('ae2_frozen.ckpt'), seed)
    def dec(self, z, x, m):
        f = 'dec2.ckpt' if Path('dec2.ckpt').exists() else 'ae2_frozen.ckpt'
        return load(f).decode(z * self.std + self.mean, x, m).float()
if __name__ == '__main__':
    name, minutes, total = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]); B = int(sys.argv[4]) if len(sys.argv) > 4 else 64
    torch.manual_seed(0); P = P3(); m = nn.ModuleDict(dict(unet=build_unet(), text=build_text(P.tok))); print(sum(p.numel() for p in m.parameters()), P.std.flatten().tolist(), flush=True)
    fit(name, m, P.step(B), total, minutes, lr=8e-4, wd=.01, evaluate=evaluator(P), eval_every=600)
