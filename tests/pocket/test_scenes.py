"Scenes: the same seed the same pixels, boxes where the pixels are, words that are true."
import re
from dataclasses import replace

import numpy as np
import pytest

from regionedit.pocket import CONCEPTS, STYLES, draw_scene
from regionedit.pocket.backgrounds import BACKGROUNDS
from regionedit.pocket.scenes import (COLOURS, HELD_OUT, HELD_OUT_STYLE, SEEDS, SYNONYMS, Layout,
                                      Object, article, caption, drawn_in, overlaps, relation,
                                      render, sample_layout, split_of, sprite, where)

LAYOUTS = [(sample_layout(rng, n), rng) for n in (1, 2, 3) for rng in map(np.random.default_rng, range(150))]

def pixels(image): return np.asarray(image).astype(int)

def test_the_same_seed_is_the_same_scene():
    for seed in (0, 3, 2_000_005):
        a, b = draw_scene(seed), draw_scene(seed)
        assert a.image.tobytes() == b.image.tobytes() and a.caption == b.caption and a.layout == b.layout
    assert len({draw_scene(seed).image.tobytes() for seed in range(20)}) == 20

def test_a_seed_keeps_its_scene_from_version_to_version():
    "Weights are trained on these scenes and figures measured on them: a seed that means another scene must be noticed."
    s = draw_scene(3, num_objects=2)
    assert s.image.size == (128, 128) and s.image.mode == 'RGB' and s.caption == PINNED['caption'] and [o.box for o in s.objects] == PINNED['boxes']

PINNED = dict(caption='a red apple below a phone', boxes=[(65, 83, 107, 125), (0, 5, 37, 57)])

@pytest.mark.parametrize('seed', range(12))
def test_a_box_is_exactly_where_the_objects_pixels_are(seed):
    "Drawn with and without the object: the pixels that differ fill its box to every edge and lie nowhere else."
    layout = draw_scene(seed, num_objects=1 + seed % 3, size=(160, 112) if seed % 2 else (128, 128)).layout
    objects = tuple(replace(o, shadow=0.) for o in layout.objects)         # a shadow falls outside the box
    whole = pixels(render(replace(layout, objects=objects)))
    for i, o in enumerate(objects):
        others = objects[:i] + objects[i + 1:]
        differs = (whole != pixels(render(replace(layout, objects=others)))).any(-1)
        y, x = differs.nonzero()
        assert (x.min(), y.min(), x.max() + 1, y.max() + 1) == o.box and max(o.box[2] - o.box[0], o.box[3] - o.box[1]) == o.size

def test_objects_are_inside_and_do_not_overlap():
    for layout, _ in LAYOUTS:
        boxes = [o.box for o in layout.objects]
        assert all(0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 128 for x0, y0, x1, y1 in boxes)
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                canvas = np.zeros((128, 128), int)
                for x0, y0, x1, y1 in (a, b): canvas[y0:y1, x0:x1] += 1
                assert canvas.max() == 1

def test_overlap_by_hand():
    assert overlaps((0, 0, 4, 4), (5, 0, 9, 4)) and not overlaps((0, 0, 4, 4), (6, 0, 9, 4))           # a gap of two pixels
    assert overlaps((0, 0, 4, 4), (5, 0, 9, 4), gap=2) and not overlaps((0, 0, 4, 4), (5, 0, 9, 4), gap=1)
    assert not overlaps((0, 0, 4, 4), (0, 20, 4, 24)) and not overlaps((0, 20, 4, 24), (0, 0, 4, 4))

def test_numbers_of_objects():
    for n in (1, 2, 3): assert all(len({o.name for o in l.objects}) == n for l, _ in LAYOUTS[150 * (n - 1):150 * n])
    counts = np.bincount([len(sample_layout(np.random.default_rng(s)).objects) for s in range(400)], minlength=4) / 400
    assert np.abs(counts - (0, .5, .35, .15)).max() < .08

def test_every_second_scene_has_clutter():
    share = np.mean([bool(l.clutter) for l, _ in LAYOUTS])
    assert .42 < share < .58
    assert all(3 <= len(l.clutter) <= 7 for l, _ in LAYOUTS if l.clutter)
    for s in range(10): assert draw_scene(s, clutter=True).layout.clutter and not draw_scene(s, clutter=False).layout.clutter

def test_clutter_is_drawn_below_the_objects():
    scene = draw_scene(5, clutter=True)
    scene = replace(scene, layout=replace(scene.layout, light=()))
    bare = render(replace(scene.layout, clutter=()))
    assert (pixels(render(scene.layout)) != pixels(bare)).any()
    o = Object('cat', 'noto', (40, 50, 0, 0), 40)
    with_object = replace(scene.layout, objects=(o,), clutter=tuple((k, v, 40, 50) for k, v, _, _ in scene.layout.clutter))
    s = sprite('cat', 'noto', 40)
    opaque = np.asarray(s)[..., 3] == 255
    drawn = pixels(render(with_object))[50:50 + s.height, 40:40 + s.width]
    assert opaque.sum() > 200 and (drawn[opaque] == pixels(s)[..., :3][opaque]).all()

def test_choices_of_concepts_and_styles_are_kept():
    for s in range(10):
        scene = draw_scene(s, num_objects=2, concepts=('cat', 'dog', 'fox'), styles=STYLES[1:2])
        assert {o.name for o in scene.objects} <= {'cat', 'dog', 'fox'} and {o.style for o in scene.objects} == {STYLES[1]}

# splits

def test_splits_are_disjoint_and_complete():
    ranges = sorted(SEEDS.values(), key=lambda r: r.start)
    assert ranges[0].start == 0 and all(a.stop == b.start for a, b in zip(ranges, ranges[1:])) and all(r.step == 1 for r in ranges)
    assert [split_of(s) for s in (0, 999_999, 1_000_000, 1_999_999, 2_000_000, 10**12)] == ['bench', 'bench', 'validation', 'validation', 'train', 'train']

def test_the_same_number_in_two_splits_is_another_scene():
    assert draw_scene(7).image.tobytes() != draw_scene(1_000_007).image.tobytes() != draw_scene(2_000_007).image.tobytes()

# words

RELATIONS = {'to the left of': lambda dx, dy: dx > 0 and dx >= abs(dy), 'to the right of': lambda dx, dy: dx < 0 and -dx >= abs(dy),
             'above': lambda dx, dy: dy > 0 and dy >= abs(dx), 'below': lambda dx, dy: dy < 0 and -dy >= abs(dx)}

def centre(o): return (o.box[0] + o.box[2]) / 2, (o.box[1] + o.box[3]) / 2

def test_relation_by_hand():
    def at(x, y): return Object('cat', 'noto', (x, y, x + 10, y + 20), 20)
    assert relation(at(0, 0), at(50, 30)) == 'to the left of' and relation(at(50, 30), at(0, 0)) == 'to the right of'
    assert relation(at(0, 0), at(30, 50)) == 'above' and relation(at(30, 50), at(0, 0)) == 'below'

def names(o): return (o.name, *SYNONYMS[o.name])

def find_name(layout, words):
    said = [(len(n), i) for i, o in enumerate(layout.objects) for n in names(o) if re.search(rf'\b{re.escape(n)}\b', words)]
    return layout.objects[max(said)[1]]

def test_what_a_caption_says_of_places_is_true():
    told = 0
    for layout, rng in LAYOUTS[150:]:
        for _ in range(4):
            for sentence in caption(rng, layout).split('. '):
                found = re.search('(.*?)(to the left of|to the right of|above|below)(.*)', sentence)
                if not found: continue
                a, b = (find_name(layout, found[i]) for i in (1, 3))
                assert a is not b and RELATIONS[found[2]](centre(b)[0] - centre(a)[0], centre(b)[1] - centre(a)[1]), (sentence, a, b)
                told += 1
    assert told > 200

def test_captions_name_only_what_is_there():
    for layout, rng in LAYOUTS:
        for _ in range(3):
            text = caption(rng, layout)
            there = {n for o in layout.objects for n in names(o)}
            assert any(re.search(rf'\b{re.escape(n)}\b', text) for n in there)
            if len(layout.objects) == 1 and (size := re.search('small|large', text)):
                assert (layout.objects[0].size < 38) if size[0] == 'small' else (layout.objects[0].size >= 56)
            assert not [b for b in BACKGROUNDS if b in text and b != where(layout)]
            left = text
            for n in sorted(there, key=len, reverse=True): left = left.replace(n, '')
            left = left.replace(where(layout), '').replace('Some stones and leaves lie around.', '')
            assert not [n for n in CONCEPTS if re.search(rf'\b{re.escape(n)}\b', left)], text

def test_a_colour_in_a_caption_is_the_objects():
    for name in [n for n in CONCEPTS if COLOURS[n]][:12]:
        layout = Layout('on the grass', 0, 0., False, objects=(Object(name, 'noto', (0, 0, 45, 45), 45),))
        rng = np.random.default_rng(0)
        texts = [caption(rng, layout) for _ in range(60)]
        if COLOURS[name] not in name: assert any(f'{COLOURS[name]} {name}' in t for t in texts)
        assert {t.split(name)[0].split()[-1] for t in texts if name in t} <= {'a', 'an', COLOURS[name].split()[-1]}

def test_articles():
    for layout, rng in LAYOUTS[:150]:
        text = caption(rng, layout)
        assert not re.search(r'\b[Aa] (?!uni|ufo)[aeiou]', text) and not re.search(r'\b[Aa]n (?!hour)[^aeiou]', text), text
    assert article('apple') == 'an apple' and article('red apple') == 'a red apple' and article('hourglass') == 'an hourglass'
    assert article('unicorn') == 'a unicorn' and article('large bread') == 'large bread' and article('loaf of bread') == 'a loaf of bread'

@pytest.mark.parametrize('wrong', [dict(seed=-1), dict(seed=0, num_objects=0), dict(seed=0, num_objects=4)])
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match='expected seed >= 0 and num_objects 1, 2, 3 or None, got'): draw_scene(**wrong)

# other sizes, other worlds

@pytest.mark.parametrize('size', [(96, 128), (192, 160), (256, 256)])
def test_sizes_and_aspects(size):
    for seed in range(6):
        scene = draw_scene(seed, size=size)
        assert scene.image.size == size and all(0 <= o.box[0] < o.box[2] <= size[0] and 0 <= o.box[1] < o.box[3] <= size[1] for o in scene.objects)
        assert all(o.size >= 24 * min(size) / 128 - 1 for o in scene.objects)

def test_what_is_held_out_is_drawn_only_when_asked_for():
    seen = {o.name for layout, _ in LAYOUTS for o in layout.objects}
    assert not seen & set(HELD_OUT) and {o.style for layout, _ in LAYOUTS for o in layout.objects} == set(STYLES)
    assert 'bokeh' not in {layout.background for layout, _ in LAYOUTS}
    concepts = tuple(c for c in HELD_OUT if c in drawn_in(HELD_OUT_STYLE))
    scene = draw_scene(0, num_objects=1, concepts=concepts, styles=(HELD_OUT_STYLE,), grounds=('bokeh',))
    assert scene.objects[0].name in HELD_OUT and scene.layout.background == 'bokeh' and scene.background == ''
