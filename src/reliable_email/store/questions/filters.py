"""Filters: the conditions on recipients that lists and acts have in common."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Q, QuerySet

from reliable_email.delivery.report import address_key, bare_address
from reliable_email.records import dataclass, replace
from reliable_email.smtp.syntax.paths import InvalidPath, domain_identity, forward_path, older_spellings
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient


def outbox_database(using: str | None = None) -> str:
    """The alias of the outbox's database: the one that is named, else where the router writes, never a replica."""
    return using or router.db_for_write(OutboxMessage) or DEFAULT_DB_ALIAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The conditions on recipients; all that are given must hold.

    Attributes:
        ids: messages.
        recipient_ids: single rows.
        up_to: rows with this id or a lower one: none that came later.
        states, causes, routes, environments: any of these.
        mailers: any of these, as the mailer that delivers or the one that the application used.
        delivering: any of these, as the mailer that delivers.
        accounts, streams: any of these.
        priorities: any of these ranks.
        recipient: an address in any spelling, or a domain with its @.
        recipient_part: characters of an address.
        sender: of the envelope: an address, a domain with its @, or characters of an address.
        subject: words of a subject that is not sealed.
        detail: exactly what an act has left in the row, as `operate.trace` words it.
        held_by: who held it, by an act or by a hold of what comes.
        older_than, newer_than: by the time of queueing.
    """

    ids: Sequence[int] = ()
    recipient_ids: Sequence[int] = ()
    up_to: int | None = None
    states: Sequence[str] = ()
    causes: Sequence[str] = ()
    routes: Sequence[str] = ()
    mailers: Sequence[str] = ()
    delivering: Sequence[str] = ()
    environments: Sequence[str] = ()
    accounts: Sequence[str] = ()
    streams: Sequence[str] = ()
    priorities: Sequence[int] = ()
    recipient: str = ""
    recipient_part: str = ""
    sender: str = ""
    subject: str = ""
    detail: str = ""
    held_by: str = ""
    older_than: datetime | None = None
    newer_than: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """True if it means everything."""
        return self == Filter()


def stored_spellings(address: str) -> set[str]:
    """Return the spellings of an address that rows may hold: its path, in lower case, and as stored earlier."""
    bare = bare_address(address)
    try:
        path, _ = forward_path(bare)
    except InvalidPath:
        path = bare
    return {path, *older_spellings(bare)}


def recipients(chosen: Filter, using: str | None = None) -> "QuerySet[OutboxRecipient]":
    """The rows that a filter means, for layers that may touch the models."""
    rows = OutboxRecipient._base_manager.using(outbox_database(using))
    for lookup, values in (
        ("message_id__in", chosen.ids),
        ("pk__in", chosen.recipient_ids),
        ("state__in", chosen.states),
        ("cause__in", chosen.causes),
        ("route__in", chosen.routes),
        ("mailer__in", chosen.delivering),
        ("environment__in", chosen.environments),
        ("priority__in", chosen.priorities),
    ):
        if values:
            rows = rows.filter(**{lookup: list(values)})
    if chosen.up_to is not None:
        rows = rows.filter(pk__lte=chosen.up_to)
    if chosen.recipient:
        rows = rows.filter(_spelled("address", chosen.recipient))
    if chosen.recipient_part:
        rows = rows.filter(address__icontains=chosen.recipient_part)
    about_message = of_messages(chosen, "message__")
    if about_message:
        rows = rows.filter(about_message)
    if chosen.detail:
        rows = rows.filter(detail=chosen.detail)
    if chosen.held_by:
        held = f"held by {chosen.held_by}"
        rows = rows.filter(Q(detail=held) | Q(detail__startswith=f"{held}, act "))
    return rows


def of_messages(chosen: Filter, prefix: str = "") -> Q:
    """The conditions that stand in the messages' rows alone; empty where there is none."""
    wanted = Q()
    if chosen.mailers:
        names = list(chosen.mailers)
        wanted &= Q(**{f"{prefix}mailer__in": names}) | Q(**{f"{prefix}entry_mailer__in": names})
    if chosen.accounts:
        wanted &= Q(**{f"{prefix}account__in": list(chosen.accounts)})
    if chosen.streams:
        wanted &= Q(**{f"{prefix}stream__in": list(chosen.streams)})
    if chosen.sender:
        wanted &= _sender(chosen.sender, prefix)
    if chosen.subject:
        wanted &= Q(**{f"{prefix}encryption_key": "", f"{prefix}subject__icontains": chosen.subject})
    if chosen.older_than is not None:
        wanted &= Q(**{f"{prefix}created_at__lt": chosen.older_than})
    if chosen.newer_than is not None:
        wanted &= Q(**{f"{prefix}created_at__gte": chosen.newer_than})
    return wanted


def without_messages(chosen: Filter) -> Filter:
    """The rest of the conditions."""
    own: dict[str, Any] = {"mailers": (), "accounts": (), "streams": (), "sender": "", "subject": ""}
    return replace(chosen, older_than=None, newer_than=None, **own)


def _spelled(column: str, wanted: str) -> Q:
    """An address in any spelling, or any address of a domain."""
    if wanted.startswith("@"):
        domain = f"@{domain_identity(wanted[1:])}"
        return Q(**{f"{column}__iendswith": wanted}) | Q(**{f"{column}__iendswith": domain})
    spelled = stored_spellings(wanted)
    return Q(**{f"{column}__iexact": address_key(wanted)}) | Q(**{f"{column}__in": spelled})


def _sender(wanted: str, prefix: str) -> Q:
    if wanted.startswith("@"):
        by_header = Q(**{f"{prefix}from_domain__iexact": domain_identity(wanted[1:])})
        return _spelled(f"{prefix}sender", wanted) | by_header
    bare = bare_address(wanted)
    local, _, domain = bare.rpartition("@")
    return _spelled(f"{prefix}sender", bare) if local and domain else Q(**{f"{prefix}sender__icontains": bare})
