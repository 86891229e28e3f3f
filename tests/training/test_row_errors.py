"""What a model finds wrong with rows while it computes."""

import re

import pytest

from easyssl.errors import DataError
from easyssl.training import train


def test_a_sequence_that_is_too_long_for_the_encoder_is_told_with_its_rows(case):
    text = case.tiny.replace("max_seq_len: 8", "").replace(
        "max_position_embeddings: 16", "max_position_embeddings: 4"
    )
    with pytest.raises(DataError, match=r"BST is made for 4 steps \(max_position_embeddings\)") as error:
        train(case.config("train_config.num_steps=2", text=text))
    assert re.match(r".*train\.csv:\d+: feature '\w+': a sequence of \d+ steps", str(error.value))
    assert "\n" not in str(error.value)


def test_rows_with_such_sequences_may_be_left_out(case):
    text = case.tiny.replace("max_seq_len: 8", "").replace(
        "max_position_embeddings: 16", "max_position_embeddings: 4"
    )
    skip = ("data_config.malformed_rows=SKIP", "data_config.max_malformed_rows=100000")
    result = train(case.config("train_config.num_steps=2", *skip, text=text))
    assert result.step == 2
    (first, *_) = (case.run / "quarantine.jsonl").read_text().splitlines()
    assert "is made for 4 steps" in first
