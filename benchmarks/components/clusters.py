"""Prototypes: balanced clustering, contrast and distillation; and an adversary."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.components.case import Arrays, Case, Function, Sizes, normal, unit
from easyssl.layers import AdversarialClassifier, ClusterDistillation, PrototypeContrast, SinkhornClustering
from easyssl.losses import collect_losses

_TEMPERATURE = 0.1
_EPSILON = 0.05
_ITERATIONS = 3
_NEVER = -1e9


def _rows(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.dim)]


def _clustering(sizes: Sizes) -> tuple[Function, Function]:
    layer = SinkhornClustering(sizes.prototypes, _TEMPERATURE, _EPSILON, _ITERATIONS)

    def ours(rows: tf.Tensor) -> tf.Tensor:
        with collect_losses() as collected:
            layer(rows, training=True)
        return collected.total()

    def plain(rows: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(unit(rows), unit(tf.convert_to_tensor(layer.prototypes)), transpose_b=True)
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        plan = tf.exp(scores / _EPSILON)
        for _ in range(_ITERATIONS):
            plan /= tf.reduce_sum(plan, axis=0, keepdims=True) * sizes.prototypes
            plan /= tf.reduce_sum(plan, axis=1, keepdims=True) * count
        targets = tf.stop_gradient(plan * count)
        return -tf.reduce_sum(targets * tf.nn.log_softmax(scores / _TEMPERATURE)) / count

    return ours, plain


def _views(sizes: Sizes) -> Arrays:
    left, right = (normal(sizes.batch, sizes.dim, seed=seed) for seed in (1, 2))
    prototypes = normal(sizes.prototypes, sizes.dim)
    return [left, right, left @ prototypes.T, prototypes]


def _contrast(sizes: Sizes) -> tuple[Function, Function]:
    layer = PrototypeContrast(temperature=_TEMPERATURE)

    def ours(*inputs: tf.Tensor) -> tf.Tensor:
        return layer(list(inputs), training=True)

    def plain(left: tf.Tensor, right: tf.Tensor, assignments: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
        left, right, prototypes = unit(left), unit(right), unit(prototypes)
        others = _NEVER * tf.eye(tf.shape(left)[0])
        assigned = _NEVER * tf.one_hot(tf.argmax(assignments, axis=1), sizes.prototypes)
        total = 0.0
        for anchor, other in ((left, right), (right, left)):
            positive = tf.reduce_sum(anchor * other, axis=1, keepdims=True) / _TEMPERATURE
            negatives = [
                tf.matmul(anchor, vectors, transpose_b=True) / _TEMPERATURE + excluded
                for vectors, excluded in ((other, others), (anchor, others), (prototypes, assigned))
            ]
            logits = tf.concat([positive, *negatives], axis=1)
            total -= tf.reduce_mean(tf.nn.log_softmax(logits)[:, 0])
        return total

    return ours, plain


def _students(sizes: Sizes) -> Arrays:
    left, right, assignments, prototypes = _views(sizes)
    return [assignments, prototypes, left, right]


def _distillation(sizes: Sizes) -> tuple[Function, Function]:
    layer = ClusterDistillation(temperature=_TEMPERATURE)

    def ours(*inputs: tf.Tensor) -> tf.Tensor:
        return layer(list(inputs), training=True)

    def plain(assignments: tf.Tensor, prototypes: tf.Tensor, *students: tf.Tensor) -> tf.Tensor:
        chosen = tf.gather(unit(tf.stop_gradient(prototypes)), tf.argmax(assignments, axis=1))
        teacher = tf.nn.softmax(chosen / _TEMPERATURE)
        total = 0.0
        for student in students:
            ratio = tf.math.log(teacher) - tf.nn.log_softmax(unit(student) / _TEMPERATURE)
            total += tf.reduce_mean(tf.reduce_sum(teacher * ratio, axis=1))
        return total

    return ours, plain


def _labelled(sizes: Sizes) -> Arrays:
    return [*_rows(sizes), np.arange(sizes.batch) % sizes.prototypes]


def _adversary(sizes: Sizes) -> tuple[Function, Function]:
    layer = AdversarialClassifier(sizes.prototypes)

    def ours(rows: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return layer([rows, labels], training=True)

    def plain(rows: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = rows @ layer.classifier.kernel
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

    return ours, plain


CASES = [
    Case(
        name="SinkhornClustering",
        axes={"batch": (512, 1024, 2048), "prototypes": (128, 256, 512)},
        inputs=_rows,
        make=_clustering,
        work=lambda s: s.batch * s.prototypes * (3 * s.dim + 2 * _ITERATIONS),
        memory=lambda s: 3 * s.batch * s.prototypes + (2 * s.batch + 3 * s.prototypes) * s.dim,
        base=Sizes(batch=1024, prototypes=256),
    ),
    Case(
        name="PrototypeContrast",
        axes={"batch": (128, 256, 512), "prototypes": (128, 256, 512)},
        inputs=_views,
        make=_contrast,
        work=lambda s: s.batch * (2 * s.batch + s.prototypes) * s.dim,
        memory=lambda s: (
            2 * s.batch * (2 * s.batch + s.prototypes) + (4 * s.batch + 2 * s.prototypes) * s.dim
        ),
        base=Sizes(prototypes=128),
    ),
    Case(
        name="ClusterDistillation",
        axes={"batch": (4096, 8192, 16384)},
        inputs=_students,
        make=_distillation,
        work=lambda s: s.batch * (s.dim + s.prototypes),
        memory=lambda s: s.batch * s.dim,
    ),
    Case(
        name="AdversarialClassifier",  # into as many classes as there are prototypes
        axes={"batch": (4096, 8192, 16384), "prototypes": (16, 32, 64)},
        inputs=_labelled,
        make=_adversary,
        work=lambda s: s.batch * s.prototypes * s.dim,
        memory=lambda s: s.batch * (s.dim + 2 * s.prototypes),
        base=Sizes(batch=8192, prototypes=32),
    ),
]
