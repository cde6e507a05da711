"Job files of four forms are read, mistakes are told with their line, and no path leaves its folder."
import json

import pytest

from regionedit.batch.jobs import Job, parse_jobs, read_jobs

REFERENCE = '{"1.png": ["trees", "a big tree with many flowers in the center"], "sub/2.png": ["coffee", "soft \\u00fc / drink"]}'
EXPECTED = [Job('1.png', '1.png', 'trees', 'a big tree with many flowers in the center'), Job('sub/2.png', 'sub/2.png', 'coffee', 'soft ü / drink')]

@pytest.mark.parametrize('name, text', [
    ('jobs.json', REFERENCE),
    ('jobs.json', '\ufeff' + REFERENCE),
    ('jobs.JSON', json.dumps([[j.image, j.source, j.prompt] for j in EXPECTED])),
    ('jobs.json', json.dumps([dict(image='./' + j.image, source=j.source, prompt=j.prompt) for j in EXPECTED], indent=3)),
    ('jobs.jsonl', '\r\n\n'.join(json.dumps(dict(prompt=j.prompt, image=j.image, source=j.source), ensure_ascii=False) for j in EXPECTED)),
    ('jobs.csv', ' Image, Source, PROMPT, seed\n' + ''.join(f'{j.image}, {j.source}, "{j.prompt}",\n' for j in EXPECTED)),
    ('jobs.csv', 'image,prompt,source,seed\r\n' + ''.join(f'{j.image},{j.prompt},{j.source},\r\n' for j in EXPECTED))])
def test_every_form_says_the_same(tmp_path, name, text):
    (tmp_path/name).write_bytes(text.encode())
    assert read_jobs(tmp_path/name) == EXPECTED

def test_options_of_single_jobs():
    for form, text in {'.json': '[{"image": "1.png", "source": "a", "prompt": "b", "seed": 3, "alpha": 0.5, "roi": "align"}, ["2.png", "a", "b"]]',
                       '.csv': 'roi,seed,image,source,prompt,alpha\nalign,3,1.png,a,b,.5\n\n,,2.png,a,b,\n'}.items():
        first, second = parse_jobs(text, form)
        assert first.options == dict(seed=3, alpha=.5, roi='align') and type(first.options['seed']) is int and second.options == {}

def test_ids_differ_and_come_from_the_picture():
    found = parse_jobs('{"a.png": ["x", "1"], "a.png-2": ["x", "2"], "./a.png": ["x", "3"], "b/a.png": ["x", "4"], "a.png": ["x", "../5"], "a.jpg": ["x", "6"]}')
    assert [j.id for j in found] == ['a.png', 'a.png-2', 'a.png-3', 'b/a.png', 'a.png-4', 'a.jpg'] and [j.prompt for j in found] == ['1', '2', '3', '4', '../5', '6']

BROKEN = [
    ('jobs.json', '{"1.png": ["a", "b"],\n\n "2.png": ["a" "b"]}', 3), ('jobs.json', '{"1.png": ["a", "b"],\n "2.png": ["a"]}', 2), ('jobs.json', '{"1.png":\n ["a", "b"],\n "2.png": "a"}', 3),
    ('jobs.json', '[["1.png", "a", "b"],\n["2.png", "a", 7]]', 2), ('jobs.json', '[["1.png", "a", "b"],\n\n{"image": "2.png", "prompt": "b"}]', 3), ('jobs.json', '[\n3]', 2), ('jobs.json', '7', 1),
    ('jobs.json', '', 1), ('jobs.json', '{}', 1), ('jobs.json', '[' * 100_000, 1), ('jobs.json', '[["1.png", "\\ud800", "b"]]', 1), ('jobs.json', '{"1.png": ["a",\n' + '9' * 5000 + ']}', 1),
    ('jobs.json', '{"../1.png": ["a", "b"]}', 1), ('jobs.json', '{"/etc/passwd": ["a", "b"]}', 1), ('jobs.json', '{"": ["a", "b"]}', 1), ('jobs.json', '{"a\\u0000.png": ["a", "b"]}', 1),
    ('jobs.json', '{"index.html": ["a", "b"]}', 1), ('jobs.json', '{".regionedit/a": ["a", "b"]}', 1),
    ('jobs.jsonl', '["1.png", "a", "b"]\n{"image": "2.png"', 2), ('jobs.jsonl', '["1.png", "a", "b"]\n\n["2.png", "a", "b", "c"]', 3), ('jobs.jsonl', '\n\n', 1),
    ('jobs.jsonl', '{"image": "2.png", "source": "a", "prompt": "b", "num_anchors": 0}', 1), ('jobs.jsonl', '{"image": "2.png", "source": "a", "prompt": "b", "sead": 0}', 1),
    ('jobs.jsonl', '{"image": "2.png", "source": "a", "prompt": "b", "alpha": NaN}', 1),
    ('jobs.csv', 'picture,from,to\n1.png,a,b\n', 1), ('jobs.csv', 'image;source;prompt\n1.png;a;b\n', 1), ('jobs.csv', 'image,image,source,prompt\n1.png,1.png,a,b\n', 1),
    ('jobs.csv', 'image,prompt\n1.png,b\n', 1), ('jobs.csv', 'image,source,prompt\n"1\n.png",a,b\n2.png,a\n', 4), ('jobs.csv', 'image,source,prompt\n1.png,a,b,c\n', 2),
    ('jobs.csv', 'image,source,prompt,seed\n1.png,a,b,1\n2.png,a,b,x\n', 3), ('jobs.csv', 'image,source,prompt\n1.png,a,"b\n', 2), ('jobs.csv', '', 1)]

@pytest.mark.parametrize('name, text, line', BROKEN, ids=[f'{i}-{n}' for i, (n, *_) in enumerate(BROKEN)])
def test_a_broken_file_is_named_with_its_line(tmp_path, name, text, line):
    (tmp_path/name).write_bytes(text.encode())
    with pytest.raises(ValueError) as told: read_jobs(tmp_path/name)
    assert str(told.value).startswith(f'{tmp_path/name}, line {line}: expected ') and '\n' not in str(told.value) and len(str(told.value)) < 400, told.value

@pytest.mark.parametrize('form, text, told', [
    ('.json', '[{"source": "a", "prompt": "b"}]', 'line 1: expected image, source and prompt, got no image; add it'), ('.json', '[[3, "a", "b"]]', 'line 1: expected image to be a text, got 3; give the path of a picture'),
    ('.csv', 'image,source,prompt\n', 'line 1: expected at least one job, got none; write one as picture.png,source,prompt'), ('.json', '{}', 'line 1: expected at least one job, got none; write one as {"picture.png": ["source", "prompt"]}'),
    ('.csv', 'image;source;prompt\n', "line 1: expected the names of the columns, image,source,prompt among them and each once, got 'image;source;prompt'; write them on the first line, with commas between")])
def test_what_is_told_helps(form, text, told):
    with pytest.raises(ValueError) as error: parse_jobs(text, form)
    assert str(error.value) == told

def test_other_files(tmp_path):
    for name, error in (('none.json', FileNotFoundError), ('jobs.txt', ValueError), ('latin.csv', ValueError)):
        if name != 'none.json': (tmp_path/name).write_bytes('image,source,prompt\n1.png,a,caf\xe9\n'.encode('latin-1'))
        with pytest.raises(error, match=f'expected a file of jobs.*{name}' if name != 'latin.csv' else name): read_jobs(tmp_path/name)
    with pytest.raises(ValueError, match='latin.csv, line 2: expected text in UTF-8'): read_jobs(tmp_path/'latin.csv')

# paths, by the rules of every system (D4)

OUTSIDE = ['../x', '..', '/x', 'a/../../x', '..\\..\\x', 'a\\..\\..\\x', 'C:\\x', 'C:x', 'c:/x', '\\x', '\\\\host\\share\\x', '//host/share/x',
           '\\\\?\\C:\\x', '.regionedit\\lock', '.REGIONEDIT/lock', 'Index.HTML', '', '.', '...', 'a/.../x', 'x\0y']
DEVICES = ['CON', 'con.png', 'NUL.txt', 'sub/aux', 'sub\\PRN.png', 'COM1', 'lpt9.tar.gz', 'com\u00b9.png', 'CONIN$', 'nul .png']
ENDINGS = ['a.', 'a ', 'a../x', 'sub./a.png', 'sub /a.png', 'a.png. .']

@pytest.mark.parametrize('image', OUTSIDE + DEVICES + ENDINGS)
def test_a_path_that_leaves_the_folder_or_names_a_device_is_refused(image):
    with pytest.raises(ValueError, match='^line 1: expected the path of a picture inside the image folder'): parse_jobs(json.dumps([[image, 'a', 'b']]))

@pytest.mark.parametrize('image', ['a.png', '.hidden.png', 'sub/a b.png', 'console.png', 'com.png', 'com10.png', 'nullable/aux1.png', 'a..b.png', '\u00fc \u6f22.png', 'index.html.png'])
def test_other_paths_are_taken(image): assert parse_jobs(json.dumps([[image, 'a', 'b']]))[0].id == image

def test_ids_differ_also_where_case_does_not_count():
    assert [j.id for j in parse_jobs('[["A.png", "x", "1"], ["a.png", "x", "2"], ["a.PNG", "x", "3"]]')] == ['A.png', 'a.png-2', 'a.PNG-3']
    same = ['caf\u00e9.png', 'cafe\u0301.png']        # one name to macOS, composed and not
    assert [j.id for j in parse_jobs(json.dumps([[n, 'x', 'y'] for n in same]))] == [same[0], same[1] + '-2']
