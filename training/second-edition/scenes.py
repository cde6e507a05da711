"Whole scenes in torch: 1 to 3 things, clutter, shadows, light; and what is said of them."
import torch, numpy as np, torch.nn.functional as F
from world import *
def bits(world):
    "Clutter of the first world: premultiplied (k 4 64 64) float."
    f = HERE/'bits.pt'
    if not f.exists():
        from regionedit.pocket.backgrounds import CLUTTER, clutter_image
        out = []
        for kind in CLUTTER:
            for v in range(48):
                a = np.asarray(clutter_image(kind, v).convert('RGBA').resize((64, 64))).astype(np.float32); a[..., :3] *= a[..., 3:] / 255
                out.append(torch.from_numpy(a).permute(2, 0, 1).round().to(torch.uint8))
        torch.save(torch.stack(out), f)
    return torch.load(f).to(world.device)
def add_clutter(world, z, pieces, on):
    "Pieces of clutter (20 to 64 px of 128) on the pictures where `on` (n) is 1."
    n, _, h, w = z.shape
    if not hasattr(world, 'bits'): world.bits = bits(world)
    which = on.nonzero().flatten()
    if not len(which): return z
    z = z.clone(); whole, z, on = z, z[which], torch.ones(len(which)); n = len(which)
    for _ in range(pieces):
        at = world.bits[world.randint(len(world.bits), n)].float() / 255; s = world.uni(.16, .5, n) * h; c = world.rand(n, 2) * torch.tensor([w, h])
        th = torch.zeros(n, 2, 3); th[:, 0, 0] = w / s; th[:, 1, 1] = h / s; th[:, 0, 2] = (1 - 2 * c[:, 0] / w) * w / s; th[:, 1, 2] = (1 - 2 * c[:, 1] / h) * h / s
        l = F.grid_sample(at, F.affine_grid(th, (n, 4, h, w), align_corners=False), mode='bilinear', align_corners=False) * on.view(-1, 1, 1, 1) * (world.rand(n, 1, 1, 1) < .7)
        z = z * (1 - l[:, 3:]) + l[:, :3]
    whole[which] = z; return whole
def overlap(a, b):
    "Shared area of boxes (... 4) over the smaller one's."
    wh = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    area = lambda q: (q[..., 2:] - q[..., :2]).clamp(min=1).prod(-1)
    return wh / torch.minimum(area(a), area(b))
def places(world, n, size, extents, low=28, high=78, tries=16, centre=None):
    "Boxes (n k 4) of k things, apart from each other."
    k = extents.shape[1]; H, W = size; out = torch.zeros(n, k, 4)
    top = high * (1.0 if k == 1 else .8 if k == 2 else .68)
    for j in range(k):
        side = world.uni(low, top, n) * min(H, W) / 128; wh = extents[:, j] / extents[:, j].max(1, keepdim=True).values * side[:, None]
        free = (torch.tensor([W, H]) - wh).clamp(min=1); o = world.rand(n, tries, 2) * free[:, None]
        cand = torch.cat([o, o + wh[:, None]], -1)
        cost = sum(overlap(cand, out[:, None, i].expand_as(cand)) for i in range(j)) if j else torch.zeros(n, tries)
        out[:, j] = cand[torch.arange(n), cost.argmin(1)]
    return out
WARP = .12
def draw(world, n, k=1, size=(128, 128), kinds=None, concepts=TRAINED, clutter=.3, low=28, high=78, one_set=None, pick=None):
    "Scenes (n 3 h w) 0..1, concepts (n k), boxes (n k 4), sets (n k), kinds known in words (n)."
    c, i, s = (t.view(n, k) for t in (pick or world.pick)(n * k, concepts)) if pick is None else pick(n, k)
    if one_set: s = s[:, :1].expand(-1, k)
    z = world.grounds(n, size, kinds); z = add_clutter(world, z, 5, (world.rand(n) < clutter).float())
    b = places(world, n, size, world.extent[s, i], low, high)
    for j in range(k):
        z = world.shadow(z, b[:, j], world.uni(0, .45, n) * (world.rand(n) < .35))
        z = world.paste(z, i[:, j], s[:, j], b[:, j], world.rand(n) < .5)
    return world.lit(z).clamp(0, 1), c, b, s
if __name__ == '__main__':
    from torchvision.utils import save_image; import time
    w = World(seed=9); t = time.time(); x, *_ = draw(w, 64, 2); print(time.time() - t); t = time.time(); x, *_ = draw(w, 64, 1); print(time.time() - t)
    save_image(torch.cat([draw(w, 12, k)[0] for k in (1, 2, 3)]), 'scenes.png', nrow=12)
