"""The feature transforms of a NextItemModel: of rows to train on, of rows to serve, and of items."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from easyssl.backbone.plan_next_item import NextItemPlan
from easyssl.config import Config
from easyssl.data.features.types import FeatureSpec
from easyssl.data.sequence_split import next_column
from easyssl.data.transform import transform_from_config
from easyssl.models.item_tensors import item_spec


class RowTransforms:
    """Transforms with features of their own beside those of the config.

    Args:
        config: The config.
        specs: Its features by name.
        plan: What it says about histories and items.

    Attributes:
        after: Name of the feature with the items after the history, int64 `[batch, n]`, padded with -1.
        seen: Name of the feature with the whole history, int64 `[batch, n]`, padded with -1.
        serving: From the columns of rows to features.
        training: The same, with `after`, and whole histories where training cuts them.
        items: From the columns of items to features, `item_tensors.ITEM` among them.
    """

    def __init__(self, config: Config, specs: Mapping[str, FeatureSpec], plan: NextItemPlan) -> None:
        history = specs[plan.history]
        self.after, self.seen = f"{plan.history}/next", f"{plan.history}/seen"
        after = FeatureSpec(
            self.after,
            "TagFeature",
            (next_column(history.inputs[0]),),
            buckets=history.buckets,
            separator=history.separator,
            precision=history.precision,
        )
        # Whole, and an empty cell holds no item.
        seen = dataclasses.replace(
            history, name=self.seen, max_seq_len=0, sequence_combiner="", empty_sequence="NO_STEP"
        )
        of_items = {name: spec for name, spec in specs.items() if set(spec.inputs) <= set(plan.corpus)}
        of_rows = {name: spec for name, spec in specs.items() if name not in of_items}
        split = config.message.data_config.sequence_split
        cut = {split.items, *split.aligned}
        self._cut = [n for n, s in of_rows.items() if s.used and s.is_sequence and s.inputs[0] in cut]
        of_rows[self.seen] = seen
        self._whole: dict[str, str] = {}  # the name under which a feature has all of its steps
        self._limits: dict[str, tuple[int, bool]] = {}
        of_training = {**of_rows, self.after: after}
        for name in self._cut if plan.targets == "RANDOM_STEP" else ():
            spec = specs[name]
            if not spec.max_seq_len or spec.sequence_combiner:
                continue
            self._limits[name] = spec.max_seq_len, spec.keep_last
            whole = dataclasses.replace(spec, name=f"{name}/whole", max_seq_len=0)
            if dataclasses.replace(whole, name=self.seen) == seen:
                whole = seen
            self._whole[name] = whole.name
            of_training[whole.name] = whole
        self.serving = transform_from_config(config, of_rows)
        self.training = transform_from_config(config, of_training)
        item = item_spec(history, plan.item_id)
        self.items = transform_from_config(config, {**of_items, item.name: item})

    def whole(self, features: Mapping[str, tf.Tensor], name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns all steps of a sequence before a step is drawn to cut it at, and their number `[batch]`."""
        name = self._whole.get(name, name)
        return features[name], features[f"{name}/length"]

    def shortened(self, features: Mapping[str, tf.Tensor], lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns histories, and what goes with them, as they were after the first `lengths` steps.

        Like a history that ends there, each keeps but its last (or first) `max_seq_len` steps.

        Args:
            features: Transformed features of a batch.
            lengths: int32 `[batch]`.
        """
        found = {}
        for name in self._cut:
            steps, length = self.whole(features, name)
            length = tf.minimum(length, lengths)
            limit, keep_last = self._limits.get(name, (0, False))
            if limit:
                start = tf.maximum(length - limit, 0) * int(keep_last)
                length = tf.minimum(length, limit)
                places = start[:, None] + tf.range(tf.minimum(tf.shape(steps)[1], limit))[None, :]
                steps = tf.gather(steps, tf.minimum(places, tf.shape(steps)[1] - 1), batch_dims=1)
            kept = tf.range(tf.shape(steps)[1])[None, :] < length[:, None]
            none = tf.constant(-1 if steps.dtype.is_integer else 0, steps.dtype)
            found[name] = tf.where(
                tf.reshape(kept, tf.concat([tf.shape(kept), [1] * (steps.shape.rank - 2)], 0)), steps, none
            )
            found[f"{name}/length"] = length
        return found
