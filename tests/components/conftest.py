import pytest
import tensorflow as tf


@pytest.fixture(scope="module", autouse=True)
def unoptimized_graphs():
    """Optimizing a graph takes longer than running it twice."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
