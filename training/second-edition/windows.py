"Windows for the painters and their codes."
import torch, numpy as np
from world import *
W = 80
def boxes_in(world, n, W=W):
    "Holes (n 4) int: a box of any aspect whose longer side is 1/1.35 to 1/1.2 of the window, now and then at its rim."
    long = W / world.uni(1.22, 1.42, n); asp = torch.exp(world.uni(-.55, .55, n)); asp = torch.where(world.rand(n) < .45, torch.ones_like(asp), asp)
    w, h = long * asp.clamp(max=1), long / asp.clamp(min=1)
    off = world.uni(.2, .8, n, 2); rim = world.rand(n) < .2; off = torch.where(rim[:, None], world.rand(n, 2), off); off = torch.where((world.rand(n) < .6)[:, None], torch.full_like(off, .5), off)
    x0, y0 = (W - w) * off[:, 0], (W - h) * off[:, 1]
    return torch.stack([x0, y0, x0 + w, y0 + h], 1).round()
def masks_of(b, W=W):
    r = torch.arange(W, device=b.device) + .5
    return ((r > b[:, :1]) & (r < b[:, 2:3])).float()[:, None, None, :] * ((r > b[:, 1:2]) & (r < b[:, 3:]))[:, None, :, None].float()
def neighbours(world, z, W=W, p=.3):
    "Now and then something else shows at the window's rim."
    n = len(z); _, i, s = world.pick(n)
    side = world.uni(.4, .9, n) * W; ang = world.uni(0, 6.283, n); far = world.uni(.5, .85, n) * W
    c = torch.stack([W / 2 + ang.cos() * far, W / 2 + ang.sin() * far], 1)
    e = world.extent[s, i]; wh = e / e.max(1, keepdim=True).values * side[:, None]
    return world.paste(z, i, s, torch.cat([c - wh / 2, c + wh / 2], 1), world.rand(n) < .5, alpha=(world.rand(n) < p).float().view(-1, 1, 1, 1))
def painter_batch(world, n, W=W, kinds=None, concepts=TRAINED):
    "pixels (n 3 W W) 0..1 with one thing by the painters' hand in the hole, masks (n 1 W W), concepts (n)."
    z = neighbours(world, world.grounds(n, (W, W), kinds), W); b = boxes_in(world, n, W)
    c, i, s = world.pick(n, concepts, sets=0, first=True)
    z = world.paste(z, i, s, world.fit(i, s, b), (world.rand(n) < .15) )
    return world.lit(z).clamp(0, 1), masks_of(b, W), c
def code_batch(world, n, W=W, kinds=None, concepts=TRAINED):
    "Windows with things of any hand: pixels (n 3 W W) 0..1, masks (n 1 W W)."
    z = neighbours(world, world.grounds(n, (W, W), kinds), W); b = boxes_in(world, n, W)
    c, i, s = world.pick(n, concepts); f = world.rand(n) < .6
    i = torch.where(f, torch.tensor(FIRST, device=z.device)[c], i); s = torch.where(f, 0, s)
    z = world.paste(z, i, s, world.fit(i, s, b), world.rand(n) < .5)
    return world.lit(z).clamp(0, 1), masks_of(b, W), c, s
if __name__ == '__main__':
    import time
    w = World(); t = time.time(); x, m, c = painter_batch(w, 64); print('s/64', time.time() - t)
    t = time.time(); x, m, c = painter_batch(w, 64); print('s/64', time.time() - t)
    from torchvision.utils import save_image
    save_image(torch.cat([x[:32], x[:32] * (1 - m[:32])]), 'windows.png', nrow=16)
    x, m, c, s = code_batch(w, 64); save_image(x, 'code.png', nrow=16)
