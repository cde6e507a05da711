"""Codes of pictures: what the editors rely on."""
import pytest
import torch

from regionedit.editors.codes import PatchAutoencoder, autoencoder_from_pictures
from regionedit.editors.diffusion import pixels_per_latent

@pytest.mark.parametrize('patch', [4, 8])
def test_a_cell_of_latents_is_a_block_of_pixels(patch):
    pixels = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = autoencoder_from_pictures(pixels, patch_size=patch, latent_channels=5,
                                    widths=(16, 16), depth=1)
    assert pixels_per_latent(vae) == patch
    latents = vae.encode(pixels).latent_dist.mean
    assert latents.shape == (6, 5, 32 // patch, 32 // patch)
    assert vae.decode(latents).sample.shape == pixels.shape

def test_as_many_components_as_numbers_in_a_block_lose_nothing():
    pixels = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = autoencoder_from_pictures(pixels, patch_size=2, latent_channels=12, widths=(16, 16), depth=1)
    back = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    torch.testing.assert_close(back, pixels, atol=1e-3, rtol=0)

def test_a_configuration_without_a_patch_size_means_eight():
    "The bundled autoencoder's was written before there was a choice."
    assert PatchAutoencoder.from_config(dict(latent_channels=4)).config.patch_size == 8
