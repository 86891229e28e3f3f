"""Command lines that pages and samples show, read as `easyssl` reads them."""

from easyssl.cli.arguments import Parser
from easyssl.cli.main import command_of


def parse_command(words):
    """Parses the words behind `easyssl`; raises if there is no such command or a flag does not fit."""
    name, rest = words[0], words[1:]
    command = command_of(name)
    if rest and rest[0] in getattr(command, "ACTIONS", {}):
        name, command, rest = f"{name} {rest[0]}", command.ACTIONS[rest[0]], rest[1:]
    parser = Parser(f"easyssl {name}", command.DESCRIPTION, command.EPILOG)
    command.add_arguments(parser)
    return parser.parse(rest)
