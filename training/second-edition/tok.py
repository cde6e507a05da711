import json, numpy as np
from pathlib import Path
from world import *
def corpus():
    rng = np.random.default_rng(0); out = []
    for c in TRAINED:
        for n in [ROWS[c]['name']] + ROWS[c]['aka']: out += [article(n)] * 30
    out += PLACES * 40 + ['a cat to the left of a dog', 'a cat to the right of a dog', 'a cat above a dog', 'a cat below a dog', 'a cat and a dog', 'a photo of a cat', 'a picture of the large dog', 'there is', 'next to', 'it lies', 'it stands', 'red orange yellow green blue purple pink brown grey black white golden'] * 40
    out += [prompt(c, rng) for c in TRAINED for _ in range(8)]
    try:
        from captions import caption_corpus; out += caption_corpus()
    except ImportError: pass
    return out
def tokenizer(length=24):
    from transformers import CLIPTokenizer
    f = Path('tokenizer')
    if not (f/'vocab.json').exists():
        from regionedit.pocket.clip import train_tokenizer
        train_tokenizer(f, corpus(), 1600)
    return CLIPTokenizer.from_pretrained(f, model_max_length=length)
if __name__ == '__main__':
    t = tokenizer(); print(len(t)); print([t.tokenize(s) for s in ['a hot dog on a wooden table', 'a kangaroo', 'an evergreen tree', 'a green apple', 'blueberries', 'a scarf', 'a raccoon in front of a brick wall']])
