"""The config language: from text to a checked message. Importing this does not import TensorFlow."""

from easyssl.config.load import Config, load_config, parse_config
from easyssl.config.messages import PipelineConfig, message_class

__all__ = ["Config", "PipelineConfig", "load_config", "message_class", "parse_config"]
