"""The tables that a batch reads: CSV, JSONL, Parquet, standard input and rows of Python."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personakit import Config, Persona, Runner, UsageError, VariableError
from personakit.batch import Batch, InvalidRows
from personakit.testing import Upstream

TEXT = "system: s\nvariables: {text: {}}\nprompt: '{{ text }}'\n"
TYPED = """\
system: s
variables:
  text: {}
  count: {type: integer, minimum: 1, default: 1}
  tags: {type: array, items: {}, default: []}
  open: {type: boolean, default: false}
prompt: "{{ text }}|{{ count + 1 }}|{{ tags | join('+') }}|{{ 'yes' if open else 'no' }}"
"""


class Table:
    """A folder with a table, and a fake model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = Upstream(["ok"])
        config = Config(model="openai/m", path=(), environ={"OPENAI_API_KEY": "k"})
        self.runner = Runner(config, backend=self.upstream, log=False)

    def batch(self, rows: Any, source: str = TEXT, **options: Any) -> Batch:
        out = self.folder / "out.jsonl"
        persona = Persona.parse(source, "p.yaml")
        return Batch(persona, rows, out=out, runner=self.runner, **options)

    def sent(self, rows: Any, source: str = TEXT, **options: Any) -> list[str]:
        """Run a table; return what was sent, in the order of the rows."""
        options.setdefault("dedupe", False)
        results = list(self.batch(rows, source, concurrency=1, **options).run())
        assert [str(result.error) for result in results if not result.ok] == []
        return [request.messages[-1].text or "" for request in self.upstream.requests]

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def faults(self, rows: Any, source: str = TEXT, **options: Any) -> str:
        with pytest.raises(InvalidRows) as caught:
            self.batch(rows, source, **options).check()
        assert self.upstream.requests == []
        return str(caught.value)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    with made.runner:
        yield made


@pytest.mark.parametrize(
    "content",
    [
        'id;text\r\n1;"Great;\nwarm"\r\n2;Zürich\r\n'.encode(),
        '\ufeffid;text\n1;"Great;\nwarm"\n2;Zürich\n'.encode(),
        'id\ttext\n1\t"Great;\nwarm"\n2\tZürich\n'.encode(),
        'sep=,\nid,text\n1,"Great;\nwarm"\n2,Zürich\n'.encode(),
        'id,text\n\n1,"Great;\nwarm"\n,\n2,Zürich\n\n\n'.encode(),
        'id,text\n1,"Great;\nwarm"\n2,Zürich'.encode("utf-16"),
    ],
    ids=["semicolons", "bom", "tabs", "sep", "empty rows", "utf-16"],
)
def test_csv_of_spreadsheets_is_read_as_it_is(content: bytes, table: Table) -> None:
    found = table.sent(table.file("rows.csv", content))
    assert [text.replace("\r\n", "\n") for text in found] == ["Great;\nwarm", "Zürich"]


@given(
    cells=st.lists(
        st.text(
            st.characters(blacklist_characters="\r\0", blacklist_categories=["Cs"]), min_size=1
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_text_is_read_as_it_was_written(cells: list[str], table: Table) -> None:
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(["n", "text"])
    rows.writerows(enumerate(cells))
    lines = "\n".join(json.dumps({"n": n, "text": text}) for n, text in enumerate(cells))
    for name, content in (("rows.csv", written.getvalue()), ("rows.jsonl", lines + "\n")):
        for path in table.folder.glob("out*"):
            path.unlink()
        table.upstream.requests.clear()
        assert table.sent(table.file(name, content)) == cells


def test_cells_of_csv_get_the_type_of_their_variable(table: Table) -> None:
    path = table.file("rows.csv", 'text,count,tags,open\na,4,"x,y",true\nb,2,"[""z""]",false\n')
    assert table.sent(path, TYPED) == ["a|5|x+y|yes", "b|3|z|no"]


def test_values_of_jsonl_keep_their_type(table: Table) -> None:
    path = table.file("rows.jsonl", '{"text": "a", "count": 4, "tags": ["x"], "open": true}\n')
    assert table.sent(path, TYPED) == ["a|5|x|yes"]


def test_a_text_of_jsonl_is_no_number(table: Table) -> None:
    path = table.file("rows.jsonl", '{"text": "a", "count": "4"}\n')
    assert "rows.jsonl:1, column 'count': expected an integer" in table.faults(path, TYPED)


def test_parquet_has_typed_and_nested_columns(table: Table) -> None:
    path = table.folder / "rows.parquet"
    columns = {
        "text": ["a", "b"],
        "count": pyarrow.array([4, 2], pyarrow.int16()),
        "tags": [["x", "y"], []],
        "open": [True, False],
        "day": [datetime.date(2026, 1, 2)] * 2,
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert table.sent(path, TYPED, keep=["day"]) == ["a|5|x+y|yes", "b|3||no"]
    first = json.loads((table.folder / "out.jsonl").read_text().splitlines()[0])
    assert first["row"] == {"day": "2026-01-02"}


def test_rows_of_python_are_a_table_too(table: Table) -> None:
    rows = ({"text": f"row {number}"} for number in range(3))
    assert table.sent(rows) == ["row 0", "row 1", "row 2"]


def test_columns_are_mapped_and_one_is_the_input(table: Table) -> None:
    path = table.file("rows.csv", "body,question\nA text,Why?\n")
    source = "system: '{{ text }}'\nvariables: {text: {}}\n"
    assert table.sent(path, source, map={"text": "body"}, input="question") == ["Why?"]
    assert table.upstream.requests[0].messages[0].text == "A text"


def test_all_faulty_rows_are_told_with_line_and_column(table: Table) -> None:
    path = table.file("rows.csv", 'text,count\na,0\n"b\nb",2\nc,many\nd,3,4\n')
    message = table.faults(path, TYPED)
    assert "rows.csv:2, column 'count'" in message
    assert "rows.csv:5, column 'count'" in message
    assert "rows.csv:6: expected 2 cells, as in the header, found 3" in message
    assert "3 of 4 rows cannot be sent; nothing was sent" in message
    assert table.sent(path, TYPED, skip_invalid=True) == ["b\nb|3||no"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "", "it is empty; expected a header"),
        ("rows.csv", "text,text\na,b\n", "several columns are named 'text'"),
        ("rows.csv", 'text\n"a\n', "a quote that is opened in this row is not closed"),
        ("rows.csv", "text\na\0b\n", "NUL"),
        ("rows.csv", b"text\n\xff\xfe\xfa\n", "UTF-8"),
        ("rows.csv", "body\na\n", "variable 'text' is required, and"),
        ("rows.csv", "txt\na\n", "between the columns: 'txt'"),
        ("rows.jsonl", "[1]\n", "it is one JSON array, and not JSON"),
        ("rows.jsonl", '{"text": "a"}\n{"text": \n', "rows.jsonl:2"),
        ("rows.parquet", "no parquet", "rows.parquet"),
        ("rows.xlsx", "x", "xlsx"),
    ],
)
def test_a_damaged_table_is_an_error_with_its_place(
    name: str, content: str | bytes, message: str, table: Table
) -> None:
    path = table.file(name, content)
    with pytest.raises(UsageError) as caught:
        list(table.batch(path).run())
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert table.upstream.requests == []
    assert not (table.folder / "out.jsonl").exists()


def test_a_missing_table_and_unknown_columns_are_errors(table: Table) -> None:
    path = table.file("rows.csv", "text,id\na,1\n")
    with pytest.raises(UsageError, match=r"nothing\.csv"):
        table.batch(table.folder / "nothing.csv").check()
    for wrong in ({"key": "idd"}, {"keep": ["idd"]}, {"input": "idd"}, {"map": {"text": "idd"}}):
        with pytest.raises(UsageError, match="did you mean 'id'"):
            table.batch(path, **wrong).check()
    with pytest.raises((UsageError, VariableError), match="txt"):
        table.batch(path, map={"txt": "text"}).check()


def test_keys_are_unique(table: Table) -> None:
    path = table.file("rows.csv", "text,id\na,1\nb,2\nc,1\n")
    message = table.faults(path, key="id")
    assert "rows.csv:4" in message
    assert "'1'" in message


def test_an_estimate_sends_nothing_and_unknown_is_not_zero(table: Table) -> None:
    path = table.file("rows.csv", "text\na\nb\na\n")
    estimate = table.batch(path, model="openai/gpt-5-mini").estimate()
    assert (estimate.rows, estimate.repeats, estimate.done) == (2, 1, 0)
    assert estimate.answer_tokens is None
    unknown = table.batch(path, model="openai/no-such-model").estimate()
    assert unknown.cost is None
    assert table.upstream.requests == []
