import numpy as np
import pytest

from easyssl.data.item_file import read_items
from easyssl.data.rows import Column
from easyssl.errors import DataError

COLUMNS = [Column("item", "INT64"), Column("brand"), Column("price", "FLOAT", default="1.5")]
HEAD = "id:int64\tweight:float\tfeature:string\n"


def read(tmp_path, text, id_type="INT64", **settings):
    path = tmp_path / "items.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_items(str(path), Column("item", id_type), COLUMNS, **settings)


def test_values_come_in_the_types_of_the_columns(tmp_path):
    items = read(tmp_path, HEAD + "7\t2.5\t7:acme:3\n\n9\t0\t9::\n")
    assert len(items) == 2 and items.places == {7: 0, 9: 1}
    np.testing.assert_array_equal(items.weights, [2.5, 0.0])
    np.testing.assert_array_equal(items.lines, [2, 4])
    assert items.columns["item"].dtype == np.int64 and items.columns["item"].tolist() == [7, 9]
    assert items.columns["brand"].tolist() == [b"acme", b""]
    assert items.columns["price"].tolist() == [3.0, 1.5]


def test_ids_are_text_where_the_column_is(tmp_path):
    assert read(tmp_path, HEAD + "7\t1\t7:a:1\n", "STRING").places == {b"7": 0}


def test_columns_may_stand_in_any_order_and_weights_may_be_missing(tmp_path):
    text = "\ufefffeature:string\tid:int64\r\n7|a|1\t7\r\n"
    items = read(tmp_path, text, delimiter="|", weighted=False)
    assert (
        items.weights.tolist() == [1.0]
        and items.columns["brand"].tolist() == [b"a"]
        and items.places == {7: 0}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"items.tsv: is empty, expected id:int64, weight:float and feature:string, separated by tabs"),
        (HEAD, r"items.tsv: has no items"),
        ("id:int64\tfeature:string\n1\t1:a:1\n", r"items.tsv:1: the header .* that starts with 'weight'"),
        ("item\tweight\tfeature\n1\t1\t1:a:1\n", r"items.tsv:1: the header .* that starts with 'id'"),
        (HEAD + "1\t1\t1:a:1\n2\t1\n", r"items.tsv:3: 2 cells, expected 3 separated by tabs"),
        (
            HEAD + "1\t1\t1:a\n",
            r"items.tsv:2: '1:a' has 2 values separated by ':', expected 3 \(item, brand, price\)",
        ),
        (HEAD + "\t1\t1:a:1\n", r"items.tsv:2: the id is empty"),
        (HEAD + "x\t1\t1:a:1\n", r"items.tsv:2: bad_number: column 'item' holds 'x', expected INT64"),
        (HEAD + "1\t1\t1:a:x\n", r"items.tsv:2: bad_number: column 'price' holds 'x', expected FLOAT"),
        (HEAD + "1\tmuch\t1:a:1\n", r"items.tsv:2: bad_number: column 'weight' holds 'much'"),
        (HEAD + "1\t-2\t1:a:1\n", r"items.tsv:2: the weight is -2, expected at least 0"),
        (HEAD + "1\tnan\t1:a:1\n", r"items.tsv:2: non_finite"),
        (HEAD + "1\t0\t1:a:1\n", r"items.tsv: all weights are 0"),
        (
            HEAD + "1\t1\t1:a:1\n2\t1\t2:a:1\n1\t1\t1:b:1\n",
            r"items.tsv:4: the id '1' comes a second time, after line 2",
        ),
        (b"\xff\x00\t\x01", r"items.tsv: has no items"),
    ],
)
def test_a_malformed_file_is_told_in_one_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="gone.tsv: cannot be opened: No such file"):
        read_items(str(tmp_path / "gone.tsv"), Column("item"), COLUMNS)
