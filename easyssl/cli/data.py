"""`easyssl data`: makes data, or turns a public data set into rows."""

from __future__ import annotations

import argparse

from easyssl.cli.arguments import natural, one_of, positive

SUMMARY = "make data to try things with"
DESCRIPTION = """\
Makes data in the columns of the sample configs: 'generate' draws it at random from a known model of clicks.

The same arguments give the same files.
"""
EPILOG = """\
examples:
  easyssl data generate taobao --out samples/data/taobao
  easyssl data generate taobao --out /tmp/small --rows 1000 --test-rows 200 --seed 7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    from easyssl.data.prepare import GENERATORS

    names = sorted(GENERATORS)
    parser.add_argument("action", type=one_of("action", ["generate"]), metavar="generate", help="what to do")
    parser.add_argument(
        "name", type=one_of("data set", names), metavar="NAME", help=f"which data: {', '.join(names)}"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to; made if absent")
    parser.add_argument(
        "--rows", type=positive, metavar="N", default=argparse.SUPPRESS, help="rows to train on"
    )
    parser.add_argument(
        "--test-rows", type=positive, metavar="N", default=argparse.SUPPRESS, help="rows to test with"
    )
    parser.add_argument(
        "--seed", type=natural, metavar="N", default=argparse.SUPPRESS, help="start of the random stream"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.data.prepare import generate

    options = {key: getattr(args, key) for key in ("rows", "test_rows", "seed") if hasattr(args, key)}
    print("\n".join(generate(args.name, args.out, **options).lines()))
    return 0
