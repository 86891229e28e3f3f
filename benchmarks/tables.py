"""The tables of docs/results.md: which configs they hold, on which data, and what others published."""

from __future__ import annotations

from dataclasses import dataclass, field

CONFIGS = "samples/next_item"
SCRIPT = ".sh"
_ENCODERS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20")
_BLOCKS = "model_config.backbone.blocks"


@dataclass(frozen=True)
class Model:
    """A row.

    Attributes:
        config: Name of the config in `samples/next_item`, without its ending; with a folder, in `samples`.
        overrides: Fields that are set.
        after: The model of the table whose weights training begins with.
        shown: Whether the table has a row for it.
    """

    config: str
    overrides: tuple[str, ...] = ()
    after: str = ""
    shown: bool = True


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        about: Data and protocol.
        folder: Where the configs look for the data, below `data` of the data root.
        prepare: Arguments of `easyssl` that write it, or a script and its arguments; `{source}` is the folder
            of the published files.
        metrics: What the columns show, those of lists without `_excluded` or `_kept`.
        models: Rows by name.
        pairs: Which models are compared seed by seed, (reference, other).
        published: Rows of others: model, numbers by metric, source, how certain the number is.
        measures: The config whose mutual information is measured before; none if empty.
        history: Whether histories are left out of the ranking, unless the command says it.
    """

    about: str
    folder: str
    prepare: tuple[str, ...]
    metrics: tuple[str, ...]
    models: dict[str, Model]
    pairs: tuple[tuple[str, str], ...] = ()
    published: tuple[tuple[str, dict[str, float], str, str], ...] = field(default=())
    measures: str = ""
    history: str = "excluded"


def _weight(block: str, value: float = 0) -> str:
    return f"{_BLOCKS}[name={block}].keras_layer.st_params.loss_weight={value:g}"


def _s4rec(place: str) -> dict[str, Model]:
    config = f"s4rec_on_{place}"
    return {
        "s4rec": Model(config),
        "s4rec without contrast and distillation": Model(
            config, (_weight("contrast"), _weight("distillation"))
        ),
        "s4rec without adversary": Model(config, (_weight("adversary"),)),
    }


def _re4(place: str) -> dict[str, Model]:
    config = f"re4_on_{place}"
    others = ("comirec_sa", "comirec_dr", "mind")
    return {
        "re4": Model(config),
        **{f"re4 without {loss}": Model(config, (_weight(loss),)) for loss in _BACKWARD},
        **{name: Model(f"{name}_on_{place}") for name in others},
    }


_BACKWARD = ("contrast", "attend", "construct")


def _ssl_item(place: str) -> dict[str, Model]:
    config, plain = f"ssl_item_on_{place}", f"ssl_item_without_masking_on_{place}"
    masking = f"{_BLOCKS}[name=views].keras_layer.st_params"
    values = {"ml1m": ("words_left", "genres_left"), "sports": ("attributes_left", "words_left")}[place]
    view = "model_config.backbone.packages[name=view].blocks"
    random = (f"{masking}.strategy=random", f"{masking}.mutual_information=null")
    return {
        "baseline": Model(config, (_weight("contrast"),)),
        "CFM": Model(config),
        "RFM": Model(config, random),
        "RFM without complement": Model(config, (*random, f"{masking}.complementary=false")),
        "CFM without dropout": Model(
            config, tuple(f"{_BLOCKS}[name={name}].keras_layer.st_params.rate=0" for name in values)
        ),
        "no masking": Model(plain),
        "spread-out": Model(plain, tuple(f"{view}[name={n}].keras_layer.st_params.rate=0" for n in values)),
    }


def _rows(
    source: str, metrics: tuple[str, ...], rows: dict[str, tuple[float, ...]], certainty: str = "high"
) -> tuple[tuple[str, dict[str, float], str, str], ...]:
    return tuple(
        (name, dict(zip(metrics, values, strict=True)), source, certainty) for name, values in rows.items()
    )


_S4REC = ("S4Rec paper, table 2", ("hr@5", "hr@20", "ndcg@5", "ndcg@20"))
_S4REC_ABLATION = ("S4Rec paper, ablation", _S4REC[1])
_CL4SREC = ("CL4SRec paper, table 2", _ENCODERS)

BEAUTY_PUBLISHED = (
    *_rows(
        *_S4REC,
        {
            "GRU4Rec": (0.0111, 0.0478, 0.0058, 0.0104),
            "Caser": (0.0251, 0.0643, 0.0145, 0.0298),
            "SASRec": (0.0374, 0.0901, 0.0241, 0.0387),
            "DSSRec": (0.0410, 0.0914, 0.0261, 0.0403),
            "BERT4Rec": (0.0360, 0.0984, 0.0216, 0.0391),
            "S3-Rec": (0.0189, 0.0487, 0.0115, 0.0198),
            "CL4SRec": (0.0423, 0.0994, 0.0281, 0.0441),
            "ICLRec": (0.0475, 0.1050, 0.0316, 0.0478),
            "S4Rec": (0.0519, 0.1071, 0.0348, 0.0505),
        },
    ),
    *_rows(
        *_S4REC_ABLATION,
        {
            "S4Rec without contrast and distillation": (0.0382, 0.0922, 0.0258, 0.0397),
            "S4Rec without adversary": (0.0487, 0.1035, 0.0329, 0.0480),
            "S4Rec with K-means": (0.0517, 0.1044, 0.0349, 0.0497),
        },
    ),
    *_rows(
        *_CL4SREC,
        {
            "SASRec": (0.0347, 0.0630, 0.1007, 0.0185, 0.0276, 0.0371),
            "CL4SRec": (0.0396, 0.0681, 0.1056, 0.0208, 0.0299, 0.0394),
        },
    ),
    *_rows("ICLRec README", _ENCODERS, {"ICLRec": (0.0500, 0.0744, 0.1058, 0.0326, 0.0403, 0.0483)}),
    *_rows(
        "a public issue: RecBole, full softmax, presumably the same data, history kept",
        ("hr@5", "hr@10", "ndcg@10"),
        {"SASRec": (0.0543, 0.0821, 0.0405)},
        "medium",
    ),
)
SPORTS_PUBLISHED = (
    *_rows(
        *_S4REC,
        {
            "GRU4Rec": (0.0162, 0.0421, 0.0103, 0.0186),
            "Caser": (0.0154, 0.0399, 0.0114, 0.0178),
            "SASRec": (0.0206, 0.0497, 0.0135, 0.0216),
            "DSSRec": (0.0214, 0.0495, 0.0142, 0.0220),
            "BERT4Rec": (0.0217, 0.0604, 0.0143, 0.0251),
            "S3-Rec": (0.0121, 0.0344, 0.0084, 0.0146),
            "CL4SRec": (0.0217, 0.0540, 0.0137, 0.0227),
            "ICLRec": (0.0267, 0.0644, 0.0177, 0.0283),
            "S4Rec": (0.0284, 0.0656, 0.0181, 0.0292),
        },
    ),
    *_rows(
        *_CL4SREC,
        {
            "SASRec": (0.0185, 0.0328, 0.0541, 0.0101, 0.0148, 0.0201),
            "CL4SRec": (0.0219, 0.0387, 0.0595, 0.0116, 0.0171, 0.0228),
        },
    ),
    *_rows("ICLRec README", _ENCODERS, {"ICLRec": (0.0290, 0.0437, 0.0646, 0.0191, 0.0238, 0.0291)}),
    *_rows(
        "S3-Rec repository",
        _ENCODERS,
        {
            "SASRec": (0.0233, 0.0350, 0.0507, 0.0154, 0.0192, 0.0231),
            "S3-Rec": (0.0251, 0.0385, 0.0607, 0.0161, 0.0204, 0.0260),
        },
    ),
)
ML1M_PUBLISHED = (
    *_rows(
        *_S4REC,
        {
            "GRU4Rec": (0.1412, 0.3379, 0.0916, 0.1469),
            "Caser": (0.1331, 0.3187, 0.0845, 0.1370),
            "SASRec": (0.1444, 0.3337, 0.0939, 0.1476),
            "DSSRec": (0.1219, 0.2855, 0.0798, 0.1257),
            "BERT4Rec": (0.1142, 0.2921, 0.0713, 0.1213),
            "S3-Rec": (0.1579, 0.3435, 0.0982, 0.1510),
            "CL4SRec": (0.1520, 0.3537, 0.0969, 0.1539),
            "ICLRec": (0.1482, 0.3431, 0.0964, 0.1513),
            "S4Rec": (0.1557, 0.3547, 0.1012, 0.1570),
        },
    ),
    *_rows(
        "CL4SRec paper, table 2, histories of 20",
        _ENCODERS,
        {
            "SASRec": (0.1108, 0.1902, 0.3124, 0.0648, 0.0904, 0.1211),
            "CL4SRec": (0.1147, 0.1975, 0.3174, 0.0662, 0.0928, 0.1230),
        },
    ),
)

_UNISREC = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")
UNISREC_PUBLISHED = (
    *_rows(
        "UniSRec paper, by memory, on other source domains",
        _UNISREC,
        {
            "SASRec": (0.1080, 0.0553, 0.2042, 0.0760),
            "UniSRec, inductive": (0.1188, 0.0641, 0.2394, 0.0903),
            "UniSRec, transductive": (0.1235, 0.0634, 0.2473, 0.0904),
        },
        "low",
    ),
    *_rows(
        "VQ-Rec README, the same data and protocol", _UNISREC, {"VQ-Rec": (0.1211, 0.0643, 0.2369, 0.0897)}
    ),
)

_AMAZON = "data sequences --source {source}/amazon_5core"
_LEAVE_ONE_OUT = "the last item of each user is tested, the one before validated; all items are ranked"
_USERS_OUT = (
    "a tenth of the users is tested: 80 % of their history is given, the rest to be found among all items"
)
_MOVIES = ("data ml-1m --source {source}/ml1m --out {out} --next-item",)
_SPORTS = (
    f"{_AMAZON}/Sports_and_Outdoors.txt.gz --out {{out}} --items "
    "{source}/amazon_5core/Sports_and_Outdoors_item2attributes.json.gz "
    "{source}/amazon_5core/Sports_and_Outdoors_item_text.tsv.gz",
)
_SSL_METRICS = ("map@10", "map@50", "recall@10", "recall@50", "head_items/recall@10", "tail_items/recall@10")
_SSL_PAIRS = (
    ("baseline", "CFM"),
    ("spread-out", "CFM"),
    ("RFM", "CFM"),
    ("RFM without complement", "CFM"),
    ("CFM without dropout", "CFM"),
    ("no masking", "CFM"),
)
_ENCODER_PAIRS = (
    ("sasrec", "s4rec"),
    ("sasrec", "cl4srec"),
    ("cl4srec", "s4rec"),
    ("s4rec", "s4rec without contrast and distillation"),
    ("s4rec", "s4rec without adversary"),
)
_RECALL = tuple(f"{name}@{k}" for k in (20, 50) for name in ("recall", "hr", "ndcg"))
_INTEREST_METRICS = (*_RECALL, "interest_cosine", "interests_used@20")
_INTEREST_PAIRS = (
    ("comirec_sa", "re4"),
    ("comirec_dr", "re4"),
    ("mind", "re4"),
    *(("re4", f"re4 without {loss}") for loss in _BACKWARD),
)
_COLD = "popularity_0_4"
_TEXT_METRICS = (
    *("recall@10", "ndcg@10", "recall@50", "ndcg@50"),
    *(f"{_COLD}/recall@10", f"{_COLD}/ndcg@10", f"{_COLD}/recall@50"),
)
_BASELINES = ("pop", "gru4rec", "caser", "sasrec", "sasrec_bce", "bert4rec", "dssrec", "iclrec", "cl4srec")

TABLES = {
    "beauty": Table(
        about=f"Amazon Beauty, 22,363 users, 12,101 items; {_LEAVE_ONE_OUT}",
        folder="beauty",
        prepare=(f"{_AMAZON}/Beauty.txt.gz --out {{out}}",),
        metrics=(*_ENCODERS, "history_0_5/ndcg@20"),
        models={
            **{name: Model(f"{name}_on_beauty") for name in _BASELINES},
            "s3rec_pretrain": Model("s3rec_pretrain_on_beauty", shown=False),
            "s3rec": Model("s3rec_on_beauty", after="s3rec_pretrain"),
            **_s4rec("beauty"),
            "s4rec with K-means": Model("s4rec_kmeans_on_beauty"),
        },
        pairs=(*_ENCODER_PAIRS, ("iclrec", "s4rec"), ("s4rec", "s4rec with K-means")),
        published=BEAUTY_PUBLISHED,
    ),
    "sports": Table(
        about=f"Amazon Sports, 35,598 users, 18,357 items; {_LEAVE_ONE_OUT}",
        folder="sports",
        prepare=_SPORTS,
        metrics=(*_ENCODERS, "history_0_5/ndcg@20"),
        models={**{n: Model(f"{n}_on_sports") for n in ("sasrec", "cl4srec")}, **_s4rec("sports")},
        pairs=_ENCODER_PAIRS,
        published=SPORTS_PUBLISHED,
    ),
    "ml1m": Table(
        about=f"MovieLens-1M, 6,040 users, 3,416 movies, histories of 50; {_LEAVE_ONE_OUT}",
        folder="ml1m_next",
        prepare=_MOVIES,
        metrics=(*_ENCODERS, "history_0_94/ndcg@20"),
        models={**{n: Model(f"{n}_on_ml1m") for n in ("sasrec", "cl4srec")}, **_s4rec("ml1m")},
        pairs=_ENCODER_PAIRS,
        published=ML1M_PUBLISHED,
    ),
    "instruments": Table(
        about=f"Amazon Instruments, 24,772 users, 9,922 items; {_USERS_OUT}",
        folder="instruments",
        prepare=("data sequences --source {source}/amazon_instruments/Instruments.txt.gz --out {out}",),
        metrics=_INTEREST_METRICS,
        models=_re4("instruments"),
        pairs=_INTEREST_PAIRS,
    ),
    "ml1m_users": Table(
        about=f"MovieLens-1M, 6,040 users, 3,416 movies, histories of 20; {_USERS_OUT}",
        folder="ml1m_next",
        prepare=_MOVIES,
        metrics=_INTEREST_METRICS,
        models=_re4("ml1m"),
        pairs=_INTEREST_PAIRS,
    ),
    "ssl_item": Table(
        about=f"MovieLens-1M, from users to movies by their fields; {_LEAVE_ONE_OUT}",
        folder="ml1m_next",
        prepare=_MOVIES,
        metrics=_SSL_METRICS,
        models=_ssl_item("ml1m"),
        pairs=_SSL_PAIRS,
        measures="ssl_item_on_ml1m",
    ),
    "ssl_item_sports": Table(
        about=f"Amazon Sports, from users to items by their fields; {_LEAVE_ONE_OUT}",
        folder="sports",
        prepare=_SPORTS,
        metrics=_SSL_METRICS,
        models=_ssl_item("sports"),
        pairs=_SSL_PAIRS,
        measures="ssl_item_on_sports",
    ),
    "unisrec": Table(
        about=f"Amazon Scientific, 8,442 users, 4,385 items, by the texts of items; {_LEAVE_ONE_OUT}; "
        f"{_COLD} are the targets that training data have fewer than 5 times",
        folder="unisrec",
        prepare=("samples/unisrec/prepare.sh {source} {out}",),
        metrics=_TEXT_METRICS,
        models={
            "pretrained": Model("unisrec/pretrain_on_four_domains", shown=False),
            "sasrec": Model("unisrec/sasrec_on_scientific"),
            "from scratch": Model("unisrec/from_scratch_on_scientific"),
            "inductive": Model("unisrec/inductive_on_scientific", after="pretrained"),
            "transductive": Model("unisrec/transductive_on_scientific", after="pretrained"),
        },
        pairs=(
            ("sasrec", "inductive"),
            ("sasrec", "transductive"),
            ("inductive", "transductive"),
            ("from scratch", "inductive"),
        ),
        published=UNISREC_PUBLISHED,
        history="kept",
    ),
}
