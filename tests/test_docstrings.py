"""Reading docstrings out of source text."""

import doctest

import easyssl.docstrings
from easyssl.docstrings import ParameterDoc, layer_docs, parse_docstring

SOURCE = '''
from easyssl.registry import register


class Base(keras.layers.Layer):
    """Scales.

    Args:
        factor: By how much. Defaults to 2.0.
        **kwargs: Keras layer arguments.

    Raises:
        ValueError: If it is 0.
        TypeError: If it is
            no number.

    References:
        Nobody, "Nothing".
    """

    def __init__(self, factor: float = 2.0, **kwargs):
        super().__init__(**kwargs)

    def call(self, inputs, training=None):
        """Scales.

        Args:
            inputs: Numbers of
                any shape.

        Returns:
            As many.
        """


@register("Short")
@register("Scaled")
class Scaled(Base):
    """Scales and
    shifts.

    First paragraph,
    two lines.

    Second.

    Args:
        sizes: Widths.
        kind: "a", or "b". Defaults to "a", which is plain.
        mode: What happens. Defaults to "one, two".

    Example:
        >>> Scaled([1])
        Scaled
    """

    def __init__(self, sizes: list[int], kind: Literal["a", "b"] = "a", mode: str = "one, two", **kwargs):
        super().__init__(**kwargs)


class Third(Base):
    """Scales by three.

    Args:
        factor: Three.
    """


class Hidden(Base):
    """Not exported."""
'''


def test_a_layer_is_told_with_what_it_takes_over_from_its_base(tmp_path):
    (tmp_path / "scaled.py").write_text(SOURCE)
    (tmp_path / "__init__.py").write_text('__all__ = ["Scaled", "Third", "Base"]\n')
    docs = layer_docs(tmp_path)
    assert list(docs) == ["Base", "Scaled", "Third"]
    base, scaled = docs["Base"], docs["Scaled"]
    assert base.names == () and scaled.names == ("Scaled", "Short")
    assert scaled.doc.summary == "Scales and shifts."
    assert scaled.doc.description == "First paragraph,\ntwo lines.\n\nSecond."
    assert scaled.parameters == (
        ParameterDoc("sizes", "list[int]", None, "Widths."),
        ParameterDoc("kind", "'a' | 'b'", "'a'", '"a", or "b". Defaults to "a", which is plain.'),
        ParameterDoc("mode", "str", "'one, two'", "What happens."),
        ParameterDoc("factor", "float", "2.0", "By how much."),
    )
    assert docs["Third"].parameters == (ParameterDoc("factor", "float", "2.0", "Three."),)
    assert (scaled.inputs, scaled.outputs) == ("Numbers of any shape.", "As many.")
    assert scaled.doc.raises == {"ValueError": "If it is 0.", "TypeError": "If it is no number."}
    assert scaled.doc.example == ">>> Scaled([1])\nScaled" and base.doc.example == ""
    assert scaled.doc.references == 'Nobody, "Nothing".'


def test_no_docstring():
    assert parse_docstring(None).summary == parse_docstring("").description == ""


def test_examples_run():
    assert doctest.testmod(easyssl.docstrings).failed == 0


def test_every_layer_tells_all_that_the_page_shows():
    for layer in layer_docs().values():
        assert layer.doc.summary and layer.doc.example, layer.class_name
        assert all(parameter.text and parameter.type for parameter in layer.parameters), layer.class_name
        if layer.names:
            assert layer.inputs and layer.outputs, layer.class_name
