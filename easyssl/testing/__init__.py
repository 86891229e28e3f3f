"""Gates for Keras layers, for those of this library and for your own."""

from easyssl.testing.layer_gate import MIXED_POLICIES, run_layer_test

__all__ = ["MIXED_POLICIES", "run_layer_test"]
