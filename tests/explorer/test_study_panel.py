"The study's panel: the pair of the plan, nobody's name, nothing lost, a way back."
import base64, io

import pytest
from PIL import Image

from regionedit.explorer.widget import StudyPanel
from regionedit.study.setup import create_study
from stubs import picture

@pytest.fixture
def study(tmp_path):
    for i, name in enumerate(('sources', 'mine_own', 'theirs_not')):
        (tmp_path/name).mkdir()
        for j in range(4): picture(40, 30, 10 * i + j).save(tmp_path/name/f'{j}.png')
    return create_study(tmp_path/'study', {n: tmp_path/n for n in ('mine_own', 'theirs_not')},
                        {str(j): f'a rocket {j}' for j in range(4)}, tmp_path/'sources', repeats=1)

def opened(url: str) -> Image.Image: return Image.open(io.BytesIO(base64.b64decode(url.split(',')[1])))

def answer(panel, side='left'): panel.ask(dict(do='answer', side=side))

def test_it_shows_the_pair_and_writes_the_answer(study):
    panel = StudyPanel(study, min_seconds=0)
    assert panel.session is None and panel.bundle['state'] == 'welcome'
    answer(panel)                                   # before it was opened: nothing
    panel.ask(dict(do='open', participant=None))
    trials = panel.session.trials
    for k, trial in enumerate(trials):
        said = panel.bundle
        assert panel.session.trial == trial and (said['done'], said['total']) == (k, len(trials))
        assert said['prompt'] == study.prompt(trial) and said['question'] == study.question
        for name, image in zip(('source', 'left', 'right'),
                               (study.source(trial), *study.pair(trial))):
            assert opened(said[name]).convert('RGB').tobytes() == image.tobytes()
        answer(panel, 'left' if k % 2 else 'right')
    assert [a['answer'] for a in panel.session.answers] == ['left' if k % 2 else 'right'
                                                            for k in range(len(trials))]
    assert panel.bundle['state'] == 'done'
    answer(panel)
    assert len(panel.session.path.read_text().splitlines()) == len(trials)

def test_it_is_blind(study):
    panel = StudyPanel(study, participant=1, min_seconds=0)
    while panel.session.trial:
        sent = str({k: v for k, v in panel.get_state().items() if k not in ('_esm', '_css', 'script')})
        assert len(sent) > 500
        for word in (*study.design.methods, 'spoiled', str(study.folder), study.digest):
            assert word not in sent
        for name in ('source', 'left', 'right'):
            assert not {'exif', 'icc_profile', 'xmp'} & set(opened(panel.bundle[name]).info)
        answer(panel)

def test_it_resumes(study):
    first = StudyPanel(study, participant=1, min_seconds=0)
    answer(first); answer(first, 'right')
    again = StudyPanel(study.folder, min_seconds=0)
    again.ask(dict(do='open', participant=1))
    assert again.session.trial.number == again.bundle['done'] == 2
    assert again.bundle['left'] == first.bundle['left']
    answer(again); answer(first)
    assert 'another window' in first.bundle['note'] and len(again.session.answers) == 3

def test_an_answer_by_mistake_is_not_taken_or_taken_back(study):
    panel = StudyPanel(study, participant=1, min_seconds=.4)
    answer(panel)
    assert panel.session.answers == []
    panel.since -= 1; answer(panel); answer(panel)
    assert len(panel.session.answers) == 1 and panel.session.answers[0]['seconds'] >= 1
    panel.since -= 1; answer(panel, 'right')
    lines = panel.session.path.read_bytes().splitlines(True)
    panel.ask(dict(do='undo'))
    assert panel.session.path.read_bytes() == lines[0] and panel.bundle['done'] == 1
    panel.since -= 1; answer(panel)
    assert StudyPanel(study, participant=1).session.answers == panel.session.answers
    for _ in range(3): panel.ask(dict(do='undo'))
    assert panel.session.path.read_bytes() == b'' and 'none yet' in panel.bundle['note']

def test_a_mistake_is_a_sentence(study):
    panel = StudyPanel(study)
    panel.ask(dict(do='open', participant=-3))
    assert 'number' in panel.bundle['note'] and panel.session is None
    panel.ask(dict(do='open', participant=2))
    assert panel.bundle['participant'] == 2
    panel.since -= 1; panel.ask(dict(do='answer', side='up'))
    assert "'left' or 'right'" in panel.bundle['note']
