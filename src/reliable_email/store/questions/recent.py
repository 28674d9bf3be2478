"""The latest attempts: bounded samples by the index of `finished_at`, whatever the size of the journal."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.stories import reply_words
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient

SAMPLE = 5_000
LOOKED_AT = 20_000
MOST_FAILURES = 1_000
_IDS_AT_ONCE = 250
_RECIPIENTS_AT_ONCE = 5_000
_RECIPIENTS_LOOKED_AT = 100
_LAST_REPLIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentAttempt:
    """One transaction. The words of `reply` are sealed where `encryption_key` is not empty.

    Attributes:
        stage, code, enhanced, text, reply, detail: of the failure, where only some recipients failed.
        text: the reply without code and status.
        domains: of each recipient that it failed for, up to a hundred.
    """

    id: int
    message: int
    finished_at: datetime
    route: str
    stage: str
    cause: str
    code: int | None
    enhanced: str
    text: str
    reply: str
    detail: str
    seconds: float
    encryption_key: str = ""
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The duration of transactions that ended at one stage: the median and the 95th percentile."""

    stage: str
    count: int
    p50_seconds: float
    p95_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteActivity:
    """The latest attempts on one route."""

    latencies: tuple[Latency, ...] = ()
    replies: tuple[RecentAttempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The latest failed attempts.

    Attributes:
        since: how far back was looked; None where there is nothing.
        is_cut: there were more attempts or failures in that time than were looked at.
    """

    at: datetime
    since: datetime | None
    attempts: tuple[RecentAttempt, ...]
    is_cut: bool = False


def route_activity(using: str | None = None, *, within: timedelta = timedelta(hours=1)) -> dict[str, RouteActivity]:
    """Return, for each route, the latency within that time and the last replies, from the latest attempts."""
    alias = outbox_database(using)
    now = database_now(alias)
    rows = Attempt._base_manager.using(alias).order_by("-finished_at")
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    last: dict[str, list[int]] = defaultdict(list)
    for pk, finished_at, route, stage, duration in rows.values_list("id", "finished_at", "route", "stage", "seconds")[
        :SAMPLE
    ]:
        if finished_at >= now - within:
            seconds[route][stage].append(duration)
        if len(last[route]) < _LAST_REPLIES:
            last[route].append(pk)
    told = _told(alias, [pk for ids in last.values() for pk in ids])
    return {
        route: RouteActivity(
            latencies=tuple(_latency(stage, found) for stage, found in sorted(seconds[route].items())),
            replies=tuple(told[pk] for pk in ids if pk in told),
        )
        for route, ids in last.items()
    }


def failures(using: str | None = None, *, within: timedelta = timedelta(hours=24)) -> Failures:
    """The latest failed attempts, the newest first, with their recipients' domains."""
    alias = outbox_database(using)
    now = database_now(alias)
    rows = Attempt._base_manager.using(alias).order_by("-finished_at")
    since = now - within
    # Where there are many, those that came through are most of them: only so many are looked at.
    bound = rows.values_list("finished_at", flat=True)[LOOKED_AT : LOOKED_AT + 1].first()
    is_cut = bound is not None and bound > since
    if bound is not None and is_cut:
        since = bound
    ids = list(rows.filter(finished_at__gte=since).exclude(cause="").values_list("id", flat=True)[: MOST_FAILURES + 1])
    told = _told(alias, ids[:MOST_FAILURES])
    found = [told[pk] for pk in ids[:MOST_FAILURES] if pk in told]
    if len(ids) > MOST_FAILURES:
        is_cut, since = True, found[-1].finished_at
    return Failures(at=now, since=since, attempts=tuple(found), is_cut=is_cut)


def _told(using: str, ids: Sequence[int]) -> dict[int, RecentAttempt]:
    attempts: list[Attempt] = []
    for run in _runs(ids):
        attempts += Attempt._base_manager.using(using).filter(pk__in=run)
    messages = sorted({one.message_id for one in attempts})
    failed = {position for one in attempts for position in _failed(one)}
    rows: dict[int, dict[str, OutboxRecipient]] = defaultdict(dict)
    keys: dict[int, str] = {}
    for run in _runs(messages):
        recipients = OutboxRecipient._base_manager.using(using).filter(message_id__in=run, position__in=failed)
        for row in recipients.order_by("message_id", "position").defer("refused_by")[:_RECIPIENTS_AT_ONCE]:
            rows[row.message_id][str(row.position)] = row
        found: Any = OutboxMessage._base_manager.using(using).filter(pk__in=run)
        keys |= dict(found.values_list("pk", "encryption_key"))
    return {one.pk: _story(one, rows[one.message_id], keys.get(one.message_id, "")) for one in attempts}


def _story(row: Attempt, recipients: dict[str, OutboxRecipient], encryption_key: str) -> RecentAttempt:
    said = _refusal(row, recipients)
    return RecentAttempt(
        id=row.pk,
        message=row.message_id,
        finished_at=row.finished_at,
        route=row.route,
        stage=said.stage,
        cause=row.cause,
        code=said.reply_code,
        enhanced=said.reply_enhanced,
        text=said.reply_text,
        reply=reply_words(said),
        detail=said.detail,
        seconds=row.seconds,
        encryption_key=encryption_key,
        domains=tuple(
            recipients[position].address.rpartition("@")[2] for position in _failed(row) if position in recipients
        ),
    )


def _refusal(row: Attempt, recipients: dict[str, OutboxRecipient]) -> Attempt | OutboxRecipient:
    """Return the row whose reply explains the failure: a recipient's own row if the message was taken for others."""
    if not row.cause or row.reply_code is None or row.reply_code >= 400:
        return row
    refused = (recipients.get(position) for position in _failed(row))
    return next((one for one in refused if one is not None and one.cause == row.cause), row)


def _failed(row: Attempt) -> list[str]:
    """The positions of those that it failed for; of a long list the first."""
    if not row.cause:
        return []
    return [position for position, outcome in row.outcomes.items() if outcome != "accepted"][:_RECIPIENTS_LOOKED_AT]


def _latency(stage: str, seconds: list[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(
        stage=stage, count=len(ordered), p50_seconds=_at_share(ordered, 0.5), p95_seconds=_at_share(ordered, 0.95)
    )


def _at_share(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is not less than this share of them."""
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(rank, 1) - 1]


def _runs(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    """A few at a time: with a long list a planner may prefer to read the whole table."""
    return (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
