"Scenes and windows composed in torch, in batches."
import json, math, sys
from pathlib import Path
import numpy as np, torch, torch.nn.functional as F
from PIL import Image
HERE = Path(__file__).parent
CELL, COLUMNS = 96, 16
ROWS = json.load(open(HERE/'concepts.json'))
TRAINED = [i for i, c in enumerate(ROWS) if not c['held_out']]
HELD = [i for i, c in enumerate(ROWS) if c['held_out']]
NAMES = [c['name'] for c in ROWS]
SETS = ('fluent-emoji', 'fluent-emoji-flat', 'noto')
ICON_OWNER = [i for i, c in enumerate(ROWS) for _ in c['icons']]          # icon cell -> concept
FIRST = [ICON_OWNER.index(i) for i in range(len(ROWS))]
ICONS_OF = [[j for j, o in enumerate(ICON_OWNER) if o == i] for i in range(len(ROWS))]

def atlas(names=SETS):
    "Premultiplied RGBA (sets icons 4 96 96) uint8, sprite in the middle of its cell; extents (sets icons 2): w, h in pixels."
    out = torch.zeros(len(names), len(ICON_OWNER), 4, CELL, CELL, dtype=torch.uint8); ext = torch.zeros(len(names), len(ICON_OWNER), 2)
    for s, n in enumerate(names):
        im = np.asarray(Image.open(HERE/f'{n}.png').convert('RGBA'))
        for j in range(len(ICON_OWNER)):
            y, x = j // COLUMNS * CELL, j % COLUMNS * CELL
            c = im[y:y+CELL, x:x+CELL].astype(np.float32)
            a = c[..., 3] > 16
            if not a.any(): continue
            h, w = np.flatnonzero(a.any(1))[-1] + 1, np.flatnonzero(a.any(0))[-1] + 1
            c[..., :3] *= c[..., 3:] / 255
            y0, x0 = (CELL - h) // 2, (CELL - w) // 2
            out[s, j, :, y0:y0+h, x0:x0+w] = torch.from_numpy(np.uint8(c[:h, :w].round())).permute(2, 0, 1); ext[s, j] = torch.tensor([w, h])
    return out, ext

class World:
    def __init__(self, device='cpu', seed=0, sets=SETS, pool=40):
        self.device = torch.device(device); self.g = torch.Generator(self.device).manual_seed(seed)
        self.atlas, self.extent = (t.to(device) for t in atlas(sets))
        self.levels = [self.atlas, F.avg_pool2d(self.atlas.flatten(0, 1).float(), 2).round().to(torch.uint8).unflatten(0, self.atlas.shape[:2])]
        self.pool = self._old(pool).to(device) if pool else None
    def _old(self, variants):
        f = HERE/f'pool{variants}.pt'
        if not f.exists():
            from regionedit.pocket.backgrounds import BACKGROUNDS, background_image
            torch.save(torch.stack([torch.from_numpy(np.asarray(background_image(b, v))).permute(2, 0, 1) for b in BACKGROUNDS for v in range(variants)]), f)
        return torch.load(f)
    def rand(self, *s): return torch.rand(*s, generator=self.g, device=self.device)
    def uni(self, a, b, *s): return a + (b - a) * self.rand(*s)
    def randint(self, n, *s): return torch.randint(n, s, generator=self.g, device=self.device)
    def randn(self, *s): return torch.randn(*s, generator=self.g, device=self.device)
    # ---- grounds -------------------------------------------------------------------------------------
    def colour(self, n):
        "Two colours a picture (n 2 3), 0..1, often of one family."
        base = self.rand(n, 1, 3); base = base.lerp(base.mean(-1, keepdim=True), self.rand(n, 1, 1))
        return (base + self.uni(.05, .5, n, 1, 1) * (self.rand(n, 2, 3) - .5) * 2).clamp(0, 1)
    def mix(self, m, n):
        "A map (n 1 h w) in 0..1 between two colours."
        a, b = self.colour(n)[..., None, None].unbind(1)
        return a + (b - a) * m
    def noise(self, n, size, low=2, high=24, octaves=3):
        "Soft noise (n 1 h w), about 0..1, of random scales and stretch."
        total = 0
        for o in range(octaves):
            c = [int(self.uni(low, high, 1)) for _ in range(2)]
            z = self.randn(n, 1, max(2, c[0]), max(2, c[1]))
            total = total + self.uni(.1, 1, n, 1, 1, 1) * F.interpolate(z, size, mode='bicubic', align_corners=True)
        return (.5 + .25 * total).clamp(0, 1)
    def grid(self, size):
        y, x = torch.meshgrid(torch.linspace(0, 1, size[0], device=self.device), torch.linspace(0, 1, size[1], device=self.device), indexing='ij')
        return x, y
    def wave(self, n, size):
        x, y = self.grid(size); a = self.uni(0, math.pi, n, 1, 1, 1); f = self.uni(2, 16, n, 1, 1, 1)
        return (x * a.cos() + y * a.sin()) * f + self.rand(n, 1, 1, 1)
    def g_plain(self, n, size): return self.mix(self.noise(n, size, 2, 5, 1), n)
    def g_noise(self, n, size): return self.mix(self.noise(n, size, 2, 30, 4), n)
    def g_gradient(self, n, size): return self.mix(((self.wave(n, size) / 8).frac().abs() * 1.2).clamp(0, 1), n)
    def g_stripes(self, n, size):
        w = self.wave(n, size); soft = self.uni(1, 12, n, 1, 1, 1)
        return self.mix((.5 + soft * (torch.sin(2 * math.pi * w)) / 2).clamp(0, 1), n)
    def g_tiles(self, n, size):
        a, b = self.wave(n, size), self.wave(n, size)
        return self.mix((.5 + 8 * torch.sin(math.pi * a) * torch.sin(math.pi * b)).clamp(0, 1) * self.uni(.5, 1, n, 1, 1, 1) + .2 * self.noise(n, size, 8, 40, 1), n)
    def g_horizon(self, n, size):
        a, b = (self.mix(self.noise(n, size, 2, 40, 3), n) for _ in range(2)); x, y = self.grid(size)
        line = self.uni(.15, .7, n, 1, 1, 1) + self.uni(-.1, .1, n, 1, 1, 1) * torch.sin(x * self.uni(1, 9, n, 1, 1, 1))
        m = ((y - line) * self.uni(20, 200, n, 1, 1, 1) + .5).clamp(0, 1)
        return a * (1 - m) + b * m
    def g_grain(self, n, size):
        return self.mix((self.noise(n, size, 2, 12, 2) + .15 * self.randn(n, 1, *size) * self.rand(n, 1, 1, 1)).clamp(0, 1), n)
    def g_bokeh(self, n, size):
        z = self.mix(self.noise(n, size, 2, 6, 1), n); x, y = self.grid(size)
        for _ in range(8):
            d = ((x - self.rand(n, 1, 1, 1))**2 + (y - self.rand(n, 1, 1, 1))**2).sqrt()
            m = ((self.uni(.03, .16, n, 1, 1, 1) - d) * 60).clamp(0, 1) * self.uni(.1, .7, n, 1, 1, 1)
            z = z * (1 - m) + self.rand(n, 3, 1, 1) * m
        return z
    def g_old(self, n, size):
        self.drawn = self.randint(len(self.pool), n); p = self.pool[self.drawn].float() / 255
        k = self.uni(.5, 1, n) * .66; kx, ky = k, (k * 192 / 128 * size[0] / size[1]).clamp(max=1)
        th = torch.zeros(n, 2, 3, device=self.device); th[:, 0, 0] = kx; th[:, 1, 1] = ky
        th[:, 0, 2] = (self.rand(n) * 2 - 1) * (1 - kx); th[:, 1, 2] = (self.rand(n) * 2 - 1) * (1 - ky)
        return F.grid_sample(p, F.affine_grid(th, (n, 3, *size), align_corners=False), mode='bilinear', padding_mode='reflection', align_corners=False)
    TRAIN_KINDS = ('plain', 'noise', 'noise', 'gradient', 'stripes', 'tiles', 'horizon', 'horizon', 'grain', 'old', 'old', 'old')
    HELD_KINDS = ('bokeh',)
    def grounds(self, n, size, kinds=None):
        "Grounds (n 3 h w), 0..1: each of a random kind, lit and tinted."
        kinds = kinds or self.TRAIN_KINDS; which = self.randint(len(kinds), n); out = torch.empty(n, 3, *size, device=self.device); self.said = [''] * n
        for k, name in enumerate(kinds):
            idx = (which == k).nonzero().flatten()
            if len(idx): out[idx] = getattr(self, 'g_' + name)(len(idx), size)
            for j, i in enumerate(idx.tolist()):
                if name == 'old': self.said[i] = PLACES[int(self.drawn[j]) * 10 // len(self.pool)]
                elif name in ('stripes', 'tiles'): self.said[i] = 'on a striped background' if name == 'stripes' else 'on a chequered background'
                elif name in ('plain', 'gradient'): self.said[i] = 'on a plain background'
        return out
    def lit(self, z):
        "Scene-wide light and tint."
        n = len(z); x, y = self.grid(z.shape[2:]); on = (self.rand(n, 1, 1, 1) < .6).float()
        a = self.uni(0, 2 * math.pi, n, 1, 1, 1)
        slope = 1 + on * self.uni(0, .22, n, 1, 1, 1) * ((x - .5) * a.cos() + (y - .5) * a.sin()) * 2
        tint = 1 + on * (self.uni(-.12, .12, n, 3, 1, 1) + self.uni(-.15, .1, n, 1, 1, 1))
        return (z * slope * tint).clamp(0, 1)
    # ---- sprites -------------------------------------------------------------------------------------
    def paste(self, canvas, icons, sets, boxes, flip, alpha=None, return_alpha=False, jitter=None):
        "Sprites into boxes (n 4: x0 y0 x1 y1, pixels, float) of a canvas (n 3 h w); the sprite's outline fills the box."
        n, _, h, w = canvas.shape; size = (boxes[:, 2:] - boxes[:, :2]); ext = self.extent[sets, icons]
        small = (size.max(1).values < 40)
        layer = torch.empty(n, 4, h, w, device=self.device)
        for level, which in ((0, (~small).nonzero().flatten()), (1, small.nonzero().flatten())):
            if not len(which): continue
            at = self.levels[level][sets[which], icons[which]].float() / 255
            b, s, e = boxes[which], size[which], ext[which] / CELL
            th = torch.zeros(len(which), 2, 3, device=self.device)
            c = (b[:, :2] + b[:, 2:]) / 2
            wh = torch.tensor([w, h], device=self.device)
            k = wh / s * e; th[:, 0, 0], th[:, 1, 1] = k[:, 0], k[:, 1]
            o = (1 - 2 * c / wh) * k; th[:, 0, 2], th[:, 1, 2] = o[:, 0], o[:, 1]
            f = torch.where(flip[which], -1., 1.)
            th[:, 0] *= f[:, None]
            layer[which] = F.grid_sample(at, F.affine_grid(th, (len(which), 4, h, w), align_corners=False), mode='bilinear', align_corners=False)
        colour, a = layer[:, :3], layer[:, 3:]
        if jitter is not None: colour = (colour * jitter).clamp(max=1)
        if alpha is not None: colour, a = colour * alpha, a * alpha
        out = canvas * (1 - a) + colour
        return (out, a) if return_alpha else out
    def shadow(self, canvas, boxes, strength):
        "Soft ellipses under boxes."
        n, _, h, w = canvas.shape
        x, y = torch.arange(w, device=self.device) + .5, (torch.arange(h, device=self.device) + .5)[:, None]
        cx = ((boxes[:, 0] + boxes[:, 2]) / 2)[:, None, None]; cy = boxes[:, 3][:, None, None]
        rx = ((boxes[:, 2] - boxes[:, 0]) * .5)[:, None, None]; ry = rx * .25
        d = ((x - cx) / rx)**2 + ((y - cy) / ry)**2
        return canvas * (1 - strength[:, None, None, None] * torch.exp(-d * 1.2)[:, None])
    def pick(self, n, concepts=TRAINED, sets=None, first=False):
        "Concepts, icons, sets (n each)."
        c = torch.tensor(concepts, device=self.device)[self.randint(len(concepts), n)]
        pad = torch.tensor([(ICONS_OF[i] * 4)[:4] for i in range(len(ROWS))], device=self.device)
        i = pad[c, self.randint(4, n)] if not first else torch.tensor(FIRST, device=self.device)[c]
        s = self.randint(len(SETS), n) if sets is None else torch.full((n,), sets, device=self.device)
        return c, i, s
    def fit(self, icons, sets, boxes, fill=(.86, 1.)):
        "The largest box of a sprite's own aspect inside other boxes (n 4), a little off the centre."
        e = self.extent[sets, icons]; s = boxes[:, 2:] - boxes[:, :2]
        k = (s / e).min(1, keepdim=True).values * self.uni(*fill, len(icons), 1); wh = e * k
        free = s - wh; o = boxes[:, :2] + free * self.uni(.2, .8, len(icons), 2)
        return torch.cat([o, o + wh], 1)

def corpus_word(c, rng):
    "A phrase for a concept."
    r = ROWS[c]; n = r['name'] if rng.random() < .6 or not r['aka'] else r['aka'][rng.integers(len(r['aka']))]
    return n
def article(n, rng=None):
    plural = n in PLURAL
    if rng is not None and rng.random() < .12: return n if rng.random() < .5 else ('the ' + n if rng.random() < .5 else 'a ' + n)
    return n if plural else ('an ' if n[0] in 'aeiou' and not n.startswith('uni') and n != 'ufo' else 'a ') + n
PLURAL = {'grapes', 'books', 'bread', 'broccoli', 'cherries', 'blueberries', 'bacon', 'popcorn', 'french fries', 'fries', 'chips', 'pancakes', 'sushi', 'honey', 'milk', 'coffee', 'corn', 'glasses', 'sunglasses', 'jeans', 'trousers', 'socks', 'headphones', 'fire', 'chocolate', 'bunch of grapes', 'garlic', 'scissors', 'lightning'}
PLACES = ['on the grass', 'on the beach', 'in the snow', 'in the night sky', 'on a wooden table', 'in front of a brick wall', 'in the blue sky', 'in the desert', 'in the water', 'in front of a pink wall', 'on a table', 'outside', 'in a room', 'in the forest', 'on a striped background', 'on a plain background', 'on a chequered background', 'in the field', 'on the street', 'in the garden', 'on the floor', 'in the sky', 'under the sun', 'in the city']
def prompt(c, rng, empty=.1, place=.3):
    if rng.random() < empty: return ''
    n = corpus_word(c, rng); col = ROWS[c]['colour']
    if col and n.split()[0] not in ('red', 'green', 'white') and rng.random() < .15: n = f'{col} {n}'
    elif rng.random() < .12: n = ('large ', 'small ', 'big ', 'little ')[rng.integers(4)] + n
    return article(n, rng) + (' ' + PLACES[rng.integers(len(PLACES))] if rng.random() < place else '')
