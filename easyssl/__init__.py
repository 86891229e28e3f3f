"""EasySSL: self-supervised components for recommenders, on TensorFlow and Keras.

The library never touches the environment: it works with the Keras that `tf.keras` is. The `easyssl` command
runs on tf_keras and sets `TF_USE_LEGACY_KERAS=1` for itself. Importing `easyssl` does not import TensorFlow.
"""

__version__ = "0.1.0"
