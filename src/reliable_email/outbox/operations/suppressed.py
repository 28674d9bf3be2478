"""Changes of the suppression list; `suppression_list` asks it."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connections, router, transaction

from reliable_email.outbox.operations.erased import configured_marker
from reliable_email.smtp.syntax.paths import IDENTITY_VERSION, InvalidPath, forward_path, identity, older_spellings
from reliable_email.store.questions.suppressions import SuppressedAddress
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.sql.inserts import MAX_ROWS, batched
from reliable_email.store.sql.texts import storable
from reliable_email.store.tables.shared import Suppression
from reliable_email.values import printable

# Lists that were written before addresses had one identity may hold letters beyond ASCII, quotes, or the root's dot.
_MAY_BE_NO_IDENTITY = r"[^ -~]|^\"|[.]$"


def suppress(
    addresses: Iterable[str],
    *,
    reason: str = "",
    source: str,
    lifetime: timedelta | None = None,
    using: str | None = None,
    may_shorten: bool = True,
) -> int:
    """Send nothing to these addresses any more; what was known of one is replaced.

    Returns how many lines are new or changed.

    Raises:
        ValueError: one of them is no address; none of them is put on the list then.
        TypeError: it is one text, whose letters are no addresses.

    Args:
        addresses: plain addresses; every spelling of one is the same.
        reason: for people, such as "complained".
        source: who says so, such as "by hand" or "SendGrid".
        lifetime: for how long; None for ever.
        using: alias of the database; None for the router's choice.
        may_shorten: whether an address that is on the list for longer already may leave it sooner by this. A person
            may want that, a provider's report does not.
    """
    wanted = _checked(addresses)
    chosen = using or router.db_for_write(Suppression)
    until = database_now(chosen) + lifetime if lifetime is not None else None
    entries = [SuppressedAddress(address=address, reason=reason, source=source, until=until) for address in wanted]
    return _write(entries, chosen, may_shorten=may_shorten)


def _checked(addresses: Iterable[str]) -> set[str]:
    """Return the addresses, each once; what is none would be on the list for ever and keep nothing back."""
    if isinstance(addresses, str):
        raise TypeError(f"Give a list of addresses: [{addresses!r}].")
    wanted = set(addresses)
    for address in sorted(wanted):
        if not is_suppressible(address):
            raise ValueError(f"{printable(address)[:80]!r} is no address: write it as name@example.com.")
    return wanted


def is_suppressible(address: str) -> bool:
    """Return whether a text is one address, with a domain."""
    try:
        path, _ = forward_path(address.strip())
    except InvalidPath:
        return False
    return "@" in path


def suppress_all(entries: Iterable[SuppressedAddress], *, using: str) -> int:
    """Take over a list; none of them leaves ours sooner by it, and what is over already is left out.

    Returns how many lines of ours are new or changed.
    """
    now = database_now(using)
    current = (one for one in entries if one.until is None or one.until > now)
    return sum(_write(chunk, using, may_shorten=False) for chunk in batched(current, MAX_ROWS))


def _write(entries: Iterable[SuppressedAddress], using: str, *, may_shorten: bool) -> int:
    now = database_now(using)
    wanted: dict[str, SuppressedAddress] = {}
    for one in entries:
        key = identity(one.address)
        if key not in wanted or _lasts_longer(one.until, wanted[key].until):
            wanted[key] = one
    # Whoever was forgotten stays so: a provider's report would bring the address back.
    for address in erased_among(using, wanted):
        del wanted[address]
    unify_suppressions(using, among=wanted)
    if not may_shorten:
        known = Suppression._base_manager.using(using).filter(address__in=wanted, stream="")
        for address, expires_at in known.values_list("address", "expires_at"):
            if address not in wanted:
                continue  # MySQL finds what differs in accents, too
            until = wanted[address].until
            if expires_at is None or (until is not None and expires_at >= until):
                del wanted[address]
    rows = [
        Suppression(
            address=storable(connections[using], address, 320),
            reason=storable(connections[using], one.reason, 100),
            source=storable(connections[using], one.source, 100),
            created_at=one.since or now,
            expires_at=one.until,
            identity_version=IDENTITY_VERSION,
        )
        for address, one in sorted(wanted.items())
    ]
    # One statement: two webhooks about one address must not clash.
    names_its_target = connections[using].features.supports_update_conflicts_with_target
    Suppression._base_manager.using(using).bulk_create(
        rows,
        batch_size=MAX_ROWS,
        update_conflicts=True,
        update_fields=["reason", "source", "created_at", "expires_at", "identity_version"],
        unique_fields=["address", "stream"] if names_its_target else None,
    )
    return len(rows)


def erased_among(using: str, addresses: Iterable[str]) -> set[str]:
    """Return those of the addresses that were erased."""
    by_digest = configured_marker().by_digest(addresses)
    rows = Suppression._base_manager.using(using).exclude(digest_key="")
    found: set[str] = set()
    for digests in batched(by_digest, MAX_ROWS):
        found.update(by_digest[digest] for digest in rows.filter(address__in=digests).values_list("address", flat=True))
    return found


def _lasts_longer(one: datetime | None, other: datetime | None) -> bool:
    return other is not None and (one is None or one > other)


def unify_suppressions(using: str, *, among: Iterable[str] | None = None) -> int:
    """Write what was stored in other spellings as identities; of those that become one, the longest stays.

    Returns how many lines were changed.

    Args:
        among: only the older spellings of these identities; None for the whole list.
    """
    rows = Suppression._base_manager.using(using).filter(digest_key="")  # an erased address has no spelling
    if among is None:
        odd = rows.filter(identity_version__lt=IDENTITY_VERSION, address__regex=_MAY_BE_NO_IDENTITY)
    else:
        spellings = {spelling for address in among for spelling in older_spellings(address) - {address}}
        odd = rows.filter(address__in=spellings) if spellings else rows.none()
    count = 0
    for row in list(odd):
        key = identity(row.address)
        if key == row.address:
            rows.filter(pk=row.pk).update(identity_version=IDENTITY_VERSION)
            continue
        with transaction.atomic(using, savepoint=False):
            same = rows.filter(address=key, stream=row.stream).exclude(pk=row.pk).first()
            if same is None:
                count += rows.filter(pk=row.pk).update(address=key, identity_version=IDENTITY_VERSION)
                continue
            if _lasts_longer(row.expires_at, same.expires_at):
                rows.filter(pk=same.pk).update(expires_at=row.expires_at, reason=row.reason, source=row.source)
            count += rows.filter(pk=row.pk).delete()[0]
    if among is None:  # the others are what they should be already
        rows.filter(identity_version__lt=IDENTITY_VERSION).update(identity_version=IDENTITY_VERSION)
    return count


def prune_suppressions(using: str) -> int:
    """Forget what has expired; how many that were."""
    unify_suppressions(using)
    rows = Suppression._base_manager.using(using).filter(expires_at__lt=DatabaseNow())
    return rows.delete()[0]


def allow(addresses: Iterable[str], *, using: str | None = None) -> int:
    """Send to these addresses again, also to whoever was erased and has come back. Returns how many were listed."""
    if isinstance(addresses, str):
        raise TypeError(f"Give a list of addresses: [{addresses!r}].")
    addresses = list(addresses)
    wanted = {spelling for address in addresses for spelling in older_spellings(address)}
    wanted |= configured_marker().by_digest(addresses).keys()
    rows = Suppression._base_manager.using(using or router.db_for_write(Suppression))
    return rows.filter(address__in=wanted).delete()[0]
