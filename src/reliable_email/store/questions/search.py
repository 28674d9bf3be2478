"""One page of recipients, the newest first, from a table of any size.

Nothing is counted and nothing is sorted: a page is a range of the primary key, or of an index that ends with it. What
has no index (cause, route, subject, a whole domain) is looked for in a window of the newest rows, and the page says how
far it has looked, so that whoever needs older ones looks further.
"""

from dataclasses import field as dataclass_field
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from django.db.models import Max, Q, QuerySet

from reliable_email.delivery.report import address_key, bare_address
from reliable_email.patterns import pattern
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import (
    Filter,
    of_messages,
    outbox_database,
    recipients,
    stored_spellings,
    without_messages,
)
from reliable_email.store.questions.stories import message_ids, reply_words
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.messages import MESSAGE_ID_LENGTH, OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State

PAGE_ROWS = 50
WINDOW_ROWS = 10_000
# Transactions that were open at the same time commit in any order, so ids follow the clock only nearly.
_DISORDER = 10_000
_MESSAGES_AT_ONCE = 500
_SPREAD = 4  # so many messages between may be read for one that is asked for
_NAMED = pattern(r"[^<>]+<[^<>\s]+@[^<>\s]+>")


class Field(StrEnum):
    """The field that a search text is compared with."""

    ANYTHING = "anything"  # judged by its form
    RECIPIENT = "recipient"
    MESSAGE_ID = "message_id"
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The conditions of a search.

    Attributes:
        text: an address, a domain with its @, a Message-ID, a message's number, or words of a subject.
        chosen: conditions besides the text.
        before: recipients with lower ids only: where the page before ended. None for the newest.
    """

    text: str = ""
    field: Field = Field.ANYTHING
    chosen: Filter = dataclass_field(default_factory=Filter)
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One recipient. `subject` and the last words of `reply` are sealed where `encryption_key` is not empty."""

    id: int
    message: int
    address: str
    state: str
    route: str
    cause: str
    stage: str
    reply: str
    detail: str
    mailer: str
    entry_mailer: str
    attempts: int
    due_at: datetime | None
    settled_at: datetime | None
    created_at: datetime
    subject: str
    encryption_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some lines.

    Attributes:
        before: pass it on for the next page; None where there is nothing older.
        is_cut: the window ended before the page was full; there may be more further back.
        looked_back_to: where it ended, then.
        field: what the text was taken for.
        chosen: the filter that finds all of it, for acts.
    """

    lines: list[Line]
    before: int | None
    is_cut: bool
    looked_back_to: datetime | None
    field: Field
    chosen: Filter


def search(wanted: Search, using: str | None = None, *, size: int = PAGE_ROWS, window: int = WINDOW_ROWS) -> Page:
    """One page of what is looked for."""
    alias = outbox_database(using)
    field, chosen, subject = _understood(wanted, alias)
    every = OutboxRecipient._base_manager.using(alias)
    chosen = replace(chosen, subject=subject) if subject else chosen
    about_messages = of_messages(chosen)
    rows, is_windowed = _conditions(chosen, alias)
    newest, oldest = _bounds(chosen, wanted.before, alias)
    if newest is not None:
        rows, every = rows.filter(pk__lt=newest), every.filter(pk__lt=newest)
    floor, is_cut = oldest, False
    if is_windowed:
        indexed = _only_indexed(chosen, every)
        edge = list(indexed.order_by("-pk").values_list("pk", flat=True)[window : window + 1])
        if edge and (oldest is None or edge[0] > oldest):
            floor, is_cut = edge[0], True
    if floor is not None:
        rows = rows.filter(pk__gt=floor)
    if about_messages:
        rows = every.filter(pk__in=_of_such_messages(rows, about_messages, alias, size + 1))
    found = list(rows.order_by("-pk").select_related("message").only(*_COLUMNS)[: size + 1])
    lines = [_line(one) for one in found[:size]]
    if len(found) > size:
        return Page(
            lines=lines,
            before=found[size - 1].pk,
            is_cut=False,
            looked_back_to=None,
            field=field,
            chosen=chosen,
        )
    return Page(
        lines=lines,
        before=floor + 1 if is_cut and floor is not None else None,
        is_cut=is_cut,
        looked_back_to=_queued_at(floor, alias) if is_cut and floor is not None else None,
        field=field,
        chosen=chosen,
    )


def _of_such_messages(rows: "QuerySet[OutboxRecipient]", about: Q, alias: str, count: int) -> list[int]:
    """The newest of the rows, `count` of them, whose message is such a one.

    Messages are asked for by key: joined, the planner may read every message there is. The first few hundred suffice
    where many match; the rest of a window, whose messages mostly follow each other, is one range.
    """
    messages = OutboxMessage._base_manager.using(alias).filter(about).order_by()
    found: list[int] = []
    pairs = rows.order_by("-pk").values_list("pk", "message_id")
    size = _MESSAGES_AT_ONCE
    while chunk := list(pairs[:size]):
        ids = {message for _, message in chunk}
        low, high = min(ids), max(ids)
        if high - low < _SPREAD * len(ids):
            matching = set(messages.filter(pk__gte=low, pk__lte=high).values_list("pk", flat=True))
        else:
            matching = {
                pk
                for some in batched(ids, _MESSAGES_AT_ONCE)
                for pk in messages.filter(pk__in=some).values_list("pk", flat=True)
            }
        found += [pk for pk, message in chunk if message in matching]
        if len(found) >= count or len(chunk) < size:
            break
        pairs = pairs.filter(pk__lt=chunk[-1][0])
        size = WINDOW_ROWS
    return found[:count]


def understood(wanted: Search, using: str | None = None) -> Filter:
    """The filter that finds all that is looked for."""
    _, chosen, subject = _understood(wanted, outbox_database(using))
    return replace(chosen, subject=subject) if subject else chosen


def newest_recipient(using: str | None = None) -> int:
    """The highest id, 0 where there is no recipient: what comes later has a higher one."""
    rows = OutboxRecipient._base_manager.using(outbox_database(using)).order_by("-pk")
    return rows.values_list("pk", flat=True).first() or 0


def has_address(address: str, using: str | None = None) -> bool:
    """Return whether the index knows this address; what differs in capitals alone it may not know."""
    rows = OutboxRecipient._base_manager.using(outbox_database(using))
    return rows.filter(address__in=stored_spellings(address)).exists()


def has_recipient(address: str, part: str, using: str | None = None) -> bool:
    """Return whether the outbox knows this address, or any with these characters."""
    alias = outbox_database(using)
    if address and not address.startswith("@") and has_address(address, alias):  # in most capitals the index has it
        return True
    return recipients(Filter(recipient=address, recipient_part=part), alias).exists()


_COLUMNS = (
    "address", "state", "route", "cause", "stage", "reply_code", "reply_enhanced", "reply_text", "detail", "mailer",
    "attempts", "due_at", "settled_at", "message__created_at", "message__subject",
    "message__encryption_key", "message__entry_mailer",
)  # fmt: skip


def _understood(wanted: Search, alias: str) -> tuple[Field, Filter, str]:
    """Return the meaning of the text: the field, the filter with it, and the words to find in subjects."""
    text, field, chosen = wanted.text.strip(), wanted.field, wanted.chosen
    if not text:
        return field, chosen, ""
    if field is Field.ANYTHING and text.lstrip("#").isdecimal() and len(text) < 19:
        return Field.ANYTHING, replace(chosen, ids=(int(text.lstrip("#")),)), ""
    if field is Field.ANYTHING:
        field = _form(text, alias)
    match field:
        case Field.MESSAGE_ID:
            name = text if text.startswith("<") else f"<{text}>"
            return field, replace(chosen, ids=tuple(message_ids(name[:MESSAGE_ID_LENGTH], alias)) or (0,)), ""
        case Field.RECIPIENT:
            return field, _to(text, chosen, alias), ""
        case _:
            return Field.SUBJECT, chosen, text


def _to(text: str, chosen: Filter, alias: str) -> Filter:
    """The recipients that a text names: an address, a domain with its @, or else all with these characters."""
    bare = text if text.startswith("@") else bare_address(text)
    local, _, domain = bare.rpartition("@")
    if bare.startswith("@") and domain:
        return replace(chosen, recipient=bare)
    if local and domain:
        # By the index alone; what is written in other capitals is found as a part.
        exact = OutboxRecipient._base_manager.using(alias).filter(address__in=stored_spellings(bare))
        if exact.exists():
            return replace(chosen, recipient=bare)
        return replace(chosen, recipient_part=address_key(bare))  # rows have the domain as it goes on the wire
    return replace(chosen, recipient_part=bare)


def _form(text: str, alias: str) -> Field:
    """Return the field that a text looks like: `<…@…>` is a Message-ID, `Name <…@…>` or a word is an address."""
    if text.startswith("<") and text.endswith(">"):
        return Field.MESSAGE_ID
    if _NAMED.fullmatch(text):
        return Field.RECIPIENT
    if any(character.isspace() for character in text):
        return Field.SUBJECT
    if "@" not in text:
        return Field.RECIPIENT if _is_part_of_an_address(text, alias) else Field.SUBJECT
    # A Message-ID that was copied without its brackets looks like an address.
    if not text.startswith("@") and message_ids(f"<{text}>", alias):
        return Field.MESSAGE_ID
    return Field.RECIPIENT


def _is_part_of_an_address(text: str, alias: str) -> bool:
    """Return whether one of the newest addresses has these characters; a whole table would take too long to ask."""
    newest = newest_recipient(alias)
    rows = OutboxRecipient._base_manager.using(alias).filter(pk__gt=newest - WINDOW_ROWS, address__icontains=text)
    return rows.exists()


def _conditions(chosen: Filter, alias: str) -> "tuple[QuerySet[OutboxRecipient], bool]":
    """The rows, and whether they have to be looked for in a window. What stands in messages is left to be asked for."""
    is_address = bool(chosen.recipient) and not chosen.recipient.startswith("@")
    own = without_messages(chosen)
    rows = recipients(replace(own, recipient="") if is_address else own, alias)
    if is_address:
        # Each is a short range of the index, and most addresses have one.
        exact = rows.filter(address__in=stored_spellings(chosen.recipient))
        if exact.exists():
            rows = exact
        else:  # in other capitals, which no index knows
            rows, is_address = rows.filter(address__iexact=address_key(chosen.recipient)), False
    if _states_at_rest(chosen):
        rows = rows.filter(lease_until=None)  # the index (state, lease_until, id) is then in order of id
    has_loose_end = bool(
        chosen.causes
        or chosen.routes
        or chosen.mailers
        or chosen.delivering
        or chosen.environments
        or chosen.accounts
        or chosen.streams
        or chosen.priorities
        or chosen.recipient_part
        or chosen.sender
        or chosen.subject
        or chosen.detail
        or len(chosen.states) > 1
        or (chosen.recipient and not is_address)
    )
    return rows, has_loose_end and not chosen.ids and not is_address


def _states_at_rest(chosen: Filter) -> bool:
    return bool(chosen.states) and not any(State(one).is_in_hand for one in chosen.states)


def _only_indexed(chosen: Filter, rows: "QuerySet[OutboxRecipient]") -> "QuerySet[OutboxRecipient]":
    """The rows that a window is counted in: those of the state, where there is one."""
    if len(chosen.states) == 1 and _states_at_rest(chosen):
        return rows.filter(state=chosen.states[0], lease_until=None)
    return rows


def _bounds(chosen: Filter, before: int | None, alias: str) -> tuple[int | None, int | None]:
    """Below and above which ids there is something, by the index of the messages' times."""
    newest, oldest = before, None
    if chosen.older_than is not None:
        edge = _last_id_before(chosen.older_than, alias) + _DISORDER
        newest = edge if newest is None else min(newest, edge)
    if chosen.newer_than is not None:
        oldest = max(0, _last_id_before(chosen.newer_than, alias) - _DISORDER)
    return newest, oldest


def _last_id_before(instant: datetime, alias: str) -> int:
    messages = OutboxMessage._base_manager.using(alias).filter(created_at__lt=instant)
    last = messages.order_by("-created_at").values_list("pk", flat=True).first()
    if last is None:
        return 0
    own = OutboxRecipient._base_manager.using(alias).filter(message_id=last)
    return int(own.aggregate(last=Max("pk"))["last"] or 0)


def _queued_at(recipient_id: int, alias: str) -> datetime | None:
    rows = OutboxRecipient._base_manager.using(alias).filter(pk=recipient_id)
    return rows.values_list("message__created_at", flat=True).first()


def _line(row: OutboxRecipient) -> Line:
    return Line(
        id=row.pk,
        message=row.message_id,
        address=row.address,
        state=row.state,
        route=row.route,
        cause=row.cause,
        stage=row.stage,
        reply=reply_words(row),
        detail=row.detail,
        mailer=row.mailer,
        entry_mailer=row.message.entry_mailer or row.mailer,
        attempts=row.attempts,
        due_at=row.due_at,
        settled_at=row.settled_at,
        created_at=row.message.created_at,
        subject=row.message.subject,
        encryption_key=row.message.encryption_key,
    )
