"""Tables and drawings of a plan."""

import re
from xml.etree import ElementTree

import pytest

from easyssl.backbone.figure import figure
from easyssl.backbone.plan import build_plan
from easyssl.backbone.render import graph, table
from easyssl.config import parse_config
from easyssl.data.features.spec import build_feature_specs
from easyssl.errors import UsageError

CONFIG = """
data_config {
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'item' input_type: STRING }
  input_fields { input_name: 'history' input_type: STRING }
}
feature_config {
  features { input_names: 'user' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'item' hash_bucket_size: 10 embedding_dim: 8 }
  features { input_names: 'history' feature_type: SequenceFeature hash_bucket_size: 10 embedding_dim: 8 }
}
model_config {
  feature_groups { group_name: 'all' feature_names: ['user', 'item'] wide_deep: DEEP }
  feature_groups { group_name: 'sequence' feature_names: ['item', 'history'] wide_deep: DEEP }
  backbone {
    packages {
      name: 'augment'
      blocks { name: 'seq' inputs { feature_group_name: 'sequence' }
               input_layer { output_seq_and_normal_feature: true } }
      blocks { name: 'views' inputs { block_name: 'seq' } keras_layer { class_name: 'SeqAugment' seq_aug {} } }
    }
    packages {
      name: 'encoder'
      blocks { name: 'encode' inputs { use_package_input: true }
               keras_layer { class_name: 'BST' bst { hidden_size: 8 num_hidden_layers: 1 num_attention_heads: 2
                                                      intermediate_size: 16 output_all_token_embeddings: false } } }
    }
    blocks { name: 'sequence' inputs { feature_group_name: 'sequence' }
             input_layer { output_seq_and_normal_feature: true } }
    blocks { name: 'a < b & "c"' inputs { feature_group_name: 'all' input_slice: '[:, :8]' }
             keras_layer { class_name: 'MLP' mlp { hidden_units: [8] dropout_ratio: 0.1 } } }
    blocks { name: 'main' inputs { package_name: 'encoder' package_input: 'sequence' }
             inputs { block_name: 'a < b & "c"' input_fn: 'lambda x: x * 2' } }
    blocks { name: 'contrast' merge_inputs_into_list: true
             inputs { package_name: 'encoder' package_input: 'augment' }
             inputs { package_name: 'encoder' package_input: 'augment' }
             keras_layer { class_name: 'AuxiliaryLoss' auxiliary_loss { loss_type: 'nce_loss' } } }
    concat_blocks: 'main'
    top_mlp { hidden_units: 4 }
  }
}
"""


@pytest.fixture(scope="module")
def plan():
    config = parse_config(CONFIG)
    return build_plan(config, build_feature_specs(config))


def cells(text, title):
    """Returns the columns of one graph's table, by the header's underline."""
    section = next(part for part in text.split("\n\n") if part.startswith(title + "\n"))
    lines = section.strip().split("\n")[1:-1]
    spans = [match.span() for match in re.finditer("-+", lines[1])]
    return [[line[a:b].strip() for a, b in spans] for line in lines]


def test_the_table_has_a_row_for_each_block(plan):
    rows = cells(table(plan), "backbone")
    assert rows[0] == ["block", "reads", "does"]
    assert [row[0] for row in rows[2:] if row[0]] == [*(b.name for b in plan.main.blocks), "top_mlp"]
    assert ['a < b & "c"', "all[:, :8]", "MLP(hidden_units=[8], dropout_ratio=[0.1])"] in rows
    assert ["main", "encoder(sequence)", "identity"] in rows
    assert ["", 'a < b & "c" -> x * 2', ""] in rows
    assert ["contrast", "[encoder(augment())", "AuxiliaryLoss(loss_type='nce_loss')"] in rows
    assert ["", "encoder(augment())]", ""] in rows
    assert ["views", "seq", "SeqAugment"] in cells(table(plan), "package augment")
    assert ["encode", "package input", "BST(hidden_size=8, num_hidden_layers=1,"] in cells(
        table(plan), "package encoder"
    )


def test_the_table_names_the_outputs(plan):
    assert [line for line in table(plan).split("\n") if line.startswith("output")] == [
        "output: top_mlp",
        "output: views",
        "output: encode",
    ]


def test_shapes_and_parameters_are_columns(plan):
    shapes = {"main": "[batch, 16]", "augment/views": "(2 parts)"}
    text = table(plan, shapes, {"encoder/encode": 12345, "backbone_top_mlp": 68})
    rows = cells(text, "backbone")
    assert rows[0] == ["block", "reads", "does", "output", "parameters"]
    assert ["main", "encoder(sequence)", "identity", "[batch, 16]", ""] in rows
    assert ["top_mlp", "main", "MLP(hidden_units=[4])", "", "68"] in rows
    assert ["views", "seq", "SeqAugment", "(2 parts)", ""] in cells(text, "package augment")
    numbers = [line for line in text.split("\n") if line.endswith(("12,345", " 68", "parameters"))]
    assert len(numbers) == 5
    assert not any(line != line.rstrip() for line in text.split("\n"))


def test_svg_is_well_formed_and_shows_every_block(plan):
    root = ElementTree.fromstring(graph(plan, ".svg"))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    for part in plan.graphs:
        for block in part.blocks:
            assert block.name in texts
    assert {"backbone", "package augment", "package encoder", "x * 2", "[:, :8]"} <= set(texts)
    assert texts.count("augment()") == 2
    assert texts.count("encoder()") == 3
    assert texts.count("output") == 3


def test_what_a_package_reads_of_the_main_graph_leads_to_each_call():
    text = CONFIG.replace("inputs { block_name: 'seq' }", "inputs { block_name: 'sequence' }")
    config = parse_config(text)
    main, augment, _ = figure(build_plan(config, build_feature_specs(config)))
    titles = [box.title for box in main.boxes]
    sequence = titles.index("sequence")
    calls = [index for index, title in enumerate(titles) if title == "augment()"]
    assert len(calls) == 2
    assert {(a.source, a.target) for a in main.arrows} >= {(sequence, call) for call in calls}
    assert ("sequence", "of the main graph") in {(box.title, box.subtitle) for box in augment.boxes}


def test_svg_stays_inside_its_page(plan):
    root = ElementTree.fromstring(graph(plan, "svg"))
    width, height = float(root.get("width")), float(root.get("height"))
    for panel in root.findall("{http://www.w3.org/2000/svg}g"):
        x, y = (float(v) for v in re.findall(r"[\d.]+", panel.get("transform")))
        frame = panel.find("{http://www.w3.org/2000/svg}rect")
        assert x + float(frame.get("width")) <= width
        assert y + float(frame.get("height")) <= height


def test_svg_of_a_name_with_control_characters():
    text = CONFIG.replace("'contrast'", r"'con\001trast'")
    config = parse_config(text)
    ElementTree.fromstring(graph(build_plan(config, build_feature_specs(config)), ".svg"))


def test_dot(plan):
    text = graph(plan, "model.dot")
    assert text.startswith("digraph backbone {") and text.endswith("}\n")
    assert text.count("{") == text.count("}") == 4
    nodes = dict(re.findall(r'^ +(n\d+_\d+) \[label="((?:[^"\\]|\\.)*)"', text, flags=re.MULTILINE))
    assert {label.split("\\n")[0] for label in nodes.values()} >= {
        "sequence",
        'a < b & \\"c\\"',
        "encoder()",
        "output",
    }
    ends = re.findall(r"(n\d+_\d+) -> (n\d+_\d+)", text)
    assert {node for pair in ends for node in pair} <= set(nodes)
    labels = {nodes[a].split("\\n")[0] + ">" + nodes[b].split("\\n")[0] for a, b in ends}
    assert {
        "sequence>encoder()",
        "augment()>encoder()",
        "encoder()>contrast",
        "main>top_mlp",
        "seq>views",
    } <= labels


def test_mermaid(plan):
    lines = graph(plan, ".mmd").split("\n")
    assert lines[0] == "flowchart TB"
    assert (
        sum(line.startswith("  subgraph ") for line in lines) == sum(line == "  end" for line in lines) == 3
    )
    assert any("a #lt; b & #quot;c#quot;<br/>MLP" in line for line in lines)
    assert any(re.fullmatch(r' +n0_\d+ -->\|"x \* 2"\| n0_\d+', line) for line in lines)


def test_other_formats_are_refused(plan):
    with pytest.raises(UsageError, match="'.svg'"):
        graph(plan, ".svgg")
