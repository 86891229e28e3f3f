"""What a model finds wrong with rows while it computes."""

import re

import pytest

from easyssl.errors import DataError
from easyssl.training import train


def test_a_sequence_that_is_too_long_for_the_encoder_is_told_with_its_rows(case):
    text = case.tiny.replace("max_seq_len: 8", "").replace(
        "max_position_embeddings: 16", "max_position_embeddings: 4"
    )
    with pytest.raises(DataError, match="longer than max_position_embeddings=4") as error:
        train(case.config("train_config.num_steps=2", text=text))
    assert re.match(r".*train\.csv:\d+-\d+: BST 'encoder'", str(error.value))
    assert "\n" not in str(error.value)
