"One command, one page: what it says of a tiny checkpoint, and of what goes wrong."
import json, re, subprocess, sys

import pytest

import tiny
from regionedit.models.bundled import PHOTOGRAPHS, example
from regionedit.models.first_light import JOBS, command_first_light, setting

@pytest.fixture(scope='module')
def models(tmp_path_factory):
    "A ViT, a CLIP and Stable Diffusion, tiny, in one folder."
    home = tmp_path_factory.mktemp('models')
    tiny.vit(home/'vit'); tiny.clip(home/'clip'); tiny.stable_diffusion(home/'editor')
    return home

FEW = ['num_anchors=2', 'num_proposals=2', 'learning-steps=2', 'num_inference_steps=1', 'dtype=float32']

def figures(path) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', path.read_text(), re.S)[1])

def test_the_photographs_are_here_and_are_those_asked_for():
    from PIL import Image
    assert [name for name, *_ in JOBS] == [*PHOTOGRAPHS]
    for name in PHOTOGRAPHS:
        assert example(name).stat().st_size < 60_000 and max(Image.open(example(name)).size) <= 512
        assert name in open('NOTICE').read()

@pytest.mark.slow
def test_the_page_of_a_tiny_checkpoint(models, tmp_path, capsys):
    page = tmp_path/'deep'/'page.html'
    assert command_first_light([str(models), *FEW, '--out', str(page)]) == 0
    assert '4 of 4 photographs edited; please send it' in capsys.readouterr().out
    told, text = figures(page), page.read_text()
    assert text.count('data:image/jpeg;base64,') == 12 and 'http' not in re.sub(r'base64,[^"]*', '', text).replace('https://', '') and len(text) < 2e6
    assert told['machine']['torch'] and told['machine']['diffusers'] and told['load_seconds'] > 0
    assert told['editor']['pipeline'] == 'StableDiffusionInpaintPipeline' and told['editor']['scheduler'] == 'DDIMScheduler' and told['editor']['size'] == 64
    assert 'weights' not in told['editor'] and str(models) not in text.replace(f'First light: {models}', '').replace(json.dumps(str(models)), '')
    assert told['options'] == dict(num_anchors=2, num_proposals=2, learning_steps=2, num_inference_steps=1, dtype='float32')
    for row, (name, source, prompt) in zip(told['photographs'], JOBS, strict=True):
        assert (row['photograph'], row['source'], row['prompt']) == (name, source, prompt) and source in text and prompt in text
        assert row['seconds']['edit'] > 0 and row['peak_megabytes'] > 50 and 1 <= row['num_edits'] <= 4
        assert {'clip', 'dir', 'str', 's_t2i', 's_i2i', 'score'} <= set(row['terms'])
        for term in row['terms'].values():
            assert term['least'] - 1e-6 <= term['mean'] <= term['greatest'] + 1e-6 and term['sd'] <= term['greatest'] - term['least'] + 1e-6
            assert term['least'] - 1e-5 <= term['chosen'] <= term['greatest'] + 1e-5, 'the chosen edit is one of those that were tried'

@pytest.mark.slow
def test_a_photograph_that_fails_is_written_down(models, tmp_path, monkeypatch, capsys):
    from regionedit.method.editor import RegionEditor
    whole, calls = RegionEditor.__call__, []
    def call(self, *args, **options):
        calls.append(args)
        if len(calls) == 2: raise RuntimeError('CUDA is out of <memory>')
        return whole(self, *args, **options)
    monkeypatch.setattr(RegionEditor, '__call__', call)
    assert command_first_light([str(models), *FEW, '--out', str(tmp_path/'page.html')]) == 3
    assert '3 of 4' in capsys.readouterr().out
    assert figures(tmp_path/'page.html')['photographs'][1]['error'] == 'RuntimeError: CUDA is out of <memory>'
    assert 'CUDA is out of &lt;memory&gt;' in (tmp_path/'page.html').read_text()

@pytest.mark.parametrize('words, told', [(['no-such-preset'], 'expected a preset'), (['pocket', 'num_anchors=0'], 'expected num_anchors'), (['pocket', 'strenght=1'], "got 'strenght'")])
def test_a_mistake_is_one_sentence(words, told, tmp_path, capsys):
    assert command_first_light([*words, '--out', str(tmp_path/'page.html')]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count('\n') == 1 and not (tmp_path/'page.html').exists()

def test_settings_may_stand_behind_the_page(tmp_path, capsys):
    assert command_first_light(['pocket', '--out', str(tmp_path/'page.html'), 'num_anchors=0']) == 2
    assert 'expected num_anchors' in capsys.readouterr().err

@pytest.mark.parametrize('out, told', [('', 'expected a file for the page'), ('file/page.html', 'expected a folder for the results')])
def test_a_place_where_no_page_can_be_is_told_before_any_model(tmp_path, capsys, out, told):
    (tmp_path/'file').touch()
    assert command_first_light(['no-such-preset', '--out', str(tmp_path/out)]) == 2
    assert told in capsys.readouterr().err

def test_settings():
    assert setting('a-b=3') == ('a_b', 3) and setting('dtype=bfloat16') == ('dtype', 'bfloat16') and setting('memory=["vae_tiling"]') == ('memory', ['vae_tiling'])
    with pytest.raises(SystemExit): command_first_light(['pocket', 'nonsense'])

@pytest.mark.slow
def test_from_the_shell():
    run = subprocess.run([sys.executable, '-m', 'regionedit.models.first_light', '--help'], capture_output=True, text=True)
    assert run.returncode == 0 and 'NAME=VALUE' in run.stdout
