"""The addresses of the settings, as people write them: with a name, with a comma in it, without a domain."""

from collections.abc import Iterator, Sequence
from email.utils import getaddresses

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name

from reliable_email.delivery.content.building import envelope_address
from reliable_email.records import dataclass

NOBODYS_SENDER = "webmaster@localhost"  # Django's default


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressProblem:
    """An address of a setting that cannot be used.

    Attributes:
        place: the setting.
        text: a sentence about it.
        remedy: what to write instead.
    """

    place: str
    text: str
    remedy: str


def address_problems() -> Iterator[AddressProblem]:
    """Addresses in DEFAULT_FROM_EMAIL, SERVER_EMAIL, ADMINS and MANAGERS that no message could carry."""
    for place, written in written_addresses():
        problem = problem_of(written)
        if problem:
            yield AddressProblem(place=place, text=f"{place} {problem[0]}", remedy=problem[1])


def written_addresses() -> Iterator[tuple[str, str]]:
    """(setting, address as it is written there)."""
    for name in ("DEFAULT_FROM_EMAIL", "SERVER_EMAIL"):
        yield name, str(getattr(settings, name, "") or "")
    for name in ("ADMINS", "MANAGERS"):
        for one in _entries(getattr(settings, name, ())):
            yield name, one


def default_sender_messages() -> Iterator[CheckMessage]:
    """Warn of a DEFAULT_FROM_EMAIL that a message can carry, but that receivers refuse (W009)."""
    sender = dict(written_addresses())["DEFAULT_FROM_EMAIL"]
    if problem_of(sender) is not None or "." in envelope_of(sender).rpartition("@")[2]:
        return
    what = "Django's default" if sender == NOBODYS_SENDER else "without a domain of the DNS"
    yield Warning(
        f"DEFAULT_FROM_EMAIL is {sender!r}, {what}: many servers refuse mail from it, and recipients could not answer.",
        hint="Set DEFAULT_FROM_EMAIL to an address of your own domain.",
        id="reliable_email.W009",
    )


def people(name: str) -> list[str]:
    """The addresses of ADMINS or MANAGERS, in either form that Django has had."""
    return list(_entries(getattr(settings, name, ())))


def problem_of(written: str) -> tuple[str, str] | None:
    """(what is wrong, what to write) of an address, None where a message can carry it."""
    if not written:
        return None
    try:
        envelope_address(written)
    except ValueError:
        pass
    else:
        return None
    quoted = _quoted(written)
    if quoted:
        return (
            f"is not one e-mail address: {written!r} has a comma in its name, which separates addresses.",
            f"Put the name in quotation marks: {quoted!r}.",
        )
    return f"is not an e-mail address: {written!r}.", "Write user@example.com, or Name <user@example.com>."


def envelope_of(written: str) -> str:
    """The bare address, as MAIL and RCPT say it; what is written where it is none."""
    try:
        return envelope_address(written)
    except ValueError:
        return written


def split_addresses(given: Sequence[str]) -> list[str]:
    """Addresses of a command line, where several may stand in one argument, separated by commas."""
    found = []
    for argument in given:
        try:
            envelope_address(argument)
        except ValueError:
            parts = [address for _, address in getaddresses([argument])]
            found += parts if len(parts) > 1 and all("@" in part for part in parts) else [argument]
        else:
            found.append(argument)
    return found


def _entries(value: object) -> Iterator[str]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        return
    for one in value:
        # (name, address) up to Django 5.2, an address since.
        yield str(one[1]) if isinstance(one, tuple | list) and len(one) == 2 else str(one)


def _quoted(written: str) -> str:
    """The same with its name in quotation marks, "" where that does not help."""
    name, bracket, rest = written.rpartition("<")
    bare = name.strip().strip('"')
    if not bracket or not any(mark in bare for mark in ",;()@:[]"):
        return ""
    quoted = f'"{bare}" <{rest}'
    try:
        envelope_address(quoted)
    except ValueError:
        return ""
    return quoted
