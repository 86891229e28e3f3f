"""Features: what a config says about them (`spec`) and one small file of TensorFlow ops per feature type.

Importing this package or `spec` does not import TensorFlow; the other modules do.
"""
