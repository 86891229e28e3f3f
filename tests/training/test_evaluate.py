"""What an evaluation reports of the losses."""

import numpy as np
import pytest

from easyssl.training import Evaluator
from easyssl.training.setup import build_model

ROWS = 23


def write_weighted(path):
    """Writes rows in which `price`, here a weight, is 0 for some neighbours, and not spread evenly."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.1, 3.0, ROWS).round(2) * np.linspace(0.2, 3, ROWS).round(1)
    weights[[2, 3, 4, 5, 9, 22]] = 0.0
    clicks = rng.integers(0, 2, ROWS)
    path.write_text(
        "".join(f"{clicks[i]},u{i},i{i % 9},{weights[i]:.4f},i{i}|i{i % 4}\n" for i in range(ROWS))
    )
    return clicks.astype(np.float64), weights.round(4)


@pytest.mark.parametrize("loss_type", ["CLASSIFICATION", "BINARY_CROSS_ENTROPY_LOSS", "L2_LOSS"])
def test_the_loss_is_that_of_all_rows_whatever_the_batches(case, loss_type):
    clicks, weights = write_weighted(case.folder / "eval.csv")
    text = case.small.replace("embedding_regularization: 0.0001", f"loss_type: {loss_type}")
    text = text.replace("auc {}", "mean_squared_error {}" if loss_type == "L2_LOSS" else "auc {}")
    found, scores = [], None
    for size in (1, 4, 16, ROWS):
        options = ("data_config.sample_weight=price", f"data_config.batch_size={size}")
        config = case.config(*options, text=text)
        model = build_model(config)
        rng = np.random.default_rng(0)
        model.set_weights([0.3 * rng.uniform(size=w.shape) for w in model.weights])
        evaluator = Evaluator.from_config(config, model)
        found.append(evaluator.run())
        if size == ROWS:
            (raw,) = evaluator.dataset.batches()
            predicted = model(model.transform(raw.columns))
            scores = predicted["y" if loss_type == "L2_LOSS" else "logits"].numpy().astype(np.float64)
    if loss_type == "L2_LOSS":
        each = (scores - clicks) ** 2
    else:
        each = np.logaddexp(0, scores) - clicks * scores
    name = "l2_loss" if loss_type == "L2_LOSS" else "cross_entropy_loss"
    plain = loss_type == "BINARY_CROSS_ENTROPY_LOSS"
    expected = each.mean() if plain else np.sum(each * weights) / np.count_nonzero(weights)
    assert [results[name] for results in found] == pytest.approx([expected] * 4, rel=1e-4)
