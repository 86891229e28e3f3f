"""From the `metrics_set` of a config to metrics, refusing what the model's predictions cannot give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from easyssl.backbone.plan_match import is_list_wise
from easyssl.backbone.plan_multi_task import TOWERS, is_multi_task
from easyssl.backbone.plan_next_item import NEXT_ITEM
from easyssl.config.labels import read_label
from easyssl.errors import nearest
from easyssl.metrics.accuracy import Accuracy
from easyssl.metrics.auc import AUC, ThresholdedAUC
from easyssl.metrics.grouped_auc import REDUCTIONS, GroupedAUC
from easyssl.metrics.in_batch_recall import InBatchRecall
from easyssl.metrics.item_ranking import ranking_from_config
from easyssl.metrics.max_f1 import MaxF1
from easyssl.metrics.mean_absolute_error import MeanAbsoluteError
from easyssl.metrics.mean_squared_error import MeanSquaredError
from easyssl.metrics.metric import Metric
from easyssl.metrics.precision import Precision
from easyssl.metrics.recall import Recall
from easyssl.metrics.recall_at_top_k import RecallAtTopK
from easyssl.metrics.root_mean_squared_error import RootMeanSquaredError

VALUE_LOSSES = frozenset({"L2_LOSS", "SIGMOID_L2_LOSS"})
# Losses of models with one `probs` per row whatever num_class is.
TWO_HEADED_LOSSES = frozenset({"JRC_LOSS", "ZILN_LOSS"})


def metrics_from_config(
    config: Any,
    metrics_set: Sequence[Any] | None = None,
    num_class: int | None = None,
    loss_types: Iterable[str | int] | str | int | None = None,
    *,
    path: str = "eval_config.metrics_set",
    suffix: str = "",
) -> list[Metric]:
    """Returns the metrics that a config asks for.

    Args:
        config: The loaded `Config`; gives whatever is left None, and the places of errors.
        metrics_set: The `EvalMetrics` messages; default `eval_config.metrics_set`, or for a MultiTaskModel
            those of all towers.
        num_class: Default `model_config.num_class`.
        loss_types: One or several names (or numbers) of `LossType`; default those of `model_config`.
        path: Field path of `metrics_set`, for errors.
        suffix: Appended to result and prediction names, such as `"_ctr"` for the task `ctr`.

    Returns:
        One metric per entry, in order, without `precision_at_topk`; `recall_at_topk` of a list-wise
        MatchModel gives one for all items, one for those of the batch, and one for sampled ones if there
        are any. If a result name comes twice,
        the second is called `<name>_2`.

    Raises:
        ConfigError: If a metric cannot be computed from this model's predictions, or groups by something
            that is not a feature or an input field.
    """
    model = config.message.model_config
    if metrics_set is None:
        if model.model_class == NEXT_ITEM:
            return [ranking_from_config(config)]
        if is_multi_task(model):
            return [metric for tower in range(len(_towers(config))) for metric in _of_tower(config, tower)]
        metrics_set = config.message.eval_config.metrics_set
    if loss_types is None:
        loss_types = [loss.loss_type for loss in model.losses] or [model.loss_type]
    elif isinstance(loss_types, str | int):
        loss_types = [loss_types]
    outputs = _Outputs(
        num_class=model.num_class if num_class is None else num_class,
        loss_types=tuple(_loss_name(model, loss) for loss in loss_types),
        suffix=suffix,
        model_class=model.model_class,
        list_wise=is_list_wise(model),
        sampled=_sampled(config.message.data_config),
    )
    metrics: list[Metric] = []
    taken: dict[str, int] = {}
    for i, message in enumerate(metrics_set):
        kind = message.WhichOneof("metric")
        if kind is None:
            raise config.error(f"{path}[{i}]", "names no metric" + nearest("", _MAKERS))
        if kind == _OF_NO_BACKBONE:  # a warning tells so
            continue
        place = _Place(config, f"{path}[{i}].{kind}", kind)
        maker = _MAKERS.get(kind)
        if maker is None:
            owner = model.model_class or "RankModel"
            raise place.error(f"is not a metric of {owner}{nearest(kind, _MAKERS)}")
        made = maker(getattr(message, kind), outputs, place)
        for metric in made if isinstance(made, list) else [made]:
            metric.name += suffix
            taken[metric.name] = taken.get(metric.name, 0) + 1
            if taken[metric.name] > 1:
                metric.name += f"_{taken[metric.name]}"
            metrics.append(metric)
    return metrics


def _towers(config: Any) -> Sequence[Any]:
    return config.message.model_config.model_params.task_towers


def _of_tower(config: Any, index: int) -> list[Metric]:
    """Returns the metrics of one tower of a MultiTaskModel, which read its label and its predictions."""
    tower, path = _towers(config)[index], f"{TOWERS}[{index}]"
    metrics = metrics_from_config(
        config,
        tower.metrics_set,
        tower.num_class,
        [loss.loss_type for loss in tower.losses] or [tower.loss_type],
        path=f"{path}.metrics_set",
        suffix=f"_{tower.tower_name}",
    )
    label = read_label(config, tower.label_name, f"{path}.label_name", index)
    for metric in metrics:
        metric.label = label
    return metrics


def metric_columns(config: Any, metrics_set: Sequence[Any] | None = None) -> tuple[str, ...]:
    """Returns the raw columns that grouped metrics of `metrics_set` read, each once.

    Args:
        config: The loaded `Config`.
        metrics_set: The `EvalMetrics` messages; default as in `metrics_from_config`.

    Raises:
        ConfigError: If a metric groups by something that is not a feature or an input field.
    """
    sets = {"eval_config.metrics_set": metrics_set}
    if metrics_set is None:
        sets["eval_config.metrics_set"] = config.message.eval_config.metrics_set
        if is_multi_task(config.message.model_config):
            towers = enumerate(_towers(config))
            sets = {f"{TOWERS}[{i}].metrics_set": tower.metrics_set for i, tower in towers}
    columns: dict[str, None] = {}
    for path, messages in sets.items():
        for i, message in enumerate(messages or ()):
            kind = message.WhichOneof("metric")
            if kind in _GROUP_FIELDS:
                field = _GROUP_FIELDS[kind]
                place = _Place(config, f"{path}[{i}].{kind}", kind)
                columns[_group_column(getattr(getattr(message, kind), field), field, place)] = None
    return tuple(columns)


@dataclass(frozen=True)
class _Place:
    """Where in the config a metric stands."""

    config: Any
    path: str
    kind: str

    def error(self, text: str, field: str = "") -> Exception:
        return self.config.error(f"{self.path}.{field}" if field else self.path, text)


@dataclass(frozen=True)
class _Outputs:
    """What predictions a model has, by its losses and number of classes."""

    num_class: int
    loss_types: tuple[str, ...]
    suffix: str
    model_class: str = "RankModel"
    list_wise: bool = False
    sampled: bool = False

    def probability(self, place: _Place) -> str:
        """Returns the key of the probability of the positive class."""
        for loss in () if self.list_wise else self.loss_types:
            if loss in TWO_HEADED_LOSSES or (loss not in VALUE_LOSSES and self.num_class <= 2):
                return "probs" + self.suffix
        raise place.error(f"{place.kind} needs the probability of a positive class, {self._found()}")

    def class_scores(self, place: _Place, key: str) -> str:
        """Returns the key of scores `[n, num_class]`."""
        if _MULTI_CLASS & set(self.loss_types) and self.num_class > 1:
            return key + self.suffix
        raise place.error(f"{place.kind} needs scores of several classes, {self._found()}")

    def value(self, place: _Place) -> str:
        """Returns the key of the predicted value: `y`, or the probability of a binary model."""
        if any(loss in VALUE_LOSSES or loss == "ZILN_LOSS" for loss in self.loss_types):
            return "y" + self.suffix
        if self.num_class == 1 and not self.list_wise:
            return "probs" + self.suffix
        raise place.error(f"{place.kind} needs one predicted value per row, {self._found()}")

    def _found(self) -> str:
        if self.list_wise:
            return "and a MatchModel with SOFTMAX_CROSS_ENTROPY scores each row with all items of the batch"
        return f"which loss_type {', '.join(self.loss_types)} with num_class {self.num_class} does not give"


def _auc(message: Any, outputs: _Outputs, place: _Place) -> Metric:
    prediction = outputs.probability(place)
    if not message.HasField("num_thresholds"):
        return AUC(prediction=prediction)
    if message.num_thresholds < 2:
        raise place.error(f"is {message.num_thresholds}; expected at least 2", "num_thresholds")
    return ThresholdedAUC(message.num_thresholds, prediction=prediction)


def _grouped_auc(message: Any, outputs: _Outputs, place: _Place) -> Metric:
    field = _GROUP_FIELDS[place.kind]
    column = _group_column(getattr(message, field), field, place)
    if message.reduction not in REDUCTIONS:
        raise place.error(f"is '{message.reduction}'{nearest(message.reduction, REDUCTIONS)}", "reduction")
    return GroupedAUC(column, message.reduction, place.kind, outputs.probability(place))


def _accuracy(message: Any, outputs: _Outputs, place: _Place) -> Metric:
    if _MULTI_CLASS & set(outputs.loss_types) and outputs.num_class > 1:
        return Accuracy(prediction=outputs.class_scores(place, "probs"))
    return Accuracy(prediction=outputs.probability(place))


def _recall_at_topk(message: Any, outputs: _Outputs, place: _Place) -> Metric | list[Metric]:
    if outputs.list_wise:
        if message.topk < 1:
            raise place.error("is 0; expected at least 1", "topk")
        among = ("all", "sampled", "batch") if outputs.sampled else ("all", "batch")
        return [InBatchRecall(message.topk, columns) for columns in among]
    if outputs.num_class <= 1:
        raise place.error(
            "recall_at_topk needs MatchModel, or RankModel with num_class above 1"
            if outputs.model_class != "MatchModel"
            else "recall_at_topk needs loss_type SOFTMAX_CROSS_ENTROPY"
        )
    prediction = outputs.class_scores(place, "logits")
    if not 1 <= message.topk <= outputs.num_class:
        raise place.error(f"is {message.topk}; expected 1 to num_class {outputs.num_class}", "topk")
    return RecallAtTopK(message.topk, prediction=prediction)


# Losses that predict a probability for each of several classes.
_MULTI_CLASS = {"CLASSIFICATION", "SOFTMAX_CROSS_ENTROPY"}
_OF_NO_BACKBONE = "precision_at_topk"
_GROUP_FIELDS = {"gauc": "uid_field", "session_auc": "session_id_field"}

_MAKERS: dict[str, Callable[[Any, _Outputs, _Place], Metric | list[Metric]]] = {
    "auc": _auc,
    "gauc": _grouped_auc,
    "session_auc": _grouped_auc,
    "max_f1": lambda _, outputs, place: MaxF1(prediction=outputs.probability(place)),
    "accuracy": _accuracy,
    "precision": lambda _, outputs, place: Precision(prediction=outputs.probability(place)),
    "recall": lambda _, outputs, place: Recall(prediction=outputs.probability(place)),
    "recall_at_topk": _recall_at_topk,
    "mean_absolute_error": lambda _, outputs, place: MeanAbsoluteError(prediction=outputs.value(place)),
    "mean_squared_error": lambda _, outputs, place: MeanSquaredError(prediction=outputs.value(place)),
    "root_mean_squared_error": lambda _, outputs, place: RootMeanSquaredError(
        prediction=outputs.value(place)
    ),
}


def _sampled(data: Any) -> bool:
    """Returns whether negatives are sampled in evaluation."""
    kind = data.WhichOneof("sampler")
    if kind is None:
        return False
    sampler = getattr(data, kind)
    return sampler.num_eval_sample > 0 or getattr(sampler, "num_hard_sample", 0) > 0


def _loss_name(model: Any, loss: str | int) -> str:
    if isinstance(loss, str):
        return loss
    return model.DESCRIPTOR.fields_by_name["loss_type"].enum_type.values_by_number[loss].name


def _group_column(name: str, field: str, place: _Place) -> str:
    """Returns the raw column of a grouping field: the first input of the feature, or the column itself."""
    if not name:
        raise place.error(f"{place.kind} needs {field}: the feature whose value groups the rows")
    return raw_column(place.config, name, f"{place.path}.{field}")


def raw_column(config: Any, name: str, path: str) -> str:
    """Returns the raw column that tells rows apart by a feature: its first input, or the column itself.

    Args:
        config: The loaded `Config`.
        name: A feature, which need not be in any group, or an input field.
        path: Field path of the name, for errors.

    Raises:
        ConfigError: If there is no such feature or field.
    """
    message = config.message
    columns = {}
    for feature in [*message.feature_config.features, *message.feature_configs]:
        inputs = list(feature.input_names)
        if inputs:
            columns[feature.feature_name or inputs[0]] = inputs[0]
        columns.update((shared, shared) for shared in feature.shared_names)
    fields = [column.input_name for column in message.data_config.input_fields]
    if name in columns:
        return columns[name]
    if name in fields:
        return name
    raise config.error(
        path, f"'{name}' is neither a feature nor an input field{nearest(name, [*columns, *fields])}"
    )
