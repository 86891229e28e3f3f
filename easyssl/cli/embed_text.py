"""`easyssl embed-text`: vectors of items from their texts."""

from __future__ import annotations

import argparse
import sys
import time

from easyssl.cli.arguments import natural

SUMMARY = "turn texts of items into vectors, for features with pretrained_vectors"
DESCRIPTION = """\
Turns texts of items into vectors by an encoder that is not trained, for features with pretrained_vectors.

The file has a header line and is separated by tabs, by commas if its name ends in .csv, or is Parquet. An
item without text gets the vector of ".". An interrupted run goes on where it stopped when the same command is
given again. Nothing is downloaded.

encoders: wordllama (the default) comes with 'pip install easyssl[text]', its weights in the package; the name
of a folder is a sentence-transformers model that you put there.
"""
EPILOG = """\
examples:
  easyssl embed-text samples/data/beauty/items.tsv.gz --out samples/data/beauty/text.npz
  easyssl embed-text items.tsv --column title brand --id item_id --out text.npz
  easyssl embed-text items.tsv --out dropped.npz --word-drop 0.15 --seed 1   a variant with words left out
"""
_REFRESH_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    parser.add_argument("items", metavar="ITEMS", help="file with one row per item; .tsv, .csv, .parquet")
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="file to write: .npz, .npy with .ids.txt, or .parquet"
    )
    parser.add_argument(
        "--id", dest="item_id", metavar="NAME", default="item_id", help="column of ids (default: item_id)"
    )
    parser.add_argument(
        "--column",
        dest="columns",
        metavar="NAME",
        nargs="+",
        default=["text"],
        help="columns of text, which are joined (default: text)",
    )
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        default="wordllama",
        help="wordllama, or the folder of a sentence-transformers model (default: wordllama)",
    )
    parser.add_argument(
        "--word-drop",
        type=_rate,
        metavar="RATE",
        default=0.0,
        help="probability that a word is left out (default: 0)",
    )
    parser.add_argument(
        "--seed", type=natural, metavar="N", default=0, help="start of the random stream (default: 0)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.data.text import make_encoder
    from easyssl.data.text.embed import embed_items, read_texts

    ids, texts = read_texts(args.items, args.item_id, args.columns)
    encoder = make_encoder(args.encoder)
    line = _Line()
    done = embed_items(
        ids, texts, args.out, encoder, word_drop=args.word_drop, seed=args.seed, progress=line.show
    )
    line.end()
    if done.resumed:
        print(f"went on behind {done.resumed:,} items of an earlier run")
    print(f"{args.out}: {done.items:,} vectors of {done.width} numbers by {encoder.identity}")
    if done.without_text:
        print(f"items without text: {done.without_text:,}")
    return 0


class _Line:
    """A line on a terminal that tells how far it is."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._begin = time.monotonic()
        self._open = False

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (done < total and now - self._shown < _REFRESH_SECONDS):
            return
        self._shown, self._open = now, True
        speed = done / max(now - self._begin, 1e-9)
        print(f"\r{done:,} of {total:,} items, {speed:,.0f} a second \x1b[K", end="", file=sys.stderr)

    def end(self) -> None:
        if self._open:
            print(file=sys.stderr)


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, found '{text}'")
    return number
