"""`manage.py email_suppression`: the addresses to which nothing is sent."""

import json
import re
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.outbox.suppressed import allow, suppress
from reliable_email.store.queries import outbox_database
from reliable_email.store.shared import Suppression
from reliable_email.values import printable

_DAYS = re.compile(r"(\d{1,5})d\Z")


class Command(BaseCommand):
    """Exit code 0 done, 2 usage."""

    help = "Show, extend or shorten the list of addresses to which nothing is sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias of the database; by default the router's choice")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        shown = commands.add_parser("list", help="the list, newest first")
        shown.add_argument("--json", action="store_true", help="print one JSON object a line")
        added = commands.add_parser("add", help="send nothing to these addresses")
        added.add_argument("addresses", nargs="+", metavar="ADDRESS")
        added.add_argument("--reason", default="", help="for people")
        added.add_argument("--for", dest="lifetime", type=_days, help="for so long, such as 90d; by default for ever")
        removed = commands.add_parser("remove", help="send to these addresses again")
        removed.add_argument("addresses", nargs="+", metavar="ADDRESS")

    def handle(self, *args: Any, **options: Any) -> None:
        using = outbox_database(options["database"])
        if options["command"] == "list":
            self._list(using, as_json=options["json"])
            return
        strange = [one for one in options["addresses"] if not re.fullmatch(r"[^@\s]+@[^@\s]+", one)]
        if strange:
            raise CommandError(
                f"{printable(strange[0])} is no address: write it as name@example.com", returncode=ExitCode.USAGE
            )
        if options["command"] == "add":
            count = suppress(
                options["addresses"],
                reason=options["reason"],
                source="by hand",
                lifetime=options["lifetime"],
                using=using,
            )
            self.stdout.write(f"nothing is sent to {count} address{'es' if count != 1 else ''} any more")
        else:
            count = allow(options["addresses"], using=using)
            self.stdout.write(f"{count} address{'es' if count != 1 else ''} removed from the list")

    def _list(self, using: str, *, as_json: bool) -> None:
        for row in Suppression._base_manager.using(using).order_by("-created_at", "address").iterator():
            until = row.expires_at.isoformat(timespec="seconds") if row.expires_at is not None else ""
            if as_json:
                found = {
                    "address": row.address,
                    "reason": row.reason,
                    "source": row.source,
                    "since": row.created_at.isoformat(timespec="seconds"),
                    "until": until or None,
                }
                self.stdout.write(json.dumps(found))
            else:
                words = (row.address, row.reason, row.source, f"until {until}" if until else "")
                self.stdout.write(printable("  ".join(word for word in words if word)))


def _days(text: str) -> timedelta:
    match = _DAYS.match(text.strip())
    if match is None:
        raise ValueError(text)
    return timedelta(days=int(match[1]))
