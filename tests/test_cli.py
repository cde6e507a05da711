"The command line in this process, with a stand-in for the editor: exit status, streams, spellings."
import json, subprocess, sys
from dataclasses import fields
from importlib.metadata import version

import pytest
from PIL import Image

import regionedit.cli as cli
from regionedit.models.bundled import NAMES, weights_folder
from regionedit.cli import build_parser, main
from regionedit.method.config import Config
from regionedit.method.core import ModelNotAvailable
from regionedit.models.hub import not_available
from stubs import picture, stub_result

@pytest.fixture
def calls(monkeypatch) -> list:
    "What RegionEditor was asked: preset, image, prompt, source, options."
    found = []
    class Stub:
        def __init__(self, preset): self.preset = preset
        @classmethod
        def from_pretrained(cls, preset, device, dtype, **more): return cls(preset)
        def __call__(self, image, prompt, source, **options):
            found.append((self.preset, image, prompt, source, options))
            return stub_result()
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor', Stub)
    monkeypatch.setattr(cli, 'get_preset', lambda name, *more: name)
    return found

@pytest.fixture
def image(tmp_path):
    path = tmp_path/'in.png'
    picture(37, 21).save(path)
    return str(path)

@pytest.fixture
def edit(calls, image, tmp_path):
    "Run `regionedit edit` with more arguments; returns the status."
    def run(*more): return main(['edit', image, '--source', 'a cat', '--prompt', 'a rocket', '--out', str(tmp_path/'out'), *more])
    return run

def refused(status, capsys) -> str:
    "Status 2, nothing on standard output, one line on standard error; returns the line."
    out, err = capsys.readouterr()
    assert status == 2 and out == '' and err.startswith('regionedit: ') and err.endswith('\n') and err.count('\n') == 1, (status, out, err)
    return err

# edit

def test_edit_passes_on_what_it_is_told(edit, calls, capsys, tmp_path):
    assert edit('--preset', 'some-folder', '--seed', '5') == 0
    (preset, image, prompt, source, options), = calls
    assert (preset, prompt, source) == ('some-folder', 'a rocket', 'a cat') and options == dict(seed=5, progress=True)
    assert isinstance(image, Image.Image) and image.tobytes() == picture(37, 21).tobytes()
    out, err = capsys.readouterr()
    assert err == '' and 'box (30, 10, 35, 14)' in out and '5 edits' in out and str(tmp_path/'out') in out
    assert {'edit.png', 'boxes.png', 'source.png', 'result.json'} <= {p.name for p in (tmp_path/'out').iterdir()}

def test_a_place_of_ones_own(edit, calls, capsys, tmp_path):
    mask = tmp_path/'mask.png'
    Image.new('L', (37, 21), 255).save(mask)
    assert edit('--box', '1', '2', '30', '20') == 0 == edit('--mask_image', str(mask))
    assert [c[-1] for c in calls] == [dict(box=[1, 2, 30, 20], progress=True), dict(mask_image=str(mask), progress=True)]
    capsys.readouterr()
    Image.new('L', (9, 9)).save(tmp_path/'small.png')
    for wrong, told in ((['--box', '1', '2', '38', '20'], 'expected box as (x0, y0, x1, y1) inside a picture of 37 x 21'), (['--box', '1', '2', '3'], 'expected 4 values after --box'),
                        (['--mask-image', 'nowhere.png'], 'found no file'), (['--mask-image', str(tmp_path/'small.png')], 'expected mask_image of 37 x 21'),
                        (['--box', '1', '2', '30', '20', '--mask-image', str(mask)], 'got both')):
        assert told in refused(edit(*wrong), capsys)
    assert len(calls) == 2

def test_json_is_one_line_and_nothing_else(edit, calls, capsys, tmp_path):
    assert edit('--json') == 0
    out, err = capsys.readouterr()
    assert err == '' and out.endswith('\n') and out.count('\n') == 1
    assert json.loads(out) == json.loads((tmp_path/'out'/'result.json').read_text()) and json.loads(out)['prompt'] == 'a rocket "über" all'
    assert calls[0][-1]['progress'] is False

OTHER = dict(num_anchors=3, num_proposals=2, anchors='topk', proposals='centred', min_size=.25, max_size=.5, roi='align', mask='patches', lambda_clip=2., lambda_dir=3., lambda_str=4., alpha=5., beta=6., source_weight=7., ranking='all', scale='spread',
             learning_steps=11, lr=.5, entropy=.75, num_inference_steps=9, guidance_scale=3.5, budget=16, search='random', preview_steps=2, seed=8)

def test_the_table_above_leaves_out_no_field():
    assert set(OTHER) | {'estimator'} == {f.name for f in fields(Config)} and all(getattr(Config(), k) != v for k, v in OTHER.items())

@pytest.mark.parametrize('spelling', [lambda n: '--' + n, lambda n: '--' + n.replace('_', '-')], ids=['_', '-'])
def test_every_field_is_an_option_in_both_spellings(edit, calls, spelling):
    assert edit(*(word for n, v in dict(OTHER, estimator='exact').items() for word in (spelling(n), str(v)))) == 0
    given = calls[0][-1]
    assert {k: v for k, v in given.items() if k != 'progress'} == dict(OTHER, estimator='exact')
    assert all(type(given[k]) is type(v) for k, v in OTHER.items())

def test_every_option_has_a_help_line_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop: main(['edit', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for name in OTHER: assert f'--{name.replace("_", "-")}' in text
    assert '(default: 8)' in text and "(default: the editor's own)" in text

def test_demo_edits_the_running_example(calls, tmp_path):
    from regionedit.course.lab import running_example
    shown = running_example()
    assert main(['edit', '--demo', '--out', str(tmp_path)]) == 0
    assert main(['edit', '--demo', '--prompt', 'a kite', '--source', 'a toy', '--out', str(tmp_path)]) == 0
    assert calls[0][1].tobytes() == shown.image.tobytes()
    assert calls[0][2:4] == (shown.prompt, shown.source)
    assert calls[1][2:4] == ('a kite', 'a toy')

# mistakes

@pytest.mark.parametrize('more, told', [
    (('--num-anchors', '0'), 'num_anchors'), (('--num-anchors', '2.5'), '--num-anchors'), (('--seed', 'x'), '--seed'), (('--alpha', '-1'), 'alpha'), (('--alpha', 'nan'), 'alpha'),
    (('--min-size', '.9', '--max-size', '.1'), 'min_size'), (('--roi', 'square'), 'roi'), (('--estimator', 'magic'), 'estimator'), (('--no-such-option',), '--no-such-option'),
    (('another.png',), 'another.png'), (('--seed',), '--seed')])
def test_a_bad_option_is_one_line_and_no_model_is_loaded(edit, calls, capsys, more, told):
    assert told in refused(edit(*more), capsys) and calls == []

@pytest.mark.parametrize('left_out', ['image', '--source', '--prompt'])
def test_too_little_is_said(calls, capsys, image, left_out):
    given = {'image': [image], '--source': ['--source', 'a cat'], '--prompt': ['--prompt', 'a rocket']}
    given.pop(left_out)
    assert 'expected IMAGE, --source and --prompt' in refused(main(['edit', *sum(given.values(), [])]), capsys) and calls == []

@pytest.mark.parametrize('words, told', [
    (['--num-anchors', 'x'], "expected --num-anchors to be a whole number, got 'x'; see regionedit edit --help"), (['--num_anchors', '9' * 5000], f"expected --num-anchors to be a whole number, got '{'9' * 79}...; see regionedit edit --help"),
    (['--alpha', ''], "expected --alpha to be a number, got ''; see regionedit edit --help"), (['--prompt'], 'expected a value after --prompt, got none; see regionedit edit --help'),
    (['--magic', '3'], 'expected what regionedit edit knows, got also --magic 3; see regionedit edit --help'), (['--num', '3'], 'expected one option, got --num, which may be --num-anchors')])
def test_what_argparse_says_is_told_in_our_words(capsys, words, told): assert refused(main(['edit', 'a.png', *words]), capsys).startswith(f'regionedit: {told}')

def test_an_unknown_command_is_told_with_those_that_are_known(capsys):
    assert refused(main(['paint']), capsys).startswith("regionedit: expected COMMAND to be a name it knows, got 'paint'; choose from ")
    assert refused(main(['batch', 'x.json']), capsys) == 'regionedit: expected a value for --image-dir, got none; see regionedit batch --help\n'

@pytest.mark.parametrize('content', [None, b'no picture'])
def test_a_bad_picture_is_one_line(calls, capsys, tmp_path, content):
    path = tmp_path/'bad.png'
    if content: path.write_bytes(content)
    assert 'bad.png' in refused(main(['edit', str(path), '--source', 'a', '--prompt', 'b']), capsys) and calls == []

@pytest.mark.parametrize('error', [ModelNotAvailable('expected a model,\nfound none'), ValueError('expected\nthis'), FileNotFoundError('no such file'), PermissionError('not yours')])
def test_errors_on_the_way_are_one_line(edit, capsys, monkeypatch, error):
    def fail(*args, **more): raise error
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', fail)
    assert refused(edit(), capsys) == f'regionedit: {" ".join(str(error).split())}\n'

@pytest.mark.parametrize('terminal', [False, True])
def test_commands_that_help_stand_on_lines_of_their_own_in_a_terminal(edit, capsys, monkeypatch, terminal):
    def fail(*args, **more): raise not_available('a model', 'found\nnone', ['hf download a/b', 'hf download c/d --include "*.json"'])
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', fail); monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal)
    assert edit() == 2
    sentence, commands = 'regionedit: expected a model, found none; use the bundled models (preset "pocket"), give a folder of the same layout, or fetch it where there is a network:', ['hf download a/b', 'hf download c/d --include "*.json"']
    assert capsys.readouterr().err == ''.join(f'{"  " if terminal and i else ""}{l}{end}' for i, (l, end) in enumerate(zip([sentence, *commands], '\n\n\n' if terminal else '  \n')))

def test_a_mistake_of_ours_is_not_hidden(edit, monkeypatch):
    def fail(*args, **more): raise ZeroDivisionError
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', fail)
    with pytest.raises(ZeroDivisionError): edit()

def test_a_page_needs_the_name_of_a_file(edit, calls, capsys, tmp_path):
    assert 'expected the name of a file' in refused(edit('--html', str(tmp_path)), capsys)
    assert calls == []

def test_a_file_in_the_place_of_the_folder(edit, tmp_path, capsys):
    (tmp_path/'out').write_text('in the way')
    refused(edit(), capsys)
    assert (tmp_path/'out').read_text() == 'in the way'

def test_a_folder_that_cannot_be_used_is_told_before_any_model_is_loaded(edit, calls, tmp_path, capsys):
    (tmp_path/'out').mkdir(); (tmp_path/'out'/'edit.png').write_text('mine')
    assert 'holds another edit.png' in refused(edit(), capsys)
    for wrong in ('in.png', 'in.png/below', 'x' * 300): assert 'expected a folder for the results' in refused(edit('--out', str(tmp_path/wrong)), capsys)
    assert calls == [] and (tmp_path/'out'/'edit.png').read_text() == 'mine'

@pytest.mark.parametrize('text', [' ', 'a\x1b[2J', 'a\udce4'])
@pytest.mark.parametrize('option', ['--prompt', '--source'])
def test_a_bad_text_is_one_line_without_its_control_characters(edit, calls, capsys, option, text):
    line = refused(edit(option, text), capsys)
    assert f'expected {option}' in line and line[:-1].isprintable() and calls == []

def test_what_a_terminal_would_obey_is_escaped(capsys):
    assert r"--magic\x1b[2J" in (line := refused(main(['edit', 'a.png', '--magic\x1b[2J']), capsys)) and line[:-1].isprintable()

def test_a_warning_is_one_line(calls, tmp_path, capsys):
    frames = [Image.new('RGB', (6, 4), c) for c in ('red', 'blue')]
    frames[0].save(tmp_path/'a.gif', save_all=True, append_images=frames[1:])
    assert main(['edit', str(tmp_path/'a.gif'), '--source', 'a cat', '--prompt', 'a rocket', '--out', str(tmp_path/'out')]) == 0
    err = capsys.readouterr().err
    assert err.startswith('regionedit: note: ') and 'several frames' in err and err.count('\n') == 1

def test_a_path_with_odd_bytes_can_be_printed(calls, image, tmp_path):
    import os, subprocess, sys
    out = os.fsdecode(bytes(tmp_path) + b'/\xe4')
    program = 'import sys; sys.argv[0] = "regionedit"\nfrom regionedit.cli import notify, plain_streams\nwith plain_streams(): print(sys.argv[1]); notify(sys.argv[1])'
    run = subprocess.run([sys.executable, '-c', program, out], capture_output=True, env=dict(os.environ, PYTHONIOENCODING='ascii'))
    assert run.returncode == 0 and run.stdout.endswith(b'\\udce4\n') and run.stderr.endswith(b'\\udce4\n')

def test_stopping_is_no_traceback(edit, capsys, monkeypatch):
    def stop(*args, **more): raise KeyboardInterrupt
    monkeypatch.setattr('regionedit.models.pretrained.RegionEditor.from_pretrained', stop)
    assert edit() == 130 and capsys.readouterr().err == 'regionedit: stopped\n'

# other commands

def test_no_command_shows_the_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ('edit', 'train', 'doctor', 'cite'))

def test_an_unknown_command(capsys): assert 'paint' in refused(main(['paint']), capsys)

def test_every_command_of_the_parser_does_something():
    assert set(next(a for a in build_parser()._actions if a.dest == 'command').choices) == set(cli.COMMANDS)

def test_cite(capsys): assert main(['cite']) == 0 and '2311.16432' in capsys.readouterr().out

@pytest.mark.parametrize('present', [NAMES, ('vit',)])
def test_doctor_says_what_is_missing(monkeypatch, capsys, tmp_path, present):
    from regionedit.models import bundled as weights
    monkeypatch.setattr(weights, '_MODELS', tmp_path)
    for name in present: (tmp_path/name).mkdir(); (tmp_path/name/'model.safetensors').touch()
    assert main(['doctor']) == (0 if present == NAMES else 2)
    out = capsys.readouterr().out
    for name in NAMES:
        line, = [l for l in out.splitlines() if l.startswith(f'pocket {name} ')]
        assert ('missing' in line) == (name not in present)
    assert 'torch' in out

def test_doctor_names_the_cache_that_is_used(monkeypatch, capsys):
    "The client's own constant, which knows HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME."
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', '/a/b')
    assert main(['doctor']) == 0 and any(line.startswith('hub cache') and '/a/b,' in line for line in capsys.readouterr().out.splitlines())

def test_versions_below_what_was_tried():
    asked = ['torch>=2.6', 'Pillow>=999', 'nosuchpackage>=1', 'numpy', 'pytest<1; extra == "dev"', 'tqdm>=1; python_version < "3"']
    assert cli.too_old(asked) == dict(Pillow=f'expected >=999, got {version("pillow")}', nosuchpackage='expected >=1, got nothing')

def test_doctor_says_which_is_too_old(monkeypatch, capsys):
    monkeypatch.setattr('importlib.metadata.requires', lambda name: ['diffusers>=99', 'torch'])
    assert main(['doctor']) == 2
    line, = [l for l in capsys.readouterr().out.splitlines() if 'expected' in l]
    assert line.startswith('diffusers') and line.endswith('; pip install --upgrade diffusers') and 'expected >=99, got 0.' in line

def test_who_reads_may_stop():
    "`regionedit cite | true`."
    for words in (['cite'], ['--help']):
        said = subprocess.run(['bash', '-o', 'pipefail', '-c', f'"$0" -m regionedit.cli {" ".join(words)} | true', sys.executable], capture_output=True, text=True)
        assert (said.returncode, said.stderr) == (0, '')

def test_train_passes_on_what_it_is_told(monkeypatch, capsys, tmp_path):
    from regionedit.pocket.clip import ClipRecipe
    from regionedit.pocket.dino import DinoRecipe
    asked, hows = [], []
    def fit(recipe, out, minutes, resume, start, keep, **how):
        asked.append((type(recipe).__name__, recipe.root, recipe.lr, out, minutes, resume, start, keep))
        hows.append(how)
        return dict(command='regionedit train', steps=3, held_out=dict(loss=.5))
    monkeypatch.setattr('regionedit.pocket.training.train', fit)
    assert main(['train', 'dino', '--minutes', '.5', '--resume', '--out', str(tmp_path)]) == 0
    assert main(['train', 'clip', '--out', str(tmp_path)]) == 0
    assert main(['train', 'diffusion', '--start', 'bundled', '--lr', '3e-4', '--keep', '.3', '--out', str(tmp_path), '--device', 'cuda', '--compile']) == 0
    assert hows == [dict(device='cpu', compile=False)] * 2 + [dict(device='cuda', compile=True)]
    assert asked == [('DinoRecipe', tmp_path, DinoRecipe.lr, tmp_path/'dino', .5, True, None, 0.), ('ClipRecipe', tmp_path, ClipRecipe.lr, tmp_path/'clip', 60, False, None, 0.),
                     ('DiffusionRecipe', tmp_path, 3e-4, tmp_path/'diffusion', 60, False, weights_folder('diffusion'), .3)]
    assert '3 steps' in capsys.readouterr().out

@pytest.mark.parametrize('arguments', [('dino', '--start', 'here', '--resume'), ('dino', '--minutes', '0'), ('dino', '--minutes', 'nan'), ('dino', '--minutes', '-3'), ('clip', '--lr', '0'), ('clip', '--lr', 'nan'), ('clip', '--keep', '1', '--start', 'bundled'), ('clip', '--keep', '.3'), ('gpt',), ()])
def test_train_refuses(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.setattr('regionedit.pocket.training.train', lambda *a, **k: pytest.fail('trained'))
    refused(main(['train', *arguments]), capsys)

def test_resuming_nothing_is_one_line(capsys, tmp_path):
    assert 'to resume from' in refused(main(['train', 'dino', '--resume', '--out', str(tmp_path)]), capsys)

def test_it_can_be_started_as_a_module():
    "As `python -m regionedit.cli`, where no folder of programs is on the path."
    for words, status, told in ((['cite'], 0, 'arXiv:2311.16432'), (['fly'], 2, 'regionedit: ')):
        said = subprocess.run([sys.executable, '-m', 'regionedit.cli', *words], capture_output=True, text=True)
        assert said.returncode == status and told in said.stdout + said.stderr and 'Traceback' not in said.stderr

@pytest.mark.parametrize('error, told', [(OSError(28, 'No space left on device', '/out/a.png'), 'No space left on device" at /out/a.png; '), (PermissionError(13, 'Permission denied'), '"Permission denied"; '),
                                         (MemoryError(), 'expected more memory'), (OSError(12, 'Cannot allocate memory'), 'expected more memory'), (RuntimeError('CUDA out of memory. Tried to allocate 2 GiB'), 'expected more memory')])
def test_what_the_system_says_becomes_a_sentence(edit, calls, monkeypatch, capsys, error, told):
    def fail(*args, **kwargs): raise error
    monkeypatch.setattr('regionedit.method.editor.EditResult.save', fail)
    line = refused(edit('--json'), capsys)
    assert line.startswith('regionedit: expected ') and told in line

def test_a_bug_is_not_passed_off_as_a_mistake(edit, calls, monkeypatch):
    def fail(*args, **kwargs): raise RuntimeError('shapes do not match')
    monkeypatch.setattr('regionedit.method.editor.EditResult.save', fail)
    with pytest.raises(RuntimeError, match='shapes'): edit()
