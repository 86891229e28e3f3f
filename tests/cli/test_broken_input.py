"""Whatever is broken is told in exactly one line that says where, what was found and what would be right.

Each case starts from a project that works (see conftest) and breaks one thing.
"""

import gzip
import re

import pytest

HEAD = r"^[^\n]*my\.config:\d+:\d+: "
KERAS_LAYER = 'keras_layer { class_name: "MLP" mlp { hidden_units: [8, 4] } }'
DENSE = (
    'keras_layer { class_name: "Dense" st_params { fields { key: "KEY" value { number_value: VALUE } } } }'
)

# What a text of the config becomes, and what the line says. These need no TensorFlow.
PLANNED = [
    ('"MLP"', '"MPL"', r"keras_layer\.class_name: no layer is called 'MPL'; did you mean 'MLP'\?"),
    (
        KERAS_LAYER,
        'keras_layer { class_name: "Lambda" }',
        "no layer is called 'Lambda'; valid are 'A",
    ),
    (
        "hidden_units: [8, 4]",
        "hidden_unit: 8",
        "MLP has no field 'hidden_unit'; did you mean 'hidden_units'?",
    ),
    (
        "hidden_units: [8, 4]",
        "hidden_units: [8, 0.5]",
        r"hidden_units\[1\]: expected an integer .* found 0\.5",
    ),
    ("hidden_units: [8, 4]", "", "MLP needs the parameter 'hidden_units'"),
    ("hidden_units: [8, 4]", 'hidden_units: "8"', r'expected an integer .*found "8"'),
    (
        'feature_group_name: "flat"',
        'feature_group_name: "fat"',
        "no feature group 'fat'; did you mean 'flat'?",
    ),
    ('block_name: "seq"', 'block_name: "sec"', "there is no block 'sec'; did you mean 'seq'?"),
    ('block_name: "seq"', 'block_name: "attended"', "blocks form a cycle: attended -> attended"),
    ('"deep", "attended"', '"deep", "atended"', "there is no block 'atended'; did you mean 'attended'?"),
    ('name: "attended"', 'name: "deep"', "there already is a block 'deep'"),
    ('name: "deep"\n', 'name: "deep/er"\n', "the name 'deep/er' must not have a '/'"),
    ("reduce_sum(x", "reduce_sumx(x", "'tf.reduce_sumx' is not a function .* did you mean 'tf.reduce_sum'?"),
    (
        "tf.reduce_sum(x, axis=1)",
        "__import__('os')",
        "'__import__' is not a function of the expression language",
    ),
    ("x, axis=1)", "x, axis=1", r"not a valid expression: '\(' was never closed, at column"),
    ("x, axis=1)", "y, axis=1)", "unknown name 'y'; valid are 'x'"),
    ('input_slice: "[0]"', 'input_slice: "[y]"', "input_slice: unknown name 'y'; valid are 'x', at column 2"),
    ('inputs { feature_group_name: "flat" }\n', "", "block 'deep' needs at least one of inputs"),
    ('feature_names: "age"', 'feature_names: "agee"', "no feature is called 'agee'; did you mean 'age'?"),
    ('feature_names: "hist"', "", "feature group 'seq' has no feature_names"),
    ('input_names: "age"', 'input_names: "ages"', "no column 'ages' .* did you mean 'age'?"),
    ("hash_bucket_size: 100", "", "'user_id' of group 'flat' needs one of hash_bucket_size, vocab_list"),
    ("embedding_dim: 4 num_buckets", "num_buckets", "group 'flat' embeds 'age': set embedding_dim above 0"),
    ("IdFeature embedding_dim: 4 num", "IdFeatur embedding_dim: 4 num", "did you mean 'IdFeature'?"),
    ("embedding_dim: 4 num_b", "embedding_dim: -4 num_b", "expected an integer from 0 to .*, found -4"),
    (
        "metrics_set { auc {} }",
        "metrics_set { acu {} }",
        "EvalMetrics has no field 'acu'; did you mean 'auc'?",
    ),
    ("auc {}", 'gauc { uid_field: "uid" }', "'uid' is neither a feature nor .* did you mean 'user_id'?"),
    ("auc {}", "recall_at_topk {}", "recall_at_topk needs MatchModel, or RankModel with num_class above 1"),
    ("num_steps: 4", "num_stepz: 4", "TrainConfig has no field 'num_stepz'; did you mean 'num_steps'?"),
    ("num_steps: 4", 'num_steps: "4"', 'train_config.num_steps: expected an integer .* found "4"'),
    ("adam_optimizer", "adm_optimizer", "Optimizer has no field 'adm_optimizer'; did you mean 'adam_opti"),
    ("learning_rate: 0.01", "learning_rate: 1e", "expected a number, found 1e"),
    ("l2_regularization: 1e-5 }\n}", "l2_regularization: 1e-5 }", "has no field 'model_dir'|closing"),
    ("model_params", "loss_type: L3 model_params", "'L3' is not a LossType; valid are"),
    ("model_params", "loss_type: CIRCLE_LOSS model_params", "not supported: CIRCLE_LOSS: it is of"),
    (
        "eval_config",
        'export_config { exporter_type: "bets" } eval_config',
        "there is no exporter 'bets'; did you mean 'best'?",
    ),
    ('model_dir: "', 'model_dirs: "', "has no field 'model_dirs'; did you mean 'model_dir'?"),
    ("input_type: CSVInput\n", "\n", "input_type is missing; use CSVInput, TFRecordInput or ParquetInput"),
    ("CSVInput\n", "CSVInputs\n", "'CSVInputs' is not .* did you mean 'CSVInput'?"),
    ("CSVInput\n", "OdpsInput\n", "not supported: OdpsInput: export the rows to CSV, TFRecord or Parquet"),
    ('separator: ","', 'separator: "ab"', "found 'ab', expected one ASCII character"),
    ('input_name: "user_id"', 'input_name: "clk"', "column 'clk' is declared twice"),
    ('default_val: "3"', 'default_val: "x"', "default value of column 'age' holds 'x', expected INT32"),
    ('label_fields: "clk"', 'label_fields: "click"', "'click' is not an input field; did you mean 'clk'?"),
    (
        'label_fields: "clk"',
        'label_fields: "clk" label_dim: 2',
        "label_dim is 2: 'clk' has to be a STRING column",
    ),
    ("batch_size: 8", "batch_size: 0", "batch_size: found 0, expected at least 1"),
    ("batch_size: 8", "batch_size: 8 shuffle_buffer_size: -1", "size: found -1, expected at least 0"),
    ("batch_size: 8", "batch_size: 8 malformed_rows: SKIP", "needs data_config.max_malformed_rows"),
    ('"train.csv"', '"../train.csv"', r"leaves the folder .*; give an absolute name or another --data-root"),
    (
        '"train.csv"',
        '"s3://bucket/train.csv"',
        "is not on this machine; copy the files and give a local name",
    ),
]

# These are found while the layers are built.
BUILT = [
    (
        'label_fields: "clk"',
        'label_fields: "user_id" label_dim: 2',
        r"label_dim\[0\]: is 2; a RankModel compares one value a row with its label 'user_id'",
    ),
    ("hidden_units: [8, 4]", "hidden_units: [8, 0]", "MLP"),
    (
        "hidden_units: [8, 4]",
        "hidden_units: [8, 4] dropout_ratio: 1.5",
        r"`dropout_ratio` must be in \[0, 1\)",
    ),
    ("hidden_units: [8, 4]", 'hidden_units: [8, 4] activation: "relux"', "relux.*did you mean"),
    (KERAS_LAYER, DENSE.replace("KEY", "unit").replace("VALUE", "4"), "'unit'; did you mean 'units'?"),
    ('"RankModel"', '"RankModle"', "no model is called 'RankModle'; did you mean 'RankModel'?"),
    ('"RankModel"', '"MultiTaskModel"', "a MultiTaskModel needs model_params.task_towers"),
    (
        '"RankModel"',
        '"MatchModel"',
        "MatchModel needs the vectors of both towers; list their blocks in output_blocks",
    ),
    ('"deep", "attended"', '"deep", "seq"', r"'seq' has several outputs .*; select one with input_slice"),
    ("axis=1)", "axis=7)", "attended"),
    ("  num_steps: 4\n", "", "train_config: neither num_steps nor data_config.num_epochs is set"),
]


def edit(path, old, new):
    text = path.read_text()
    assert old in text, f"the case is out of date: '{old}' is not in the config"
    path.write_text(text.replace(old, new, 1))


def assert_one_line(result, pattern):
    code, _, err = result
    assert code == 2, err
    assert err.count("\n") == 1 and err.endswith("\n"), err
    assert re.search(pattern.replace("?", r"\?") if pattern.endswith("?") else pattern, err), err


@pytest.mark.parametrize(("old", "new", "pattern"), PLANNED, ids=lambda v: None)
def test_config(easyssl, project, old, new, pattern):
    edit(project / "my.config", old, new)
    result = easyssl("check", project / "my.config", "--plan-only")
    assert_one_line(result, pattern)
    assert re.match(HEAD, result[2]), result[2]


@pytest.mark.parametrize(("old", "new", "pattern"), BUILT, ids=lambda v: None)
def test_config_of_layers(easyssl, project, old, new, pattern):
    edit(project / "my.config", old, new)
    result = easyssl("check", project / "my.config")
    assert_one_line(result, pattern)
    assert re.match(HEAD, result[2]), result[2]


COMMAND_LINES = [
    ([], "easyssl: a command is missing: check, convert, train,"),
    (["trian", "my.config"], "easyssl: there is no command 'trian'; did you mean 'train'?"),
    (
        ["--config", "my.config"],
        "easyssl: expected a command before '--config'; the commands are check, convert, train",
    ),
    (["train"], "easyssl train: the following arguments are required: CONFIG; see 'easyssl train --help'"),
    (["train", "my.config", "--frsh"], "easyssl train: there is no flag --frsh; did you mean '--fresh'?"),
    (["check", "my.config", "more"], "easyssl check: 'more' is one argument too many"),
    (["check", "my.config", "--set"], "easyssl check: argument --set: expected one argument"),
    (["check", "gone.config"], "gone.config: cannot be read: No such file or directory"),
    (["check", "."], r"\.: cannot be read: Is a directory"),
    (["check", "train.csv"], "train.csv:1:"),
    (["check", ""], "the name of the config is empty; expected a file such as my.config"),
    (["check", "empty.config"], "empty.config:1:1: "),
    (["check", "binary.config"], "binary.config:1:1: not UTF-8 text"),
    (["check", "my.config", "--set", "train_config.num_step=3"], "num_step.*did you mean 'num_steps'?"),
    (["check", "my.config", "--set", "train_config.num_steps"], "train_config.num_steps"),
    (["check", "my.config", "--set", "train_config.num_steps=many"], "num_steps.*expected an integer.*many"),
    (["check", "my.config", "--plot", "graph.png"], "--plot graph.png: .* ends in one of .svg, .dot, .mmd"),
    (["check", "my.config", "--plugin", "gone.py"], "--plugin gone.py: no such file; expected a Python file"),
    (
        ["train", "my.config", "--data-root", "gone"],
        "my.config:1:1: .*no file matches 'train.csv': there is no folder",
    ),
    (
        ["train", "my.config", "--set", "train_input_path=trian.csv"],
        "no file matches 'trian.csv'.*'train.csv'?",
    ),
    (["evaluate", "my.config"], "model: there is no checkpoint; train first"),
    (["evaluate", "my.config", "--checkpoint", "gone"], "gone: there is no checkpoint"),
    (
        ["evaluate", "my.config", "--input", "evil.csv"],
        "no file matches 'evil.csv'.*did you mean 'eval.csv'?",
    ),
    (
        ["predict", "my.config", "--input", "eval.csv"],
        "arguments are required: --output; see 'easyssl predict",
    ),
    (["predict", "my.config", "--input", "eval.csv", "--output", "o.txt"], "ends in one of .csv, .parquet"),
    (["predict", "my.config", "--input", "eval.csv", "--output", "eval.csv"], "is one of the files to read"),
    (["data", "generate", "toabao", "--out", "x"], "no data set 'toabao'; did you mean 'taobao'?"),
    (["data", "make", "taobao", "--out", "x"], "easyssl data: .* no action 'make'"),
    (["data", "generate", "taobao", "--out", "x", "--rows", "0"], "at least 1, found '0'"),
    (
        ["data", "generate", "avazu", "--out", "x", "--history-weight", "2"],
        "--history-weight goes with taobao",
    ),
    (["data", "generate", "taobao", "--out", "x", "--rows-per-user", "0"], "rows-per-user: .* found '0'"),
    (["data", "ml1m", "--out", "x"], "there is no action 'ml1m'; did you mean 'ml-1m'?"),
    (["data", "ml-1m", "--out", "x"], "easyssl data ml-1m: the following arguments are required: --source"),
    (["data", "ml-1m", "--source", "gone", "--out", "x"], "gone.*users.dat"),
    (["data", "sequences", "--source", "gone.txt", "--out", "x"], "gone.txt: cannot be read: No such file"),
    (["data", "generate", "taobao", "--out", "x", "--history", "5"], "generate: there is no flag --history"),
    (["data", "generate", "taobao"], "easyssl data generate: the following arguments are required: --out"),
    (["data", "--out", "x", "generate", "taobao"], "easyssl data: "),
    (["export", "my.config"], "model: there is no checkpoint; train first"),
]


@pytest.mark.parametrize(("words", "pattern"), COMMAND_LINES, ids=lambda v: None)
def test_command_line(easyssl, project, monkeypatch, words, pattern):
    monkeypatch.chdir(project)
    (project / "empty.config").write_text("")
    (project / "binary.config").write_bytes(b"\xff\xfe\x00")
    assert_one_line(easyssl(*words), pattern)


GOOD_LINE = "1,u1,3,0.5,i1|i2\n"

# The content of a data file, the place in it and what the line says.
ROWS = [
    ("1,u1,3,0.5\n", ":2: ", "column"),
    ("1,u1,3,0.5,i1,more\n", ":2: ", "column"),
    ("1,u1,three,0.5,i1\n", ":2: ", "three"),
    ("1,u1,3,nan,i1\n", ":2: ", "price"),
    ('1,u"1,3,0.5,i1\n', ":2: ", "quote"),
    ("\n", ":2: ", "empty"),
    ("1,u1,99999999999,0.5,i1\n", ":2: ", "99999999999"),
]


@pytest.mark.parametrize(("line", "place", "pattern"), ROWS, ids=lambda v: None)
def test_row(easyssl, trained, line, place, pattern):
    data = trained / "bad.csv"
    data.write_text(GOOD_LINE + line + GOOD_LINE)
    result = easyssl("predict", trained / "my.config", "--input", data, "--output", trained / "out.csv")
    assert_one_line_but_for_checkpoint(result, re.escape(f"{data}{place}") + f".*{pattern}")
    assert not (trained / "out.csv").exists()


def test_truncated_gzip(easyssl, trained):
    data = trained / "bad.csv.gz"
    data.write_bytes(gzip.compress((GOOD_LINE * 50).encode())[:-9])
    result = easyssl("evaluate", trained / "my.config", "--input", data)
    assert_one_line_but_for_checkpoint(result, re.escape(str(data)))


def assert_one_line_but_for_checkpoint(result, pattern):
    code, out, err = result
    lines = [line for line in err.splitlines() if not line.startswith("using ")]
    assert_one_line((code, out, "\n".join(lines) + "\n"), pattern)
