"Rows as csv reads them again, and as pandas sees them."
from dataclasses import dataclass
import csv, io

import pytest

from regionedit.bench.rows import COLUMNS, KINDS, read_rows, write_rows
from regionedit.method.core import Rows

@dataclass
class Point:
    x: int
    name: str

def test_what_is_written_is_read_again():
    rows = [dict(a='1', b='two, three'), dict(a='', b='"\n')]
    assert list(csv.DictReader(io.StringIO(Rows(rows).to_csv()))) == rows
    assert Rows([Point(1, 'p')]).to_csv() == 'x,name\n1,p\n' and Rows([dict(b=2)]).to_csv(('a', 'b'), head=False) == ',2\n'
    assert Rows().to_csv(('a', 'b')) == 'a,b\n'

def test_pandas_has_the_same_table(tmp_path):
    pandas = pytest.importorskip('pandas')
    BENCH = tmp_path/'bench.csv'
    write_rows(BENCH, [{c: KINDS.get(c, str)(i) for c in COLUMNS} for i in range(3)])
    rows = read_rows(BENCH)
    table = rows.to_pandas()
    known = pandas.read_csv(BENCH, keep_default_na=False)
    assert list(table) == list(known) and table.iou.tolist() == pytest.approx(known.iou.tolist()) == [0, 1, 2]
    assert Rows([Point(1, 'p'), Point(3, 'q')]).to_pandas().x.sum() == 4
