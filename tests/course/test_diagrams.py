"""Diagrams: arrows touch boxes, words lie inside them and can be read, nothing crosses, and the
shapes are those of tensors."""
import base64, io, json, re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from regionedit.course import diagrams
from regionedit.course.diagrams import (AXES, PARTS, SMALL, Diagram, arrow_head, pipeline,
                                        pocket_shapes, route, times)

NBS = Path(__file__).parents[2]/'nbs'
PAGES = [p for p in sorted(NBS.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
DRAWN = dict(pipeline=pipeline, evidence=lambda: pipeline('ranking', evidence=True),
             marked=lambda: pipeline('network', 'gradient', 'texts'),
             ranking_with_evidence=lambda: diagrams.ranking_diagram(True),
             **{n: getattr(diagrams, n) for n in diagrams.__all__ if n.endswith('_diagram')})

def all_diagrams(test): return pytest.mark.parametrize('name', DRAWN)(test)

# what may be wrong with a diagram; each returns the offenders

def segments(arrow) -> list: return list(zip(arrow.points, arrow.points[1:]))

def edges(box) -> tuple: return *box.at, box.at[0] + box.size[0], box.at[1] + box.size[1]

def on_border(box, point) -> bool:
    (x0, y0, x1, y1), (x, y) = edges(box), point
    return (x in (x0, x1) and y0 <= y <= y1) or (y in (y0, y1) and x0 <= x <= x1)

def apart(a, b) -> bool:
    "Do two rectangles, (x0, y0, x1, y1), share no inner point?"
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]

def within(a, b, margin=0) -> bool:
    return (a[0] >= b[0] + margin and a[1] >= b[1] + margin and a[2] <= b[2] - margin
            and a[3] <= b[3] - margin)

def loose_arrows(d: Diagram) -> list:
    return [(a.start, a.end) for a in d.arrows if not on_border(d.boxes[a.start], a.points[0])
            or not on_border(d.boxes[a.end], a.points[-1])]

def oblique_arrows(d: Diagram) -> list:
    return [(a.start, a.end) for a in d.arrows for (x, y), (u, v) in segments(a)
            if x != u and y != v]

def flat(segment) -> tuple:
    "The rectangle, of no height or no width, that a segment is."
    (x, y), (u, v) = segment
    return min(x, u), min(y, v), max(x, u), max(y, v)

def touch(a, b) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]

def crossing_arrows(d: Diagram) -> list:
    return [(a.start, a.end, b.start, b.end) for a, b in combinations(d.arrows, 2)
            if any(touch(flat(p), flat(q)) for p in segments(a) for q in segments(b))]

def arrows_through_boxes(d: Diagram) -> list:
    return [(a.start, a.end, b.name) for a in d.arrows for b in d.boxes.values()
            if any(not apart(flat(s), edges(b)) for s in segments(a))]

def overlapping_boxes(d: Diagram) -> list:
    boxes, whole = list(d.boxes.values()), (0, 0, *d.size)
    return ([(a.name, b.name) for a, b in combinations(boxes, 2)
             if not apart(edges(a), edges(b))]
            + [b.name for b in boxes if not within(edges(b), whole, 5)])

def measured(d: Diagram) -> list:
    "Each text with the name of its box and the rectangle of its ink, pixels of the diagram."
    figure, words = d.draw()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    renderer, found = FigureCanvasAgg(figure).get_renderer(), []
    for owner, artist in words:
        e = artist.get_window_extent(renderer)
        found.append((owner, artist, (e.x0, d.size[1] - e.y1, e.x1, d.size[1] - e.y0)))
    return found

def misplaced_words(d: Diagram) -> list:
    "Words that leave their box or the diagram, lie on others, on a border or on an arrow."
    words, found = measured(d), []
    for owner, artist, place in words:
        text = artist.get_text()
        if owner:
            if not within(place, edges(d.boxes[owner]), 1): found.append(text)
            continue
        across = [b.name for b in d.boxes.values()
                  if not apart(place, edges(b)) and not within(place, edges(b), 1)]
        lines = [a.start for a in d.arrows for s in segments(a) if not apart(place, flat(s))]
        if across or lines or not within(place, (0, 0, *d.size)): found.append(text)
    return found + [(a.get_text(), b.get_text()) for (_, a, p), (_, b, q) in combinations(words, 2)
                    if not apart(p, q)]

FAULTS = (loose_arrows, oblique_arrows, crossing_arrows, arrows_through_boxes, overlapping_boxes,
          misplaced_words)

@pytest.mark.parametrize('fault', FAULTS, ids=lambda f: f.__name__)
@all_diagrams
def test_a_diagram_has_no_fault(name, fault): assert fault(DRAWN[name]()) == []

@all_diagrams
def test_letters_are_large_enough(name):
    assert SMALL >= 11
    assert all(a.get_fontsize() >= .75 * 11 for _, a, _ in measured(DRAWN[name]()))

@pytest.mark.slow
@pytest.mark.parametrize('part', PARTS)
def test_every_part_can_be_marked(part):
    d = pipeline(part)
    assert [n for n, b in d.boxes.items() if b.state == 'marked'] == [part]
    assert misplaced_words(d) == [], 'the word "here" has room'
    assert f'Marked: {PARTS[part][3]}.' in d.description

def two_boxes(**more) -> Diagram:
    d = Diagram('Two', 'Boxes.', 100, 300)
    return d.box('a', (10, 20), (80, 60), 'one').box('b', (200, 20), (80, 60), 'two', **more)

@pytest.mark.parametrize('fault, spoil', [
    (loose_arrows, lambda d: d.arrow('a', 'b').boxes.pop('b') and d.box('b', (210, 20), (70, 60))),
    (crossing_arrows, lambda d: d.arrow('a', 'b', shift=-9, end_shift=9).arrow('a', 'b')),
    (arrows_through_boxes, lambda d: d.box('c', (120, 30), (40, 40)).arrow('a', 'b')),
    (overlapping_boxes, lambda d: d.box('c', (80, 30), (40, 40))),
    (overlapping_boxes, lambda d: d.box('c', (280, 30), (40, 40))),
    (misplaced_words, lambda d: d.box('c', (120, 30), (40, 40), 'a long name')),
    (misplaced_words, lambda d: d.note((145, 10), 'here').note((150, 12), 'there')),
    (misplaced_words, lambda d: d.note((90, 50), 'on the border')),
    (misplaced_words, lambda d: d.arrow('a', 'b').note((145, 50), 'on the line'))])
def test_the_checks_see_a_spoilt_diagram(fault, spoil):
    d = two_boxes()
    assert all(f(d) == [] for f in FAULTS)
    spoil(d)
    assert fault(d) != []

def test_an_arrow_stops_at_the_border():
    d = two_boxes().arrow('a', 'b', out='bottom', into='bottom')
    assert d.arrows[0].points == ((50, 80), (50, 100), (240, 100), (240, 80))
    assert arrow_head((10, 0), (0, 0)) == [(10, 0), (2, 4), (2, -4)]
    assert route((0, 0), (10, 20), 'bottom', 'top', .25) == ((0, 0), (0, 5), (10, 5), (10, 20))

# what is shown

@pytest.mark.slow
@all_diagrams
def test_svg_png_and_words(name):
    d = DRAWN[name]()
    shown, about = d._repr_mimebundle_()
    assert set(shown) == {'image/svg+xml', 'image/png', 'text/plain'}
    svg = ElementTree.fromstring(shown['image/svg+xml'])
    assert svg.get('role') == 'img' and svg.get('aria-label') == d.description
    letters = [''.join(t.itertext()) for t in svg.iter() if t.tag.endswith('text')]
    assert sorted(letters) == sorted(a.get_text() for _, a, _ in measured(d)), 'text stays text'
    sizes = [float(s) for s in re.findall(r'font-size:([\d.]+)px', shown['image/svg+xml'])]
    assert len(sizes) == len(letters) and min(sizes) >= 8.25, 'points: 11 pixels'
    assert len(shown['image/svg+xml']) < 32_000 and len(shown['image/png']) < 40_000
    png = Image.open(io.BytesIO(base64.b64decode(shown['image/png'])))
    assert png.size == tuple(int(1.25 * s) for s in d.size)
    assert about == {'image/png': dict(width=d.size[0], height=d.size[1])}

def test_the_same_diagram_is_the_same_file(): assert pipeline().svg() == pipeline().svg()

@all_diagrams
def test_the_description_names_every_part(name):
    d = DRAWN[name]()
    assert repr(d).startswith(f'Diagram: {d.title}. ')
    assert [b.name for b in d.boxes.values() if not all(w in repr(d) for w in b.lines)] == []

def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match="expected parts out of picture.*got 'editor'"):
        pipeline('network', 'editor')

# the shapes are those of tensors

@pytest.fixture(scope='module')
def result():
    "The example, edited with the default settings by a stand-in for the generator."
    from regionedit import RegionEditor
    from regionedit.models.pretrained import load_vit
    from regionedit.pocket import example, weights_folder
    from stubs import StubClip, StubEditor
    editor = RegionEditor(load_vit(weights_folder('vit')), StubClip(), StubEditor())
    return editor(example('apple'), prompt='a doughnut', source='an apple', source_weight=0,
                  progress=False)

@pytest.mark.slow
def test_shapes_of_the_pipeline_are_those_of_a_result(result):
    from regionedit.method.core import to_tensor
    table, edits = result.table, result.table.edits
    pasted = [[to_tensor(edits[i].paste(result.source_image)) for i in row] for row in table.index]
    seen = dict(
        picture=to_tensor(result.source_image), proposals=table.boxes,
        generator=torch.stack([torch.stack(row) for row in pasted]),
        losses=torch.stack(list(table.terms.values())), network=result.trajectory.probabilities[0],
        choice=result.trajectory.boxes[0], result=to_tensor(result.image),
        anchors=torch.tensor([c.anchor for c in result.candidates]),
        ranking=torch.tensor([c.score for c in result.candidates]))
    shapes = pocket_shapes()
    assert {part: list(t.shape) for part, t in seen.items()} == {p: shapes[p] for p in seen}

def test_shapes_of_attention_and_texts():
    from regionedit.method.attention import attend
    from regionedit.models.pretrained import load_clip, load_vit
    from regionedit.pocket import example, weights_folder
    seen = attend(load_vit(weights_folder('vit')), Image.open(example('apple')))
    texts = load_clip(weights_folder('clip')).encode_texts(['an apple', 'a doughnut'])
    found = dict(attention=seen.maps, features=seen.features, texts=texts)
    assert {p: list(t.shape) for p, t in found.items()} == {p: pocket_shapes()[p] for p in found}

def test_shapes_are_printed_in_their_boxes():
    d, shapes = pipeline(), pocket_shapes()
    for part, box in d.boxes.items():
        if part in shapes: assert box.lines[1:] == (times(AXES[part].split()), times(shapes[part]))
    assert pipeline(evidence=True).boxes['losses'].lines[1:] == ('4 × K × M', times(
        [4, *shapes['network']]))

def test_shapes_of_the_editors():
    from regionedit.editors.diffusion import DiffusionEditor, embed
    from regionedit.editors.maskgit import MaskGitEditor, embed_texts
    from regionedit.models.presets import BUNDLED
    from regionedit.pocket import weights_folder
    n = diagrams.editor_shapes()
    one, other = (kind.from_pretrained(weights_folder(model), **BUNDLED[preset][2])
                  for kind, model, preset in ((DiffusionEditor, 'diffusion', 'pocket'),
                                              (MaskGitEditor, 'maskgit', 'pocket-maskgit')))
    assert list(one.start(0, 1)[0].shape[1:]) == n['latents'] and n['window'] == [one.size] * 2
    assert one.unet.config.in_channels == 2 * n['latents'][0] + 1
    assert (one.num_inference_steps, one.guidance_scale) == (n['steps'], n['guidance'])
    assert list(embed(one.text_encoder, one.tokenizer, ['a'])[0].shape) == n['words']
    assert list(embed_texts(other.text_encoder, other.tokenizer, ['a'])[0][0].shape) == n[
        'token_words']
    assert n['tokens'] == [other.size // other.cell] * 2 and other.size == one.size
    assert other.vqvae.config.num_vq_embeddings == n['codes']
    assert other.num_inference_steps == n['token_steps'] and other.schedule == 'cosine'

def test_the_strip_of_tokens_follows_the_schedule():
    from regionedit.editors.maskgit import tokens_left
    start = now = torch.tensor([36])
    counts, steps = [36], diagrams.editor_shapes()['token_steps']
    for i in range(steps):
        now = tokens_left(start, now, i, steps)
        counts.append(now.item())
    notes = diagrams.decoding_diagram().notes
    assert [int(t) for _, t, _, _ in notes if t.isdigit()] == counts

# the pages

MARKED = {          # number of a lesson -> parts that it marks; () shows all alike
    '00': (), '01': ('attention', 'anchors'), '02': ('proposals', 'network'), '03': ('losses',),
    '04': ('generator',), '05': ('generator',), '06': ('generator',),
    '07': ('attention', 'losses'), '08': ('network', 'gradient'), '09': ('ranking',),
    '10': ('judging',),
    **dict.fromkeys(('11', '12'), ('anchors', 'proposals', 'losses', 'generator')),
    '13': ('picture', 'attention', 'losses', 'generator'), '14': (),
    '15': ('anchors', 'network', 'losses', 'texts'),
    '16': ('proposals', 'losses', 'generator', 'judging')}

def drawn_in(page: Path) -> list:
    "Pairs: the source of a cell and an output that is a diagram."
    cells = json.loads(page.read_text(encoding='utf8'))['cells']
    return [(''.join(c['source']), o['data']) for c in cells for o in c.get('outputs', ())
            if ''.join(o.get('data', {}).get('text/plain', '')).startswith('Diagram: ')]

@pytest.mark.parametrize('lesson', sorted((NBS/'course').glob('[0-9]*.ipynb')),
                         ids=lambda p: p.stem)
def test_a_lesson_marks_its_part(lesson):
    number = lesson.stem[:2]
    shown = [(s, d) for s, d in drawn_in(lesson) if re.search(r'^pipeline\(', s, re.M)]
    (source, data), = shown
    asked = re.findall(r"'(\w+)'", re.search(r'^pipeline\(.*\)', source, re.M)[0])
    assert tuple(asked) == MARKED[number]
    said = ''.join(data['text/plain'])
    assert all((PARTS[n][3] if n in PARTS else n) in said for n in asked)
    assert ('Marked:' in said) == bool(asked)

def test_stored_diagrams_are_todays():
    "In all pages: both kinds of picture are there, and the words are those that the code gives."
    known = {repr(make()) for make in DRAWN.values()}
    for page in PAGES:
        for source, data in drawn_in(page):
            assert {'image/svg+xml', 'image/png'} <= set(data), page
            said = ''.join(data['text/plain'])
            if '_diagram' in source and 'pipeline(' not in source: assert said in known, page
            if re.search(r'^pipeline\(', source, re.M):
                call = re.search(r'^pipeline\((.*)\)', source, re.M)[1]
                names = re.findall(r"'(\w+)'", call)
                assert said == repr(pipeline(*names, evidence='evidence=True' in call)), page

def test_every_part_has_its_diagram_on_a_page():
    shown = ' '.join(source for page in PAGES for source, _ in drawn_in(page))
    made = [n for n in diagrams.__all__ if n.endswith('_diagram')]
    assert [n for n in made if f'{n}(' not in shown] == []
