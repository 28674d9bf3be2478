"""The erasure of a person: marks first, erases what is settled, and keeps a keyed hash that stops further mail.

1. The hash goes on the suppression list, and with it nothing is sent any more, whatever a worker has in hand.
2. The person's recipients are marked and cancelled, where no server can have the message yet.
3. A message loses its content, subject and evidence as soon as nobody waits for it: recipients who share it get theirs
   first. A worker looks every hour for what was left.
4. States, times, causes and routes stay, so that the journal still proves that nothing was lost or sent twice.

What is erased is the registry's word (`store.questions.personal`). Every step may be repeated, and goes on after a
kill.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import connections, transaction
from django.db.models import CharField, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat

from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.keyring import KeyMissing, Keyring, configured_keyring
from reliable_email.outbox.operations.erased import ERASED, ERASING, SOURCE, Mark, configured_marker, unfinished
from reliable_email.outbox.operations.mentions import Names, mentions, redact_everywhere
from reliable_email.outbox.operations.operate import Act, note, perform
from reliable_email.outbox.operations.suppressed import erased_among
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.records import dataclass
from reliable_email.smtp.syntax.paths import IDENTITY_VERSION, identity, older_spellings
from reliable_email.store.questions.filters import Filter, outbox_database, stored_spellings
from reliable_email.store.questions.personal import Role, emptied
from reliable_email.store.questions.progress import UNTOLD, Progress
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import ProviderEvent
from reliable_email.store.tables.handled import HandlerEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.parts import PartReference
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression
from reliable_email.store.tables.states import State

_ROWS = 200
_FINAL = (State.ACCEPTED.value, State.REJECTED.value, State.EXPIRED.value, State.CANCELLED.value)
_WAITING = (State.QUEUED.value, State.PARKED.value, State.CLAIMED.value)
# A reply may come so long after a worker has given its message up, and would be written beside the row.
_LATE_SECONDS = 900.0
ERASED_DOMAIN = "erased.invalid"  # RFC 6761: nobody can ever have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The result of an erasure, or of a dry run.

    Attributes:
        messages: that were sent to the person, or are to be.
        cancelled: recipients that will get nothing any more.
        erased: messages that hold nothing of the person any more.
        waiting: messages that somebody else still waits for, or that are under way; a worker erases them afterwards.
        sent: messages that the person sent, if the address was also asked for as a sender, else how many there are.
        digest: by which the person is known from now on; "" where nothing was done.
        action: the record of it.
    """

    messages: int = 0
    cancelled: int = 0
    erased: int = 0
    waiting: int = 0
    sent: int = 0
    digest: str = ""
    action: int = 0


def erase(
    address: str,
    *,
    actor: str,
    reason: str = "",
    as_sender: bool = False,
    using: str | None = None,
    progress: Progress = UNTOLD,
) -> Erasure:
    """Forget whoever has this address, in any spelling.

    Args:
        as_sender: also what they sent: messages with the address as the sender of the envelope. Never the site's own.

    Raises:
        KeyMissing: there is no key to remember them by.
    """
    alias = outbox_database(using)
    mark = configured_marker().mark(address)
    names = Names([address])
    with transaction.atomic(alias):
        _remember(alias, address, mark)
    point("erase:remembered")
    words = names.without(reason)
    action = note("erase", actor=actor, target=f"a person ({mark.digest[:12]})", reason=words, using=alias)
    own, messages = _marked_now(alias, address)
    sent = sent_by(alias, address)
    if as_sender:
        _mark_messages(alias, sent)
    point("erase:marked")
    cancelled = _cancel(alias, own, actor=actor, action=action, progress=progress)
    point("erase:cancelled")
    redact_everywhere(alias, names)
    point("erase:words")
    erased, waiting = _finish_marked(alias, progress)
    _list(alias, mark).update(reason=ERASING if waiting else ERASED)
    Action._base_manager.using(alias).filter(pk=action).update(count=len(own))
    return Erasure(
        messages=len(messages),
        cancelled=cancelled,
        erased=erased,
        waiting=waiting,
        sent=len(sent),
        digest=str(mark),
        action=action,
    )


def is_known(address: str, using: str | None = None) -> bool:
    """Return whether anything names this address, or it was erased before."""
    alias = outbox_database(using)
    return bool(
        rows_to(alias, address)
        or sent_by(alias, address)
        or suppressed(alias, [address])
        or next(iter(mentions(alias, Names([address]))), None)
    )


def preview(address: str, *, using: str | None = None) -> Erasure:
    """Count what `erase` would do."""
    alias = outbox_database(using)
    rows = rows_to(alias, address)
    messages = {message for _, message in rows}
    held = set()
    for ids in batched(messages, _ROWS):
        held.update(_unsettled(alias, ids, but=address))
    cancelled = sum(_cancellable(alias, ids).count() for ids in batched([pk for pk, _ in rows], _ROWS))
    return Erasure(
        messages=len(messages),
        cancelled=cancelled,
        erased=len(messages - held),
        waiting=len(held),
        sent=len(sent_by(alias, address)),
    )


def finish(using: str | None = None, *, progress: Progress = UNTOLD) -> tuple[int, int]:
    """Erase what was marked and has been settled since; how many messages that were, and how many still wait."""
    alias = outbox_database(using)
    pending = unfinished(alias)
    if not pending:
        return 0, 0
    done, waiting = _finish_marked(alias, progress)
    if not waiting:
        Suppression._base_manager.using(alias).filter(pk__in=pending, reason=ERASING).update(reason=ERASED)
    return done, waiting


def _finish_marked(alias: str, progress: Progress) -> tuple[int, int]:
    marked = OutboxRecipient._base_manager.using(alias).exclude(erasing_at=None).order_by("message_id")
    messages = list(marked.values_list("message_id", flat=True).distinct())
    progress.begin("messages", lambda: len(messages))
    done = 0
    for message in messages:
        done += _finish(alias, message)
        progress.advance(1)
    return done, len(messages) - done


def replay(
    marks: Iterable[str] = (), *, actor: str, using: str | None = None, progress: Progress = UNTOLD
) -> tuple[int, int]:
    """Erase again whoever was erased before: after a restore, by the marks that are kept elsewhere.

    Returns how many persons the outbox knew again, and how many marks were made with a key that is not here.

    Args:
        marks: as `erase` gives them, besides those in the suppression list.
    """
    alias = outbox_database(using)
    marker = configured_marker()
    listed = Suppression._base_manager.using(alias).exclude(digest_key="")
    wanted = {Mark(key=key, digest=digest) for key, digest in listed.values_list("digest_key", "address")}
    wanted |= {read_mark(text) for text in marks}
    unreadable = sum(one.key not in marker.fingerprints for one in wanted)
    _put_on_list(alias, wanted)
    digests = {one.digest for one in wanted}
    found = [
        known
        for known in _known_addresses(alias, progress)
        if any(mark.digest in digests for mark in marker.marks(known))
    ]
    for address in sorted(found):
        erase(address, actor=actor, reason="repeated after a restore", using=alias, progress=progress)
    return len(found), unreadable


def kept_marks(using: str | None = None) -> list[str]:
    """Return the marks to keep beside the backups, for `replay`."""
    rows = Suppression._base_manager.using(outbox_database(using)).exclude(digest_key="").order_by("pk")
    return [str(Mark(key=key, digest=digest)) for key, digest in rows.values_list("digest_key", "address")]


def read_mark(text: str) -> Mark:
    """A mark as it is written.

    Raises:
        ValueError: it is none.
    """
    key, _, digest = text.strip().partition(":")
    if len(key) != 16 or len(digest) != 64 or not set(key + digest) <= set("0123456789abcdef"):
        raise ValueError(f"{text.strip()[:80]!r} is no mark of an erased person")
    return Mark(key=key, digest=digest)


def _remember(alias: str, address: str, mark: Mark) -> None:
    """Put the hash on the list, in the place of the address."""
    rows = Suppression._base_manager.using(alias)
    spelled = rows.filter(address__in=older_spellings(address))
    same = [row.pk for row in spelled if identity(row.address) == identity(address)]
    rows.filter(pk__in=same).delete()
    _put_on_list(alias, {mark})
    _list(alias, mark).update(reason=ERASING)


def _list(alias: str, mark: Mark) -> "QuerySet[Suppression]":
    return Suppression._base_manager.using(alias).filter(address=mark.digest)


def _put_on_list(alias: str, marks: Collection[Mark]) -> None:
    rows = Suppression._base_manager.using(alias)
    known = set(rows.filter(address__in=[one.digest for one in marks]).values_list("address", flat=True))
    rows.bulk_create(
        [
            Suppression(
                address=one.digest,
                digest_key=one.key,
                identity_version=IDENTITY_VERSION,
                reason=ERASED,
                source=SOURCE,
                created_at=DatabaseNow(),
            )
            for one in sorted(marks, key=str)
            if one.digest not in known
        ],
        ignore_conflicts=True,
    )


def rows_to(alias: str, address: str) -> list[tuple[int, int]]:
    """The rows of a person, with their messages. Databases compare more loosely than addresses are one."""
    rows = OutboxRecipient._base_manager.using(alias)
    condition = Q(address__in=stored_spellings(address)) | Q(address__iexact=identity(address))
    wanted = identity(address)
    found = rows.filter(condition).order_by("pk").values_list("pk", "message_id", "address")
    return [(pk, message) for pk, message, spelled in found.iterator() if identity(spelled) == wanted]


def sent_by(alias: str, address: str) -> list[int]:
    """The messages whose envelope has this sender."""
    rows = OutboxMessage._base_manager.using(alias)
    condition = Q(sender__in=stored_spellings(address)) | Q(sender__iexact=identity(address))
    wanted = identity(address)
    found = rows.filter(condition).order_by("pk").values_list("pk", "sender")
    return [pk for pk, spelled in found.iterator() if identity(spelled) == wanted]


def _marked_now(alias: str, address: str) -> tuple[list[int], set[int]]:
    rows = rows_to(alias, address)
    own = [pk for pk, _ in rows]
    for ids in batched(own, _ROWS):
        OutboxRecipient._base_manager.using(alias).filter(pk__in=ids).update(erasing_at=DatabaseNow())
    return own, {message for _, message in rows}


def _mark_messages(alias: str, messages: Iterable[int]) -> None:
    """Mark the messages on one recipient each, who is neither the person nor cancelled."""
    for ids in batched(messages, _ROWS):
        rows = OutboxRecipient._base_manager.using(alias).filter(message__in=ids, position=0)
        rows.update(erasing_at=DatabaseNow())


def _cancellable(alias: str, ids: Collection[int]) -> "QuerySet[OutboxRecipient]":
    rows = OutboxRecipient._base_manager.using(alias).filter(pk__in=ids)
    return rows.filter(Q(state__in=_WAITING) | Q(state=State.UNKNOWN.value, due_at__isnull=False))


def _cancel(
    alias: str, own: Sequence[int], *, actor: str, action: int | None = None, progress: Progress = UNTOLD
) -> int:
    count = 0
    progress.begin("recipients", lambda: len(own))
    for ids in batched(own, _ROWS):
        open_rows = tuple(_cancellable(alias, ids).values_list("pk", flat=True))
        if open_rows:
            chosen = Filter(recipient_ids=open_rows)
            count += perform(Act.CANCEL, chosen, actor=actor, reason="erased", part_of=action, using=alias).count
        progress.advance(len(ids))
    return count


def _unsettled(alias: str, messages: Collection[int], *, but: str) -> set[int]:
    """Return the messages that another recipient may still get, or that are being sent."""
    rows = OutboxRecipient._base_manager.using(alias).filter(message__in=messages).exclude(_settled())
    wanted = identity(but)
    return {
        message
        for message, address, state in rows.values_list("message_id", "address", "state")
        if identity(address) != wanted or state not in _WAITING
    }


def _settled() -> Q:
    is_over = Q(authorized_at=None) | Q(authorized_at__lt=DatabaseNow(-_LATE_SECONDS))
    return Q(state__in=_FINAL) | (Q(state=State.UNKNOWN.value, due_at=None) & is_over)


def _finish(alias: str, message_id: int) -> bool:
    """Erase one message unless a recipient still waits for it; return whether it was erased."""
    rows = OutboxRecipient._base_manager.using(alias).filter(message_id=message_id).order_by("position")
    own = _forgotten(alias, rows)
    back = [one.pk for one in own]
    if _cancellable(alias, back).exists():  # it was on its way, and came back to the queue
        _cancel(alias, back, actor="erase")
    with transaction.atomic(alias):
        # Nobody requeues it meanwhile: what is gone could not be sent.
        can_lock = connections[alias].features.has_select_for_update
        count = len(rows.select_for_update()) if can_lock else len(rows)
        if rows.filter(_settled()).count() < count:
            return False
        message = OutboxMessage._base_manager.using(alias).defer("content").filter(pk=message_id).first()
        if message is None:  # pruned meanwhile
            return True
        sender = erased_among(alias, [message.sender]) if message.sender else set()
        if own or sender:
            _empty_message(alias, message, with_sender=bool(sender))
            _empty_recipients(alias, message, own, Names([*(one.address for one in own), *sender]))
        rows.update(erasing_at=None)
    point("erase:message")
    return True


def _forgotten(alias: str, rows: "QuerySet[OutboxRecipient]") -> list[OutboxRecipient]:
    """Return those recipients of a message who are erased persons."""
    people = list(rows)
    known = erased_among(alias, {one.address for one in people})
    return [one for one in people if one.address in known]


def _empty_message(alias: str, message: OutboxMessage, *, with_sender: bool) -> None:
    roles = (Role.SHARED, Role.SENDER) if with_sender else (Role.SHARED,)
    OutboxMessage._base_manager.using(alias).filter(pk=message.pk).update(**emptied(OutboxMessage, *roles))
    Attempt._base_manager.using(alias).filter(message=message.pk).update(**emptied(Attempt, Role.SHARED))
    PartReference._base_manager.using(alias).filter(message=message.pk)._raw_delete(alias)


def _empty_recipients(alias: str, message: OutboxMessage, own: Sequence[OutboxRecipient], names: Names) -> None:
    keyring = configured_keyring()
    positions = [one.position for one in own]
    replaced: Any = Concat(Value("erased-"), Cast("position", CharField(max_length=10)), Value(f"@{ERASED_DOMAIN}"))
    people = OutboxRecipient._base_manager.using(alias).filter(message=message.pk)
    people.filter(position__in=positions).update(**emptied(OutboxRecipient, Role.OWN), address=replaced)
    events = ProviderEvent._base_manager.using(alias).filter(message=message.pk)
    for event in events.filter(Q(position__in=positions) | Q(position=None)):
        if event.position is None and not names.are_in(event.address):
            continue
        # A hash that anybody could make of an address that they guess is made anew with a key.
        known = configured_marker().mark(event.digest).digest
        events.filter(pk=event.pk).update(
            **emptied(ProviderEvent, Role.OWN), address=f"erased@{ERASED_DOMAIN}", digest=known
        )
    handled = HandlerEvent._base_manager.using(alias).filter(message_id=message.pk, position__in=positions)
    handled.update(**emptied(HandlerEvent, Role.OWN))
    # What was said of the others may name the person, too.
    _redact_others(people.exclude(position__in=positions), ("reply_text", "detail"), message, names, keyring)
    _redact_others(events.exclude(position__in=positions), ("detail",), message, names, keyring)


def _redact_others(
    rows: "QuerySet[Any]", columns: Sequence[str], message: OutboxMessage, names: Names, keyring: Keyring
) -> None:
    for row in rows:
        changed = {}
        for column in columns:
            text = getattr(row, column)
            try:
                opened = keyring.open_text(text, message.encryption_key) if text else ""
            except (KeyMissing, UnicodeEncodeError):
                opened = text
            if names.are_in(opened):
                changed[column] = ""
        if changed:
            rows.filter(pk=row.pk).update(**changed)


def _known_addresses(alias: str, progress: Progress) -> set[str]:
    """Every address that a recipient's row has, once."""
    rows = OutboxRecipient._base_manager.using(alias)
    progress.begin("recipients", rows.count)
    found: set[str] = set()
    for count, address in enumerate(rows.values_list("address", flat=True).iterator(), start=1):
        found.add(identity(address))
        if not count % _ROWS:
            progress.advance(_ROWS)
    return {one for one in found if not one.endswith(f"@{ERASED_DOMAIN}")}
