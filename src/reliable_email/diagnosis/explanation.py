"""Turns a failure on the way to a server into words that a tired person can act on.

Four parts, always in this order: where, what was said, what it means, what to do. Certificates get a closer look by
up to three more handshakes, in which no credential is sent, so that the smallest safe remedy can be named.
"""

from dataclasses import dataclass

from reliable_email.backends.options import SMTPOptions
from reliable_email.classification import Cause, Failure, classify
from reliable_email.classification.meanings import MEANINGS
from reliable_email.providers import Provider
from reliable_email.smtp.connection import Connection
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSMode
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls_probe import TLSProbe, probe_tls
from reliable_email.values import printable

# What a provider's help pages are about; they say nothing of ports, names and certificates.
_PROVIDERS_BUSINESS = frozenset(
    {
        Cause.AUTH_FAILED,
        Cause.AUTH_THROTTLED,
        Cause.RELAY_DENIED,
        Cause.SENDER_NOT_VERIFIED,
        Cause.SENDER_NOT_AUTHENTICATED,
        Cause.SENDER_REJECTED,
        Cause.CONTENT_REJECTED,
        Cause.QUOTA_EXCEEDED,
        Cause.RATE_LIMITED,
        Cause.REPUTATION_BLOCKED,
    }
)
# Where nothing is wrong that a person could mend.
_PATIENCE = (
    "Nothing has to be changed if this passes: try again in a few minutes. If it does not pass, show what was said to "
    "whoever runs the server; --verbose shows all of it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """See the module.

    Attributes:
        said: the server's words, or the system's.
        meaning: one or two sentences.
        remedies: what to do, the likeliest first.
        links: help pages by title.
        rule: the id of the classification rule that decided, "" where none did.
    """

    stage: Stage | None
    cause: Cause
    said: str
    meaning: str
    remedies: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    rule: str = ""


def explain(failure: WireFailure, options: SMTPOptions, *, timeout: float = 15.0) -> Explanation:
    """Explain why a route did not work; refused certificates are probed, within `timeout` seconds."""
    provider = options.provider
    classified = classify(failure, provider=provider.name if provider else None)
    remedies: list[str] = []
    said = str(failure.reply) if failure.reply is not None else failure.detail
    meaning = MEANINGS[classified.cause].says
    if failure.kind is FailureKind.TLS_VERIFICATION:
        meaning = "The server could not prove that it is the right one, so neither password nor mail was sent to it."
        probe = _probe(options, timeout)
        if probe is not None:
            remedies += _certificate_remedies(probe)
    remedies += _wrong_port_remedies(failure, options)
    if not remedies:  # what the cause alone advises is more general
        remedies += _classified_remedies(classified, failure, said)
    return Explanation(
        stage=failure.stage,
        cause=classified.cause,
        said=printable(said),
        meaning=meaning,
        remedies=tuple(dict.fromkeys(filter(None, remedies))),
        links=_links(provider, classified.cause),
        rule=classified.rule,
    )


def explain_failure(failure: Failure, provider: Provider | None = None) -> Explanation:
    """Explain a failure that was classified already, as a report's."""
    said = str(failure.reply) if failure.reply is not None else failure.detail
    return Explanation(
        stage=failure.stage,
        cause=failure.cause,
        said=printable(said),
        meaning=MEANINGS[failure.cause].says,
        remedies=tuple(filter(None, (_remedy_of(failure),))),
        links=_links(provider, failure.cause),
        rule=failure.rule,
    )


def _probe(options: SMTPOptions, timeout: float) -> TLSProbe | None:
    link = options.connection
    deadline = Deadline(timeout)
    try:
        return probe_tls(
            lambda: Connection.socket_before_tls(link, deadline=deadline),
            link.tls,
            host=link.host,
            port=link.port,
            deadline=deadline,
        )
    except WireError:  # the server went away meanwhile: what the first handshake said has to do
        return None


def _certificate_remedies(probe: TLSProbe) -> list[str]:
    remedies = [probe.advice]
    if probe.switch == "ssl_strict":
        remedies.append("The smallest safe switch is ssl_strict; ssl_verify=False would give up everything.")
    elif probe.switch == "ssl_cafile":
        remedies.append("The smallest safe switch is ssl_cafile (EMAIL_SSL_CAFILE); never switch the verification off.")
    return remedies


def _wrong_port_remedies(failure: WireFailure, options: SMTPOptions) -> list[str]:
    """A port that speaks TLS at another moment than it is asked to."""
    link = options.connection
    if (
        failure.stage is Stage.GREETING
        and failure.kind is FailureKind.TIMEOUT
        and link.tls.mode is not TLSMode.IMPLICIT
    ):
        change = "use_ssl in place of use_tls" if link.tls.mode is TLSMode.STARTTLS else "use_ssl"
        return [
            (
                f"Port {link.port} may speak TLS from the first byte, as 465 does: set {change}, or take port 587 with "
                f"use_tls."
            ),
            "If it is the right port, the server is overloaded or makes strangers wait: try a longer timeout.",
        ]
    if failure.kind is FailureKind.AUTH_NOT_OFFERED and link.tls.mode is TLSMode.NONE:
        return ["Servers offer a login under TLS only: set use_tls (usually port 587) or use_ssl (usually port 465)."]
    if (
        failure.kind is FailureKind.TLS_HANDSHAKE
        and "plaintext" in failure.detail
        and link.tls.mode is TLSMode.IMPLICIT
    ):
        return [f"Port {link.port} begins in plaintext, as 587 does: use use_tls in place of use_ssl, or port 465."]
    if failure.stage is Stage.CONNECT and failure.kind in (FailureKind.CONNECT_FAILED, FailureKind.TIMEOUT):
        return [
            (
                f"Check host and port ({link.host}:{link.port}), and whether a firewall or the hosting provider blocks "
                f"outgoing mail ports; many block 25, some 587 and 465."
            )
        ]
    return []


def _classified_remedies(classified: Failure, failure: WireFailure, said: str) -> list[str]:
    remedies = [_remedy_of(classified)]
    # The wire's own sentence often holds the remedy (ports, options); it is shown once.
    if failure.reply is not None and failure.kind is not FailureKind.REFUSED and failure.detail not in said:
        remedies.append(failure.detail)
    return remedies


def _remedy_of(failure: Failure) -> str:
    """The rule's own advice where one decided, else what a person does about the cause."""
    meaning = MEANINGS[failure.cause]
    general = f"{meaning.says} {meaning.person}".strip()
    return (meaning.person if failure.help in ("", general) else failure.help) or _PATIENCE


def _links(provider: Provider | None, cause: Cause) -> tuple[tuple[str, str], ...]:
    if provider is None or cause not in _PROVIDERS_BUSINESS:
        return ()
    return tuple(provider.links.items())[:3]
