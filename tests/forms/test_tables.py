"""scripts/forms/tables.py: values of every kind in each form of output, and no formula in a spreadsheet."""

import csv
import datetime
import decimal
import io
import json

import pytest

from scripts.common.cli import UserError
from scripts.forms.records import import_pyarrow
from scripts.forms.tables import json_writer, parquet_writer, schema_of, table_writer, to_cell

ODD = {
    "text": "a, \"b\"\r\nc\rd\te",
    "half": "\ud83d smile \udc00",
    "nul": "a\0b",
    "nested": {"é": [1, None, {"deep": True}]},
    "yes": True,
    "nothing": None,
    "when": datetime.datetime(2024, 2, 29, 12, 30),
    "day": datetime.date(2024, 2, 29),
    "bytes": b"\0\xff",
    "exact": decimal.Decimal("1.10"),
    "no number": float("nan"),
    "negative": -1.5,
}  # fmt: skip


def written(writer):
    stream = io.StringIO(newline="")
    writer(stream)
    stream.getvalue().encode("utf-8")
    return stream.getvalue()


def test_json_lines_hold_every_value():
    (line,) = written(lambda stream: json_writer(stream)(ODD)).splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    same = {name: ODD[name] for name in ("text", "half", "nul", "nested", "yes", "nothing", "negative")}
    assert found == same | {
        "when": "2024-02-29T12:30:00", "day": "2024-02-29", "bytes": "AP8=", "exact": "1.10", "no number": None,
    }  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_tables_hold_every_value_and_every_column(delimiter):
    def write(stream):
        add = table_writer(stream, [*ODD, "late"], delimiter)
        add(ODD)
        add({"late": "field"})

    text = written(write)
    first, second = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    assert first["text"] == ODD["text"] and first["half"] == "  smile  " and first["nul"] == "a b"
    assert json.loads(first["nested"]) == ODD["nested"] and first["yes"] == "true" and first["nothing"] == ""
    assert first["when"] == "2024-02-29T12:30:00" and first["negative"] == "-1.5" and first["no number"] == ""
    assert second["late"] == "field" and second["text"] == ""
    assert "\0" not in text and text.endswith("field\n")


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=1", "＝1", "'=1", "- dash"]
)
def test_formulas_are_made_neutral(text):
    assert to_cell(text, "neutral") == f"'{text}"
    assert to_cell(text, "raw") == text


@pytest.mark.parametrize("text", ["-1", "-0.5", "1", "a=b", "", "1e-05", "-1e-05", "mail@host"])
def test_numbers_and_words_are_left_alone(text):
    assert to_cell(text, "neutral") == text
    assert to_cell(-0.5, "neutral") == -0.5


def test_columns_may_be_called_as_a_formula():
    assert written(lambda stream: table_writer(stream, ["=1"], ",")({"=1": "x"})) == "'=1\nx\n"


def test_parquet_takes_late_columns_and_wider_types(tmp_path):
    pyarrow = import_pyarrow()
    records = [{"a": 1}, {"a": 1.5, "late": "\ud83d"}, {"a": None, "late": None}]
    schema = schema_of(tmp_path, iter([(record, "") for record in records]))
    with parquet_writer(tmp_path / "x.parquet", tmp_path, schema) as write:
        for record in records:
            write(record)
    found = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert found == [{"a": 1.0, "late": None}, {"a": 1.5, "late": " "}, {"a": None, "late": None}]


def test_parquet_says_what_it_cannot_hold(tmp_path):
    for records in ([{"a": 1}, {"a": "x"}], [{"a": 2**70}]):
        with pytest.raises(UserError, match="a column holds values of different types"):
            schema_of(tmp_path / "x", iter([(record, "") for record in records]))
