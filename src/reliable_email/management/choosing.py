"""The options of `email_outbox` by which a person says which recipients are meant, and the filter that they make."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from reliable_email.delivery.report import address_key, bare_address
from reliable_email.delivery.words import Priority
from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.management.names import check_filter, check_priorities
from reliable_email.management.screens.finding import Found, find
from reliable_email.patterns import pattern
from reliable_email.store.questions.filters import Filter
from reliable_email.store.questions.search import has_address, has_recipient
from reliable_email.store.questions.stories import message_ids, missing_messages
from reliable_email.store.tables.states import PriorityRank, State
from reliable_email.values import printable

_AGE = pattern(r"(\d{1,9})\s*([smhd])\Z")
_AGE_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MOST_DIGITS = 18  # of a primary key


def add_filters(parser: ArgumentParser) -> None:
    """Add the arguments that filter recipients; all conditions that are given must hold."""
    states = ", ".join(one.value for one in State)
    parser.add_argument("--recipient", help="an address in any spelling, @domain, or a part of an address")
    parser.add_argument("--state", action="append", default=[], help=f"one of {states}; may be given several times")
    parser.add_argument(
        "--mailer", action="append", default=[], help="the mailer that the application used, or the one that delivers"
    )
    parser.add_argument(
        "--account", action="append", default=[], help="the account of the message; nothing sets one yet"
    )
    parser.add_argument("--stream", action="append", default=[], help="the stream of the message; nothing sets one yet")
    parser.add_argument("--subject", help="words of the subject; encrypted subjects never match")
    parser.add_argument("--sender", help="the envelope's sender: an address, @domain, or a part of an address")
    parser.add_argument("--route", action="append", default=[], help="the route that was asked last")
    parser.add_argument(
        "--cause", action="append", default=[], help="the cause of the last failure, such as sender_not_verified"
    )
    priorities = ", ".join(one.value for one in Priority)
    parser.add_argument("--priority", action="append", default=[], help=f"one of {priorities}")
    words = "queued since this time: 90s, 15m, 2h or 3d ago, or a time such as 2026-11-30T09:00"
    parser.add_argument("--newer-than", "--since", dest="since", type=moment, metavar="TIME", help=words)
    words = "queued before this time, written in the same way"
    parser.add_argument("--older-than", "--until", dest="until", type=moment, metavar="TIME", help=words)
    parser.add_argument(
        "--environment", action="append", default=[], help="queued in this ENVIRONMENT instead of this site's own"
    )


def filter_of(options: dict[str, Any], using: str, *, is_for_looking: bool = False) -> Filter:
    """The filter that the options make.

    Args:
        is_for_looking: an address that is not here is taken for a part of one. No act does so: it would change what
            nobody has named.

    Raises:
        CommandError: exit code 2 for a name that nothing has; 1 for a message or an address that is not here.
    """
    for name in ("recipient", "subject", "sender"):
        options[name] = options[name] or ""
    check_priorities(options["priority"])
    if options["since"] and options["until"] and options["since"] >= options["until"]:
        words = "--since names the earlier end and --until the later one; between these two there is no time."
        raise CommandError(words, returncode=ExitCode.USAGE)
    recipient, part = _recipient(options["recipient"])
    if is_for_looking and recipient and not recipient.startswith("@") and not has_address(recipient, using):
        recipient, part = "", address_key(recipient)
        if not has_recipient("", part, using):
            raise _no_recipient(options["recipient"])
    chosen = Filter(
        ids=tuple(options.get("ids") or ()),
        states=tuple(options["state"]),
        causes=tuple(options["cause"]),
        routes=tuple(options["route"]),
        mailers=tuple(options["mailer"]),
        environments=tuple(options["environment"]),
        accounts=tuple(options["account"]),
        streams=tuple(options["stream"]),
        priorities=tuple(PriorityRank.of(Priority(one)).value for one in options["priority"]),
        recipient=recipient,
        recipient_part=part,
        sender=options["sender"].strip(),
        subject=options["subject"].strip(),
        newer_than=options["since"],
        older_than=options["until"],
    )
    # A release ends holds on what comes, whether it says so or not.
    check_filter(chosen, using, is_for_what_comes=bool(options.get("incoming")) or options.get("run") == "release")
    _refuse_missing(chosen.ids, using)
    if not is_for_looking and options["recipient"] and not has_recipient(recipient, part, using):
        raise _no_recipient(options["recipient"])
    return chosen


def named_messages(name: str, using: str) -> list[int]:
    """The messages of a number or a Message-ID, with or without its angle brackets."""
    text = name.strip()
    if text.isdecimal():
        if len(text) > _MOST_DIGITS or missing_messages([int(text)], using):
            return []
        return [int(text)]
    return message_ids(text, using) or message_ids(f"<{text}>", using)


def narrowed(chosen: Filter, only: Filter) -> Filter:
    """Return the intersection of two filters; `only` limits states, causes and delivering mailers."""

    def both(wanted: Sequence[str], most: Sequence[str]) -> Sequence[str]:
        if not most:
            return wanted
        return [one for one in most if not wanted or one in wanted] or [""]  # which no row has

    return replace(
        chosen,
        states=both(chosen.states, only.states),
        causes=both(chosen.causes, only.causes),
        delivering=both(chosen.delivering, only.delivering),
    )


def moment(text: str) -> datetime:
    """An age before now, or a time; without a zone it is in the site's. Always aware: two are compared."""
    if _AGE.match(text.strip()):
        return datetime.now(UTC) - age(text)
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time: write 90s, 15m, 2h, 3d or 2026-11-30T09:00") from error
    try:
        return (timezone.make_aware(found) if timezone.is_naive(found) else found).astimezone(UTC)
    except OverflowError as error:  # it has no name in UTC, as databases keep it
        raise ArgumentTypeError(f"{text!r} is beyond the calendar") from error


def age(text: str) -> timedelta:
    """90s, 15m, 2h or 3d."""
    match = _AGE.match(text.strip())
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not an age: write 90s, 15m, 2h or 3d")
    try:
        found = timedelta(**{_AGE_UNITS[match[2]]: int(match[1])})
        timezone.now() - found  # beyond the calendar's beginning it raises
    except OverflowError as error:
        raise ArgumentTypeError(f"{text!r} is too long ago") from error
    return found


def _recipient(text: str) -> tuple[str, str]:
    """The address or domain, or else the part of an address."""
    text = text.strip()
    if text.startswith("@") and len(text) > 1:
        return text, ""
    local, _, domain = bare_address(text).rpartition("@")
    return (bare_address(text), "") if local and domain else ("", text)


def _refuse_missing(ids: Sequence[int], using: str) -> None:
    """Refuse numbers that no message has."""
    missing = missing_messages(ids, using)
    if missing:
        names = ", ".join(map(str, missing))
        raise CommandError(f"There is no message {names}. Nothing was changed.", returncode=ExitCode.UNHEALTHY)


def look(options: dict[str, Any], using: str) -> Found:
    """Find the messages for `list`.

    Raises:
        CommandError: exit code 2 for a name that nothing has; 1 for a message or an address that is not here.
    """
    chosen = filter_of(options, using, is_for_looking=True)
    found = find(chosen, using, limit=options["limit"])
    text = options["recipient"].strip()
    if text and "@" not in text[1:] and not found.lines and found.looked_back_to is None:
        only = Filter(recipient=chosen.recipient, recipient_part=chosen.recipient_part)
        if only == chosen or not find(only, using, limit=1).lines:
            raise _no_recipient(text)
    return found


def _no_recipient(text: str) -> CommandError:
    words = f"There is no recipient {printable(text)!r} in the outbox."
    return CommandError(words, returncode=ExitCode.UNHEALTHY)
