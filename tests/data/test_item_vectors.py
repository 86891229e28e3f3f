import numpy as np
import pytest

from easyssl.data.item_vectors import read_vectors, width_of, write_vectors
from easyssl.errors import DataError

IDS = ["7", "b|c", "ä"]
VECTORS = np.array([[1.5, -2.0], [0.0, 3.0], [np.float32(1 / 3), 1e-20]], np.float32)


@pytest.mark.parametrize("ending", [".npz", ".npy", ".parquet"])
def test_what_is_written_is_read(tmp_path, ending):
    path = str(tmp_path / f"v{ending}")
    write_vectors(path, IDS, VECTORS)
    found = read_vectors(path)
    assert found.ids == IDS
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert found.vectors.dtype == np.float32
    assert width_of(path) == 2
    assert not list(tmp_path.glob("*tmp*"))


def test_rows_of_an_array_without_ids_are_the_ids(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS.astype(np.float16))
    found = read_vectors(str(tmp_path / "v.npy"))
    assert found.ids == ["0", "1", "2"]
    np.testing.assert_array_equal(found.vectors, VECTORS.astype(np.float16).astype(np.float32))


def test_ids_may_be_numbers(tmp_path):
    np.savez(tmp_path / "v.npz", ids=np.array([30, 4]), vectors=VECTORS[:2])
    assert read_vectors(str(tmp_path / "v.npz")).ids == ["30", "4"]


@pytest.mark.parametrize(
    ("ids", "vectors", "text"),
    [
        (["1", "1", "2"], VECTORS, "the id '1' comes twice, as number 0 and 1"),
        (["1", "2"], VECTORS, "has 2 ids for 3 vectors"),
        (IDS, VECTORS[0], "expected vectors [ids, dim]"),
        (IDS, np.array([[1.0], [np.nan], [1.0]]), "the vector of id 'b|c' has numbers that are not finite"),
        (IDS, np.array([["a"], ["b"], ["c"]]), "expected vectors [ids, dim] of numbers"),
        (np.array([None, 1, 2], object), VECTORS, "cannot be read"),
    ],
)
def test_what_is_no_table_of_vectors_is_an_error(tmp_path, ids, vectors, text):
    np.savez(tmp_path / "v.npz", ids=ids, vectors=vectors)
    with pytest.raises(DataError) as raised:
        read_vectors(str(tmp_path / "v.npz"))
    assert text in str(raised.value) and str(raised.value).startswith(str(tmp_path / "v.npz"))


@pytest.mark.parametrize("ending", [".npz", ".npy", ".parquet"])
def test_files_that_are_missing_or_damaged_are_errors(tmp_path, ending):
    path = tmp_path / f"v{ending}"
    for read in (read_vectors, width_of):
        with pytest.raises(DataError, match="cannot be read"):
            read(str(path))
    path.write_bytes(b"no vectors")
    for read in (read_vectors, width_of):
        with pytest.raises(DataError, match="cannot be read"):
            read(str(path))


def test_an_unknown_ending_is_an_error():
    with pytest.raises(DataError, match=r"v\.csv: files of vectors end in \.npz, \.npy or \.parquet"):
        read_vectors("v.csv")
