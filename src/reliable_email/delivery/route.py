"""A route, as delivery sees it: the transport that takes jobs, and its limits."""

from collections.abc import Callable

from reliable_email.delivery.submission import OnUnknown
from reliable_email.providers import Quota
from reliable_email.records import dataclass
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import WireFailure
from reliable_email.smtp.transaction import Transport


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One mailer that a submission may go by.

    Attributes:
        alias: the mailer's alias; the name in reports and logs.
        transport: takes the jobs.
        provider: its provider's name, for the rules of classification.
        fingerprint: changes with host, port, TLS mode, user and credential; state is kept by (alias, fingerprint).
        max_attempts: transactions that one direct send may spend here.
        timeout: seconds for all of a message's attempts here, waiting for final replies and content apart.
        max_message_bytes: as configured or documented; what EHLO announces is checked by the transport.
        max_recipients: RCPTs of one transaction.
        quotas: limits per window.
        idempotency_header: the header whose value makes a second copy harmless.
        on_unknown: the mailer's wish where the message has none.
        delivers: False for a console or the like: what it takes is never counted as delivered.
        is_foreign: a backend of somebody else's, behind an adapter.
        is_full: whether all the connections that may be open at once are at work in this process.
        build_error: why it cannot be built here, with the setting and the remedy; "" where it can. Its transport is
            never asked then.
        probe: connects and logs in without a message, and says what went wrong; None where only a message can tell.
    """

    alias: str
    transport: Transport
    provider: str | None = None
    fingerprint: str = ""
    max_attempts: int = 3
    timeout: float = 15.0
    max_message_bytes: int | None = None
    max_recipients: int | None = None
    quotas: tuple[Quota, ...] = ()
    idempotency_header: str | None = None
    on_unknown: OnUnknown | None = None
    delivers: bool = True
    is_foreign: bool = False
    is_full: Callable[[], bool] = lambda: False
    build_error: str = ""
    probe: Callable[[Deadline], WireFailure | None] | None = None
