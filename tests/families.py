"""The families of inpainting models that diffusers has today, each as its own classes with random weights, in a folder.
Sizes after diffusers' own tests; tokenizers are made here, since no test asks a network."""
import shutil
from pathlib import Path

import torch

import tiny

def t5_tokenizer():
    from transformers import T5Tokenizer
    words = sorted({w for text in tiny.TEXTS for w in text.split()} | set('abcdefghijklmnopqrstuvwxyz .,'))
    return T5Tokenizer(vocab=[('<pad>', 0.), ('</s>', 0.), ('<unk>', -9.)] + [(p + w, -2.) for w in words for p in ('▁', '')], extra_ids=0, model_max_length=64)

def qwen_tokenizer():
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer
    vocab = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=4096,
                               chat_template="{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n")
    tokenizer.add_special_tokens(dict(additional_special_tokens=['<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>', '<|image_pad|>', '<|video_pad|>']))
    return tokenizer

def t5_encoder(tokenizer):
    from transformers import T5Config, T5EncoderModel
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, relative_attention_num_buckets=8, feed_forward_proj='gated-gelu'))

def latent_autoencoder(channels: int, *blocks):
    "Of the models that flow: shifted latents, no convolution between encoder and decoder."
    from diffusers import AutoencoderKL
    return AutoencoderKL(block_out_channels=blocks, layers_per_block=1, latent_channels=channels, norm_num_groups=1, sample_size=32, use_quant_conv=False,
                         use_post_quant_conv=False, shift_factor=.0609, scaling_factor=1.5035, down_block_types=('DownEncoderBlock2D',) * len(blocks),
                         up_block_types=('UpDecoderBlock2D',) * len(blocks))

def flow(**config):
    from diffusers import FlowMatchEulerDiscreteScheduler
    return FlowMatchEulerDiscreteScheduler(**config)

def save(pipe, folder: Path, variant=None):
    pipe.save_pretrained(folder, safe_serialization=True, variant=variant)
    return pipe

def xl_turbo(folder: Path, variant=None):
    "Stable Diffusion XL distilled: a text-to-image checkpoint of four channels, steps counted from the end."
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
    pipe = tiny.stable_diffusion_xl(folder/'with nine channels')
    shutil.rmtree(folder/'with nine channels')
    parts = dict(pipe.components, scheduler=EulerAncestralDiscreteScheduler(**tiny.NOISE, timestep_spacing='trailing'))
    torch.manual_seed(1)
    parts['unet'] = type(pipe.unet).from_config(dict(pipe.unet.config, in_channels=4))
    return save(StableDiffusionXLPipeline(**{k: v for k, v in parts.items() if k not in ('image_encoder', 'feature_extractor')}), folder, variant)

def latent_consistency(folder: Path, variant=None):
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler
    torch.manual_seed(0)
    words = tiny.tokenizer(folder/'tokenizer')
    return save(LatentConsistencyModelPipeline(
        vae=tiny.autoencoder(), text_encoder=tiny.text_encoder(words), tokenizer=words, unet=tiny.denoiser(in_channels=4, time_cond_proj_dim=32),
        scheduler=LCMScheduler(**tiny.NOISE), safety_checker=None, feature_extractor=None, requires_safety_checker=False), folder, variant)

def stable_diffusion_3(folder: Path, variant=None):
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
    torch.manual_seed(0)
    words, more = tiny.tokenizer(folder/'tokenizer'), t5_tokenizer()
    transformer = SD3Transformer2DModel(sample_size=32, patch_size=2, in_channels=16, out_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=4,
                                        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=64)
    def encoder(): return tiny.text_encoder(words, 'CLIPTextModelWithProjection', projection_dim=32)
    return save(StableDiffusion3Pipeline(
        transformer=transformer, scheduler=flow(shift=3.), vae=latent_autoencoder(16, 4, 8), text_encoder=encoder(), tokenizer=words, text_encoder_2=encoder(),
        tokenizer_2=words, text_encoder_3=t5_encoder(more), tokenizer_3=more), folder, variant)

def flux(folder: Path, variant=None, cls: str = 'FluxPipeline', in_channels: int = 16, guided: bool = True):
    import diffusers
    torch.manual_seed(0)
    words, more = tiny.tokenizer(folder/'tokenizer'), t5_tokenizer()
    transformer = diffusers.FluxTransformer2DModel(patch_size=1, in_channels=in_channels, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
                                                   num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=guided)
    return save(getattr(diffusers, cls)(
        transformer=transformer, scheduler=flow(use_dynamic_shifting=guided), vae=latent_autoencoder(4, 4, 8), text_encoder=tiny.text_encoder(words), tokenizer=words,
        text_encoder_2=t5_encoder(more), tokenizer_2=more), folder, variant)

# noised latents, latents of the picture with a hole, and a mask of 4 pixels a side for each packed latent
def flux_fill(folder: Path, variant=None): return flux(folder, variant, 'FluxFillPipeline', 16 + 16 + 4 * 4)
def flux_schnell(folder: Path, variant=None): return flux(folder, variant, guided=False)
def kontext(folder: Path, variant=None): return flux(folder, variant, 'FluxKontextPipeline')

def qwen_image(folder: Path, variant=None, cls: str = 'QwenImagePipeline'):
    import diffusers
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    transformer = diffusers.QwenImageTransformer2DModel(patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
                                                        joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4))
    vae = diffusers.AutoencoderKLQwenImage(base_dim=4, z_dim=4, dim_mult=[1, 2, 4, 4], num_res_blocks=1, temperal_downsample=[False, True, True],
                                           latents_mean=[0.] * 4, latents_std=[1.] * 4)
    encoder = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(
        text_config=dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1,
                         rope_parameters=dict(mrope_section=[1, 1, 2], rope_type='default', rope_theta=1e6)),
        vision_config=dict(depth=2, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=16, fullatt_block_indexes=[1]),
        image_token_id=ids('<|image_pad|>'), video_token_id=ids('<|video_pad|>'), vision_start_token_id=ids('<|vision_start|>'), vision_end_token_id=ids('<|vision_end|>')))
    parts = dict(transformer=transformer, vae=vae, scheduler=flow(), text_encoder=encoder, tokenizer=tokenizer)
    if 'Edit' in cls: parts['processor'] = Qwen2VLProcessor(Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112), tokenizer, Qwen2VLVideoProcessor(),
                                                            chat_template=tokenizer.chat_template)
    return save(getattr(diffusers, cls)(**parts), folder, variant)

def qwen_edit(folder: Path, variant=None): return qwen_image(folder, variant, 'QwenImageEditPipeline')

def z_image(folder: Path, variant=None, shift: float = 6.):
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    transformer = ZImageTransformer2DModel(all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
                                           norm_eps=1e-5, qk_norm=True, cap_feat_dim=16, rope_theta=256., t_scale=1000., axes_dims=[8, 4, 4], axes_lens=[1024, 256, 256])
    with torch.no_grad():
        for token in (transformer.x_pad_token, transformer.cap_pad_token): token.fill_(1)      # diffusers leaves them as they are in memory
    encoder = Qwen3Model(Qwen3Config(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, vocab_size=len(tokenizer),
                                     max_position_embeddings=512))
    return save(ZImagePipeline(transformer=transformer, vae=latent_autoencoder(4, 4, 8), scheduler=flow(shift=shift), text_encoder=encoder, tokenizer=tokenizer), folder, variant)

def z_image_turbo(folder: Path, variant=None): return z_image(folder, variant, 3.)

def kandinsky_prior(folder: Path, variant=None):
    import transformers
    from diffusers import KandinskyV22PriorPipeline, PriorTransformer, UnCLIPScheduler
    torch.manual_seed(0)
    words = tiny.tokenizer(folder/'tokenizer')
    prior = PriorTransformer(num_attention_heads=2, attention_head_dim=12, embedding_dim=32, num_layers=1, num_embeddings=64)
    prior.clip_std.data.fill_(1)
    eyes = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(hidden_size=32, image_size=28, projection_dim=32, intermediate_size=37, num_attention_heads=4,
                                                                                  num_hidden_layers=1, patch_size=14))
    return save(KandinskyV22PriorPipeline(
        prior=prior, image_encoder=eyes, text_encoder=tiny.text_encoder(words, 'CLIPTextModelWithProjection', projection_dim=32), tokenizer=words,
        scheduler=UnCLIPScheduler(variance_type='fixed_small_log', prediction_type='sample', clip_sample_range=10.),
        image_processor=transformers.CLIPImageProcessor(crop_size=28, size=28)), folder, variant)

def kandinsky_decoder(folder: Path, variant=None, prior: str = 'org/prior'):
    "As on the hub: what turns the prior's features into a picture; its page says where the prior is."
    from diffusers import DDPMScheduler, KandinskyV22InpaintPipeline, UNet2DConditionModel, VQModel
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=32, in_channels=9, out_channels=8, addition_embed_type='image', down_block_types=('ResnetDownsampleBlock2D', 'SimpleCrossAttnDownBlock2D'),
                                up_block_types=('SimpleCrossAttnUpBlock2D', 'ResnetUpsampleBlock2D'), mid_block_type='UNetMidBlock2DSimpleCrossAttn', block_out_channels=(32, 64),
                                layers_per_block=1, encoder_hid_dim=32, encoder_hid_dim_type='image_proj', cross_attention_dim=32, attention_head_dim=4,
                                resnet_time_scale_shift='scale_shift')
    movq = VQModel(block_out_channels=(32, 64), down_block_types=('DownEncoderBlock2D', 'AttnDownEncoderBlock2D'), latent_channels=4, layers_per_block=1, norm_num_groups=8,
                   norm_type='spatial', num_vq_embeddings=12, up_block_types=('AttnUpDecoderBlock2D', 'UpDecoderBlock2D'), vq_embed_dim=4)
    pipe = save(KandinskyV22InpaintPipeline(unet=unet, movq=movq, scheduler=DDPMScheduler(beta_schedule='linear', beta_start=.00085, beta_end=.012)), folder, variant)
    (folder/'README.md').write_text(f'---\nprior:\n- {prior}\n---\nA decoder.\n')
    return pipe

def kandinsky(folder: Path, variant=None):
    "Decoder and prior in one folder, as diffusers saves the two together."
    from diffusers import KandinskyV22InpaintCombinedPipeline
    decoder, prior = kandinsky_decoder(folder/'decoder'), kandinsky_prior(folder/'prior')
    for name in ('decoder', 'prior'): shutil.rmtree(folder/name)
    return save(KandinskyV22InpaintCombinedPipeline(**decoder.components, **{f'prior_{k}': v for k, v in prior.components.items()}), folder, variant)

FAMILIES = dict(sd15=lambda folder, variant=None: tiny.stable_diffusion(folder, 'PNDMScheduler', variant), sd2=tiny.stable_diffusion_2, sdxl=tiny.stable_diffusion_xl,
                xl_turbo=xl_turbo, sd3=stable_diffusion_3, flux=flux, flux_schnell=flux_schnell, flux_fill=flux_fill, kontext=kontext, qwen=qwen_image, qwen_edit=qwen_edit,
                z_image=z_image, z_image_turbo=z_image_turbo, kandinsky=kandinsky, lcm=latent_consistency, amused=tiny.amused)
