"""A small run for the tests of training: rows with a signal, a config with every kind of state."""

import numpy as np
import pytest

TINY = """
train_input_path: 'train.csv'
eval_input_path: 'eval.csv'
train_config {
  optimizer_config {
    adam_optimizer {
      learning_rate {
        exponential_decay_learning_rate {
          initial_learning_rate: 0.01 decay_steps: 20 decay_factor: 0.9 min_learning_rate: 0.0001
        }
      }
    }
  }
  num_steps: 40
  save_checkpoints_steps: 10
  log_step_count_steps: 5
  keep_checkpoint_max: 3
}
eval_config { metrics_set { auc {} } }
data_config {
  batch_size: 32
  label_fields: 'clk'
  shuffle: true
  shuffle_buffer_size: 100
  prefetch_size: 4
  input_type: CSVInput
  input_fields { input_name: 'clk' input_type: INT32 }
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'item' input_type: STRING }
  input_fields { input_name: 'price' input_type: DOUBLE }
  input_fields { input_name: 'hist' input_type: STRING }
}
feature_config {
  features { input_names: 'user' feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 50 }
  features {
    input_names: 'item' feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 60 embedding_name: 'item'
  }
  features { input_names: 'price' feature_type: RawFeature }
  features {
    input_names: 'hist' feature_type: SequenceFeature separator: '|' embedding_dim: 4 hash_bucket_size: 60
    embedding_name: 'item' max_seq_len: 8
  }
}
model_config {
  model_class: 'RankModel'
  feature_groups {
    group_name: 'all' feature_names: 'user' feature_names: 'item' feature_names: 'price' wide_deep: DEEP
  }
  feature_groups { group_name: 'history' feature_names: 'hist' wide_deep: DEEP }
  backbone {
    packages {
      name: 'view'
      blocks {
        name: 'sequence' inputs { feature_group_name: 'history' }
        input_layer { output_seq_and_normal_feature: true }
      }
      blocks {
        name: 'augment' inputs { block_name: 'sequence' }
        keras_layer { class_name: 'SeqAugment' seq_aug { crop_rate: 0.6 } }
      }
      blocks {
        name: 'encoder' inputs { block_name: 'augment' }
        keras_layer {
          class_name: 'BST'
          bst {
            hidden_size: 4 num_hidden_layers: 1 num_attention_heads: 2 intermediate_size: 8
            max_position_embeddings: 16 output_all_token_embeddings: false
          }
        }
      }
    }
    blocks {
      name: 'contrast'
      inputs { package_name: 'view' }
      inputs { package_name: 'view' }
      merge_inputs_into_list: true
      keras_layer {
        class_name: 'AuxiliaryLoss'
        auxiliary_loss { loss_type: 'info_nce' loss_weight: 0.1 temperature: 0.5 }
      }
    }
    blocks {
      name: 'tower' inputs { feature_group_name: 'all' }
      keras_layer {
        class_name: 'MLP'
        mlp { hidden_units: 8 hidden_units: 4 dropout_ratio: 0.2 use_bn: true }
      }
    }
    concat_blocks: 'tower'
  }
  model_params { l2_regularization: 0.0001 }
  embedding_regularization: 0.0001
}
"""

# Without the contrastive part: builds in a fraction of the time.
SMALL = TINY[: TINY.index("    packages {")] + TINY[TINY.index("    blocks {\n      name: 'tower'") :]


def write_rows(path, number, seed):
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(number):
        user, item = rng.integers(0, 30), rng.integers(0, 40)
        price = rng.uniform(0, 5)
        history = "|".join(f"i{i}" for i in rng.integers(0, 40, rng.integers(1, 8)))
        click = int(rng.uniform() < 0.1 + 0.8 * ((user + item) % 2))
        lines.append(f"{click},u{user},i{item},{price:.3f},{history}\n")
    path.write_text("".join(lines))


class Case:
    """A folder with data, and configs that read it."""

    tiny, small = TINY, SMALL

    def __init__(self, folder):
        self.folder = folder
        self.run = folder / "run"
        write_rows(folder / "train.csv", 500, seed=1)
        write_rows(folder / "eval.csv", 200, seed=2)

    def config(self, *overrides, text=SMALL, run="run"):
        from easyssl.config import load_config

        (self.folder / "case.config").write_text(text)
        model_dir = f"model_dir={self.folder / run}"
        return load_config(self.folder / "case.config", overrides=[model_dir, *overrides])


@pytest.fixture
def case(tmp_path):
    """A fresh `Case`."""
    return Case(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A `Case` whose config was trained to its end, undisturbed."""
    from easyssl.training import train

    case = Case(tmp_path_factory.mktemp("whole"))
    case.result = train(case.config())
    return case
