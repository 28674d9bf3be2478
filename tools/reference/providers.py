"""docs/reference/providers.md: what is known of each provider."""

import re
from collections.abc import Iterator
from importlib.util import find_spec

from reliable_email import providers
from reliable_email.providers import Provider, Quota
from reliable_email.testing.wordings import HABITS
from tools.reference.markdown import span, table

_BEGINNING = """\
# Providers

For anyone who sends through one of these providers: what the package knows about it. `{"provider": "gmail"}` in OPTIONS
sets host, port, TLS, limits and quotas; other options that you give take precedence. If a limit is not listed, the
provider does not document it, but it may have one. The data are files in the package; their comments name the sources.

"""


_MATRIX = """\
## The provider matrix: what each can do

"""
_LEGEND = """
*Events*: whether [events](../provider-events.md) reach this package through django-anymail, and how they are
authenticated; the tests post *tested* ones to anymail's views, also forged and repeated. *Second copies*: the header by
which the provider recognizes them. *DSN*, *SMTPUTF8* and *SIZE*: what the provider's server announces; "?" means not
known. *Return path*: the domain that the provider puts into the envelope's sender.
"""
# What proves an event, of those that the tests post: tests/django/test_signed_events.py.
_PROOFS = {
    "sendgrid": "signature",
    "mailgun": "signature",
    "resend": "signature",
    "ses": "secret in the URL",
    "postmark": "secret in the URL",
    "brevo": "secret in the URL",
}
_PATHS = {"sender": "kept", "account": "the account", "domain": "in your domain", "provider": "its own"}


def page() -> str:
    """The whole page."""
    names = [name for name in providers.names() if name != "generic"]
    found = [providers.get(name) for name in names]
    overview = table(
        ("Name", "Provider", "Host", "Port", "Login"),
        [(f"[`{one.name}`](#{_anchor(one)})", one.title, f"`{one.host}`", str(one.port), _login(one)) for one in found],
    )
    matrix = table(
        ("Name", "Events", "Second copies", "DSN", "SMTPUTF8", "SIZE", "Return path", "OAuth", "As of"),
        [_row(one) for one in found],
    )
    return "\n".join(
        [_BEGINNING + overview, _MATRIX + matrix + _LEGEND, *(part for one in found for part in _provider(one))]
    )


def _anchor(one: Provider) -> str:
    return re.sub(r"[^\w-]", "", one.title.lower().replace(" ", "-"))


def _row(one: Provider) -> tuple[str, ...]:
    habits = HABITS.get(one.name)
    size = one.max_message_bytes or (habits.size_limit if habits is not None and habits.announces_size else None)
    return (
        f"`{one.name}`",
        _events(one),
        f"`{one.idempotency_header}`" if one.idempotency_header else "–",
        "?" if habits is None else "yes" if "DSN" in habits.keywords else "–",
        "?" if habits is None else "yes" if "SMTPUTF8" in habits.keywords else "–",
        f"{size:,}" if size else "?",
        _PATHS[one.return_path],
        "yes" if "xoauth2" in one.auth else "–",
        one.as_of,
    )


def _events(one: Provider) -> str:
    if one.name in _PROOFS:
        return f"tested: {_PROOFS[one.name]}"
    return "anymail" if find_spec(f"anymail.webhooks.{one.name}") is not None else "–"


def _login(one: Provider) -> str:
    if one.username_is_password:
        return "one token, given as `password`"
    if one.username:
        return f"`{one.username}` (set by the package) and a password"
    return "user name and password" + (", or XOAUTH2" if "xoauth2" in one.auth else "")


def _provider(one: Provider) -> Iterator[str]:
    yield f"## {one.title}\n"
    rows = [("`provider`", f'`"{one.name}"`'), ("server", f"`{one.host}:{one.port}`, {one.tls.value}")]
    if one.alternatives:
        others = ", ".join(f"{other.port} ({other.tls.value})" for other in one.alternatives)
        rows.append(("other ports", others))
    if one.region or one.regions:
        rows.append(("regions", ", ".join(one.regions) or f"any; {one.region} by default"))
    rows += [(name, value) for name, value in _limits(one) if value]
    yield table(("", ""), rows)
    if one.notes:
        yield "\n".join(f"- {note}" for note in one.notes) + "\n"
    if one.links:
        yield "Their pages: " + ", ".join(f"[{title}]({url})" for title, url in one.links.items()) + ".\n"


def _limits(one: Provider) -> Iterator[tuple[str, str]]:
    yield "quota", ", ".join(map(_quota, one.quotas))
    yield "recipients of one message", f"{one.max_recipients_per_message or ''}"
    yield "bytes of one message", f"{one.max_message_bytes:,}" if one.max_message_bytes else ""
    yield "connections at once", f"{one.max_connections or ''}"
    yield "messages per connection", f"{one.messages_per_connection or ''}"
    if one.idempotency_header:
        kept = f", remembered for {span(one.idempotency_seconds)}" if one.idempotency_seconds else ""
        yield "header that marks second copies", f"`{one.idempotency_header}`{kept}"
    yield "SPF", f"`include:{one.spf_include}`" if one.spf_include else ""
    yield "usual DKIM selectors", ", ".join(f"`{name}`" for name in one.dkim_selectors)
    yield "From", one.from_rewritten.strip()


def _quota(one: Quota) -> str:
    return f"{one.limit:,} {one.unit} in {span(one.window_seconds)}"
