"""Binding: parameters of a config against the constructors of layers."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config.bind import (
    UNREAD,
    Signature,
    bind,
    params_field,
    python_value,
    signature_of,
    static_catalogue,
    struct_value,
    typed_values,
)
from easyssl.config.messages import message_class, option_extension
from easyssl.config.signatures import kind_of
from easyssl.errors import ConfigError


class Sample:
    def __init__(
        self,
        units: int,
        rate: float = 0.5,
        flag: bool = False,
        name_of: str = "a",
        sizes: Sequence[int] = (),
        nested: Mapping[str, Any] | None = None,
        limit: int | None = None,
        mode: Literal["sum", "mean"] = "sum",
        either: Optional[float] = None,  # noqa: UP045
        anything=None,
        **kwargs: Any,
    ):
        pass


SAMPLE = signature_of(Sample)


def error(field: str, text: str) -> ConfigError:
    return ConfigError(f"{field or '.'}|{text}")


def keras_layer(text: str):
    return text_format.Parse(text, message_class("KerasLayer")())


def struct(**values):
    message = keras_layer("st_params {}").st_params
    message.update(values)
    return message


def test_a_struct_takes_the_types_of_the_constructor():
    params = struct(
        units=2.0,
        rate=1,
        flag=True,
        name_of="b",
        sizes=[1, 2],
        nested={"units": 3, "inner": {"rate": 0.5}},
        limit=None,
        mode="mean",
        either=2.0,
        anything=4.0,
    )
    found = bind(SAMPLE, params, error)
    assert found == {
        "units": 2,
        "rate": 1.0,
        "flag": True,
        "name_of": "b",
        "sizes": [1, 2],
        "nested": {"units": 3, "inner": {"rate": 0.5}},
        "limit": None,
        "mode": "mean",
        "either": 2.0,
        "anything": 4,
    }
    assert [type(found[k]) for k in ("units", "rate", "either", "anything")] == [int, float, float, int]
    assert all(type(size) is int for size in found["sizes"])


def test_arguments_come_in_the_order_of_the_constructor():
    found = bind(SAMPLE, struct(mode="mean", nested={"b": 1, "a": 2}, rate=0.1, units=2), error)
    assert list(found) == ["units", "rate", "nested", "mode"]
    assert list(found["nested"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"units": 0.9}, "units", "parameter 'units' of Sample is 0.9, expected an integer"),
        ({"units": "three"}, "units", "is the string 'three', expected an integer"),
        ({"units": True}, "units", "is true, expected an integer"),
        ({"units": [1]}, "units", "is a list, expected an integer"),
        ({"units": {"a": 1}}, "units", "is a message, expected an integer"),
        ({"units": None}, "units", "is null, expected an integer"),
        ({"units": 2.0**53 + 2}, "units", "is 9007199254740994, which a number_value cannot hold exactly"),
        ({"units": float("inf")}, "units", "is inf, expected a finite number"),
        ({"units": 1, "rate": False}, "rate", "is false, expected a number"),
        ({"units": 1, "flag": 2}, "flag", "is 2, expected true or false (bool_value)"),
        ({"units": 1, "flag": "true"}, "flag", "is the string 'true', expected true or false"),
        ({"units": 1, "name_of": 1}, "name_of", "is 1, expected a string"),
        ({"units": 1, "sizes": 3}, "sizes", "is 3, expected a list of items that are each an integer"),
        ({"units": 1, "sizes": [1, 2.5]}, "sizes", "is 2.5, expected an integer"),
        ({"units": 1, "limit": "no"}, "limit", "expected an integer or null"),
        ({"units": 1, "mode": "summ"}, "mode", "is 'summ'; did you mean 'sum'?"),
        ({"units": 1, "ratee": 0.1}, "ratee", "Sample has no parameter 'ratee'; did you mean 'rate'?"),
        ({"units": 1, "name": "n"}, "name", "Sample has no parameter 'name'"),
        ({"units": 1, "self": "n"}, "self", "Sample has no parameter 'self'"),
        ({"rate": 0.1}, ".", "Sample needs the parameter 'units'"),
    ],
)
def test_mismatches_name_the_field_and_what_was_expected(values, field, words):
    with pytest.raises(ConfigError) as found:
        bind(SAMPLE, struct(**values), error)
    place, _, text = str(found.value).partition("|")
    assert place == field
    assert words in text


def test_an_empty_struct_value_is_an_error():
    params = keras_layer("st_params { fields { key: 'units' value {} } }").st_params
    with pytest.raises(ConfigError, match="has no value"):
        bind(SAMPLE, params, error)


def test_no_parameters():
    with pytest.raises(ConfigError, match="needs the parameter 'units'"):
        bind(SAMPLE, None, error)
    assert bind(Signature("Bare", {}), None, error) == {}


def test_without_a_signature_integral_numbers_are_integers():
    found = bind(None, struct(units=4, rate=0.25, shape=[2, 3.5]), error)
    assert found == {"units": 4, "rate": 0.25, "shape": [2, 3.5]}
    assert type(found["units"]) is int


def test_a_typed_message_gives_only_what_is_set():
    message = keras_layer("mlp { hidden_units: [64, 32] dropout_ratio: 0.1 use_bn: false }").mlp
    found = bind(static_catalogue()["MLP"], message, error)
    assert found == {"hidden_units": [64, 32], "dropout_ratio": [0.1], "use_bn": False}


def test_a_field_without_effect_is_not_passed_on():
    message = keras_layer("fm { use_variant: true l2_regularization: 0.5 }").fm
    assert typed_values(message) == {"use_variant": True}


def test_nested_messages_are_dicts():
    blocks = "mask_blocks { output_size: 4 } mask_blocks { reduction_factor: 0.3 }"
    text = f"masknet {{ {blocks} mlp {{ hidden_units: 2 }} }}"
    parameters = {"mask_blocks": list, "mlp": dict}
    signature = signature_of(type("MaskNet", (), {"__init__": lambda self, mask_blocks=None, mlp=None: None}))
    found = bind(signature, keras_layer(text).masknet, error)
    assert found == {
        "mask_blocks": [{"output_size": 4}, {"reduction_factor": 0.3}],
        "mlp": {"hidden_units": [2]},
    }
    assert {name: type(value) for name, value in found.items()} == parameters


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_a_float_field_is_the_shortest_decimal_of_its_32_bits(value):
    import numpy as np

    field = message_class("InputLayer").DESCRIPTOR.fields_by_name["dropout_rate"]
    found = python_value(field, value)
    assert np.float32(found) == np.float32(value)
    assert len(repr(found)) <= len(repr(value))


def test_a_decimal_of_a_config_is_itself():
    message = keras_layer("seq_aug { mask_rate: 0.1 crop_rate: 0.0001 }").seq_aug
    assert bind(static_catalogue()["SeqAugment"], message, error) == {"mask_rate": 0.1, "crop_rate": 0.0001}


@settings(deadline=None)
@given(
    st.recursive(
        st.booleans() | st.text(max_size=5) | st.none() | st.integers(-99, 99), st.lists, max_leaves=9
    )
)
def test_struct_values_come_back(value):
    message = message_class("KerasLayer")().st_params
    message.update({"key": value})
    assert struct_value(message.fields["key"]) == value


@pytest.mark.parametrize(
    ("class_name", "field"),
    [
        ("MLP", "mlp"),
        ("BST", "bst"),
        ("MaskNet", "masknet"),
        ("MaskBlock", "mask_block"),
        ("BiLinear", "bilinear"),
        ("TextCNN", "text_cnn"),
        ("AutoDisEmbedding", "auto_dis_embedding"),
        ("SeqAugment", "seq_aug"),
        ("SeqAugmentOps", "seq_aug"),
        ("TransformerEncoder", "transformer"),
        ("AITMTower", "aitm"),
        ("AuxiliaryLoss", "auxiliary_loss"),
        ("Cross", None),
        ("DotInteraction", None),
        ("Dense", None),
    ],
)
def test_the_typed_message_of_a_class(class_name, field):
    oneof = message_class("KerasLayer").DESCRIPTOR.oneofs_by_name["params"]
    assert params_field(class_name, [f.name for f in oneof.fields]) == field


def test_every_typed_message_fits_its_layer():
    oneof = message_class("KerasLayer").DESCRIPTOR.oneofs_by_name["params"]
    fields = {f.name: f.message_type for f in oneof.fields}
    inactive = (option_extension("no_effect"), option_extension("refused"))
    checked = 0
    for class_name, signature in static_catalogue().items():
        if (field := params_field(class_name, fields)) is not None:
            taken = {
                f.name
                for f in fields[field].fields
                if not any(f.GetOptions().Extensions[option] for option in inactive)
            }
            assert taken - set(UNREAD.get(class_name, ())) <= set(signature.parameters), class_name
            checked += 1
    assert checked >= 4


def test_reading_the_layers_agrees_with_importing_them():
    import easyssl.layers  # noqa: F401
    from easyssl import registry

    live = {
        name: signature_of(cls)
        for name, cls in registry.registered().items()
        if cls.__module__.startswith("easyssl.layers.")
    }
    assert set(live) == set(static_catalogue())
    for name, signature in static_catalogue().items():
        assert dict(signature.parameters) == dict(live[name].parameters), name
        assert signature.reports_loss == live[name].reports_loss, name


def test_the_catalogue_does_not_import_tensorflow():
    program = (
        "import sys; from easyssl.config.bind import static_catalogue; "
        "assert 'MLP' in static_catalogue(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_which_layers_report_losses():
    catalogue = static_catalogue()
    assert catalogue["AuxiliaryLoss"].reports_loss
    assert not catalogue["MLP"].reports_loss


def test_reading_classes_follows_their_bases(tmp_path):
    (tmp_path / "base.py").write_text(
        "class Base(Layer):\n"
        "    def __init__(self, units: int, *, bias: 'bool' = True, **kwargs): ...\n"
        "    def call(self, x):\n"
        "        report_loss(self, 'a', x)\n"
    )
    (tmp_path / "derived.py").write_text(
        "@register('Plain')\nclass A(Base):\n    pass\n"
        "@easyssl.register('More')\nclass B(Base):\n    def __init__(self, extra=None, **kwargs): ...\n"
        "@register('Closed')\nclass C(Base):\n    def __init__(self, only: float): ...\n"
        "class D(Base):\n    pass\n"
    )
    found = static_catalogue(tmp_path)
    assert {name: list(signature.parameters) for name, signature in found.items()} == {
        "Plain": ["units", "bias"],
        "More": ["extra", "units", "bias"],
        "Closed": ["only"],
    }
    assert found["Plain"].parameters["units"].required
    assert found["Plain"].parameters["bias"].kind == kind_of("bool")
    assert found["Plain"].reports_loss


@pytest.mark.parametrize(
    ("annotation", "names"),
    [
        ("int", {"int"}),
        ("int | None", {"int", "none"}),
        ("Optional[str]", {"str", "none"}),
        ("Union[int, list[float]]", {"int", "list"}),
        ("tuple[int, ...]", {"list"}),
        ("collections.abc.Sequence[str]", {"list"}),
        ("Mapping[str, Any]", {"dict"}),
        ("Literal['a', 'b']", {"str"}),
        ("'bool'", {"bool"}),
        ("Any", set()),
        ("int | Any", set()),
        ("keras.Layer", set()),
        ("not python", set()),
    ],
)
def test_kinds_of_annotations(annotation, names):
    assert set(kind_of(annotation).names) == names


def test_kinds_of_defaults():
    assert set(kind_of(None, True).names) == {"bool"}
    assert set(kind_of(None, 1).names) == {"int"}
    assert set(kind_of(None, None).names) == set()
