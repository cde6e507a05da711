"Random weights in the layouts of the public models, a megabyte or less each, and a hub cache to put them in."
import json, shutil
from pathlib import Path

import torch

TEXTS = ['a red apple on a table', 'a rocket'] * 3
MEAN, STD = [.48145466, .4578275, .40821073], [.26862954, .26130258, .27577711]
VIT_ARGS = dict(embed_dim=24, depth=2, num_heads=3)

def tokenizer(folder: Path):
    from transformers import CLIPTokenizer
    from regionedit.pocket.clip import train_tokenizer
    train_tokenizer(folder, TEXTS, num_merges=40)
    return CLIPTokenizer.from_pretrained(folder)

def text_encoder(vocabulary, cls: str = 'CLIPTextModel', **config):
    import transformers
    shape = dict(vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64,
                 bos_token_id=len(vocabulary) - 2, eos_token_id=len(vocabulary) - 1)
    return getattr(transformers, cls)(transformers.CLIPTextConfig(**shape | config))

def autoencoder(**config):
    from diffusers import AutoencoderKL
    return AutoencoderKL(block_out_channels=(8, 8, 16, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64,
                         down_block_types=('DownEncoderBlock2D',) * 4, up_block_types=('UpDecoderBlock2D',) * 4, **config)

def denoiser(**config):
    from diffusers import UNet2DConditionModel
    shape = dict(sample_size=8, in_channels=9, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32,
                 attention_head_dim=8, down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'), up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'))
    return UNet2DConditionModel(**shape | config)

NOISE = dict(beta_start=.00085, beta_end=.012, beta_schedule='scaled_linear', steps_offset=1)

def stable_diffusion(folder: Path, scheduler: str = 'DDIMScheduler', variant=None, **unet):
    "Stable Diffusion 1.5's inpainting layout, 64 pixels; with other arguments for the UNet that of 2. Returns the pipeline."
    import diffusers
    torch.manual_seed(0)
    words = tokenizer(folder/'tokenizer')
    more = dict(clip_sample=False, set_alpha_to_one=False) if scheduler == 'DDIMScheduler' else dict(skip_prk_steps=True)
    pipe = diffusers.StableDiffusionInpaintPipeline(
        vae=autoencoder(), text_encoder=text_encoder(words), tokenizer=words, unet=denoiser(**unet), scheduler=getattr(diffusers, scheduler)(**NOISE, **more),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.save_pretrained(folder, safe_serialization=True, variant=variant)
    return pipe

def stable_diffusion_2(folder: Path, variant=None):
    "Linear projections and a number of heads a level, as Stable Diffusion 2 has them."
    return stable_diffusion(folder, 'PNDMScheduler', variant, use_linear_projection=True, attention_head_dim=(2, 4))

def stable_diffusion_xl(folder: Path, variant=None):
    "Stable Diffusion XL's inpainting layout, 64 pixels: two text encoders, sizes as conditions. Returns the pipeline."
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline
    torch.manual_seed(0)
    words = tokenizer(folder/'tokenizer')
    unet = denoiser(cross_attention_dim=64, addition_embed_type='text_time', addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 32,
                    use_linear_projection=True, transformer_layers_per_block=(1, 2))
    pipe = StableDiffusionXLInpaintPipeline(
        vae=autoencoder(force_upcast=True), text_encoder=text_encoder(words), text_encoder_2=text_encoder(words, 'CLIPTextModelWithProjection', projection_dim=32),
        tokenizer=words, tokenizer_2=words, unet=unet, scheduler=EulerDiscreteScheduler(**NOISE))
    pipe.save_pretrained(folder, safe_serialization=True, variant=variant)
    return pipe

def amused(folder: Path, variant=None) -> dict:
    "aMUSEd's layout: 32 px, 8 x 8 tokens of 4 px, 32 codes. Returns the parts."
    from diffusers import AmusedScheduler, UVit2DModel, VQModel
    words = tokenizer(folder/'tokenizer')
    torch.manual_seed(0)
    quantiser = VQModel(block_out_channels=(8, 8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32, num_vq_embeddings=32,
                        down_block_types=('DownEncoderBlock2D',) * 3, up_block_types=('UpDecoderBlock2D',) * 3, lookup_from_codebook=True, force_upcast=True)
    torch.nn.init.normal_(quantiser.quantize.embedding.weight)
    transformer = UVit2DModel(hidden_size=32, cond_embed_dim=24, encoder_hidden_size=32, micro_cond_encode_dim=4, micro_cond_embed_dim=20, vocab_size=40,
                              codebook_size=32, in_channels=16, block_out_channels=32, num_res_blocks=1, block_num_heads=2, num_hidden_layers=1,
                              num_attention_heads=2, intermediate_size=32, sample_size=8)
    parts = dict(vqvae=quantiser, transformer=transformer, text_encoder=text_encoder(words, 'CLIPTextModelWithProjection', projection_dim=24),
                 tokenizer=words, scheduler=AmusedScheduler(mask_token_id=39))
    for name, part in parts.items(): part.save_pretrained(folder/name, **dict(variant=variant) if isinstance(part, torch.nn.Module) else {})
    index = {name: ['transformers' if name in ('text_encoder', 'tokenizer') else 'diffusers', type(part).__name__] for name, part in parts.items()}
    (folder/'model_index.json').write_text(json.dumps({'_class_name': 'AmusedPipeline', **index}))
    return parts

def vit(folder: Path, architecture: str = 'vit_base_patch16_224', patch: int = 16, **config):
    "DINO's or DINOv2's layout on the hub, with smaller sizes in `model_args`. Returns the model."
    import timm
    from safetensors.torch import save_file
    torch.manual_seed(1)
    args = VIT_ARGS | dict(img_size=4 * patch, patch_size=patch)
    model = timm.create_model(architecture, num_classes=0, **args).eval()
    with torch.no_grad():
        for block in model.blocks: block.attn.qkv.weight.mul_(20)       # attention far from uniform
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder/'model.safetensors')
    cfg = dict(tag='dino', custom_load=False, input_size=[3, 4 * patch, 4 * patch], interpolation='bicubic', crop_pct=.9, crop_mode='center', mean=[.485, .456, .406],
               std=[.229, .224, .225], num_classes=0, pool_size=None, first_conv='patch_embed.proj', classifier='head')
    (folder/'config.json').write_text(json.dumps(dict(architecture=architecture, num_classes=0, num_features=24, global_pool='token', model_args=args, pretrained_cfg=cfg) | config))
    return model

def dinov2(folder: Path): return vit(folder, 'vit_base_patch14_dinov2', 14)

def clip(folder: Path, **model_cfg):
    "A ViT/16 CLIP in open_clip's layout, without a tokenizer of its own, as on the hub. Returns the model."
    import open_clip
    from safetensors.torch import save_file
    torch.manual_seed(2)
    config = dict(embed_dim=16, quick_gelu=True, vision_cfg=dict(image_size=32, layers=2, width=64, head_width=32, patch_size=16),
                  text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1)) | model_cfg
    model = open_clip.CLIP(**config).eval()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder/'open_clip_model.safetensors')
    (folder/'open_clip_config.json').write_text(json.dumps(dict(model_cfg=config, preprocess_cfg=dict(mean=MEAN, std=STD, interpolation='bicubic', resize_mode='shortest'))))
    return model

EDITORS = {'sd15-inpainting': lambda folder, variant=None: stable_diffusion(folder, 'PNDMScheduler', variant), 'sd2-inpainting': stable_diffusion_2,
           'sdxl-inpainting': stable_diffusion_xl, 'amused-256': amused, 'amused-512': amused}

def put_in_cache(cache: Path, card, write) -> Path:
    "A model where huggingface_hub keeps it; `write` fills the folder."
    home, commit = cache/f'models--{card.repo.replace("/", "--")}', card.revision if len(card.revision) == 40 else 'c' * 40
    folder = home/'snapshots'/commit
    shutil.rmtree(folder, ignore_errors=True); folder.mkdir(parents=True)
    write(folder)
    if commit != card.revision: (home/'refs').mkdir(exist_ok=True); (home/'refs'/card.revision).write_text(commit)
    return folder
