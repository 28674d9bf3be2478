"""Commands that use the database: what they say where they cannot (one line, and exit code 1), and how in JSON."""

import json
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.db.utils import Error as DatabaseError
from django.utils.connection import ConnectionDoesNotExist

from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.management.own_command import OwnCommand
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.sql.outages import is_outage, sentence
from reliable_email.values import printable


class DatabaseCommand(OwnCommand):
    """A command that reads or writes the outbox's tables."""

    # An act goes in batches, each of which is committed whole.
    interrupted = "Interrupted. What was done stays; the same command does the rest."

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, and turn an outage into a `CommandError`; `--traceback` shows the original one."""
        if (named := options.get("database")) and named not in connections:
            from reliable_email.management.names import refuse  # a worker that starts needs no suggestions

            raise refuse("database", named, connections)
        for value in (*args, *options.values()):
            _refuse_what_is_no_text(value)
        try:
            return super().execute(*args, **options)
        except ConnectionDoesNotExist as error:
            words = f"{error} An outbox of MAILERS, or a router, names it: “manage.py check” says which."
            raise CommandError(words, returncode=ExitCode.UNHEALTHY) from error
        except DatabaseError as error:
            if not is_outage(error):
                raise
            using = options.get("database") or outbox_database()
            raise CommandError(sentence(using, error), returncode=ExitCode.UNHEALTHY) from error

    def _print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, default=str))


def _refuse_what_is_no_text(value: Any) -> None:
    """A terminal of another encoding hands over bytes that are no characters: no database can be asked for them."""
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, str) and ("\0" in one or not _is_encodable(one)):
            words = f"{printable(ascii(one))[:80]} has bytes that are no characters of UTF-8."
            raise CommandError(words, returncode=ExitCode.USAGE)


def _is_encodable(text: str) -> bool:
    """Return whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
