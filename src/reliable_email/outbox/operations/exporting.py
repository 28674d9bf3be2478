"""All that is stored of one person, for that person: without the other recipients of the same messages.

What is read is the registry's word (`store.questions.personal`). It is written piece by piece, since content may
be large.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import Model
from django.utils import timezone

from reliable_email.outbox.keyring import KeyMissing, Keyring, configured_keyring
from reliable_email.outbox.operations.erasure import rows_to, sent_by
from reliable_email.outbox.operations.letters import Letter, letter, open_or_say
from reliable_email.outbox.operations.mentions import Names, mentions
from reliable_email.outbox.operations.operate import note
from reliable_email.smtp.syntax.paths import identity, older_spellings
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.handled import HandlerEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Suppression

_OTHER = "(another recipient)"
# They name everybody who got it, with their names; what concerns this person is in `recipient`.
_NAMING = frozenset({"to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc", "x-redirected-for"})
_MESSAGE = (
    "id", "message_id", "mailer", "entry_mailer", "account", "stream", "environment", "priority", "created_at",
    "send_at", "expires_at", "sender", "content_size",
)  # fmt: skip
_RECIPIENT = (
    "address", "state", "due_at", "attempts", "route", "stage", "cause", "reply_code", "reply_enhanced", "reply_text",
    "detail", "provider_message_id", "settled_at", "bounced_at", "complained_at",
)  # fmt: skip
_ATTEMPT = ("route", "peer", "finished_at", "seconds", "stage", "cause", "reply_code", "reply_enhanced", "reply_text",
            "detail", "dialogue", "provider_message_id")  # fmt: skip
_EVENT = ("address", "kind", "source", "at", "noted_at", "detail", "cause", "reply_enhanced")
_HANDLED = ("handler", "kind", "created_at", "detail", "error")
_LISTED = ("address", "stream", "reason", "source", "created_at", "expires_at")


def export(address: str, *, actor: str, using: str | None = None) -> Iterator[str]:
    """One JSON object in pieces; that it was made is recorded before the first."""
    alias = outbox_database(using)
    own = rows_to(alias, address)
    sent = sent_by(alias, address)
    note("export", actor=actor, target=identity(address), count=len(own), using=alias)
    yield json.dumps({"address": identity(address), "at": timezone.now()}, default=str)[:-1]
    keyring = configured_keyring()
    yield from _list("messages", (_received(alias, pk, keyring) for pk, _ in own))
    yield from _list("sent", (_message(alias, pk, keyring, Names([])) for pk in sent))
    yield from _list("suppressions", _suppressions(alias, address))
    yield from _list("mentions", (_mention(*one) for one in mentions(alias, Names([address]))))
    yield "}\n"


def _list(name: str, items: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield f', "{name}": ['
    for number, one in enumerate(items):
        yield f"{', ' if number else ''}{json.dumps(one, default=str)}"
    yield "]"


def _received(alias: str, pk: int, keyring: Keyring) -> dict[str, Any]:
    row = OutboxRecipient._base_manager.using(alias).filter(pk=pk).first()
    if row is None:  # pruned meanwhile
        return {}
    others = OutboxRecipient._base_manager.using(alias).filter(message=row.message_id).exclude(pk=pk)
    names = Names([one for one in others.values_list("address", flat=True) if identity(one) != identity(row.address)])
    found = _message(alias, row.message_id, keyring, names)
    key = found.pop("encryption_key", "")
    attempts = Attempt._base_manager.using(alias).filter(message=row.message_id).order_by("pk")
    position = str(row.position)
    events = ProviderEvent._base_manager.using(alias).filter(message=row.message_id, position=row.position)
    handled = HandlerEvent._base_manager.using(alias).filter(message_id=row.message_id, position=row.position)
    return found | {
        "recipient": _values(row, _RECIPIENT, key, keyring, names),
        "attempts": [
            _values(one, _ATTEMPT, key, keyring, names) | {"outcome": one.outcomes[position]}
            for one in attempts
            if position in one.outcomes
        ],
        "events": [_values(one, _EVENT, key, keyring, names) for one in events.order_by("pk")],
        "handlers": [_values(one, _HANDLED, "", keyring, names) for one in handled.order_by("pk")],
    }


def _message(alias: str, pk: int, keyring: Keyring, others: Names) -> dict[str, Any]:
    row = OutboxMessage._base_manager.using(alias).filter(pk=pk).first()
    if row is None:
        return {}
    found = _values(row, _MESSAGE, "", keyring, others)
    found["subject"] = others.without(open_or_say(row.subject, row.encryption_key, keyring), _OTHER)
    found["encryption_key"] = row.encryption_key
    if row.content is not None:
        try:
            found["content"] = _content(letter(keyring.open(bytes(row.content), row.encryption_key)), others)
        except KeyMissing:
            found["content"] = "(encrypted with a key that is not here)"
    return found


def _content(found: Letter, others: Names) -> dict[str, Any]:
    def told(text: str | None) -> str | None:
        return None if text is None else others.without(text, _OTHER)

    return {
        "headers": [[name, told(value)] for name, value in found.headers if name.lower() not in _NAMING],
        "text": told(found.text),
        "html": told(found.html),
        "attachments": [
            {"name": one.name, "content_type": one.content_type, "size": one.size} for one in found.attachments
        ],
    }


def _suppressions(alias: str, address: str) -> Iterator[dict[str, Any]]:
    rows = Suppression._base_manager.using(alias).filter(address__in=older_spellings(address)).order_by("pk")
    for row in rows:
        if identity(row.address) == identity(address):
            yield {name: getattr(row, name) for name in _LISTED}


def _mention(row: Model, column: str, value: Any) -> dict[str, Any]:
    return {"table": row._meta.db_table, "id": row.pk, "column": column, "text": value}


def _values(row: Model, names: Sequence[str], key: str, keyring: Keyring, others: Names) -> dict[str, Any]:
    """Columns that say something, sealed ones opened, without the others."""
    found = {name: getattr(row, name) for name in names}
    for name in ("reply_text", "detail", "dialogue"):
        if isinstance(found.get(name), str) and key and found[name].startswith("gAAAA"):
            found[name] = open_or_say(found[name], key, keyring)
    return {name: others.without_any(value, _OTHER) for name, value in found.items() if value not in ("", None)}
