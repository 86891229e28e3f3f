import pytest
import tensorflow as tf

from easyssl.backbone.merge import MergeError, describe, merge_inputs

pytestmark = pytest.mark.both_keras

A = tf.ones([2, 3])
B = tf.zeros([2, 4])


def test_tensors_are_joined_on_the_last_axis():
    merged = merge_inputs([A, B], ["a", "b"])
    assert merged.shape == (2, 7)
    assert merged.numpy().sum() == 6


def test_tensors_are_joined_on_the_axis_asked_for():
    assert merge_inputs([A, tf.ones([5, 3])], ["a", "b"], axis=0).shape == (7, 3)


@pytest.mark.parametrize("value", [A, [A, B], (A, B)])
def test_a_single_input_passes_unchanged(value):
    assert merge_inputs([value], ["a"]) is value


def test_into_list_keeps_nested_lists_as_elements():
    assert merge_inputs([[A], B], ["a", "b"], into_list=True) == [[A], B]
    assert merge_inputs([A], ["a"], into_list=True) == [A]


def test_lists_are_joined_in_order_and_tensors_count_as_elements():
    merged = merge_inputs([[A, B], [B]], ["a", "b"])
    assert [id(m) for m in merged] == [id(A), id(B), id(B)]
    merged = merge_inputs([A, [B]], ["a", "b"])
    assert [id(m) for m in merged] == [id(A), id(B)]


def test_a_tuple_among_several_inputs_must_be_sliced():
    with pytest.raises(MergeError, match=r"'seq' has several outputs .*input_slice"):
        merge_inputs([(A, B), A], ["seq", "a"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([A, tf.ones([3, 3])], r"'a' \[2, 3\] and 'b' \[3, 3\] cannot be joined on axis -1"),
        ([A, tf.ones([2, 5, 3])], r"cannot be joined"),
        ([], "ignore_input"),
    ],
)
def test_what_does_not_fit_is_named(values, message):
    with pytest.raises(MergeError, match=message):
        merge_inputs(values, ["a", "b"][: len(values)])


def test_axis_out_of_range():
    with pytest.raises(MergeError, match="input_concat_axis 2 is out of range"):
        merge_inputs([A, B], ["a", "b"], axis=2)


def test_mixed_precision_joins_at_the_lower_precision():
    merged = merge_inputs([A, tf.cast(B, tf.bfloat16)], ["a", "b"])
    assert merged.dtype == tf.bfloat16


def test_unknown_dimensions_have_names():
    seen = []

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int32)], autograph=False
    )
    def trace(x, n):
        seen.append(describe((x, n)))
        return x

    trace.get_concrete_function()
    assert seen == ["([batch, seq_len, 4], [batch])"]
