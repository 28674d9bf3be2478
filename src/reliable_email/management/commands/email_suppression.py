"""`manage.py email_suppression`: the addresses to which nothing is sent."""

import csv
import io
import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from reliable_email.delivery.report import bare_address
from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.management.database_errors import DatabaseCommand
from reliable_email.management.own_command import for_me_alone
from reliable_email.outbox.operations.erased import configured_marker
from reliable_email.outbox.operations.suppressed import (
    allow,
    is_suppressible,
    prune_suppressions,
    suppress,
    suppress_all,
)
from reliable_email.patterns import pattern
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.suppressions import SuppressedAddress, suppressions
from reliable_email.values import printable

_DAYS = pattern(r"(\d{1,5})d\Z")
_ADDRESS = pattern(r"[^@\s]+@[^@\s]+\Z")
_COLUMNS = ("address", "reason", "source", "since", "until")
_SHOWN_LINES = 5
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class Command(DatabaseCommand):
    """Exit code 0 done, 2 usage."""

    help = "Show and change the suppression list: the addresses to which nothing is sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias of the database; by default the router's choice")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        shown = commands.add_parser("list", help="show the list, newest first")
        shown.add_argument("--json", action="store_true", help="print one JSON object a line")
        shown.add_argument(
            "text", nargs="?", default="", metavar="ADDRESS", help="only this address, its beginning, or a @domain"
        )
        shown.add_argument("--expired", action="store_true", help="also show expired entries that are not yet pruned")
        added = commands.add_parser("add", help="send nothing to these addresses")
        added.add_argument("addresses", nargs="+", metavar="ADDRESS")
        added.add_argument("--reason", default="", help="a reason, shown in the list")
        added.add_argument(
            "--for",
            dest="lifetime",
            type=_days,
            help="the time after which the entry expires, such as 90d; by default never",
        )
        removed = commands.add_parser("remove", help="send to these addresses again")
        removed.add_argument("addresses", nargs="+", metavar="ADDRESS")
        exported = commands.add_parser("export", help="write the list as CSV")
        exported.add_argument("file", nargs="?", default="-", help="the file to write; by default standard output")
        imported = commands.add_parser(
            "import", help="import a list: CSV as export writes it, a provider's CSV, or one address a line"
        )
        imported.add_argument("file", help="the file to read; - for standard input")
        imported.add_argument("--reason", default="", help="the reason of entries without one")
        imported.add_argument("--source", default="imported", help="the source of entries without one")
        imported.add_argument("--dry-run", action="store_true", help="only read and count")
        commands.add_parser("prune", help="delete expired entries; a worker also does this")

    def handle(self, *args: Any, **options: Any) -> None:
        using = outbox_database(options["database"])
        run: Callable[[str, dict[str, Any]], None] = getattr(self, f"_{options['command']}")
        run(using, options)

    def _list(self, using: str, options: dict[str, Any]) -> None:
        now, is_empty = timezone.now(), True
        wanted = bare_address(options["text"])
        digests = configured_marker().by_digest([wanted])
        for one in suppressions(using, text=wanted, digests=digests, with_expired=options["expired"]):
            is_empty = False
            if options["json"]:
                self.stdout.write(json.dumps(_row(one) | {"until": _instant(one.until) or None}))
                continue
            until = f"until {_instant(one.until)}" if one.until is not None else ""
            is_over = "(expired)" if one.until is not None and one.until <= now else ""
            words = (one.address, one.reason, one.source, until, is_over)
            self.stdout.write(printable("  ".join(word for word in words if word)))
        if options["text"] and is_empty:
            missing = f"The suppression list has no {printable(options['text'])!r}."
            raise CommandError(missing, returncode=ExitCode.UNHEALTHY)

    def _add(self, using: str, options: dict[str, Any]) -> None:
        addresses = _checked(options["addresses"], is_suppressible)
        suppress(addresses, reason=options["reason"], source="by hand", lifetime=options["lifetime"], using=using)
        self.stdout.write(f"nothing is sent to {_addresses(len(set(addresses)))} from now on")

    def _remove(self, using: str, options: dict[str, Any]) -> None:
        addresses = _checked(options["addresses"], _ADDRESS.match)  # older lists hold what would be refused now
        count = allow(addresses, using=using)
        if not count:
            shown = printable(", ".join(map(repr, addresses)))
            raise CommandError(f"The suppression list has no {shown}. Nothing was changed.")
        self.stdout.write(f"{_addresses(count)} removed from the list")

    def _export(self, using: str, options: dict[str, Any]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        count = 0
        for one in suppressions(using):
            if one.is_erased:
                continue  # kept by `email_outbox erase --marks`
            writer.writerow({name: _no_formula(value) for name, value in _row(one).items()})
            count += 1
        if options["file"] == "-":
            self.stdout.write(text.getvalue(), ending="")
            return
        try:
            with open(options["file"], "w", encoding="utf-8", opener=for_me_alone) as file:
                file.write(text.getvalue())
        except OSError as error:
            raise CommandError(
                f"{options['file']} cannot be written: {error.strerror or error}", returncode=ExitCode.USAGE
            ) from error
        self.stdout.write(f"{_addresses(count)} written to {options['file']}")

    def _import(self, using: str, options: dict[str, Any]) -> None:
        entries = _read(_text(options["file"]), reason=options["reason"], source=options["source"])
        if options["dry_run"]:
            self.stdout.write(f"{_addresses(len(entries))} read; nothing was changed")
            return
        count = suppress_all(entries, using=using)
        kept = len(entries) - count
        self.stdout.write(f"{_addresses(count)} imported; {kept} skipped: expired, or on the list already")

    def _prune(self, using: str, options: dict[str, Any]) -> None:
        self.stdout.write(f"{_addresses(prune_suppressions(using))} had expired: removed")


def _checked(addresses: Iterable[str], is_one: Callable[[str], object]) -> list[str]:
    """Return the addresses in lower case."""
    found = [bare_address(one).lower() for one in addresses]
    strange = [one for one in found if not is_one(one)]
    if strange:
        raise CommandError(
            f"{printable(strange[0])} is not an address: write it as name@example.com", returncode=ExitCode.USAGE
        )
    return found


def _addresses(count: int) -> str:
    return f"{count:,} address{'es' if count != 1 else ''}"


def _row(one: SuppressedAddress) -> dict[str, str]:
    return {
        "address": one.address,
        "reason": one.reason,
        "source": one.source,
        "since": _instant(one.since),
        "until": _instant(one.until),
    }


def _no_formula(text: str) -> str:
    """Text that a spreadsheet does not compute; `_plain` undoes it."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULAS) else text


def _instant(moment: datetime | None) -> str:
    """An instant with its zone, which a site without USE_TZ leaves out."""
    if moment is None:
        return ""
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).isoformat(timespec="seconds")


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}", returncode=ExitCode.USAGE) from error


def _read(text: str, *, reason: str, source: str) -> list[SuppressedAddress]:
    """Every line, each address once; or an error that names the lines that cannot be used, and nothing is done."""
    entries: dict[str, SuppressedAddress] = {}
    strange: list[str] = []
    for number, row in _rows(text):
        address = bare_address(row.get("address", row.get("email", ""))).lower()
        if not any(row.values()):
            continue
        try:
            if not _ADDRESS.match(address):
                raise ValueError(f"{printable(address)[:60]!r} is not an address")
            entries[address] = SuppressedAddress(
                address=address,
                reason=row.get("reason", "") or reason,
                source=row.get("source", "") or source,
                since=_moment(row.get("since", "")),
                until=_moment(row.get("until", "")),
            )
        except ValueError as error:
            strange.append(f"line {number}: {error}")
    if strange:
        more = f" and {len(strange) - _SHOWN_LINES} more" if len(strange) > _SHOWN_LINES else ""
        shown = "; ".join(strange[:_SHOWN_LINES])
        raise CommandError(f"Nothing was changed. {shown}{more}.", returncode=ExitCode.USAGE)
    return list(entries.values())


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines by their number and column; without a heading, the first column is the address."""
    reader = csv.reader(io.StringIO(text))
    names: list[str] | None = None
    for cells in reader:
        if names is None:
            heading = [cell.strip().lower() for cell in cells]
            if "address" in heading or "email" in heading:
                names = heading
                continue
            names = ["address"]
        yield reader.line_num, {name: _plain(cell.strip()) for name, cell in zip(names, cells, strict=False)}


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text)
    if timezone.is_naive(found) is timezone.is_naive(timezone.now()):
        return found
    return timezone.make_aware(found) if timezone.is_naive(found) else timezone.make_naive(found)


def _days(text: str) -> timedelta:
    match = _DAYS.match(text.strip())
    if match is None:
        raise ValueError(text)
    return timedelta(days=int(match[1]))
