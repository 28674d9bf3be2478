"""The options of a worker."""

import math
import time
from collections.abc import Collection

from reliable_email.outbox.keyring import Keyring
from reliable_email.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of a worker; `RELIABLE_EMAIL` has the settings of the same names.

    Attributes:
        content_days: prune content so long after a message is finished; None prunes nothing.
        journal_days: prune the rest of it so long after.
        only_mailers: deliver for these mailers alone; None for all.
        only_routes: use these routes alone; None for all.
        only_messages: deliver these alone, by id; None for all.
        domain_connections: lines that may deliver to one recipient domain at once; 0 for any number.
        until_empty: end when nothing is due or claimed.
        is_sweep: end when nothing is due, and nothing of the dead is left to take back, whatever others hold.
        is_task: deliver what can be claimed at once, look after nothing else, and end.
        max_seconds: claim no more after so long; None for no limit.
        wait_seconds: wait for no reply any more after so long; None for no limit.
        max_transactions: end after about so many; None for no limit.
        listen: be woken by NOTIFY where there is one.
        standby_mailers: mailers whose routes are probed though nothing goes by them.
        probe_seconds: how often; None for never.
    """

    using: str
    environment: str = ""
    connections: int = 8
    batch: int = 100
    lease_seconds: float = 60.0
    poll_seconds: float = 1.0
    final_reply_seconds: float = 600.0
    stop_seconds: float = 30.0
    crash_limit: int = 5
    content_days: float | None = None
    journal_days: float = 90.0
    only_mailers: Collection[str] | None = None
    only_routes: Collection[str] | None = None
    only_messages: Collection[int] | None = None
    domain_connections: int = 0
    until_empty: bool = False
    is_sweep: bool = False
    is_task: bool = False
    max_seconds: float | None = None
    wait_seconds: float | None = None
    max_transactions: int | None = None
    listen: bool = True
    standby_mailers: Collection[str] = ()
    probe_seconds: float | None = None
    keyring: Keyring = field(default_factory=Keyring)


class Bounds:
    """Until when a worker that begins now claims, and waits for replies, on the monotonic clock."""

    def __init__(self, options: WorkerOptions) -> None:
        now = time.monotonic()
        self.claims_until = now + (math.inf if options.max_seconds is None else options.max_seconds)
        self.waits_until = now + (math.inf if options.wait_seconds is None else options.wait_seconds)
