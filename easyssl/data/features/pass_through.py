"""PassThroughFeature: a column that is read but not handed to the model."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.features.types import FeatureSpec


class PassThroughTransform(tf.Module):
    """Yields nothing: such columns serve metrics and grouping, which read the raw batch.

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="pass_through_feature")
        self.spec = spec

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns an empty dict."""
        return {}
