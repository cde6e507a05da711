"""One picture, few hands: from the method's first line to the editor are four calls, and none takes
more than six arguments by place."""
import ast, inspect
from pathlib import Path

import pytest

import regionedit
from regionedit import RegionEditor
from regionedit.models.bundled import weights_folder
from stubs import StubClip, StubEditor, picture, stub_vit

HOME = Path(regionedit.__file__).parent

class Looking(StubEditor):
    "Notes who stands between it and `run`."
    def fill(self, images, *args, **kwargs):
        names = [f.function for f in inspect.stack() if Path(f.filename).is_relative_to(HOME)]
        self.way = names[:names.index('run')][::-1]
        return super().fill(images, *args, **kwargs)

@pytest.mark.parametrize('options, way',
                         [({}, ['fill_table', 'edit', 'paint']),
                          (dict(budget=3), ['fill_within', 'edit', 'paint']),
                          (dict(budget=3, preview_steps=1, search='random'),
                           ['paint_chosen', 'edit', 'paint'])])
def test_four_calls_from_run_to_the_editors_fill(options, way):
    editor = RegionEditor(stub_vit(), StubClip(), Looking())
    editor(picture(60, 40), 'a rocket', 'a cat', num_anchors=2, num_proposals=2, learning_steps=2,
           progress=False, **options)
    assert editor.editor.way == way

@pytest.mark.slow
def test_four_calls_with_a_network_that_chose_before():
    from regionedit.models.pretrained import load_clip, load_vit
    editor = RegionEditor(load_vit(weights_folder('vit')), load_clip(weights_folder('clip')),
                          Looking(), rgn=weights_folder('rgn'))
    editor(picture(60, 40), 'a rocket', 'a cat', num_anchors=2, estimator='amortised',
           progress=False)
    assert editor.editor.way == ['fill_table', 'edit', 'paint']

@pytest.mark.parametrize('room', ['method', 'editors'])
def test_no_call_has_more_than_six_arguments_by_place(room):
    wide = [f'{path.name}:{node.lineno}' for path in sorted((HOME/room).glob('*.py'))
            for node in ast.walk(ast.parse(path.read_text(encoding='utf8')))
            if isinstance(node, ast.Call)
            and sum(not isinstance(a, ast.Starred) for a in node.args) > 6
            # a network's layers
            and getattr(node.func, 'attr', '') not in ('Sequential', '__init__')]
    assert wide == []

@pytest.mark.parametrize('room', ['method', 'editors', 'results'])
def test_methods_stand_with_their_class_or_join_it_by_patch(room):
    "Never `Class.name = function`: the reference would not show it."
    for path in sorted((HOME/room).glob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf8'))
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            assert not any(isinstance(t, (ast.Attribute, ast.Tuple))
                           and any(isinstance(a, ast.Attribute) for a in ast.walk(t))
                           for t in targets), f'{path.name}:{node.lineno}'

@pytest.mark.parametrize('room', ['method', 'editors', 'results'])
def test_public_names_say_what_they_do(room):
    for path in sorted((HOME/room).glob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf8'))
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'):
                continue
            inner = [n for n in node.body if isinstance(n, ast.FunctionDef)
                     and not n.name.startswith('_')] if isinstance(node, ast.ClassDef) else []
            for n in (node, *inner):
                assert ast.get_docstring(n), f'{path.name}: {node.name}.{n.name}'
