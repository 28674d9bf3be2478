"""The quota of a route in a rolling window: a ledger of counts in buckets, and functions over it. Pure.

A window is cut into twenty-four buckets, and the one that it has left in part still counts as a whole: so the ledger
lets less through than the provider would, never more.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from reliable_email.delivery.fingerprints import Likeness, Part, joined, likeness
from reliable_email.delivery.submission import Priority
from reliable_email.providers import Quota
from reliable_email.records import dataclass, field, replace

BUCKETS: Final = 24
# How much of a limit each priority may use up. Providers count what is not seen here (the account's other senders), and
# a newsletter must not use up what a password reset needs.
SHARES: Final[Mapping[Priority, float]] = {Priority.HIGH: 1.0, Priority.NORMAL: 0.95, Priority.BULK: 0.8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The part of the quotas that was used.

    Attributes:
        counts: (window seconds, bucket number) -> count.
        limits: learned limits by window: the provider's own words lowered them.
        limits_until: until when a learned limit holds.
        fingerprint: of the route's configuration it was kept for; "" where none was noted.
    """

    counts: MappingProxyType[tuple[int, int], int] = field(default_factory=lambda: MappingProxyType({}))
    limits: MappingProxyType[int, int] = field(default_factory=lambda: MappingProxyType({}))
    limits_until: MappingProxyType[int, float] = field(default_factory=lambda: MappingProxyType({}))
    fingerprint: str = ""


def with_configuration(ledger: Ledger, fingerprint: str) -> Ledger:
    """The ledger for this configuration: what another account used, and was told, does not limit this one.

    Where it cannot be told whether it is another account, it counts as the same: a ledger that is erased by mistake
    exceeds the quota, and one that is kept by mistake ends with its windows.
    """
    if ledger.fingerprint == fingerprint or not fingerprint:
        return ledger
    if not ledger.fingerprint:
        return replace(ledger, fingerprint=fingerprint)
    if likeness(ledger.fingerprint, fingerprint, Part.ACCOUNT) is Likeness.ANOTHER:
        return Ledger(fingerprint=fingerprint)
    names = joined(ledger.fingerprint, fingerprint)
    return ledger if names == ledger.fingerprint else replace(ledger, fingerprint=names)


def used(ledger: Ledger, quota: Quota, *, now: float) -> int:
    """Return the number used in the window that ends now."""
    oldest = _bucket(quota, now) - BUCKETS
    return _counted(ledger, quota, oldest)


def shares(*, soft_limit: float, reserve: float) -> Mapping[Priority, float]:
    """Return the share of a limit that each priority may use, by QUOTA_SOFT_LIMIT and QUOTA_RESERVE."""
    return {Priority.HIGH: 1.0, Priority.NORMAL: soft_limit, Priority.BULK: min(soft_limit, 1.0 - reserve)}


def left(
    ledger: Ledger,
    quota: Quota,
    *,
    now: float,
    priority: Priority = Priority.NORMAL,
    shares: Mapping[Priority, float] = SHARES,
) -> int:
    """Return the number that may still be used now, never negative."""
    limit = quota.limit
    if ledger.limits_until.get(quota.window_seconds, 0.0) > now:
        limit = min(limit, ledger.limits.get(quota.window_seconds, limit))
    # A limit of a few is not made smaller: a share of 1 would be none.
    allowed = max(int(limit * shares[priority]), 1) if limit > 0 else 0
    return max(0, allowed - used(ledger, quota, now=now))


def room(
    ledger: Ledger,
    quotas: Sequence[Quota],
    *,
    now: float,
    priority: Priority = Priority.NORMAL,
    shares: Mapping[Priority, float] = SHARES,
) -> int | None:
    """Return the number of recipients of one envelope that still fit; None if no window limits it."""
    rooms = []
    for quota in quotas:
        rest = left(ledger, quota, now=now, priority=priority, shares=shares)
        if quota.unit == "recipients" or not rest:
            rooms.append(rest)
    return min(rooms, default=None)


def room_at(
    ledger: Ledger,
    quotas: Sequence[Quota],
    *,
    now: float,
    priority: Priority = Priority.NORMAL,
    shares: Mapping[Priority, float] = SHARES,
) -> float | None:
    """Return the time at which one more fits into every window, if none is used meanwhile; None for never."""
    moments = {now, *(until for until in ledger.limits_until.values() if until > now)}
    for quota in quotas:
        for window, bucket in ledger.counts:
            if window == quota.window_seconds:
                # The first moment of a bucket may round to the one before.
                moments.add((bucket + BUCKETS + 1) * quota.window_seconds / BUCKETS + 0.001)
    for moment in sorted(moments):
        if moment >= now and all(
            left(ledger, quota, now=moment, priority=priority, shares=shares) > 0 for quota in quotas
        ):
            return moment
    return None


def reserve(
    ledger: Ledger,
    quotas: Sequence[Quota],
    recipients: int,
    *,
    now: float,
    priority: Priority = Priority.NORMAL,
    shares: Mapping[Priority, float] = SHARES,
    messages: int = 1,
) -> Ledger | None:
    """The ledger with so many more recipients and messages, or None where one window has no room."""
    for quota in quotas:
        amount = _amount(quota, recipients, messages)
        if left(ledger, quota, now=now, priority=priority, shares=shares) < amount:
            return None
    return _add(ledger, quotas, recipients, now, messages=messages)


def spend(ledger: Ledger, quotas: Sequence[Quota], recipients: int, *, now: float) -> Ledger:
    """The ledger with so many more, whether there was room or not: what was sent was sent."""
    return _add(ledger, quotas, recipients, now)


def refund(ledger: Ledger, quotas: Sequence[Quota], recipients: int, *, now: float, at: float | None = None) -> Ledger:
    """The ledger with so many less, never below none.

    Args:
        at: when they were taken: what is given back to a later bucket would be missing there when the earlier one ends.
    """
    return _add(ledger, [quota for quota in quotas if quota.unit == "recipients"], -recipients, now, at=at)


def lowered(ledger: Ledger, quotas: Sequence[Quota], *, now: float, until: float | None = None) -> Ledger:
    """The provider says that the quota is used up: what was used is its limit for the longest window.

    Args:
        until: when the provider is asked again, so that its word holds no longer than it said; None for the window.
    """
    if not quotas:
        return ledger
    longest = max(quotas, key=lambda quota: quota.window_seconds)
    window = longest.window_seconds
    until = now + window if until is None else min(until, now + window)
    return replace(
        ledger,
        limits=MappingProxyType(dict(ledger.limits) | {window: used(ledger, longest, now=now)}),
        limits_until=MappingProxyType(dict(ledger.limits_until) | {window: until}),
    )


def without_learned_limits(ledger: Ledger) -> Ledger:
    """Return the ledger without learned limits, because an operator knows that the provider takes mail again."""
    return replace(ledger, limits=MappingProxyType({}), limits_until=MappingProxyType({}))


def runs_out_at(ledger: Ledger, quota: Quota, *, now: float) -> float | None:
    """Return the time at which the quota is used up, at the pace of the window's last quarter; None if never."""
    rest = left(ledger, quota, now=now, priority=Priority.HIGH)
    recent = _counted(ledger, quota, _bucket(quota, now) - BUCKETS // 4 + 1)
    if not recent:
        return None
    return now + rest * (quota.window_seconds / 4) / recent


def _counted(ledger: Ledger, quota: Quota, since: int) -> int:
    """Return the sum of the buckets from `since` on."""
    counts = ledger.counts.items()
    return sum(count for (window, bucket), count in counts if window == quota.window_seconds and bucket >= since)


def _bucket(quota: Quota, now: float) -> int:
    return int(now * BUCKETS // quota.window_seconds)


def bucket_ends_at(quota: Quota, *, now: float) -> float:
    """Return the time at which the current bucket ends."""
    return (_bucket(quota, now) + 1) * quota.window_seconds / BUCKETS


def _amount(quota: Quota, recipients: int, messages: int) -> int:
    return recipients if quota.unit == "recipients" else messages


def _add(
    ledger: Ledger,
    quotas: Sequence[Quota],
    recipients: int,
    now: float,
    *,
    messages: int = 1,
    at: float | None = None,
) -> Ledger:
    counts = dict(ledger.counts)
    for quota in quotas:
        oldest = _bucket(quota, now) - BUCKETS
        for key in [key for key in counts if key[0] == quota.window_seconds and key[1] < oldest]:
            del counts[key]
        key = (quota.window_seconds, _bucket(quota, now if at is None else at))
        amount = counts.get(key, 0) + _amount(quota, recipients, messages)
        if amount > 0:
            counts[key] = amount
        else:
            counts.pop(key, None)
    return replace(ledger, counts=MappingProxyType(counts))
