"""The probe of a submission server, stage by stage: resolve, connect, TLS, greeting, EHLO, AUTH.

With an envelope it goes on to MAIL and RCPT and leaves without DATA: the server says what it thinks of the sender, and
no message is sent. Nothing here decides what a failure means; that is `explanation`.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from reliable_email.records import dataclass, field
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver.connection import Connection
from reliable_email.smtp.driver.hello import is_loopback
from reliable_email.smtp.failures import WireError, WireFailure
from reliable_email.smtp.options import ConnectionOptions, TLSMode
from reliable_email.smtp.protocol.auth import redact
from reliable_email.smtp.protocol.capabilities import Capabilities
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls.certificates import Certificate, read_chain
from reliable_email.smtp.tls.handshake import TLSInfo
from reliable_email.smtp.transaction import Job, Transaction

_SET_UP = (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.TLS, Stage.AUTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One stage of the ladder.

    Attributes:
        seconds: how long it took; None where it was not measured apart.
        detail: what was found there, for a person.
    """

    stage: Stage
    is_ok: bool
    seconds: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """The result of one probe of a server, stage by stage.

    Attributes:
        rungs: in the order of the stages; the last one failed where `failure` is set.
        seconds: in all.
        failure: what stopped it.
        tls: what the handshake agreed on, where there was one.
        chain: the server's certificates, the server's own first.
        transcript: (direction, line), without secrets.
        hello: what EHLO said, where it came so far.
        is_loopback: whether the server is on this machine.
    """

    rungs: tuple[Rung, ...]
    seconds: float
    failure: WireFailure | None = None
    tls: TLSInfo | None = None
    chain: tuple[Certificate, ...] = ()
    capabilities: Capabilities | None = None
    transcript: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    hello: str = ""
    is_loopback: bool = False

    @property
    def is_ok(self) -> bool:
        """True if the top was reached."""
        return self.failure is None


def climb(
    options: ConnectionOptions,
    *,
    timeout: float,
    sender: str | None = None,
    recipient: str | None = None,
    now: datetime | None = None,
) -> Climb:
    """Try everything up to AUTH over a connection of its own; with sender and recipient also MAIL and RCPT."""
    now = now or datetime.now(UTC)
    lines: list[tuple[str, str]] = []
    began_at = time.monotonic()
    deadline = Deadline(timeout)
    try:
        connection = Connection.open(options, deadline=deadline, transcript=lambda who, text: lines.append((who, text)))
    except WireError as error:
        rungs = _rungs_up_to(error.failure, options)
        return Climb(
            rungs=rungs,
            seconds=time.monotonic() - began_at,
            failure=error.failure,
            transcript=_redacted(lines, options),
        )
    try:
        chain = read_chain(connection.tls.chain) if connection.tls else ()
        rungs = _set_up_rungs(connection, options, chain, now)
        failure = None
        if sender is not None and recipient is not None:
            transaction = connection.check_envelope(_probe_job(sender, recipient), deadline=deadline)
            more, failure = _envelope_rungs(transaction)
            rungs += more
        return Climb(
            rungs=rungs,
            seconds=time.monotonic() - began_at,
            failure=failure,
            tls=connection.tls,
            chain=chain,
            capabilities=connection.session.capabilities,
            transcript=_redacted(lines, options),
            hello=connection.session.hello_name,
            is_loopback=is_loopback(connection.peer.rpartition(":")[0].strip("[]")),
        )
    finally:
        connection.close()


def _probe_job(sender: str, recipient: str) -> Job:
    content = BytesContent.from_bytes(b"Subject: probe\r\n\r\n")
    return Job(sender=sender, recipients=(recipient,), content=content)


def _rungs_up_to(failure: WireFailure, options: ConnectionOptions) -> tuple[Rung, ...]:
    """The stages before the failing one were passed; how long each took is not known then."""
    rungs = [Rung(stage=stage, is_ok=True) for stage in _stages(options)[: _position(failure.stage, options)]]
    return (*rungs, Rung(stage=failure.stage, is_ok=False, detail=failure.detail))


def _stages(options: ConnectionOptions) -> list[Stage]:
    """The stages of this kind of connection, in the order in which they happen."""
    match options.tls.mode:
        case TLSMode.NONE:
            stages = [Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO]
        case TLSMode.IMPLICIT:
            stages = [Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO]
        case TLSMode.STARTTLS:
            stages = [Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.TLS]
    if options.credentials is not None:
        stages.append(Stage.AUTH)
    return stages


def _position(stage: Stage, options: ConnectionOptions) -> int:
    stages = _stages(options)
    return stages.index(stage) if stage in stages else len(stages)


def _set_up_rungs(
    connection: Connection, options: ConnectionOptions, chain: tuple[Certificate, ...], now: datetime
) -> tuple[Rung, ...]:
    details: Mapping[Stage, str] = {
        Stage.RESOLVE: options.host,
        Stage.CONNECT: connection.peer,
        Stage.GREETING: str(connection.session.greeting or ""),
        Stage.EHLO: ", ".join(connection.session.capabilities.keywords) or "no extensions",
        Stage.STARTTLS: "offered and taken",
        Stage.TLS: _tls_detail(connection.tls, chain, now) if connection.tls else "",
        Stage.AUTH: _auth_detail(options),
    }
    seconds = connection.set_up_seconds
    return tuple(
        Rung(stage=stage, is_ok=True, seconds=seconds.get(stage), detail=details.get(stage, ""))
        for stage in _stages(options)
    )


def _tls_detail(info: TLSInfo, chain: tuple[Certificate, ...], now: datetime) -> str:
    parts = [info.version, info.cipher]
    if chain:
        names = ", ".join(chain[0].host_names[:5]) or chain[0].subject_name
        parts.append(f"certificate for {names}, issued by {chain[0].issuer_name}")
        parts.append(f"{chain[0].time_left(now).days} days left")
    if not info.is_verified:
        parts.append("NOT VERIFIED")
    if info.relaxed_defect:
        parts.append(f"accepted although {info.relaxed_defect}")
    return ", ".join(parts)


def _auth_detail(options: ConnectionOptions) -> str:
    credentials = options.credentials
    if credentials is None or credentials.username == credentials.password:
        return "by token"
    return f"as {credentials.username}"


def _envelope_rungs(transaction: Transaction) -> tuple[tuple[Rung, ...], WireFailure | None]:
    (result,) = transaction.results.values()
    spent = transaction.stage_seconds
    mail = Rung(stage=Stage.MAIL, is_ok=True, seconds=spent.get(Stage.MAIL), detail=transaction.job.sender)
    rcpt = Rung(stage=Stage.RCPT, is_ok=True, seconds=spent.get(Stage.RCPT), detail=transaction.job.recipients[0])
    failure = result.failure or transaction.failure
    if failure is None:
        return (mail, rcpt), None
    failed = Rung(stage=failure.stage, is_ok=False, detail=failure.detail)
    return ((mail, failed) if failure.stage is Stage.RCPT else (failed,)), failure


def _redacted(lines: list[tuple[str, str]], options: ConnectionOptions) -> tuple[tuple[str, str], ...]:
    """The session keeps secrets out already; a server that repeats them later is caught here."""
    if options.credentials is None:
        return tuple(lines)
    credentials = options.credentials
    return tuple((who, redact(text, credentials)) for who, text in lines)
