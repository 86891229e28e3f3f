"""Scoring rows: which columns a file may lack, and what the output holds."""

import csv

import pytest


@pytest.fixture
def score(easyssl, trained, tmp_path):
    """Predicts for the text of a file and returns (exit code, rows as dictionaries, stderr)."""

    def run(text, *words, name="new.csv"):
        given, output = tmp_path / name, tmp_path / "scored.csv"
        given.write_text(text)
        code, _, err = easyssl("predict", trained / "my.config", "--input", given, "--output", output, *words)
        if not output.exists():
            return code, [], err
        with output.open(newline="") as file:
            return code, list(csv.DictReader(file)), err

    return run


LABELLED = "1,u1,3,0.5,i1|i2\n0,u2,4,0.25,i3\n"


def test_rows_without_a_header_may_lack_the_label(score):
    code, with_label, err = score(LABELLED)
    assert code == 0, err
    code, without, err = score("".join(line[2:] for line in LABELLED.splitlines(keepends=True)))
    assert code == 0, err
    assert [row.pop("clk") for row in with_label] == ["1", "0"]
    assert without == with_label
    assert list(without[0]) == ["user_id", "age", "price", "hist", "logits", "probs"]


def test_any_other_number_of_columns_is_answered_with_both_numbers(score):
    code, _, err = score("u1,3\n")
    assert code == 2
    assert "2 columns, expected 5: 'u1,3'; a file may also have 4 without 'clk', in all of its rows" in err


def test_blank_cells_stay_blank(score):
    text = ",u1,,0.50,\n,,4,,i3\n"
    code, rows, err = score(text)
    assert code == 0, err
    columns = ["clk", "user_id", "age", "price", "hist"]
    assert [[row[name] for name in columns] for row in rows] == [
        ["", "u1", "", "0.5", ""],
        ["", "", "4", "", "i3"],
    ]
    code, filled, err = score(text.replace("u1,,", "u1,3,"))  # the default of age
    assert [row["logits"] for row in filled] == [row["logits"] for row in rows]
    assert "warning" not in err


NAMED = [
    "--allow-config-change",
    "--set",
    "data_config.with_header=true",
    "--set",
    "data_config.input_fields[+]={input_name: 'extra'}",
]


def test_named_columns_that_no_feature_reads_may_be_missing(score):
    code, rows, err = score("hist,price,age,user_id\ni1|i2,0.5,3,u1\n", *NAMED)
    assert code == 0, err
    assert list(rows[0]) == ["user_id", "age", "price", "hist", "logits", "probs"]
    code, rows, err = score("extra,hist,price,age,user_id\nx,i1|i2,0.5,3,u1\n", *NAMED)
    assert code == 0 and rows[0]["extra"] == "x", err
    code, _, err = score("hist,price,age\ni1|i2,0.5,3\n", *NAMED)
    assert code == 2 and "the header has no column 'user_id'" in err


def test_files_of_different_columns_are_not_put_into_one(score, tmp_path):
    (tmp_path / "more.csv").write_text(LABELLED)
    code, rows, err = score("u1,3,0.5,i1|i2\n" * 8, "--input", f"{tmp_path}/new.csv,{tmp_path}/more.csv")
    assert code == 2 and rows == []
    assert "more.csv: the column 'clk' is not in all files" in err
