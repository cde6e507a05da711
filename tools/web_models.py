"""Make the models of the part "Your own words" of the page "Try it": python tools/web_models.py

The bundled models as ONNX in nbs/try/models, with onnxruntime-web beside them, so that the page
edits in the reader's browser and asks no other host: one engine runs by WASM alone, the larger one
by WebGPU and WASM, and a page fetches one of the two. Whatever is arithmetic on tensors is exported
from the library's own functions; the scripts in nbs/try do the rest (resizing, words, pasting).
A weight that is one of at most 256 values is stored in 8 bits, one that 16 bits hold in 16: both
are exactly the number that Python uses. The files are made and not stored, and kept while weights
and code are the same; --fresh makes all anew.
"""
import argparse, gzip, hashlib, json, logging, shutil, subprocess, sys, tarfile, tempfile, time
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT/'tools'))
from site_check import npm_answers              # noqa: E402
from try_it import SCENES, scene, weights      # noqa: E402
OUT, MANIFEST = ROOT/'nbs'/'try'/'models', 'models.json'
RUNTIME = 'onnxruntime-web@1.30.0'      # from npm
ENGINES = {kind: (f'ort.{kind}.min.mjs', f'ort-wasm-simd-threaded{build}.mjs',
                  f'ort-wasm-simd-threaded{build}.wasm')     # its script, what that calls, the code
           for kind, build in (('wasm', ''), ('webgpu', '.asyncify'))}
SIDE, SEEDS = 128, 4                    # of the pictures, pixels; whose noise is written
FEW = torch.export.Dim('n', min=1, max=64)

# ---- the method as graphs: each is the library's own functions, one after the other

class Graph(nn.Module):
    "A function of tensors with the networks that it uses."
    def __init__(self, run, *parts):
        super().__init__()
        self.run, self.parts = run, nn.ModuleList(parts)

    def forward(self, *inputs): return self.run(*inputs)

def eyes(models):
    "Pixels (1 3 H W) 0..1 and those of the 32 x 32 copy to all that is known before an edit."
    from regionedit.method.attention import cls_attention
    from regionedit.method.clip import normalised
    from regionedit.method.regions import all_boxes, stand_out, visual_words
    from regionedit.models.pretrained import texture
    from torch.nn.functional import interpolate, normalize
    vit, cfg, found = models.vit, models.vit.pretrained_cfg, models.known.detector
    boxes = all_boxes((32, 32))
    mean, deviation = torch.tensor(found.mean), torch.tensor(found.deviation)
    hidden, out, one = torch.tensor(found.hidden), torch.tensor(found.out), torch.ones(1)
    def run(pixels, small):
        tokens = vit._pos_embed(vit.patch_embed(normalised(pixels, cfg['mean'], cfg['std'])))
        tokens = vit.norm_pre(vit.patch_drop(tokens))
        *first, last = vit.blocks
        for block in first: tokens = block(tokens)
        maps = cls_attention(last.attn, last.norm1(tokens), 1).unflatten(1, (16, 16))
        features = vit.norm(last(tokens))[0, 1:].T.unflatten(1, (16, 16))
        seen = interpolate(normalize(features, dim=0)[None], (32, 32), mode='bilinear')[0]
        words = visual_words(seen)
        z = stand_out([visual_words(small[0]), words], boxes)
        fine = torch.stack([visual_words(pixels[0]),
                            interpolate(words[None], (SIDE, SIDE))[0]])
        x = (texture(pixels)[0] - mean) / deviation
        alien = out @ torch.cat([(hidden @ torch.cat([x, one])).relu(), one])
        return maps.mean(0), features, z, boxes.int(), fine, alien
    return Graph(run, vit), (torch.rand(1, 3, SIDE, SIDE), torch.rand(1, 3, 32, 32)), (
        'pixels', 'small'), ('attention', 'features', 'z', 'boxes', 'words', 'alien'), None

def edges(models):
    "The words of every pixel and boxes (n 4) to the boxes with sharpened edges."
    from regionedit.method.regions import sharpen
    def run(words, boxes): return sharpen(list(words.unbind(0)), boxes.long()).int()
    boxes = torch.tensor([[8, 8, 40, 48]], dtype=torch.int).repeat(56, 1)
    return Graph(run), (torch.rand(2, 8, SIDE, SIDE), boxes), ('words', 'boxes'), ('sharp',), None

def seen(models):
    "Pixels (n 3 H W) 0..1 to CLIP's two kinds of features."
    from regionedit.method.clip import image_features, normalised
    clip = models.clip
    def run(pixels):
        found = image_features(clip.model, normalised(pixels, clip.mean, clip.std))
        return found.pooled, found.tokens
    return Graph(run, clip.model.visual), (torch.rand(2, 3, SIDE, SIDE),), ('pixels',), (
        'pooled', 'tokens'), ({0: FEW},)

def said(models):
    "Token ids (n 64) to CLIP's features of texts."
    clip = models.clip
    def run(ids): return clip.model.encode_text(ids.long(), normalize=True)
    ids = torch.full((2, clip.context_length), 1556, dtype=torch.int)
    ids[:, 0] = 1555
    return Graph(run, clip.model), (ids,), ('ids',), ('texts',), None

def guide(models):
    """What the region network is shown to its shares: of each anchor (k), of each box (k m); and to
    the boxes (k m 4) where they should be."""
    from regionedit.method.amortised import moved, places
    from regionedit.method.attention import Attention
    from regionedit.method.regions import roi_features
    network = models.region_network()
    def run(features, attention, boxes, crops, picture, texts):
        boxes, size = boxes.long(), (SIDE, SIDE)
        attended = Attention(attention[None], features, size)
        vit = roi_features(features, boxes, size).mean((-1, -2))
        sight = (vit.flatten(0, 1), crops, places(boxes, attended).flatten(0, 1),
                 picture, texts[0], texts[1])
        logits, moves = network.look(*(x[None] for x in sight))
        logits = logits[0].view(boxes.shape[:2])
        shares = logits.flatten().softmax(0).view_as(logits).sum(1)
        return shares, logits, moved(boxes, moves[0].view(boxes.shape), size).int()
    boxes = torch.tensor([8, 8, 40, 48], dtype=torch.int).repeat(8, 7, 1)
    given = (torch.rand(192, 16, 16), torch.rand(16, 16), boxes, torch.rand(56, 256),
             torch.rand(256), torch.rand(2, 256))
    return Graph(run, network), given, ('features', 'attention', 'boxes', 'crops', 'picture',
                                        'texts'), ('shares', 'logits', 'moved'), None

def reads(models):
    "Token ids (2 24), of nothing and of the prompt, to what the painter reads."
    encoder = models.editor.text_encoder
    def run(ids): return encoder(ids.long())[0]
    ids = torch.full((2, models.editor.tokenizer.model_max_length), 1556, dtype=torch.int)
    ids[:, 0] = 1555
    return Graph(run, encoder), (ids,), ('ids',), ('context',), None

def hole(models):
    "A window (1 3 h w) 0..1 and its mask (1 1 h w) to the mask and the latents around the hole."
    from regionedit.editors.diffusion import encode, hole_and_mask
    editor = models.editor
    side, vae = editor.unet.config.sample_size, editor.vae
    def run(pixels, mask):
        holed, small = hole_and_mask(pixels * 2 - 1, mask, (side, side))
        return torch.cat([small, encode(vae, holed)], 1)
    given = torch.rand(1, 3, editor.size, editor.size), torch.ones(1, 1, editor.size, editor.size)
    return Graph(run, vae), given, ('pixels', 'mask'), ('fixed',), None

def step(models):
    "One step of guided denoising, as DDIM takes it without noise of its own."
    from regionedit.editors.diffusion import guided_noise
    unet, scale = models.editor.unet, models.editor.guidance_scale
    def run(latents, fixed, context, t, now, then):
        v = guided_noise(unet, context, scale)(torch.cat([latents, fixed], 1), t)
        clean = now.sqrt() * latents - (1 - now).sqrt() * v
        noise = now.sqrt() * v + (1 - now).sqrt() * latents
        return then.sqrt() * clean + (1 - then).sqrt() * noise
    side, channels = unet.config.sample_size, unet.config.out_channels
    given = (torch.rand(1, channels, side, side), torch.rand(1, channels + 1, side, side),
             torch.rand(2, 24, 192), torch.tensor(999), torch.tensor(.5), torch.tensor(.6))
    return Graph(run, unet), given, ('latents', 'fixed', 'context', 't', 'now', 'then'), (
        'next',), None

def paints(models):
    "Latents, a window and its mask to the painted window (1 3 h w) 0..1."
    from regionedit.editors.diffusion import decode
    editor = models.editor
    side, channels = editor.unet.config.sample_size, editor.unet.config.out_channels
    def run(latents, pixels, mask):
        return (decode(editor.vae, latents, pixels * 2 - 1, mask) / 2 + .5).clamp(0, 1)
    given = (torch.rand(1, channels, side, side), torch.rand(1, 3, editor.size, editor.size),
             torch.ones(1, 1, editor.size, editor.size))
    return Graph(run, editor.vae), given, ('latents', 'pixels', 'mask'), ('painted',), None

def judge(models):
    "CLIP's features of an edit, its source, its box and two texts to the parts of the score."
    from regionedit.method.losses import scores
    def run(pooled, tokens, source, box, texts):
        _, *similar = scores(pooled, tokens, source[0], texts[0])
        return torch.cat([*similar, box @ texts[1]])
    *_, height, width = models.clip.encode_images([scene(0)[0].image]).tokens.shape
    given = (torch.rand(1, 256), torch.rand(1, height, width), torch.rand(1, height, width),
             torch.rand(1, 256), torch.rand(2, 256))
    return Graph(run), given, ('pooled', 'tokens', 'source', 'box', 'texts'), ('parts',), None

GRAPHS = (eyes, edges, seen, said, guide, reads, hole, step, paints, judge)

# ---- from a graph to a small file

def small(model):
    "The same numbers in fewer bits: a palette of 256, or 16 bits, and a cast where they are used."
    import onnx
    from onnx import helper, numpy_helper
    kept, first = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        packed = pack(values) if values.dtype == np.float32 and values.size > 512 else {}
        for kind, array in packed.items():
            kept.append(numpy_helper.from_array(array, f'{tensor.name}.{kind}'))
        name = tensor.name
        if 'half' in packed:
            first.append(helper.make_node('Cast', [f'{name}.half'], [name],
                                          to=onnx.TensorProto.FLOAT))
        elif packed:
            first += [helper.make_node('Cast', [f'{name}.code'], [f'{name}.at'],
                                       to=onnx.TensorProto.INT32),
                      helper.make_node('Gather', [f'{name}.palette', f'{name}.at'], [name])]
        else: kept.append(tensor)
    nodes = [*first, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        del node.metadata_props[:]          # what the exporter notes for people
        node.doc_string = ''
        for to in node.attribute:           # ranks of quantiles; WebGPU's engine lacks doubles
            if node.op_type == 'Cast' and to.i == onnx.TensorProto.DOUBLE:
                to.i = onnx.TensorProto.FLOAT
    onnx.checker.check_model(model)
    return model

def pack(values: np.ndarray) -> dict:
    "Name to array; nothing for numbers that need their 32 bits."
    palette, code = np.unique(values, return_inverse=True)
    if len(palette) <= 256:
        return dict(palette=palette, code=code.reshape(values.shape).astype(np.uint8))
    with np.errstate(over='ignore'): half = values.astype(np.float16)
    return dict(half=half) if (half.astype(np.float32) == values).all() else {}

def roi_pool(x, boxes, scale, height, width):
    "torchvision's, which the exporter does not know; nobody asks for the second output."
    from onnxscript import opset18 as op
    pooled = op.MaxRoiPool(x, boxes, pooled_shape=(height, width), spatial_scale=scale)
    return pooled, pooled

@torch.no_grad()
def exported(make, models):
    "A graph as ONNX."
    import torchvision      # noqa: F401  (its operations)
    table = {torch.ops.torchvision.roi_pool.default: roi_pool}
    graph, given, inputs, outputs, shapes = make(models)
    shapes = shapes and (shapes,)       # the arguments of `forward` are one tuple
    made = torch.onnx.export(graph.eval(), given, dynamo=True, input_names=inputs,
                             output_names=outputs, dynamic_shapes=shapes, verbose=False,
                             custom_translation_table=table,
                             optimize=False)      # onnxruntime does that, and faster
    return small(made.model_proto)

# ---- what goes with the graphs

def noise(models) -> bytes:
    "Latents of the first seeds, float32."
    drawn = [models.editor.start(seed, 1)[0].numpy() for seed in range(SEEDS)]
    return np.concatenate(drawn).astype('<f4').tobytes()

def schedule(models) -> list:
    "Of each step: the time, and what is left of the picture before and after it."
    from copy import deepcopy
    scheduler = deepcopy(models.editor.scheduler)
    scheduler.set_timesteps(models.editor.num_inference_steps)
    stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    def left(t):
        return (scheduler.alphas_cumprod[t] if t >= 0 else scheduler.final_alpha_cumprod).item()
    return [dict(t=t, now=left(t), then=left(t - stride)) for t in scheduler.timesteps.tolist()]

def words(models) -> dict:
    "The tokenizer, and the words that are known."
    folder = ROOT/'regionedit'/'pocket'/'models'
    read = json.loads((folder/'clip'/'tokenizer.json').read_text(encoding='utf8'))['model']
    merges = [m if isinstance(m, str) else ' '.join(m) for m in read['merges']]
    known = json.loads((folder/'known.json').read_text(encoding='utf8'))
    del known['detector']
    return dict(vocab=read['vocab'], merges=merges, known=known,
                lengths=dict(clip=models.clip.context_length,
                             painter=models.editor.tokenizer.model_max_length))

def settings(models) -> dict:
    "What a call would be asked with."
    from regionedit.method.config import Config
    from regionedit.method.edits import CONTEXT, STEP
    config = Config()
    return dict(alpha=config.alpha, beta=config.beta, source_weight=config.source_weight,
                anchors=config.num_anchors, proposals=config.num_proposals, side=SIDE,
                window=models.editor.size, context=CONTEXT, step=STEP, seeds=SEEDS,
                schedule=schedule(models))

def runtime(out: Path) -> dict:
    "The engines, from npm; name to its files and their bytes, the script first and the code last."
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(['npm', 'pack', '--silent', RUNTIME], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL, timeout=600)
        archive, = Path(folder).glob('*.tgz')
        with tarfile.open(archive) as packed:
            return {kind: dict(write(out, name, packed.extractfile(f'package/dist/{name}').read())
                               for name in names) for kind, names in ENGINES.items()}

def write(out: Path, name: str, content: bytes) -> tuple[str, int]:
    "A file, its name and bytes; what is no script is packed, since few hosts do it on the way."
    if not name.endswith('.mjs'):
        name, content = f'{name}.gz', gzip.compress(content, 9, mtime=0)
    return name, (out/name).write_bytes(content)

def key() -> str:
    "A digest of all that decides the files."
    found = hashlib.sha256((weights() + RUNTIME + torch.__version__).encode())
    library = ROOT/'regionedit'
    parts = [library/'pocket'/'models'/'known.json', library/'models'/'pretrained.py',
             *(library/'method').glob('*.py'), *(library/'editors').glob('*.py')]
    for file in (Path(__file__), *sorted(parts)):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]

def make_all(out: Path, fresh: bool = False):
    "All files, if there are not the same already."
    from regionedit import RegionEditor
    start, now, manifest = time.perf_counter(), key(), out/MANIFEST
    if not fresh and manifest.exists() and json.loads(manifest.read_text())['key'] == now:
        return print(f'{out} is as it should be')
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    engines = runtime(out)
    models = RegionEditor.from_pretrained('pocket', device='cpu', dtype='float32')
    said = json.dumps(words(models), ensure_ascii=False, separators=(',', ':'))
    files = dict([*(write(out, f'{make.__name__}.onnx', exported(make, models).SerializeToString())
                    for make in GRAPHS),
                  write(out, 'noise.f32', noise(models)), write(out, 'words.json', said.encode())])
    scenes = []
    for n, (drawn, source, prompts) in enumerate(map(scene, range(SCENES))):
        drawn.image.save(out/f'{n:02}.png', optimize=True)
        scenes.append(dict(picture=f'{n:02}.png', source=source, prompt=prompts[0],
                           caption=drawn.caption))
    manifest.write_text(json.dumps(dict(key=now, files=files, engines=engines, scenes=scenes,
                                        settings=settings(models)), indent=1), encoding='utf8')
    fetched = ', '.join(f'{sum((files | parts).values()) / 1e6:.1f} MB by {kind}'
                        for kind, parts in engines.items())
    print(f'{out}: a page fetches {fetched}; {time.perf_counter() - start:.0f} s')

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--fresh', action='store_true', help='make all anew')
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    args = parser.parse_args()
    if npm_answers(): make_all(OUT, args.fresh)
    else: print("npm or its registry does not answer: the page offers no edits of one's own")
    return 0

if __name__ == '__main__': sys.exit(main())
