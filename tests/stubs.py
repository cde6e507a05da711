"Small stand-ins for the models: no weights, no network, the same answer each time."
import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from regionedit.method.clip import ImageFeatures
from regionedit.method.config import Config
from regionedit.method.edits import Edit
from regionedit.method.learner import Trajectory
from regionedit.method.editor import Candidate
from regionedit import EditResult
from regionedit.method.table import EditTable

def noise(*key) -> np.random.Generator:
    "A random generator that depends on the key's text only."
    return np.random.default_rng(list(hashlib.sha256(repr(key).encode()).digest()))

def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    "RGB noise: any two places differ."
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))

class StubEditor:
    "Replaces the whole window, not just the box, by noise of prompt and seed; counts the windows it is asked for."
    name, size, config = 'stub', 24, {}
    def __init__(self): self.windows = 0
    def fill(self, images, masks, prompt, seed=0, num_inference_steps=None, guidance_scale=None, callback_on_step_end=None):
        self.windows += len(images)
        assert all(i.size == m.size == (24, 24) and i.mode == 'RGB' and m.mode == 'L' for i, m in zip(images, masks))
        if callback_on_step_end: callback_on_step_end(self, 0, 0, {})
        return [Image.fromarray(noise(prompt, seed, num_inference_steps).integers(0, 256, (24, 24, 3), dtype=np.uint8)) for _ in images]

class StubClip:
    "Colours of 4 x 4 places as tokens, a fixed random projection of them as feature; texts are noise of their letters."
    def encode_images(self, images):
        x = torch.stack([torch.from_numpy(np.asarray(im.resize((4, 4), Image.BOX), np.float32) / 255) for im in images]).flatten(1, 2)
        w = torch.from_numpy(noise('images').standard_normal((48, 16))).float()
        return ImageFeatures(F.normalize((x.flatten(1) - .5) @ w, dim=-1), x)
    def encode_texts(self, texts):
        return F.normalize(torch.stack([torch.from_numpy(noise(t).standard_normal(16)).float() for t in texts]), dim=-1)

def stub_vit() -> torch.nn.Module:
    "An untrained network of one block on a grid of 6 x 6."
    from timm.models.vision_transformer import VisionTransformer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(img_size=48, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=0, dynamic_img_size=True).eval()

def stub_result(seed: int = 0) -> EditResult:
    "A result put together by hand: 2 anchors, 3 proposals, 5 distinct edits, a picture of 37 x 21."
    g, source = torch.Generator().manual_seed(seed), picture(37, 21, seed)
    def values(*shape): return torch.rand(*shape, generator=g)
    boxes = torch.tensor([[[1, 2, 6, 9], [0, 0, 12, 12], [0, 0, 37, 21]], [[30, 10, 35, 14], [26, 8, 37, 20], [0, 0, 37, 21]]])
    index = torch.tensor([[0, 1, 2], [3, 4, 2]])
    window = {(1, 2, 6, 9): (0, 1, 8, 10), (0, 0, 12, 12): (0, 0, 16, 16), (0, 0, 37, 21): (0, 0, 37, 21), (30, 10, 35, 14): (29, 9, 36, 16), (26, 8, 37, 20): (22, 6, 37, 21)}
    edits = tuple(Edit(b, w, picture(24, 24, 100 + i + 10 * seed)) for i, (b, w) in enumerate(window.items()))
    table = EditTable(boxes, index, edits, {t: values(2, 3) for t in ('clip', 'dir', 'str')}, values(2, 3), values(2, 3))
    chosen = torch.tensor([[0, 2], [1, 2], [1, 0]])
    trajectory = Trajectory(values(3, 2, 3), chosen, boxes[torch.arange(2), chosen], values(3, 2, 3), values(3))
    candidates = [Candidate(edits[i].box, a, score, .1 + score / 7, 1 / 3, dict(clip=.1, dir=.7, str=1e-9), edits[i], source)
                  for i, a, score in ((3, (32.5, 12.25), .9), (1, (4.125, 5.5), .3))]
    return EditResult(source, 'a rocket "über" all', 'a cat', candidates, table, trajectory, Config(seed=2**62 + 1, alpha=.1, num_inference_steps=4), 'stub',
                      dict(edit=1.5, total=2.25), dict(torch='0'), values(2, 3))
