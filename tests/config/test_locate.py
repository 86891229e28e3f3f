import pytest

from easyssl.config.locate import MAX_DEPTH, TooDeepError, locate, token_at
from easyssl.config.messages import PipelineConfig
from easyssl.config.places import Place, Places, is_inside, parent_path


def place_of(text, path):
    place = locate(text, PipelineConfig.DESCRIPTOR).known[path]
    return place.line, place.column


def test_nested_messages_and_lists_count_from_zero():
    text = """model_config {
  backbone {
    blocks { name: 'a' inputs { block_name: 'x' } }
    blocks {
      name: "b"
      inputs { block_name: 'y' }
      inputs {
        package_name: 'z'
      }
    }
  }
}
"""
    assert place_of(text, "model_config") == (1, 1)
    assert place_of(text, "model_config.backbone") == (2, 3)
    assert place_of(text, "model_config.backbone.blocks") == (3, 5)
    assert place_of(text, "model_config.backbone.blocks[0].name") == (3, 14)
    assert place_of(text, "model_config.backbone.blocks[0].inputs[0].block_name") == (3, 33)
    assert place_of(text, "model_config.backbone.blocks[1]") == (4, 5)
    assert place_of(text, "model_config.backbone.blocks[1].inputs[1].package_name") == (8, 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train_config { num_steps: 3 }", (1, 16)),
        ("train_config: { num_steps: 3 }", (1, 17)),
        ("train_config < num_steps: 3 >", (1, 16)),
        ("train_config: < num_steps :3; >", (1, 17)),
        ("train_config{num_steps:3,}", (1, 14)),
        ("# train_config { num_steps: 1 }\ntrain_config { num_steps: 3 }", (2, 16)),
        ("model_dir: 'num_steps: 1 {' train_config { num_steps: 3 }", (1, 44)),
        ('model_dir: "a\\"{" train_config { num_steps: 3 }', (1, 34)),
        ("model_dir: 'a' \"b\"\n 'c' train_config { num_steps: 3 }", (2, 21)),
        ("train_config { # }\n\tnum_steps: 3 }", (2, 2)),
        ("train_config {\r\n num_steps: 3\r\n}", (2, 2)),
        ("train_config { dead_line: 'é' num_steps: 3 }", (1, 31)),
    ],
)
def test_ways_to_write_a_message(text, expected):
    assert place_of(text, "train_config.num_steps") == expected


def test_lists_in_brackets_and_as_repeated_lines_continue_each_other():
    text = "data_config { label_dim: 1 label_dim: [2, 3] label_dim: 4 label_sep: ['a' 'b', 'c'] }"
    columns = [place_of(text, f"data_config.label_dim[{i}]")[1] for i in range(4)]
    assert [text[column - 1 :][:9] for column in columns] == [
        "label_dim",
        "2, 3] lab",
        "3] label_",
        "label_dim",
    ]
    assert text[place_of(text, "data_config.label_sep[1]")[1] - 1 :].startswith("'c'")
    assert "data_config.label_sep[2]" not in locate(text, PipelineConfig.DESCRIPTOR).known


def test_lists_of_messages_in_brackets():
    text = "feature_config { features: [{ input_names: 'a' }, < input_names: ['b'] embedding_dim: 4 >] }"
    assert text[place_of(text, "feature_config.features[1]")[1] - 1] == "<"
    assert text[place_of(text, "feature_config.features[1].input_names[0]")[1] - 1 :].startswith("'b'")
    assert text[place_of(text, "feature_config.features[1].embedding_dim")[1] - 1 :].startswith(
        "embedding_dim"
    )


def test_merged_messages_continue_and_the_last_scalar_counts():
    text = (
        "data_config { label_fields: 'a' batch_size: 1 }\ndata_config {\n label_fields: 'b' batch_size: 2 }"
    )
    assert place_of(text, "data_config") == (1, 1)
    assert place_of(text, "data_config.label_fields[1]") == (3, 2)
    assert place_of(text, "data_config.batch_size") == (3, 20)


def test_a_replaced_oneof_member_is_forgotten():
    text = """model_config { backbone { blocks {
        keras_layer { class_name: 'A' mlp { hidden_units: [1, 2] } }
        input_layer { do_batch_norm: true }
        keras_layer { mlp { hidden_units: 3 } }
    } } }"""
    known = locate(text, PipelineConfig.DESCRIPTOR).known
    base = "model_config.backbone.blocks[0]"
    assert f"{base}.input_layer" not in known
    assert f"{base}.keras_layer.class_name" not in known
    assert known[f"{base}.keras_layer.mlp.hidden_units[0]"].line == 4


def test_entries_of_a_struct_are_found_by_key():
    text = """model_config { backbone { blocks { keras_layer { st_params {
      fields { key: 'loss' value { string_value: 'nce' } }
      fields {
        key: "outer" value { struct_value { fields { key: 'inner' value: { number_value: 1 } } } }
      }
    } } } } }"""
    base = "model_config.backbone.blocks[0].keras_layer.st_params"
    assert place_of(text, f"{base}.loss") == (2, 7)
    assert place_of(text, f"{base}.outer") == (3, 7)
    assert place_of(text, f"{base}.outer.inner") == (4, 45)


def test_depth_is_bounded_without_recursion():
    deepest = "model_config {" + "nothing {" * (MAX_DEPTH - 2)
    locate(deepest, PipelineConfig.DESCRIPTOR)
    with pytest.raises(TooDeepError) as caught:
        locate(deepest + "x {" * 100_000, PipelineConfig.DESCRIPTOR)
    assert caught.value.place == Place(1, len(deepest) + 1)


@pytest.mark.parametrize(
    "text", ["", "}", "]", "{", "[", "a", "a:", "a: [", "'", "a: '", "a { ]", "a [ } ]", ":", "\0"]
)
def test_broken_text_is_left_to_the_parser(text):
    assert isinstance(locate(text, PipelineConfig.DESCRIPTOR), Places)


def test_token_at():
    assert token_at("a: 'b c'", Place(1, 4)) == "'b c'"
    assert token_at("a:\n  {", Place(2, 3)) == "{"
    assert token_at("a", Place(1, 2)) == "the end of the line"
    assert token_at("\x01", Place(1, 1)) == r"'\x01'"
    assert len(token_at("a" * 100, Place(1, 1))) == 43


def test_places_fall_back_to_what_encloses():
    places = Places()
    places.set("a.b[2]", Place(3, 1))
    places.set("a.b[2].c", "--set x")
    assert places.find("a.b[2].c.d[0].e") == "--set x"
    assert places.find("a.b[2].d") == Place(3, 1)
    assert places.find("a.b[20]") is None
    places.forget("a.b")
    assert places.known == {}


def test_paths():
    assert [parent_path(p) for p in ("a.b[2].c", "a.b[2]", "a.b", "a")] == ["a.b[2]", "a.b", "a", ""]
    assert (
        is_inside("a.b", "a") and is_inside("a[1]", "a") and is_inside("a", "a") and not is_inside("ab", "a")
    )
