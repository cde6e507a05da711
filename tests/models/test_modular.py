"The region finder as a block of diffusers: alone, and in front of blocks that paint."
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import tiny
from regionedit.method.editor import RegionEditor
from regionedit.models.modular import RegionBlock
from regionedit.models.pretrained import load_clip, load_vit
from stubs import StubEditor, picture

FEW = dict(num_anchors=2, num_proposals=2, learning_steps=2, progress=False)

@pytest.fixture(scope='module')
def finder(tmp_path_factory) -> RegionEditor:
    home = tmp_path_factory.mktemp('finder')
    tiny.vit(home/'vit'); tiny.clip(home/'clip')
    return RegionEditor(load_vit(home/'vit'), load_clip(home/'clip'), StubEditor())

@pytest.mark.slow
def test_alone_it_leaves_mask_and_box(finder, tmp_path):
    pipe, image = RegionBlock().init_pipeline(), picture(90, 50)
    pipe.update_components(region_editor=finder)
    state = pipe(image=image, prompt='a rocket', source='a cat', region_options=FEW | dict(seed=3))
    expected = finder(image, 'a rocket', 'a cat', seed=3, **FEW)
    assert state.box == expected.box == finder.find_region(image, 'a rocket', 'a cat', seed=3, **FEW)
    assert state.mask_image.tobytes() == expected.mask_image.tobytes() and state.mask_image.size == (90, 50)
    image.save(tmp_path/'in.png')      # a path does, too
    again = pipe(image=str(tmp_path/'in.png'), prompt='a rocket', source='a cat', region_options=FEW | dict(seed=3))
    assert again.box == state.box
    with pytest.raises(ValueError, match='expected prompt'): pipe(image=image, prompt='', source='a cat')
    with pytest.raises(ValueError, match='source'): pipe(image=image, prompt='a rocket')

def test_in_front_of_the_blocks_of_stable_diffusion_xl(finder, tmp_path):
    "The whole sequence paints what it paints without the block where the mask is given by hand."
    from diffusers.modular_pipelines.stable_diffusion_xl import StableDiffusionXLAutoBlocks
    parts, image = tiny.stable_diffusion_xl(tmp_path).components, picture(64, 64)
    def painted(*blocks, **given):
        whole = StableDiffusionXLAutoBlocks().get_workflow('inpainting')
        for name, block in blocks: whole.sub_blocks.insert(name, block, 0)
        pipe = whole.init_pipeline()
        known = {name: part for name, part in parts.items() if part is not None}
        pipe.update_components(**{name: part for name, part in dict(known, region_editor=finder).items()
                                  if name in pipe.components})
        state = pipe(image=image, prompt='a rocket', height=64, width=64, num_inference_steps=2, strength=1.,
                     generator=torch.Generator().manual_seed(0), **given)
        return {i.name for i in whole.inputs if i.required}, state
    required, found = painted(('region', RegionBlock()), source='a cat', region_options=FEW)
    assert required == {'image', 'prompt', 'source'}
    assert found.box == finder.find_region(image, 'a rocket', 'a cat', **FEW)
    expected = F.interpolate(torch.from_numpy(np.asarray(found.mask_image) / 255.)[None, None], (8, 8))
    assert found.mask[0].float().tolist() == expected[0].tolist() and 0 < expected.mean() < 1
    by_hand = painted(mask_image=found.mask_image)[1].images[0]
    assert found.images[0].tobytes() == by_hand.tobytes() != image.tobytes()

def test_another_pipeline_paints_and_what_is_pasted_is_the_box(finder, tmp_path):
    "As on the page: outside the mask the picture is what it was, bit for bit."
    painter, image, pipe = tiny.stable_diffusion(tmp_path), picture(64, 64), RegionBlock().init_pipeline()
    pipe.update_components(region_editor=finder)
    state = pipe(image=image, prompt='a rocket', source='a cat', region_options=FEW)
    made = painter('a rocket', image=image, mask_image=state.mask_image, height=64, width=64, num_inference_steps=1).images[0]
    changed = (np.asarray(Image.composite(made, image, state.mask_image)) != np.asarray(image)).any(-1)
    x0, y0, x1, y1 = state.box
    assert changed[y0:y1, x0:x1].mean() > .5 and changed.sum() == changed[y0:y1, x0:x1].sum()
