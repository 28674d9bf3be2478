"""Parse the notation of EMAIL_URL: one URL, or `failover(url url …)`.

| scheme | meaning |
|---|---|
| `submission://`, `smtp+tls://` | STARTTLS, port 587 |
| `submissions://`, `smtp+ssl://` | TLS from the first byte, port 465 (RFC 8314) |
| `smtps://` | used for both: STARTTLS on port 587, TLS from the first byte on any other port |
| `smtp://` | ports 465 and 587 as above; otherwise STARTTLS (port 587) for a login to another machine, or no TLS (port 25) |
| `console:`, `file:///path`, `memory:`, `dummy:` | Django's backends of that kind |

User and password are percent-decoded. The query holds options by name, with `tls` and `ssl` for `use_tls` and `use_ssl`.
"""  # noqa: E501 - a row of a table is one line

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from reliable_email.backends.reading.route_options import is_loopback_name
from reliable_email.patterns import pattern
from reliable_email.records import dataclass, field
from reliable_email.values import ValueProblem, boolean, closest

_BACKENDS = {
    "console": "console",
    "consolemail": "console",
    "file": "filebased",
    "filemail": "filebased",
    "memory": "locmem",
    "memorymail": "locmem",
    "locmem": "locmem",
    "dummy": "dummy",
    "dummymail": "dummy",
}
_STARTTLS = frozenset({"submission", "submit", "smtp+tls"})
_IMPLICIT = frozenset({"submissions", "smtp+ssl"})
_SCHEMES = ("smtp", "smtps", *sorted(_STARTTLS | _IMPLICIT), *_BACKENDS)
_SHORT = {"tls": "use_tls", "ssl": "use_ssl", "verify": "ssl_verify", "user": "username"}
_GROUP = pattern(r"([a-z]+)\s*\((.*)\)\Z", re.DOTALL | re.IGNORECASE)


class URLProblem(ValueError):
    """The reason why a URL cannot be used, as the end of a sentence after the variable's name. Quotes no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedURL:
    """The options that one URL contains.

    Attributes:
        options: for `ReliableSMTPBackend`, or for `backend`; values are text.
        backend: the dotted path of another backend, None for SMTP.
        name: a word for the route, "" where the host has to give one.
        note: what was decided where the URL is ambiguous.
        problem: why a URL behind the first cannot be used, as in `URLProblem`; it says nothing else then.
    """

    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    backend: str | None = None
    name: str = ""
    note: str = ""
    problem: str = ""


def parse_urls(text: str) -> list[ParsedURL]:
    """The routes of one URL or of `failover(…)`, in order.

    Raises:
        URLProblem: it, or the first of several, cannot be understood.
    """
    group = _GROUP.match(text.strip())
    if group is None:
        if any(char.isspace() for char in text.strip()):
            raise URLProblem("must not contain spaces; several servers are written failover(url url)")
        return [_parse(text.strip())]
    word, inner = group[1].lower(), group[2]
    if word != "failover":
        remedy = " Write failover(…): the first healthy one is used." if word == "roundrobin" else ""
        raise URLProblem(f"has {word}(…), but only failover(…) is known.{remedy}".removesuffix("."))
    if "(" in inner:
        raise URLProblem("has a group within a group; write one failover(…) with all URLs in order")
    urls = inner.split()
    if not urls:
        raise URLProblem("has a failover(…) without URLs")
    return [_parse(urls[0]), *map(_parse_other, urls[1:])]


def _parse_other(url: str) -> ParsedURL:
    """A mistake in it does not keep the first one from working."""
    try:
        return _parse(url)
    except URLProblem as problem:
        return ParsedURL(problem=str(problem))


def _parse(url: str) -> ParsedURL:
    parts, port, reason = _split(url)
    if parts is None:
        raise URLProblem(f"is not a URL: {reason}")
    scheme = parts.scheme.lower()
    if scheme in _BACKENDS:
        return _plain_backend(scheme, parts)
    if scheme not in _SCHEMES:
        guess = closest(scheme, _SCHEMES) if scheme else None
        hint = f"did you mean {guess!r}?" if guess else f"known are {', '.join(_SCHEMES)}"
        raise URLProblem(f"begins with an unknown scheme, {scheme + ':' if scheme else 'none'!r}; {hint}")
    if parts.path not in ("", "/") or parts.fragment:
        raise URLProblem(
            "has something behind the host; percent-encode '/', '#', '?' and '@' in the user name and the password"
        )
    options = _query(parts)
    for name, value in (("host", parts.hostname), ("username", parts.username), ("password", parts.password)):
        if value:
            options.setdefault(name, unquote(value))
    if port is not None:
        options["port"] = str(port)
    note = ""
    if "use_tls" not in options and "use_ssl" not in options and "provider" not in options:
        mode, note = _mode(scheme, port, options)
        if mode:
            options[mode] = "true"
    elif scheme in _STARTTLS and "use_tls" not in options:
        options["use_tls"] = "true"
    elif scheme in _IMPLICIT and "use_ssl" not in options:
        options["use_ssl"] = "true"
    return ParsedURL(options=options, note=note)


def _split(url: str) -> tuple[SplitResult | None, int | None, str]:
    """The parts and the port, or why there are none. An error would keep urllib's, which quotes the URL."""
    try:
        parts = urlsplit(url)
        return parts, parts.port, ""
    except ValueError as error:
        return None, None, _harmless(error)


def _mode(scheme: str, port: int | None, options: Mapping[str, str]) -> tuple[str, str]:
    """The option that sets the TLS mode, "" for none, and a note where the scheme does not say it."""
    if scheme in _STARTTLS:
        return "use_tls", ""
    if scheme in _IMPLICIT:
        return "use_ssl", ""
    if scheme == "smtps":
        if port == 587:
            return "use_tls", "smtps:// with port 587 was taken as STARTTLS."
        return "use_ssl", f"smtps:// with port {port or 465} was taken as TLS from the first byte."
    if port == 465:
        return "use_ssl", "smtp:// with port 465 was taken as TLS from the first byte."
    has_login = bool(options.get("username") or options.get("password") or options.get("password_file"))
    if port == 587 or (has_login and not is_loopback_name(options.get("host", ""))):
        return "use_tls", "smtp:// with a login or port 587 was taken as STARTTLS."
    return "", ""


def _query(parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        key = _SHORT.get(name.lower(), name.lower())
        if key in options:
            raise URLProblem(f"gives {key!r} twice")
        options[key] = value
    for name in ("use_tls", "use_ssl"):
        if name in options:
            try:
                boolean(options[name])
            except ValueProblem as problem:
                raise URLProblem(f"has an option {name!r} that {problem}") from None
    return options


def _plain_backend(scheme: str, parts: SplitResult) -> ParsedURL:
    kind = _BACKENDS[scheme]
    backend = f"django.core.mail.backends.{kind}.EmailBackend"
    if kind != "filebased":
        return ParsedURL(backend=backend, name=kind)
    path = unquote(f"{parts.netloc}{parts.path}")
    if not path:
        raise URLProblem("needs a folder: file:///path")
    return ParsedURL(backend=backend, options={"file_path": path}, name="file")


def _harmless(error: ValueError) -> str:
    """urllib quotes pieces of the URL in its errors, and a piece may be a password with an unescaped character."""
    if "port" in str(error).lower():
        return "the part behind the host's ':' is not a port (percent-encode ':', '/', '#', '?' and '@' in a password)"
    return "its host cannot be read (percent-encode '[', ']' and '@' in a user name or password)"
