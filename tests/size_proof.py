"""Proof at size, run by hand (minutes, 5 GB): what does the method cost beside the editor it drives?

Stable Diffusion 1.5's UNet, autoencoder and text encoder with random weights at 512 pixels (bfloat16 where the CPU has it, else float32), DINO's ViT-B/16 and CLIP's ViT-B/16 likewise
with random weights in float32, all in one process on the CPU. A whole `RegionEditor` call with K = 2, M = 2 and 2 steps stands beside a bare
`StableDiffusionInpaintPipeline` that is given the same distinct boxes. Both run in turn, several times; the highest memory counts. Seconds of two runs of
minutes differ by more than what is sought, so the time is taken inside one: the whole call against what the pipeline took of it, the least of all rounds.

    python tests/size_proof.py            # prints one line of JSON; exit status 1 if the overhead is more than 3 %
    python tests/size_proof.py --tiny     # a few seconds, to see that the script works; its figures mean nothing
"""
import argparse, ctypes, functools, json, platform, sys, threading, time
from pathlib import Path
from unittest import mock

import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from regionedit.method.clip import Clip
from regionedit import RegionEditor
from regionedit.method.edits import window_and_mask
from regionedit.editors.pipeline import PipelineEditor
from regionedit.editors.loading import quiet
from regionedit.models.presets import bf16_is_fast
from regionedit.pocket import draw_scene, weights_folder

LIMIT = .03
DTYPE = torch.bfloat16 if bf16_is_fast() else torch.float32
CALL = dict(num_anchors=2, num_proposals=2, num_inference_steps=2, seed=0, progress=False)
PROMPT, SOURCE = 'a doughnut on a wooden table', 'a red apple'

def stable_diffusion(tiny: bool):
    "The pipeline with random weights; only sizes differ when tiny."
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(weights_folder('diffusion')/'tokenizer', model_max_length=77)
    width = (16, 32, 32, 32) if tiny else (320, 640, 1280, 1280)
    unet = UNet2DConditionModel(sample_size=8 if tiny else 64, in_channels=9, out_channels=4, block_out_channels=width, cross_attention_dim=32 if tiny else 768,
                                attention_head_dim=8, norm_num_groups=8 if tiny else 32)
    vae = AutoencoderKL(block_out_channels=(8, 8, 16, 16) if tiny else (128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=64 if tiny else 512,
                        norm_num_groups=4 if tiny else 32, down_block_types=('DownEncoderBlock2D',) * 4, up_block_types=('UpDecoderBlock2D',) * 4)
    size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2) if tiny else dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, **size))
    scheduler = PNDMScheduler(beta_start=.00085, beta_end=.012, beta_schedule='scaled_linear', skip_prk_steps=True, steps_offset=1)
    return StableDiffusionInpaintPipeline(vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False).to(DTYPE)

def eyes(tiny: bool) -> tuple:
    "ViT and CLIP of the sizes of the paper's, or the bundled ones."
    if tiny:
        from regionedit.models.pretrained import load_vit
        from regionedit.models.pretrained import load_clip
        return load_vit(weights_folder('vit')), load_clip(weights_folder('clip'))
    import open_clip, timm
    vit = timm.create_model('vit_base_patch16_224.dino', num_classes=0, dynamic_img_size=True).eval()
    return vit, Clip(open_clip.create_model('ViT-B-16'), open_clip.get_tokenizer('ViT-B-16'))

class Inside:
    "Seconds that are spent in calls of the pipeline while the block runs."
    def __enter__(self):
        self.seconds, call = 0, StableDiffusionInpaintPipeline.__call__
        @functools.wraps(call)
        def timed(*args, **options):
            start = time.perf_counter()
            try: return call(*args, **options)
            finally: self.seconds += time.perf_counter() - start
        self.patch = mock.patch.object(StableDiffusionInpaintPipeline, '__call__', timed)
        self.patch.start()
        return self
    def __exit__(self, *error): self.patch.stop()

class Peak:
    "Highest resident memory of the process while the block runs, bytes; and its wall time."
    def __enter__(self):
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        self.bytes, self.running, self.start = 0, True, time.perf_counter()
        self.thread = threading.Thread(target=self.watch); self.thread.start()
        return self
    def watch(self):
        while self.running:
            self.bytes = max(self.bytes, int(Path('/proc/self/statm').read_text().split()[1]) * 4096)
            time.sleep(.01)
    def __exit__(self, *error):
        self.seconds = time.perf_counter() - self.start
        self.running = False; self.thread.join()

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--tiny', action='store_true')
    parser.add_argument('--rounds', type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    with quiet(): pipe = stable_diffusion(args.tiny)
    editor = RegionEditor(*eyes(args.tiny), PipelineEditor(pipe), 'size-proof')
    picture = draw_scene(3, num_objects=1).image.resize((512, 512), Image.BICUBIC)

    def whole():
        editor.cache.clear()
        return editor(picture, PROMPT, SOURCE, **CALL)
    def bare():
        for window, mask in views:
            pipe(PROMPT, image=window, mask_image=mask, height=editor.editor.size, width=editor.editor.size, num_inference_steps=CALL['num_inference_steps'],
                 generator=torch.Generator().manual_seed(0))

    result = whole()        # warms up, and says which boxes are distinct
    views = [window_and_mask(picture, e.box, editor.editor.size)[1:] for e in result.table.edits]
    seen, inside = dict(bare=[], whole=[]), []
    for _ in range(args.rounds):
        for name, run in (('bare', bare), ('whole', whole)):
            with Peak() as peak, Inside() as pipeline: made = run()
            seen[name].append(peak)
        inside.append(pipeline.seconds)
    memory = {name: max(p.bytes for p in peaks) for name, peaks in seen.items()}
    overhead = dict(seconds=min(p.seconds / i for p, i in zip(seen['whole'], inside)) - 1,
                    memory=memory['whole'] / memory['bare'] - 1)
    report = dict(size=editor.editor.size, boxes=len(views), seconds={name: [round(p.seconds, 2) for p in peaks] for name, peaks in seen.items()},
                  inside=[round(i, 2) for i in inside], peak_megabytes={k: round(v / 1e6) for k, v in memory.items()},
                  overhead={k: round(v, 4) for k, v in overhead.items()}, stages=made.seconds, threads=torch.get_num_threads(), python=platform.python_version(),
                  torch=torch.__version__, dtype=str(DTYPE), tiny=args.tiny)
    print(json.dumps(report))
    return int(not args.tiny and max(overhead.values()) > LIMIT)

if __name__ == '__main__': sys.exit(main())
