"""All self-supervised components in one model: it trains, and serves without what only trains, and without us."""

import json

import numpy as np
import pytest
import tensorflow as tf
from trained_config import COMPONENTS, STEPS, Trained, served_function

from easyssl.export import versions
from easyssl.export.verify import verify

pytestmark = pytest.mark.slow

LOSSES = {
    "cross_entropy_loss",
    "contrast_nce_loss",
    "clusters_cluster_loss",
    "cluster_contrast_contrast_loss",
    "distillation_distillation_loss",
    "cloze_contrast_decoupled_loss",
    "re_contrast_contrast_loss",
    "re_attend_attend_loss",
    "re_construct_construct_loss",
    "bag_contrast_symmetric_loss",
    "field_contrast_info_nce_loss",
    "retrieval_batch_softmax_loss",
    "adversary_adversarial_loss",
    "price_error_l2_loss",
}
# Whatever of the catalogue belongs to self-supervision, but for the parts of systems that came later.
LAYERS = {
    *("SeqAugment", "SeqAugmentOps", "FeatureMasking", "ValueDropout"),
    *("ParametricWhitening", "MoEWhiteningAdaptor"),
    *("SinkhornClustering", "PrototypeContrast", "ClusterDistillation"),
    *("GRL", "AdversarialClassifier"),
    *("MultiInterestAttention", "ReContrast", "ReAttend", "ReConstruct", "InterestReadout"),
    *("AuxiliaryLoss", "BatchSoftmax"),
    *("SASRecEncoder", "BST", "GRU4RecEncoder", "CaserEncoder", "BERT4RecEncoder", "ClozeMask"),
    *("MeanPooling", "SequenceReadout"),
}
# Layers that nothing which is served depends on.
ONLY_TRAIN = {
    *("augment", "augment_ops", "contrast", "clusters", "cluster_contrast", "distillation"),
    *("cloze", "guesses", "cloze_contrast", "re_contrast", "re_attend", "re_construct", "bag_contrast"),
    *(
        "masked_fields",
        "field_contrast",
        "retrieval",
        "adversary",
        "reversed",
        "guessed_price",
        "price_error",
    ),
}
# Weights of served layers that only training reads.
ONLY_TRAINED = {"dropped/default_embedding", "adapted/noise_kernel"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return Trained(COMPONENTS / "all.config", tmp_path_factory.mktemp("all"))


@pytest.fixture(scope="module")
def exported(trained):
    return trained.export()


def name_in_backbone(variable):
    return variable.name.split(":")[0].split("backbone/")[-1]


def test_every_component_trains(trained):
    assert trained.class_names() >= LAYERS
    assert len(trained.results) == STEPS
    for result in trained.results:
        assert result.unweighted.keys() == LOSSES
        assert result.finite and np.all(np.isfinite([*result.unweighted.values(), result.norm]))
        assert all(result.unweighted.values())
    for layer in trained.components():
        weights = layer.trainable_weights or layer.weights
        assert not weights or any(trained.changed(w) for w in weights), f"nothing of {layer.name} changed"


def test_a_process_without_easyssl_predicts_the_same(trained, exported):
    predictions = trained.model(trained.model.transform(trained.rows), training=False)
    manifest = json.loads((exported / versions.MANIFEST).read_text())
    columns = manifest["columns"]
    expected = {name: predictions[name].numpy() for name in manifest["outputs"]}
    assert expected["probs"].std() > 0
    found = verify(exported, {name: trained.rows[name] for name in columns}, columns, expected)
    assert found.rows == 16


def test_what_only_trains_is_not_exported(trained, exported):
    layers = {layer.name for layer in trained.model.submodules if isinstance(layer, tf.keras.layers.Layer)}
    assert layers >= ONLY_TRAIN
    every = {name_in_backbone(v) for v in trained.model.variables}
    served = {name_in_backbone(v) for v in tf.saved_model.load(str(exported)).read_variables}
    unused = {n for n in every if n.split("/")[0] in ONLY_TRAIN or n.endswith("/random_state")} | ONLY_TRAINED
    assert served == every - unused and unused <= every

    scopes = {scope for node in served_function(exported).node_def for scope in node.name.split("/")}
    assert scopes & ONLY_TRAIN == set()
    assert scopes >= {
        "adapted",
        "sasrec_encoder",
        "bert4rec_encoder",
        "bst_encoder",
        "gru4rec",
        "caser",
        "interests",
        "readout",
    }
    manifest = json.loads((exported / versions.MANIFEST).read_text())
    assert [op for op in manifest["operations"] if "Random" in op or "Shuffle" in op] == []
