"""Knowing a graph that is for XLA."""

import tensorflow as tf

from easyssl.functional.xla import in_xla


def test_only_graphs_for_xla_are_known_as_such():
    seen = []

    def note():
        seen.append(in_xla())
        return tf.zeros([])

    note()
    tf.function(note, autograph=False)()
    tf.function(note, jit_compile=True, autograph=False)()
    outer = tf.function(lambda: tf.function(note, autograph=False)(), jit_compile=True, autograph=False)
    outer()
    assert seen == [False, False, True, True]
