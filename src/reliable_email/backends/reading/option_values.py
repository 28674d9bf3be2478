"""The values that only a mailer has: hosts, headers, pins, addresses. `reliable_email.values` has the rest."""

import ipaddress
from datetime import timedelta
from typing import Literal

from reliable_email.delivery.report import bare_address
from reliable_email.delivery.submission import OnUnknown, Priority
from reliable_email.smtp.dsn import DSN, dsn_from
from reliable_email.smtp.protocol.auth import PASSWORD_MECHANISMS, TOKEN_MECHANISMS
from reliable_email.smtp.syntax.paths import forward_path
from reliable_email.values import Unusable, ValueProblem, boolean, choice, integer, seconds, shown, strings, text

_MECHANISMS = ("auto", *(name.lower() for name in (*PASSWORD_MECHANISMS, *TOKEN_MECHANISMS)))


def host_name(value: object) -> str:
    """A host's name or address alone; an IPv6 address without its brackets."""
    if isinstance(value, Unusable):
        raise ValueProblem(f"is not known: {value}")
    host = text(value)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host:
        raise ValueProblem("is empty")
    is_address = ":" in host and _is_ip(host)
    if not is_address and (any(char in host for char in "/@:,") or any(char.isspace() for char in host)):
        but = "" if "@" in host else f", not {shown(value)}"  # a login is not repeated
        raise ValueProblem(f"must be a host name alone, without scheme, port or login{but}")
    return host


def certificate_name(value: object) -> str | None:
    """The option `tls_server_name`: a host's name or address; None where it is empty."""
    return host_name(value) if value != "" else None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def ehlo_name(value: object) -> str | None:
    """The name that EHLO says; None where it is empty."""
    word = text(value)
    if not word.isascii() or any(char.isspace() for char in word):
        raise ValueProblem(f"must be a host name in ASCII, as EHLO says it, not {shown(value)}")
    return word or None


def dsn(value: object) -> DSN | None:
    """The option `dsn`; None where it is empty."""
    if not value:
        return None
    try:
        return dsn_from(value)
    except ValueError as error:
        raise ValueProblem(str(error)) from error


def header_name(value: object) -> str | None:
    """The name of a header; None for False or nothing."""
    if value is False or value == "":
        return None
    name = text(value)
    if not name or any(not 32 < ord(char) < 127 or char == ":" for char in name):
        raise ValueProblem(f"must be the name of a header, or False for none, not {shown(value)}")
    return name


def auto_or_boolean(value: object) -> bool | Literal["auto"]:
    """The options `ssl_strict` and `chaining`."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return boolean(value)
    except ValueProblem:
        raise ValueProblem(f"must be true, false or 'auto', not {shown(value)}") from None


def pins(value: object) -> tuple[str, ...]:
    """The option `ssl_pin`."""
    return tuple(map(_pin, strings(value)))


def _pin(words: str) -> str:
    """One pin in its canonical spelling, so that equal pins are equal options."""
    from reliable_email.smtp.tls.pins import parse_pin, show_pin  # most servers are known by their authority

    try:
        return show_pin(parse_pin(words))
    except ValueError as error:
        raise ValueProblem(f"cannot be used: {error}") from error


def address(value: object) -> str | None:
    """One address, which may be written with a name; None where it is empty."""
    words = bare_address(text(value))
    if not words:
        return None
    try:
        forward_path(words)
    except ValueError as error:
        raise ValueProblem(f"must be an e-mail address, not {shown(value)}") from error
    if not words.rpartition("@")[0]:
        raise ValueProblem(f"must be an e-mail address, not {shown(value)}")
    return words


def address_patterns(value: object) -> tuple[str, ...]:
    """Addresses as they are, domains without a leading "@"; domains in lower case."""
    patterns = []
    for entry in map(bare_address, strings(value)):
        local, _, domain = entry.rpartition("@")
        if not domain or any(char.isspace() for char in entry):
            raise ValueProblem(f"must list addresses and domains, not {shown(entry)}")
        patterns.append(f"{local}@{domain.lower()}" if local else domain.lower())
    return tuple(patterns)


def positive(value: object) -> int:
    """A whole number of at least one."""
    return integer(value, at_least=1)


def on_unknown(value: object) -> OnUnknown:
    """The option `on_unknown`."""
    return OnUnknown(choice(value, tuple(OnUnknown)))


def port(value: object) -> int:
    """The number of a TCP port."""
    return integer(value, at_least=1, at_most=65_535)


def mechanism(value: object) -> str:
    """The option `auth`."""
    return choice(value, _MECHANISMS)


def flight(value: object) -> int:
    """The option `flight`."""
    return integer(value, at_least=0, at_most=100)


def one_alias(value: object) -> str:
    """The alias of one mailer; empty text if none is named."""
    aliases = strings(value)
    if len(aliases) > 1:
        raise ValueProblem(
            f"must be one alias, not {shown(value)}: put a FailoverBackend over several routes and name that"
        )
    return aliases[0] if aliases else ""


def duration(value: object) -> timedelta:
    """A timedelta, or a number of seconds."""
    if isinstance(value, timedelta):
        if value <= timedelta():
            raise ValueProblem(f"must be longer than nothing, not {shown(value)}")
        return value
    return timedelta(seconds=seconds(value))


def priority(value: object) -> Priority:
    """The option `priority`."""
    return Priority(choice(value, tuple(Priority)))
