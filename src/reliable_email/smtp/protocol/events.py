"""The events that a session gives to its driver."""

from reliable_email.records import dataclass, record
from reliable_email.smtp.failures import WireFailure
from reliable_email.smtp.transaction import Content, Job, RecipientResult, Transaction


@dataclass(frozen=True, slots=True)
class UpgradeWanted:
    """The server is ready for TLS: do the handshake, then call `tls_established()`."""


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """An access token is needed: call `authenticate()` with it. `renew`: the last one was refused."""

    renew: bool


@dataclass(frozen=True, slots=True)
class Established:
    """Set-up is finished; jobs may begin."""


@record(frozen=True, slots=True)
class ContentWanted:
    """The server awaits the content: `content()` for each chunk, then `finish()`; or `withhold()`."""

    job: Job
    content: Content
    recipients: tuple[str, ...]
    refused: dict[str, RecipientResult]


@record(frozen=True, slots=True)
class Finished:
    """A job's story is told; the times in it are still zero."""

    transaction: Transaction


@record(frozen=True, slots=True, kw_only=True)
class NotAsked:
    """A chained envelope came to nothing that counts: the job is as if it had never been begun, and may be again.

    Attributes:
        failure: what was said, or how the connection ended.
        counts_at_once: the connection was lost between the terminator in front of it and the final reply.
        is_telling: whether success by itself, afterwards, would be chaining's fault: not where the server took chained
            envelopes on this connection before and then left, as servers do for many reasons.
    """

    job: Job
    failure: WireFailure
    counts_at_once: bool
    is_telling: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection must be closed now; the exchanges on it were finished before."""

    failure: WireFailure


Event = UpgradeWanted | TokenWanted | Established | ContentWanted | Finished | NotAsked | Broken
