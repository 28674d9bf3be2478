"""Due messages that wait because no route of theirs has quota left, and the time until which they wait."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import reduce

from django.db import connections, transaction
from django.utils.translation import gettext_noop as _

from reliable_email.delivery.words import Priority
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.findings import Finding, Topic, aware
from reliable_email.monitoring.route_health import RouteCondition, condition, routes_behind
from reliable_email.monitoring.sentences import Name, Sentence, Value
from reliable_email.outbox.operations.holds import Hold, standing_holds
from reliable_email.records import dataclass, field
from reliable_email.store.questions.lanes import due_lanes, lane_names
from reliable_email.store.tables.states import PriorityRank
from reliable_email.values import printable

_PACED_SECONDS = 900.0  # for how long mail may wait for a quota per second or minute before that is a finding


@dataclass(slots=True)
class Standing:
    """The waiting messages of one mailer.

    Attributes:
        priorities: that have no way now.
        goes_on_at: when the first of them has one; None where nobody knows.
        since: for how many seconds the first message has been due.
        routes: those whose quota is used up.
    """

    priorities: set[PriorityRank] = field(default_factory=set)
    goes_on_at: float | None = None
    since_seconds: float = 0.0
    routes: tuple[str, ...] = ()


def standing_lanes(using: str, environment: str) -> tuple[dict[str, Standing], set[tuple[PriorityRank, int]]]:
    """Return the messages that wait for quota in this database, by mailer, and their lanes.

    Others' messages are none of this environment's: their quota may be another one.

    Raises:
        DatabaseError: it does not answer, or has no tables.
    """
    # Whoever asks may be inside a transaction, and an error would poison it.
    with transaction.atomic(using) if connections[using].in_atomic_block else nullcontext():
        lanes = [(rank, key, age) for rank, key, age in due_lanes(connections[using]) if age >= 0]
        names = lane_names(connections[using], {(rank, key) for rank, key, _ in lanes})
    known: dict[str, Sequence[RouteCondition]] = {}
    found: defaultdict[str, Standing] = defaultdict(Standing)
    keys = set()
    for rank, key, age in lanes:
        mailer, queued_in = names.get(key, ("", environment))
        if queued_in != environment:
            continue
        if mailer not in known:
            known[mailer] = _conditions(mailer, using)
        without = _without_quota(known[mailer], rank.priority)
        if not without:
            continue
        keys.add((rank, key))
        if age < _PACED_SECONDS and all(one.is_paced(rank.priority) for one in known[mailer]):
            continue
        standing = found[mailer]
        standing.priorities.add(rank)
        standing.since_seconds = max(standing.since_seconds, age)
        standing.routes = tuple(dict.fromkeys([*standing.routes, *(one for one, _ in without)]))
        moments = [at for _, at in without if at is not None]
        if moments:
            standing.goes_on_at = min([*moments, *([standing.goes_on_at] if standing.goes_on_at else [])])
    return dict(found), keys


def standing_findings(found: Mapping[str, Standing], at: datetime) -> Iterator[Finding]:
    """One for each mailer whose messages wait for quota."""
    for mailer, standing in sorted(found.items()):
        values: dict[str, Value] = {
            "mailer": repr(mailer),
            "priorities": " + ".join(rank.priority.value for rank in sorted(standing.priorities)),
            "routes": ", ".join(repr(one) for one in standing.routes),
        }
        template = _("messages of the mailer %(mailer)s (%(priorities)s) wait: the quota of %(routes)s is used up")
        if standing.goes_on_at is not None:
            template = _(
                "messages of the mailer %(mailer)s (%(priorities)s) wait: the quota of %(routes)s is used up; it goes "
                "on at %(moment)s"
            )
            values["moment"] = datetime.fromtimestamp(standing.goes_on_at, UTC)
        yield Finding(
            verdict=Health.DEGRADED,
            text=Sentence(template, **values),
            remedy=_("Send less, ask the provider for more and raise the route's quota, or add a route."),
            since=_before(at, standing.since_seconds),
            topic=Topic.QUOTA,
            name=standing.routes[0] if standing.routes else "",
        )


def held_findings(using: str) -> Iterator[Finding]:
    """One for each hold on what comes: whoever does not know of it waits for mail in vain."""
    with transaction.atomic(using) if connections[using].in_atomic_block else nullcontext():
        holds = standing_holds(using)
    for one in holds:
        text = Sentence(_("new mail (%(which)s) is held by %(who)s"), which=_which(one), who=printable(one.actor))
        if one.reason:
            text = Sentence(
                _("new mail (%(which)s) is held by %(who)s: %(reason)s"),
                which=_which(one),
                who=printable(one.actor),
                reason=printable(one.reason),
            )
        yield Finding(
            verdict=Health.DEGRADED,
            text=text,
            remedy=_("To send it, run “manage.py email_outbox release” with --all or the same filter."),
            since=aware(one.created_at),
            topic=Topic.HELD,
            name=one.mailer,
        )


def _which(hold: Hold) -> str:
    parts = [
        Sentence(template, name=value)
        for template, value in (
            (_("mailer %(name)s"), printable(hold.mailer)),
            (_("account %(name)s"), printable(hold.account)),
            (_("stream %(name)s"), printable(hold.stream)),
            (_("priority %(name)s"), Name(hold.priority.priority.value if hold.priority is not None else "")),
        )
        if value
    ]
    return reduce(lambda one, other: Sentence(_("%(one)s, %(other)s"), one=one, other=other), parts or [_all_mail()])


def _all_mail() -> Sentence:
    return Sentence(_("all mail"))


def _before(at: datetime, seconds: float) -> datetime | None:
    moment = aware(at)
    return datetime.fromtimestamp(moment.timestamp() - seconds, UTC) if moment is not None else None


def _conditions(mailer: str, using: str) -> Sequence[RouteCondition]:
    try:
        return [condition(route, using) for route in routes_behind(mailer)]
    except Exception:  # noqa: BLE001 - what is wrong with the mailer is told elsewhere
        return ()


def _without_quota(conditions: Sequence[RouteCondition], priority: Priority) -> list[tuple[str, float | None]]:
    """(route, when it goes on) of those without quota, where none of them takes anything; empty where one does."""
    without = []
    for one in conditions:
        if one.is_out_of_use:
            continue
        if one.has_room(priority):
            return []
        without.append((one.route.alias, one.goes_on_at(priority)))
    return without
