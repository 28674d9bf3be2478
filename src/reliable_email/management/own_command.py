"""The base of all commands of the package: what holds of their arguments, of wrong settings and of a closed output."""

import os
import select
import signal
from argparse import Namespace
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

_STDOUT = 1
_CLOSED_OUTPUT = 141  # what a shell tells of a program that SIGPIPE has ended
_INTERRUPTED = 128 + signal.SIGINT  # what a shell gives


class OwnCommand(BaseCommand):
    """A command whose arguments all say something."""

    interrupted = "Interrupted."

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
        """Run the command, and tell a setting that is wrong in one line."""
        try:
            return super().execute(*args, **options)
        except ImproperlyConfigured as error:
            raise CommandError(f"{error} “manage.py check” finds all that is wrong.") from error

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command for a shell, where neither Ctrl-C nor a reader who has read enough (`| head`) is an error."""
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            self.stderr.write(self.interrupted)
            raise SystemExit(_INTERRUPTED) from None
        except BrokenPipeError:
            if not _reader_is_gone():
                raise
            raise SystemExit(_CLOSED_OUTPUT) from None
        finally:
            if _reader_is_gone():
                # Python flushes once more when it ends: what is left to write goes nowhere.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, _STDOUT)
                os.close(nowhere)


def _reader_is_gone() -> bool:
    """Return whether the standard output has lost its reader."""
    if not hasattr(select, "poll"):  # Windows
        return False
    asked = select.poll()
    asked.register(_STDOUT, 0)
    return any(events & select.POLLERR for _, events in asked.poll(0))


def for_me_alone(path: str, flags: int) -> int:
    """Open a file of addresses; a new one is readable by its owner only."""
    return os.open(path, flags, 0o600)
