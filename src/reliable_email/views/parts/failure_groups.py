"""Failed attempts that are the same trouble, put together: by what was said, and by whom it met. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from reliable_email.classification.words import words
from reliable_email.records import dataclass
from reliable_email.store.questions.recent import RecentAttempt

_DOMAINS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Attempts on one route that failed with the same cause and the same words.

    Attributes:
        reply: the newest one's: servers put addresses and numbers into the same sentence.
        attempts: how many.
        domains: (domain, recipients), the most frequent first.
        more_domains: how many more there are.
        first_at, last_at: among those that were looked at.
        message: the newest one's.
    """

    cause: str
    route: str
    stage: str
    reply: str
    detail: str
    attempts: int
    domains: tuple[tuple[str, int], ...]
    more_domains: int
    first_at: datetime
    last_at: datetime
    message: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainLine:
    """The failures of the recipients of one domain."""

    domain: str
    recipients: int
    causes: tuple[tuple[str, int], ...]


def failure_groups(attempts: Iterable[RecentAttempt]) -> list[FailureGroup]:
    """The most frequent first. The attempts come newest first."""
    found: dict[tuple[object, ...], list[RecentAttempt]] = {}
    for one in attempts:
        key = (one.cause, one.route, one.stage, one.code, one.enhanced, words(one.text or one.detail))
        found.setdefault(key, []).append(one)
    return sorted(map(_group, found.values()), key=lambda group: -group.attempts)


def domain_lines(attempts: Iterable[RecentAttempt]) -> list[DomainLine]:
    """Return the failures by recipients' domains, those with the most first."""
    found: dict[str, Counter[str]] = {}
    for one in attempts:
        for domain in one.domains:
            found.setdefault(domain, Counter())[one.cause] += 1
    lines = [
        DomainLine(domain=domain, recipients=causes.total(), causes=tuple(causes.most_common(3)))
        for domain, causes in found.items()
    ]
    return sorted(lines, key=lambda line: (-line.recipients, line.domain))


def _group(attempts: Sequence[RecentAttempt]) -> FailureGroup:
    newest = attempts[0]
    domains = Counter(domain for one in attempts for domain in one.domains)
    return FailureGroup(
        cause=newest.cause,
        route=newest.route,
        stage=newest.stage,
        reply=newest.reply,
        detail=newest.detail,
        attempts=len(attempts),
        domains=tuple(domains.most_common(_DOMAINS_SHOWN)),
        more_domains=max(0, len(domains) - _DOMAINS_SHOWN),
        first_at=attempts[-1].finished_at,
        last_at=newest.finished_at,
        message=newest.message,
    )
