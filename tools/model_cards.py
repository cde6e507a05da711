"""Writes README.md, the hub's model card, beside each bundled model from its card.json.

    python tools/model_cards.py         after new weights were copied to regionedit/pocket/models
    python tools/model_cards.py FOLDER      of one model of your own, such as training/clip/weights
"""
import json
import sys
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

MODELS = Path(__file__).parent.parent/'regionedit'/'pocket'/'models'
CONCEPTS = json.loads((MODELS.parent/'data'/'concepts.json').read_text(encoding='utf-8'))
SITE = 'https://regionedit.github.io/regionedit'
EDITOR = "from regionedit import RegionEditor\neditor = RegionEditor.from_pretrained('{}')"
# model -> library, task on the hub, what it is, how it is loaded
KINDS = dict(
    clip=('open_clip', 'zero-shot-image-classification',
          'A CLIP of the drawn world: pictures and captions in one space. It scores edits and says '
          'where a thing is.',
          "import open_clip\nclip = open_clip.create_model(f'local-dir:{FOLDER}')"),
    dino=('timm', 'image-feature-extraction',
          'A self-supervised vision transformer (DINO). Where it looks, boxes are proposed.',
          "import timm\nvit = timm.create_model(f'local-dir:{FOLDER}', pretrained=True)"),
    diffusion=('diffusers', 'image-to-image',
               'A latent diffusion model that paints what a text says into the box of a picture.',
               EDITOR.format('pocket')),
    maskgit=('diffusers', 'image-to-image',
             'A masked generative transformer that paints what a text says into the box of a '
             'picture.', EDITOR.format('pocket-maskgit')),
    recogniser=('regionedit', 'image-classification',
                'Names the thing in a box. It learned from labels, so it judges edits without '
                'being the CLIP that guided them.', 'regionedit bench --scenes 24'),
    rgn=('regionedit', 'object-detection',
         'A region network that was trained before: it reads picture and texts, and chooses a box '
         'without an edit.',
         f"{EDITOR.format('pocket')}\n"
         "result = editor(image, prompt=..., source=..., estimator='amortised')"))
BODY = '''
# {name}: {title}

{what}

It is one of the small *pocket* models that the Python package [regionedit]({site})
carries, so that text-driven editing can be learned, tried and taken apart without a network or a
GPU. It knows one drawn world: {concepts} everyday things in three emoji styles, before ten places with
a name and grounds without one. It knows no photographs, no people and no other words.

## Use

```
{code}
```

## Training

| | |
|---|---|
| command | `{command}` |
| data | {data}; nothing was collected from people or the web |
| steps, batch size | {steps:,}, {batch_size} |
| minutes, threads | {minutes}, {threads} (processor cores, no GPU) |
| parameters | {parameters:,} |
{history}

## Held-out figures

Measured when these weights were saved, on scenes that no model was trained on.

| measure | figure |
|---|---|
{figures}

## Limits and licence

For teaching and analysis. What it does on anything but drawn scenes means nothing.
Licence: {licence}.
'''


def results(figures: dict) -> list:
    "The held-out shares (not the counts) as the hub reads them."
    return [EvalResult(task_type='other', dataset_type='regionedit-scenes',
                       dataset_name='drawn scenes, held out', metric_type=name, metric_value=value)
            for name, value in figures.items() if isinstance(value, float) and value <= 1]


def model_card(card: dict) -> str:
    "README.md of a model, from what its recipe wrote into card.json."
    unknown = 'regionedit', None, 'A part of a pocket model.', 'regionedit train --help'
    library, task, what, code = KINDS.get(card['model'], unknown)
    data = ModelCardData(
        language='en', license='apache-2.0', library_name=library, pipeline_tag=task,
        model_name=card['model'], tags=['regionedit', 'image-editing', 'education'],
        eval_results=results(card['held_out']))
    history = f"\n{card['history']}\n" if 'history' in card else ''
    figures = '\n'.join(f'| {name.replace("_", " ")} | {value:g} |'
                        for name, value in card['held_out'].items())
    return f'---\n{data}\n---\n' + BODY.format(**dict(
        card, name='regionedit', title=card['model'], what=what, code=code, history=history,
        figures=figures, site=SITE,
        concepts=sum(not c['held_out'] for c in CONCEPTS)))


def main(folders: list):
    "Write the cards of these folders, or of all bundled models."
    for folder in map(Path, folders or sorted(p.parent for p in MODELS.glob('*/card.json'))):
        card = json.loads((folder/'card.json').read_text(encoding='utf-8'))
        (folder/'README.md').write_text(model_card(card), encoding='utf-8')
        print(folder/'README.md')


if __name__ == '__main__': main(sys.argv[1:])
