"""Lets `python -m easyssl` be the `easyssl` command."""

import sys

from easyssl.cli.main import main

sys.exit(main())
