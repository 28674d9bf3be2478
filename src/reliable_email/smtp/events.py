"""What a session tells its driver."""

from dataclasses import dataclass

from reliable_email.records import record
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


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection must be closed now; the exchanges on it were finished before."""

    failure: WireFailure


Event = UpgradeWanted | TokenWanted | Established | ContentWanted | Finished | Broken
