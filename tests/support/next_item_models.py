"""NextItemModels of seven items whose states and vectors are read off their tables."""

import numpy as np
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.models import build_model

ITEMS = 7  # ids 1 to 7 in another order, so that numbers of items and ids differ
IDS = [4, 7, 1, 3, 2, 6, 5]
POPULARITY = [5, 1, 2, 9, 3, 1, 4]
CATEGORIES = ["a", "a", "b", "", "b", "a", ""]  # of the items in IDS
HISTORIES = ["1|2|3", "4", "", "5|6|1|1|2"]
AFTER = ["4", "7", "2", "3"]

BLOCKS = {
    "EVERY_STEP": "blocks { name: 'user' inputs { block_name: 'history' input_slice: '[0]' } }",
    "NEXT_STEP": """blocks {
      name: 'user' inputs { block_name: 'history' } keras_layer { class_name: 'MeanPooling' }
    }""",
    "HIDDEN_STEPS": """blocks {
      name: 'hidden' inputs { block_name: 'history' } keras_layer {
        class_name: 'ClozeMask' st_params { fields { key: 'append_next' value { bool_value: true } } }
      }
    }
    blocks {
      name: 'user' inputs { block_name: 'hidden' input_slice: '[0]' } inputs { block_name: 'hidden' input_slice: '[2]' }
      merge_inputs_into_list: true
    }""",
}
BLOCKS["RANDOM_STEP"] = BLOCKS["NEXT_STEP"]

CONFIG = """
data_config {
  batch_size: 4 input_type: CSVInput
  input_fields { input_name: 'items' }
  sequence_split { items: 'items' }
  item_corpus {
    input_path: 'items.tsv' item_id: 'item_id' popularity: 'popularity'
    input_fields { input_name: 'item_id' input_type: INT64 }
    input_fields { input_name: 'popularity' input_type: INT64 }
    %(corpus)s
  }
}
feature_config {
  features {
    input_names: 'items' feature_type: SequenceFeature num_buckets: 9 embedding_dim: 4 embedding_name: 'item'
    max_seq_len: 5 keep_steps: LAST_STEPS empty_sequence: NO_STEP
    initializer { random_normal_initializer { stddev: 1 } }
  }
  features {
    input_names: 'item_id' feature_type: IdFeature num_buckets: 9 embedding_dim: 4 embedding_name: 'item'
    initializer { random_normal_initializer { stddev: 1 } }
  }
}
model_config {
  model_class: 'NextItemModel'
  feature_groups { group_name: 'history' feature_names: 'items' }
  feature_groups { group_name: 'item' feature_names: 'item_id' }
  %(groups)s
  backbone {
    blocks { name: 'history' inputs { feature_group_name: 'history' } input_layer { output_seq_and_normal_feature: true } }
    %(blocks)s
    blocks { name: 'item' inputs { feature_group_name: 'item' } input_layer {} }
    output_blocks: ['user', 'item']
  }
  next_item { history: 'items' %(options)s }
}
"""


def builder(folder):
    """Returns a function that builds a model over a file of items in a folder."""
    rows = zip(IDS, POPULARITY, CATEGORIES, strict=True)
    lines = ["\t".join(map(str, row)) for row in [("item_id", "popularity", "cate"), *rows]]
    (folder / "items.tsv").write_text("\n".join(lines) + "\n")

    def build(options="", targets="EVERY_STEP", blocks=None, corpus="", groups=""):
        text = CONFIG % {
            "options": f"targets: {targets} {options}",
            "blocks": BLOCKS[targets] if blocks is None else blocks,
            "corpus": corpus,
            "groups": groups,
        }
        return build_model(parse_config(text, str(folder / "my.config"), data_root=str(folder)))

    return build


def features_of(model, histories=HISTORIES, after=AFTER):
    return model.training_transform({"items": tf.constant(histories), "items/next": tf.constant(after)})


def table_of(model):
    (table,) = [w for w in model.weights if tuple(w.shape) == (9, 4)]
    return np.asarray(table, np.float64)


def tokens_of(histories=HISTORIES, after=AFTER):
    """Yields each step's item and the one after it."""
    for cell, last in zip(histories, after, strict=True):
        steps = [int(i) for i in cell.split("|")] if cell else []
        yield from zip(steps, [*steps[1:], int(last)], strict=False)


def log_softmax(scores):
    return scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
