"""The output of `email_outbox list`: one line for each recipient, aligned for people, complete for programs."""

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.utils import timezone

from reliable_email import conf
from reliable_email.delivery.report import bare_address
from reliable_email.outbox.keyring import Keyring, configured_keyring
from reliable_email.outbox.operations.letters import open_or_say, open_reply
from reliable_email.records import dataclass, replace
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.search import WINDOW_ROWS, Field, Line, Search, search
from reliable_email.values import masked, printable

_NEWEST = 20
_AT_ONCE = 500
_SUBJECT_CHARACTERS = 40
# What has no index is looked for among so many; a million would take seconds, and load the database at a bad time.
LOOK_BACK_ROWS = 200_000
_HEADINGS = ("message", "queued", "state", "recipient", "mailer", "route", "cause", "tries", "subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The newest lines.

    Attributes:
        is_more: there are more, or may be.
        looked_back_to: the time at which the search stopped, though older ones may match; None where it did not.
        passes_over_sealed: subjects were not compared, since they are encrypted.
    """

    lines: list[Line]
    is_more: bool
    looked_back_to: datetime | None
    passes_over_sealed: bool


def find(chosen: Filter, using: str, *, limit: int) -> Found:
    """The newest recipients that match.

    They are found however far back they are by an index (an address, a state, a message's number), and within the time
    that the filter names; by anything else, among the newest `LOOK_BACK_ROWS`.
    """
    wanted = Search(chosen=chosen)
    if chosen.subject:  # the search reads subjects by key, a few hundred at once
        wanted = Search(text=chosen.subject, field=Field.SUBJECT, chosen=replace(chosen, subject=""))
    # A whole address is the question of the night, and one condition is compared faster than a message is read.
    is_address = any("@" in one[1:-1] for one in (chosen.recipient, chosen.recipient_part))
    windows = None if is_address or chosen.newer_than is not None else LOOK_BACK_ROWS // WINDOW_ROWS
    lines: list[Line] = []
    while True:
        page = search(wanted, using, size=min(limit - len(lines), _AT_ONCE))
        lines += page.lines
        if page.is_cut and windows is not None:
            windows -= 1
        if page.before is None or len(lines) >= limit or windows == 0:
            keyring = configured_keyring()
            return Found(
                lines=[_opened(one, keyring) for one in lines],
                is_more=page.before is not None,
                looked_back_to=page.looked_back_to if len(lines) < limit else None,
                passes_over_sealed=bool(chosen.subject and keyring.fingerprints),
            )
        wanted = replace(wanted, before=page.before)


def newest_to(address: str, using: str) -> list[int]:
    """The newest messages to an address, the newest first; none for what is no address."""
    if "@" not in address:
        return []
    found = find(Filter(recipient=bare_address(address)), using, limit=_NEWEST)
    return list(dict.fromkeys(one.message for one in found.lines))


def as_json(found: Found) -> dict[str, Any]:
    """One object with a list."""
    rows = []
    for one in found.lines:
        told = asdict(one)
        del told["encryption_key"]
        rows.append(told)
    return {
        "count": len(rows),
        "is_more": found.is_more,
        "looked_back_to": found.looked_back_to,
        "passes_over_sealed": found.passes_over_sealed,
        "recipients": rows,
    }


def table(found: Found) -> Iterator[str]:
    """Columns under headings, and a sentence where something is left out."""
    if found.passes_over_sealed:
        yield "Subjects that are encrypted were not looked at; search by --recipient, --sender or time for them."
    if found.lines:
        yield from columns(_HEADINGS, [_cells(one) for one in found.lines])
    elif found.looked_back_to is None:
        yield "No recipient matches."
    else:
        yield "No recipient matches so far."
    if found.looked_back_to is not None:
        yield (
            f"Looked through the newest {LOOK_BACK_ROWS:,}, back to {instant(found.looked_back_to)}; "
            f"--since looks further back, such as --since 30d."
        )
    elif found.is_more:
        yield f"The newest {len(found.lines):,} are shown; there may be more: narrow it, or raise --limit."


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells under each other, each column as wide as its widest; the last one is not padded."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def shown_address(address: str) -> str:
    """An address for a person's eyes: masked where the site wants it so."""
    shown = printable(address)
    return masked(shown) if conf.get().mask_addresses and shown else shown


def instant(moment: datetime | None) -> str:
    """Return a time in the site's time zone, to the second; "-" for None."""
    if moment is None:
        return "-"
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S") if timezone.is_aware(moment) else str(moment)


def user() -> str:
    """Return the name of the user who runs the command, for the record."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):
        return "command"


def _cells(one: Line) -> tuple[str, ...]:
    mailer = one.mailer if one.entry_mailer == one.mailer else f"{one.entry_mailer} > {one.mailer}"
    subject = printable(one.subject)
    if len(subject) > _SUBJECT_CHARACTERS:
        subject = f"{subject[: _SUBJECT_CHARACTERS - 1]}…"
    return (
        str(one.message),
        instant(one.created_at),
        one.state,
        shown_address(one.address),
        printable(mailer),
        one.route or "-",
        one.cause or "-",
        str(one.attempts),
        subject,
    )


def _opened(one: Line, keyring: Keyring) -> Line:
    """Return the line with subject and reply decrypted, if the key is here."""
    return replace(
        one,
        subject=open_or_say(one.subject, one.encryption_key, keyring),
        reply=open_reply(one.reply, one.encryption_key, keyring),
    )
