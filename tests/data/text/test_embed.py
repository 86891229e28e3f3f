import gzip

import numpy as np
import pytest

from easyssl.data.item_vectors import read_vectors
from easyssl.data.text import make_encoder
from easyssl.data.text.embed import embed_items, read_texts
from easyssl.data.text.word_drop import drop_words
from easyssl.errors import DataError, UsageError


class Counting:
    """Encodes a text as the numbers of its characters and words; stops after some parts."""

    identity = "counting"

    def __init__(self, parts=99):
        self.parts = parts
        self.seen = []

    def encode(self, texts):
        if not self.parts:
            raise KeyboardInterrupt
        self.parts -= 1
        self.seen += texts
        return np.array([[len(text), len(text.split())] for text in texts], np.float32)


TEXTS = ["red paint", "", "a blue  brush", "ink", "nail"]
IDS = ["1", "2", "3", "4", "5"]


def test_every_item_gets_the_vector_of_its_text_and_an_empty_text_that_of_a_full_stop(tmp_path):
    done = embed_items(IDS, TEXTS, str(tmp_path / "new" / "v.npz"), Counting(), part_size=2)
    found = read_vectors(str(tmp_path / "new" / "v.npz"))
    assert found.ids == IDS
    assert found.vectors.tolist() == [[9, 2], [1, 1], [13, 3], [3, 1], [4, 1]]
    assert (done.items, done.width, done.without_text, done.resumed) == (5, 2, 1, 0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["v.npz"]


def test_an_interrupted_run_goes_on_behind_its_last_part(tmp_path):
    out = str(tmp_path / "v.npz")
    with pytest.raises(KeyboardInterrupt):
        embed_items(IDS, TEXTS, out, Counting(parts=1), part_size=2)
    assert not (tmp_path / "v.npz").exists()
    encoder, calls = Counting(), []
    done = embed_items(IDS, TEXTS, out, encoder, part_size=2, progress=lambda *n: calls.append(n))
    assert encoder.seen == TEXTS[2:] and done.resumed == 2
    assert calls == [(2, 5), (4, 5), (5, 5)]
    assert read_vectors(out).vectors.tolist() == [[9, 2], [1, 1], [13, 3], [3, 1], [4, 1]]


@pytest.mark.parametrize("change", ["text", "id", "drop"])
def test_parts_of_other_work_are_made_anew(tmp_path, change):
    out = str(tmp_path / "v.npz")
    with pytest.raises(KeyboardInterrupt):
        embed_items(IDS, TEXTS, out, Counting(parts=1), part_size=2)
    encoder = Counting()
    texts = ["red ink", *TEXTS[1:]] if change == "text" else TEXTS
    ids = ["9", *IDS[1:]] if change == "id" else IDS
    done = embed_items(ids, texts, out, encoder, part_size=2, word_drop=0.9 if change == "drop" else 0.0)
    assert done.resumed == 0 and len(encoder.seen) == 5


def test_words_are_left_out_at_the_rate_by_seed_and_item():
    text = " ".join(map(str, range(20000)))
    kept = drop_words("1", text, 0.15, seed=3).split()
    assert abs(len(kept) / 20000 - 0.85) < 0.01
    assert [int(word) for word in kept] == sorted(map(int, kept))
    assert drop_words("1", text, 0.15, seed=3).split() == kept
    assert drop_words("1", text, 0.15, seed=4).split() != kept
    assert drop_words("2", text, 0.15, seed=3).split() != kept
    assert drop_words("1", "", 0.15) == ""


def test_columns_are_joined(tmp_path):
    path = tmp_path / "items.tsv.gz"
    path.write_bytes(gzip.compress(b'id\ttitle\tbrand\n7\t"5"" ruler"\tACME\n8\t\t\n9\t a  b\t\n'))
    ids, texts = read_texts(str(path), "id", ["title", "brand"])
    assert (ids, texts) == (["7", "8", "9"], ['5" ruler ACME', "", "a b"])
    comma = tmp_path / "items.csv"
    comma.write_text("id,title\n1,x\n1,y\n")
    with pytest.raises(DataError, match="items.csv:3: the item '1' comes a second time, after line 2"):
        read_texts(str(comma), "id", ["title"])
    with pytest.raises(DataError, match="no column 'titel'; did you mean 'title'"):
        read_texts(str(comma), "id", ["titel"])


def test_the_encoder_of_the_extra_gives_vectors_that_tell_texts_apart():
    pytest.importorskip("wordllama")
    texts = ["black ink for printers", "printer ink cartridges", "a violin bow"]
    near, other, far = make_encoder("wordllama").encode(texts)
    assert near.shape == (256,) and near.dtype == np.float32

    def cosine(x, y):
        return x @ y / np.linalg.norm(x) / np.linalg.norm(y)

    assert cosine(near, other) > cosine(near, far) + 0.2


def test_an_unknown_encoder_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="did you mean 'wordllama'"):
        make_encoder("wordlama")
