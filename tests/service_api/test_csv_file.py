"""Tables for spreadsheets: readable, in Chinese too, and never reckoned."""

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_api.csv_file import csv_response, csv_text


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_does_not_become_a_formula(name):
    ((cell,),) = list(csv.reader(StringIO(csv_text(["name"], [[name]]), newline="")))[1:]
    assert cell == f"'{name}"


@given(st.lists(st.tuples(st.text(), st.integers(), st.none()), max_size=5))
def test_every_row_comes_back(rows):
    read = list(csv.reader(StringIO(csv_text(["a", "b", "c"], rows), newline="")))
    assert len(read) == 1 + len(rows)
    for told, (text, number, _) in zip(read[1:], rows, strict=True):
        assert told[0].removeprefix("'").endswith(text.removeprefix("'"))
        assert told[1:] == [str(number), ""]


def test_a_file_says_its_encoding_and_its_name():
    answer = csv_response("fleet.csv", ["名称"], [["上海工厂"]])
    assert answer.body.startswith(b"\xef\xbb\xbf")
    assert "上海工厂" in answer.body.decode()
    assert answer.headers["content-disposition"] == 'attachment; filename="fleet.csv"'
