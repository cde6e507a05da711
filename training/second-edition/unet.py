import sys, json, torch, numpy as np, torch.nn.functional as F
from torch import nn
from world import *; from windows import *; from loop import fit, fast; from tok import tokenizer
from ae import AE, rec_loss
TOKENS = 24
def build_unet(c=24, widths=(192, 256), heads=(3, 4)):
    from diffusers import UNet2DConditionModel
    return UNet2DConditionModel(sample_size=10, in_channels=2 * c + 1, out_channels=c, block_out_channels=widths, layers_per_block=1, down_block_types=('CrossAttnDownBlock2D',) * 2, mid_block_type='UNetMidBlock2DCrossAttn', up_block_types=('CrossAttnUpBlock2D',) * 2, cross_attention_dim=192, attention_head_dim=heads, norm_num_groups=16).to(memory_format=torch.channels_last)
def build_text(tok, width=192, layers=2, proj=False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
    return (CLIPTextModelWithProjection if proj else CLIPTextModel)(CLIPTextConfig(vocab_size=len(tok), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64, projection_dim=width, max_position_embeddings=TOKENS, bos_token_id=len(tok) - 2, eos_token_id=len(tok) - 1, pad_token_id=len(tok) - 1))
def scheduler():
    from diffusers import DDIMScheduler
    return DDIMScheduler(beta_schedule='scaled_linear', beta_start=.00085, beta_end=.012, prediction_type='v_prediction', clip_sample=False, set_alpha_to_one=True, steps_offset=0, timestep_spacing='trailing', rescale_betas_zero_snr=True)
class Painter:
    def __init__(self, ae, seed=1):
        self.world = World(seed=seed); self.ae = ae.eval().requires_grad_(False); self.tok = tokenizer(TOKENS); self.sch = scheduler(); self.rng = np.random.default_rng(seed)
        w = World(seed=77); x = torch.cat([painter_batch(w, 64)[0] for _ in range(16)]) * 2 - 1
        z = torch.cat([ae.encode(p).float() for p in x.split(64)]).movedim(1, 0).flatten(1)
        self.mean, self.std = (getattr(z, k)(1).view(1, -1, 1, 1) for k in ('mean', 'std'))
    def enc(self, x): return ((self.ae.encode(x).float() - self.mean) / self.std)
    def dec(self, z, x, m): return self.ae.decode(z * self.std + self.mean, x, m).float()
    def tokens(self, texts): return self.tok(texts, padding='max_length', max_length=TOKENS, truncation=True, return_tensors='pt').input_ids
    def step(self, B):
        def f(m, p, i):
            with torch.no_grad():
                x, mask, c = painter_batch(self.world, B); x = (x * 2 - 1).contiguous(memory_format=torch.channels_last)
                z = self.enc(torch.cat([x, x * (1 - mask)])); z, hole = z.chunk(2); small = F.interpolate(mask, (10, 10))
            ids = self.tokens([prompt(int(k), self.rng) for k in c])
            text = m['text'](ids)[0]
            t = (torch.rand(2, B).mean(0) * 1000).long(); noise = torch.randn_like(z)
            noisy, v = self.sch.add_noise(z, noise, t), self.sch.get_velocity(z, noise, t)
            g = m['unet'](torch.cat([noisy, small, hole], 1).contiguous(memory_format=torch.channels_last), t, encoder_hidden_states=text).sample.float()
            w = .05 + .95 * F.adaptive_max_pool2d(mask, (10, 10))
            return (w * (g - v).square()).mean() / w.mean()
        return f
    @torch.no_grad()
    def paint(self, m, x, mask, texts, steps=6, scale=4., seed=0):
        "x (n 3 W W) -1..1."
        n = len(x); g = torch.Generator().manual_seed(seed); z = torch.randn(1, self.mean.shape[1], 10, 10, generator=g).expand(n, -1, -1, -1)
        with fast():
            hole = self.enc(x * (1 - mask)); small = F.interpolate(mask, (10, 10)); text = m['text'](self.tokens([''] * n + list(texts)))[0]
            self.sch.set_timesteps(steps); fixed = torch.cat([small, hole], 1).repeat(2, 1, 1, 1)
            for t in self.sch.timesteps:
                a, b = m['unet'](torch.cat([z.repeat(2, 1, 1, 1), fixed], 1), t, encoder_hidden_states=text).sample.float().chunk(2)
                z = self.sch.step(a + scale * (b - a), t, z).prev_sample
            return self.dec(z, x, mask)
def evaluator(P, n=48):
    w = World(seed=10**6 + 1); x, mask, c = painter_batch(w, n); x = x * 2 - 1; rng = np.random.default_rng(5); texts = [prompt(int(k), rng, 0, .2) for k in c]
    from torchvision.utils import save_image
    def ev(m, i):
        r = P.paint(m, x, mask, texts).clamp(-1, 1); r = r * mask + x * (1 - mask)
        save_image(torch.stack([x[:24], r[:24]], 1).flatten(0, 1) / 2 + .5, f'unet_{i:06d}.png', nrow=12)
        out = {}
        if Path('rec.ckpt').exists():
            from rec import judge; out['named'] = round(sum(a == int(b) for a, b in zip(judge(r / 2 + .5, mask), c)) / n, 3)
        lap = lambda x: 4 * x[..., 1:-1, 1:-1] - x[..., :-2, 1:-1] - x[..., 2:, 1:-1] - x[..., 1:-1, :-2] - x[..., 1:-1, 2:]
        mm = mask[..., 1:-1, 1:-1]
        out['sharp'] = round(((lap(r).abs() * mm).mean((1, 2, 3)) / (lap(x).abs() * mm).mean((1, 2, 3))).median().item(), 3)
        return out
    return ev
def load_ae(f, c=24, fine=96, coarse=192):
    from safetensors.torch import load_file
    a = AE(c, fine, coarse); a.load_state_dict({k[2:]: v for k, v in load_file(f).items() if k.startswith('e.')}); return a
if __name__ == '__main__':
    name, minutes, total, B = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), 64
    torch.manual_seed(0); P = Painter(load_ae('ae24.ckpt'))
    m = nn.ModuleDict(dict(unet=build_unet(), text=build_text(P.tok)))
    print(sum(p.numel() for p in m.parameters()))
    fit(name, m, P.step(B), total, minutes, lr=8e-4, wd=.01, evaluate=evaluator(P), eval_every=420)
