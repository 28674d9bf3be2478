"""The base of all commands of the package: what holds of their arguments, of wrong settings and of a closed output."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

_CLOSED_OUTPUT = 141  # what a shell tells of a program that SIGPIPE has ended


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

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. A setting that is wrong is one line, and a reader who has read enough (`| head`) is none."""
        try:
            told = super().execute(*args, **options)
            self.stdout.flush()
        except ImproperlyConfigured as error:
            raise CommandError(f"{error} “manage.py check” finds all that is wrong.") from error
        except BrokenPipeError:
            # Python flushes once more when it ends: what is left to write goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(_CLOSED_OUTPUT) from None
        return told
