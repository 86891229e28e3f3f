"""Checks what happens to malformed rows."""

import json

import pytest

from easyssl.data.quarantine import BadRows, shown
from easyssl.errors import DataError


def test_the_first_row_raises_by_default():
    with pytest.raises(DataError) as caught:
        BadRows().add("a.csv", 7, "bad_number", b"x,1", "column 'age' holds 'x', expected INT32")
    assert str(caught.value) == (
        "a.csv:7: bad_number: column 'age' holds 'x', expected INT32; correct the row, or leave such rows out "
        "with data_config.malformed_rows: SKIP and data_config.max_malformed_rows"
    )


def test_rows_are_counted_by_reason_up_to_the_limit():
    bad_rows = BadRows("skip", 3)
    bad_rows.add("a.csv", 1, "bad_number", b"")
    bad_rows.add("a.csv", 2, "empty_line", b"")
    bad_rows.add("b.csv", 1, "bad_number", b"")
    assert bad_rows.counts == {"bad_number": 2, "empty_line": 1}
    assert bad_rows.total == 3
    with pytest.raises(DataError) as caught:
        bad_rows.add("b.csv", 9, "overflow", b"9", "column 'x' holds '9'")
    assert str(caught.value) == (
        "b.csv:9: overflow: column 'x' holds '9'; this is malformed row number 4 and "
        "data_config.max_malformed_rows allows 3 (bad_number 2, empty_line 1, overflow 1)"
    )


def test_a_row_of_every_epoch_counts_once():
    bad_rows = BadRows("skip", 1)
    for _ in range(5):
        bad_rows.add("a.csv", 1, "bad_number", b"")
    assert bad_rows.total == 1


def test_quarantine_is_bounded_and_survives_a_restart(tmp_path):
    path = tmp_path / "logs" / "quarantine.jsonl"
    for restart in range(2):
        bad_rows = BadRows("skip", 1000, path, max_kept=5)
        for line in range(restart, 4 + 3 * restart):
            bad_rows.add("a.csv", line, "bad_number", b"row \xff\n%d" % line, "why")
        if not restart:
            path.write_text(path.read_text() + '{"file": "cut by a cra')
            path.write_text(path.read_text() + "\n")
    rows = [json.loads(text) for text in path.read_text().splitlines() if "cut by" not in text]
    assert [row["line"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0] == {
        "file": "a.csv",
        "line": 0,
        "reason": "bad_number",
        "detail": "why",
        "text": "row \\xff\n0",
    }


def test_skipping_needs_a_limit():
    with pytest.raises(ValueError, match="policy 'skip' needs a limit"):
        BadRows("skip")
    with pytest.raises(ValueError, match="policy should be 'raise' or 'skip'. Received: policy='ignore'"):
        BadRows("ignore")


def test_shown_text_is_short_and_one_line():
    assert shown(b"a\nb\xff") == repr("a\nb\\xff")
    assert len(shown(b"x" * 1000)) < 100
