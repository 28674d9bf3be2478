"""The base of all commands of the package: an empty value is refused, wherever one is taken."""

from argparse import Namespace
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class OwnCommand(BaseCommand):
    """A command whose arguments all say something."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser. Neither a shell nor `call_command` gets an empty argument past it."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parse = parser.parse_args

        def parse_args(args: Sequence[str] | None = None, namespace: Namespace | None = None) -> Namespace:
            for before, one in pairwise(("", *(args or ()))):
                name, is_given, value = one.partition("=")
                if not one.strip() or (is_given and name.startswith("--") and not value.strip()):
                    option = name.strip() or before
                    told = f"argument {option}: it" if option.startswith("--") else "an argument"
                    parser.error(f"{told} is empty: leave it out where any will do")
            return parse(args, namespace)

        parser.parse_args = parse_args  # type: ignore[assignment, method-assign]
        return parser
