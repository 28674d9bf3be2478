"""The registry of personal data: what each column of each table says of people, and what erasing one leaves in it.

Erasure and export read nothing else. A test holds every model to it, so that a new column has to be decided about.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from django.db.models import Model

from reliable_email.records import dataclass
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.handled import HandlerEvent
from reliable_email.store.tables.holds import IncomingHold
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.parts import Part, PartReference
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.routes import LearnedLimit, Opening
from reliable_email.store.tables.shared import (
    Action,
    LatencyTotal,
    OutcomeTotal,
    RouteState,
    Suppression,
    Tally,
    Worker,
)


class Role(StrEnum):
    """The relation of a column to a person."""

    ADDRESS = "address"  # says whom the row is about
    OWN = "own"  # about that person alone
    SHARED = "shared"  # the message's, for all its recipients; emptied when none of them waits for it any more
    SENDER = "sender"  # says who sent it; emptied where that person is meant
    WORDS = "words"  # somebody's words, in which the address may stand
    ACTOR = "actor"  # who did something here: kept, since a record without it proves nothing
    PARTS = "parts"  # rows that go with the content; what they refer to is deleted when nothing refers to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column that holds personal data. `empty` is what stands there afterwards."""

    model: type[Model]
    column: str
    role: Role
    empty: Any = ""


def _places() -> Iterator[Place]:
    for model, role, columns in (
        (OutboxRecipient, Role.ADDRESS, ("address",)),
        (OutboxRecipient, Role.OWN, ("reply_text", "detail", "provider_message_id", "return_token")),
        (OutboxMessage, Role.SENDER, ("sender", "from_domain")),
        (OutboxMessage, Role.SHARED, ("subject", "headers", "content_digest", "assembled_digest")),
        (Attempt, Role.SHARED, ("reply_text", "detail", "provider_message_id")),
        (ProviderEvent, Role.ADDRESS, ("address",)),
        (ProviderEvent, Role.OWN, ("detail",)),
        (HandlerEvent, Role.OWN, ("error",)),
        (Suppression, Role.ADDRESS, ("address",)),
        (Suppression, Role.WORDS, ("reason", "source")),
        (Action, Role.WORDS, ("target", "reason", "detail")),
        (Action, Role.ACTOR, ("actor",)),
        (IncomingHold, Role.WORDS, ("reason",)),
        (IncomingHold, Role.ACTOR, ("actor",)),
        (Opening, Role.WORDS, ("evidence",)),
        (LearnedLimit, Role.WORDS, ("evidence",)),
        (RouteState, Role.WORDS, ("breaker",)),
        (PartReference, Role.PARTS, ("part_id",)),
        (Part, Role.PARTS, ("content", "digest")),
    ):
        for column in columns:
            yield Place(model=model, column=column, role=role)
    yield Place(model=OutboxMessage, column="content", role=Role.SHARED, empty=None)
    yield Place(model=OutboxMessage, column="fields", role=Role.SHARED, empty=None)
    yield Place(model=Attempt, column="dialogue", role=Role.SHARED, empty=None)
    yield Place(model=HandlerEvent, column="detail", role=Role.OWN, empty={})


PLACES: tuple[Place, ...] = tuple(_places())


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Everything else: numbers, instants, states, names of the site's own, and identifiers that are drawn by chance. The
# idempotency digest is of a key that the application chose; it stays, so that nothing is sent twice.
IMPERSONAL: dict[type[Model], frozenset[str]] = {
    OutboxMessage: _names(
        "id mailer entry_mailer account stream environment priority created_at send_at expires_at message_id "
        "content_size is_7bit needs_smtputf8 encryption_key on_unknown traceparent idempotency_digest"
    ),
    OutboxRecipient: _names(
        "id message_id position state mailer lane environment priority due_at gives_up_at claim claimed_by lease_until "
        "authorized_at authorized_route attempts crashes started_at unknowns pinned_route refused_by route stage cause "
        "reply_code reply_enhanced settled_at identity_version bounced_at complained_at erasing_at"
    ),
    Attempt: _names(
        "id message_id claim worker route peer finished_at seconds stage cause reply_code reply_enhanced outcomes"
    ),
    # The digest tells the provider's own event from others; it is made anew with a key when the address goes.
    ProviderEvent: _names("id message_id position kind source at noted_at cause reply_enhanced digest"),
    HandlerEvent: _names("id handler kind message_id position created_at due_at attempts"),
    Suppression: _names("id stream identity_version digest_key created_at expires_at"),
    Action: _names("id at verb count"),
    IncomingHold: _names("id mailer account stream priority created_at expires_at"),
    Opening: _names("id route account number reason opened_at closed_at failed_probes"),
    LearnedLimit: _names("id host port name value noted_at expires_at"),
    RouteState: _names("id alias account version ledger updated_at"),
    Part: _names("id environment encryption_key content_size created_at touched_at"),
    PartReference: _names("id message_id position offset"),
    Worker: _names("id name environment host pid connections state started_at seen_at settled"),
    Tally: _names("id minute route outcome cause count seconds"),
    OutcomeTotal: _names("id route outcome cause count"),
    LatencyTotal: _names("id route stage milliseconds count seconds"),
}


def columns(model: type[Model], *roles: Role) -> tuple[str, ...]:
    """The columns of a model that have one of these roles."""
    return tuple(one.column for one in PLACES if one.model is model and one.role in roles)


def emptied(model: type[Model], *roles: Role) -> dict[str, Any]:
    """Return the values that an UPDATE writes into the columns of these roles."""
    return {one.column: one.empty for one in PLACES if one.model is model and one.role in roles}


def models_with(role: Role) -> tuple[type[Model], ...]:
    """The models that have such a column, each once."""
    return tuple(dict.fromkeys(one.model for one in PLACES if one.role is role))
