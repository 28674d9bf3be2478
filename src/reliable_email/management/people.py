"""`email_outbox erase` and `export`: what the law gives to a person of whom the outbox knows something."""

import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from reliable_email.delivery.report import bare_address
from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.management.database_errors import DatabaseCommand
from reliable_email.management.own_command import for_me_alone
from reliable_email.management.screens.bars import bars
from reliable_email.management.screens.finding import user
from reliable_email.outbox.keyring import KeyMissing
from reliable_email.outbox.operations.erasure import Erasure, erase, is_known, kept_marks, preview, read_mark, replay
from reliable_email.outbox.operations.exporting import export
from reliable_email.values import many, printable

if TYPE_CHECKING:
    from rich.console import Console


class PeopleCommand(DatabaseCommand):
    """The two subcommands, for a command with others."""

    _json: bool
    _using: str
    _console: "Console | None"

    def _erase(self, options: dict[str, Any]) -> None:
        ways = [options["address"] is not None, options["replay"] is not None, options["marks"]]
        if sum(ways) != 1:
            words = "Give an address, or --replay after a restore, or --marks for what has to be kept for that."
            raise CommandError(words, returncode=ExitCode.USAGE)
        if options["marks"]:
            marks = kept_marks(self._using)
            if self._json:
                self._print_json({"marks": marks})
            for mark in marks if not self._json else ():
                self.stdout.write(mark)
            return
        try:
            if options["replay"] is not None:
                self._replay(options)
            else:
                self._forget(options)
        except KeyMissing as error:
            raise CommandError(str(error), returncode=ExitCode.UNHEALTHY) from error

    def _forget(self, options: dict[str, Any]) -> None:
        address = self._known(options["address"])
        if options["dry_run"]:
            self._tell_erasure(preview(address, using=self._using), options, is_done=False)
            return
        with bars(self._console) as progress:
            done = erase(
                address,
                actor=options["actor"] or user(),
                reason=options["reason"],
                as_sender=options["as_sender"],
                using=self._using,
                progress=progress,
            )
        self._tell_erasure(done, options, is_done=True)

    def _replay(self, options: dict[str, Any]) -> None:
        if options["dry_run"]:
            raise CommandError("--replay has no --dry-run.", returncode=ExitCode.USAGE)
        marks = [] if options["replay"] is True else _marks(options["replay"])
        with bars(self._console) as progress:
            count, unreadable = replay(marks, actor=options["actor"] or user(), using=self._using, progress=progress)
        if self._json:
            self._print_json({"erased_again": count, "made_with_missing_keys": unreadable})
        else:
            self.stdout.write(f"{many(count, 'person', 'persons')} erased again")
            if unreadable:
                self.stdout.write(
                    f"{many(unreadable, 'mark was', 'marks were')} made with a key that is not here: add the old key "
                    "to ENCRYPTION_KEYS or SECRET_KEY_FALLBACKS, and replay again."
                )
        if unreadable:
            raise SystemExit(int(ExitCode.UNHEALTHY))

    def _export(self, options: dict[str, Any]) -> None:
        address = self._known(options["address"])
        chunks = export(address, actor=options["actor"] or user(), using=self._using)
        if options["output"] == "-":
            for chunk in chunks:
                self.stdout.write(chunk, ending="")
            return
        try:
            with open(options["output"], "w", encoding="utf-8", opener=for_me_alone) as file:
                file.writelines(chunks)
        except OSError as error:
            words = f"{options['output']} cannot be written: {error.strerror or error}"
            raise CommandError(words, returncode=ExitCode.USAGE) from error
        if not self._json:
            self.stdout.write(f"written to {options['output']}")

    def _known(self, text: str) -> str:
        address = bare_address(text)
        local, _, domain = address.rpartition("@")
        if not local or not domain:
            words = f"{printable(text)!r} is not an address: write it as name@example.com."
            raise CommandError(words, returncode=ExitCode.USAGE)
        if not is_known(address, self._using):
            words = f"The outbox knows nothing of {printable(address)!r}. Nothing was changed."
            raise CommandError(words, returncode=ExitCode.UNHEALTHY)
        return address

    def _tell_erasure(self, found: Erasure, options: dict[str, Any], *, is_done: bool) -> None:
        if self._json:
            self._print_json(asdict(found))
            return
        were = "" if is_done else "would be "
        self.stdout.write(
            f"{many(found.messages, 'message', 'messages')} to this address: {found.erased:,} {were}erased, "
            f"{found.cancelled:,} of them {were}cancelled"
        )
        if found.waiting:
            self.stdout.write(
                f"{many(found.waiting, 'message is', 'messages are')} under way, or waited for by other recipients: "
                "a worker erases what is left of them afterwards."
            )
        if found.sent and not options["as_sender"]:
            words = many(found.sent, "message has", "messages have")
            kept = "is kept; --as-sender erases it" if found.sent == 1 else "are kept; --as-sender erases them"
            self.stdout.write(f"{words} this address as the sender and {kept}, too.")
        if is_done:
            self.stdout.write("Nothing is sent to it any more. Keep this mark beside your backups, for --replay:")
            self.stdout.write(found.digest)


def add_erase(parser: ArgumentParser) -> None:
    """Options of `erase`."""
    parser.add_argument("address", nargs="?", metavar="ADDRESS", help="the person's address, in any spelling")
    words = "after a restore: erase all erased persons again, by the list and by the marks in FILE (- for a pipe)"
    parser.add_argument("--replay", nargs="?", const=True, metavar="FILE", help=words)
    parser.add_argument(
        "--marks", action="store_true", help="print the marks of all erased persons, to keep for --replay"
    )
    parser.add_argument("--as-sender", action="store_true", help="also erase messages that the person sent")
    parser.add_argument("--dry-run", action="store_true", help="only count what would be erased")
    add_record(parser)


def add_export(parser: ArgumentParser) -> None:
    """Options of `export`."""
    parser.add_argument("address", metavar="ADDRESS", help="the person's address, in any spelling")
    parser.add_argument("--output", default="-", metavar="FILE", help="the file to write; by default standard output")
    add_record(parser)


def add_record(parser: ArgumentParser) -> None:
    """Options of whatever leaves a line in the record."""
    parser.add_argument("--actor", default="", help="your name, for the record; by default the system's user")
    parser.add_argument("--reason", default="", help="the reason, for the record")


def _marks(file: str) -> list[str]:
    """The lines of a file of marks; one that is none is refused before anything is done."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return [str(read_mark(line)) for line in lines]
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} cannot be used: {error}", returncode=ExitCode.USAGE) from error
