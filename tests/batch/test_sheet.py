"What one looks at in the morning: a table and a page."
import csv, json, os, re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from PIL import Image

from night import Night
from regionedit.batch import sheet
from regionedit.batch.jobs import Job
from regionedit.batch.sheet import COLUMNS, contact_sheet

def test_summary_as_csv_and_json(tmp_path):
    night = Night(tmp_path, 4, broken=(1,))
    summary = night.run()
    assert json.loads((night.root/'out'/'summary.json').read_text()) == json.loads(json.dumps(summary))
    with open(night.root/'out'/'summary.csv', newline='', encoding='utf8') as f: table = list(csv.DictReader(f))
    assert [r['id'] for r in table] == night.names and [r['status'] for r in table] == ['done', 'failed', 'done', 'done']
    assert table[0]['notes'] == '' and table[0]['prompt'] == 'prompt 0 <b>' and table[0]['box'] == '1 2 3 4' and float(table[0]['score']) == .5 and table[1]['box'] == '' and 'expected a picture' in table[1]['error']

def test_the_contact_sheet_shows_everything_and_runs_nothing_of_others(tmp_path):
    night = Night(tmp_path, 4, broken=(1,))
    os.rename(night.images/'3.png', night.images/'a & "b" #1?.png')
    night.file.write_text(json.dumps({n if n != '3.png' else 'a & "b" #1?.png': ['</figure>', '"><script>alert(1)</script>'] for n in night.names}))
    night.run()
    tags, links, text = [''], [], []
    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs): tags.append(tag); links.extend(v for k, v in attrs if k in ('src', 'href')); assert not any(k.startswith('on') for k, _ in attrs)
        def handle_data(self, data): text.append('' if tags[-1] in ('script', 'style') else data)
    Reader().feed((night.root/'out'/'index.html').read_text())
    assert tags.count('figure') == 4 and tags.count('img') == 3 and tags.count('script') == tags.count('form') == 1
    assert all((night.root/'out'/unquote(l)).is_file() and l.startswith('./') for l in links) and len(links) == 6
    assert ''.join(text).count('"><script>alert(1)</script>') == 4 and 'expected a picture' in ''.join(text)

def test_odd_characters_and_endless_texts_spoil_neither_table_nor_sheet(night):
    wanted = [Job('0.png', '0.png', 'nul\0 bell\x07 turn\u202e', 'x' * 5000, {})]
    night.run(jobs=wanted)
    with open(night.root/'out'/'summary.csv', newline='', encoding='utf8') as f: row, = csv.DictReader(f)
    page = (night.root/'out'/'index.html').read_text()
    assert row['source'] == r'nul\x00 bell\x07 turn\u202e' and len(row['prompt']) == 5000 and len(page) < 8000 and r'bell\x07' in page and page.replace('\n', '').isprintable()

def test_thumbnails_are_small_whatever_the_picture(tmp_path):
    for name, size in (('source', (3000, 2)), ('edit', (1, 500))): Image.new('RGB', size, 'red').save(tmp_path/f'{name}.png')
    assert Image.open(sheet.draw_thumbnail(tmp_path)).size == (2 * sheet.SIDE + 4, sheet.SIDE)


def rows_of(*jobs) -> list:
    return [{**dict.fromkeys(COLUMNS), 'id': name, 'status': status, 'source': 'a cat', 'prompt': prompt, 'score': score, 'seconds': seconds, 'box': (1, 2, 3, 4)}
            for name, status, prompt, score, seconds in jobs]

ROWS = rows_of(('b.png', 'done', 'a dog', .5, 2.), ('c.png', 'failed', 'a <fish>', None, 1.), ('a.png', 'done', 'a bird', .9, 9.), ('d.png', 'open', 'a dog', None, None))

def test_who_cannot_see_the_pictures_reads_the_same():
    page = contact_sheet(ROWS)
    assert re.findall(r'alt="([^"]*)"', page) == ['Source, boxes and edit: a cat has become a dog, in the box 1 2 3 4', 'Source, boxes and edit: a cat has become a bird, in the box 1 2 3 4']
    assert page.count('<label>') == 3 and '<html lang="en">' in page

def test_the_page_has_a_dark_style_and_asks_no_network():
    page = contact_sheet(ROWS)
    assert 'prefers-color-scheme:dark' in page and not re.search(r'(src|href)="(?!\./)|url\(|@import|https?:', page)

@pytest.mark.slow
def test_filters_and_order_in_a_browser(tmp_path):
    sync_api = pytest.importorskip('playwright.sync_api')
    if not os.path.exists('/usr/bin/chromium'): pytest.skip('no chromium here')
    (tmp_path/'index.html').write_text(contact_sheet(ROWS))
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path='/usr/bin/chromium', args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'])
        page, errors = browser.new_page(color_scheme='dark'), []
        page.on('pageerror', lambda error: errors.append(error))
        page.goto(f'file://{tmp_path}/index.html')
        def shown(): return [f.get_attribute('data-name')[0] for f in page.query_selector_all('figure') if f.is_visible()]
        assert shown() == ['c', 'd', 'b', 'a']
        for order, names in (('best', 'abcd'), ('worst', 'bacd'), ('slow', 'abcd'), ('name', 'abcd'), ('place', 'cdba')):
            page.select_option('select[name=order]', order)
            assert ''.join(shown()) == names, order
        page.select_option('select[name=status]', 'done')
        assert shown() == ['b', 'a'] and page.inner_text('output') == '2 shown'
        page.fill('input', 'DOG')
        assert shown() == ['b']
        page.select_option('select[name=status]', '')
        assert shown() == ['d', 'b'] and page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(22, 24, 28)' and errors == []
        browser.close()
