"""The explanation of a failure on the way to a server, in words that a tired person can act on.

Four parts, always in this order: where, what was said, what it means, what to do. Certificates get a closer look by
up to three more handshakes, in which no credential is sent, so that the smallest safe remedy can be named.
"""

from collections.abc import Sequence

from reliable_email.backends.reading.route_options import SMTPOptions, is_loopback_name
from reliable_email.classification import Cause, Failure, classify
from reliable_email.classification.meanings import MEANINGS
from reliable_email.patterns import pattern
from reliable_email.providers import Provider
from reliable_email.records import dataclass, replace
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.driver.connection import Connection
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.options import TLSMode
from reliable_email.smtp.protocol.login_advice import credentials_hint
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls.probe import TLSProbe, probe_tls
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
    "This may be temporary: try again in a few minutes. If it persists, show the conversation to "
    "the server's administrator; “test_email --verbose” shows all of it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A failure explained for people.

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
    bare = replace(failure, advice="")
    classified = classify(bare, provider=provider.name if provider else None)
    remedies: list[str] = []
    said = str(failure.reply) if failure.reply is not None else failure.detail
    meaning = MEANINGS[classified.cause].says
    if failure.kind is FailureKind.TLS_VERIFICATION:
        meaning = "The server could not prove that it is the right one, so neither password nor mail was sent to it."
        probe = _probe(options, timeout)
        if probe is not None:
            remedies += _certificate_remedies(probe)
    remedies += _place_remedies(failure, classified.cause, options)
    if failure.stage is Stage.AUTH and options.connection.credentials is not None and failure.reply is not None:
        remedies.insert(0, credentials_hint(options.connection.credentials))
    if failure.kind is FailureKind.AUTH_NOT_OFFERED and failure.advice:
        remedies.append(failure.advice)
    elif not any(remedies) or failure.advice:  # what the cause alone advises is more general
        remedies += _classified_remedies(classified, bare, said)
        remedies.append(failure.advice.replace(remedies[0], "").strip() if remedies[0] else failure.advice)
    return Explanation(
        stage=failure.stage,
        cause=classified.cause,
        said=printable(said),
        meaning=meaning,
        remedies=tuple(dict.fromkeys(filter(None, remedies))),
        links=_links(provider, classified.cause),
        rule=classified.rule,
    )


def explain_failure(
    failure: Failure, *, options: SMTPOptions | None = None, offered: Sequence[str] = ()
) -> Explanation:
    """Explain a failure that was classified already, as a report's.

    Args:
        failure: what is known of it.
        options: how the route is configured, where it is one of ours.
        offered: the logins that its server offers, where they are known.
    """
    said = failure.said
    provider = options.provider if options is not None else None
    remedies: list[str] = []
    if options is not None and failure.reply is not None and failure.stage is not None:
        refused = WireFailure(stage=failure.stage, kind=FailureKind.REFUSED, detail=failure.detail, reply=failure.reply)
        remedies = _place_remedies(refused, failure.cause, options, offered)
    return Explanation(
        stage=failure.stage,
        cause=failure.cause,
        said=printable(said),
        meaning=MEANINGS[failure.cause].says,
        remedies=tuple(filter(None, remedies or [_remedy_of(failure)])),
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
        remedies.append("Change only ssl_strict; ssl_verify=False would accept any certificate.")
    elif probe.switch == "ssl_cafile":
        remedies.append("Set only ssl_cafile (EMAIL_SSL_CAFILE); never turn verification off.")
    return remedies


def _place_remedies(failure: WireFailure, cause: Cause, options: SMTPOptions, offered: Sequence[str] = ()) -> list[str]:
    """Return the remedies that follow from the stage and the route's options rather than from the reply."""
    link = options.connection
    mode = link.tls.mode
    if failure.stage is Stage.GREETING and failure.kind is FailureKind.TIMEOUT and mode is not TLSMode.IMPLICIT:
        change = "use_ssl in place of use_tls" if mode is TLSMode.STARTTLS else "use_ssl"
        return [
            (
                f"Port {link.port} may speak TLS from the first byte, as 465 does: set {change}, or use port 587 with "
                f"use_tls."
            ),
            "If it is the right port, the server is overloaded or delays unknown clients: try a longer timeout.",
        ]
    if failure.kind is FailureKind.TLS_HANDSHAKE:
        return _handshake_remedies(failure, options)
    if cause is Cause.TLS_REQUIRED and failure.reply is not None and mode is not TLSMode.NONE:
        return [
            (
                "This connection is encrypted, and the server does not know it: something in front of it ends TLS "
                "(a proxy or a load balancer) and passes the mail on in plaintext. Its owner must let the server's own "
                "port do TLS, or tell the server that the proxy has done it."
            ),
            "Or take another port of the server that is not behind the proxy: 587 with use_tls, or 465 with use_ssl.",
        ]
    if link.credentials is None and _wants_login(failure, cause):
        offer = f"offers one ({', '.join(offered)})" if offered else "wants one"
        return [
            (
                f"No login is configured, and the server {offer}; without it, only hosts that it knows may send: "
                f"set username and password."
            )
        ]
    if failure.stage is Stage.CONNECT and failure.kind in (FailureKind.CONNECT_FAILED, FailureKind.TIMEOUT):
        return _connect_remedies(options)
    return []


def _handshake_remedies(failure: WireFailure, options: SMTPOptions) -> list[str]:
    link = options.connection
    if "plaintext" in failure.detail and link.tls.mode is TLSMode.IMPLICIT:
        return [f"Port {link.port} begins in plaintext, as 587 does: use use_tls in place of use_ssl, or port 465."]
    if "client certificate" in failure.detail and not link.tls.certfile:
        return ["Ask the server's owner for a client certificate, and set ssl_certfile and ssl_keyfile."]
    # The sentence of the wire holds what is known of it, and often the remedy.
    return [_sentence(failure.detail)]


_KNOWN_HOSTS_WORDS = ("client host rejected", "access denied", "relay", "authenticat", "log in", "login", "not allowed")


def _wants_login(failure: WireFailure, cause: Cause) -> bool:
    """Return whether a refusal may be for want of a login: nobody who has none is on a block list for it."""
    reply = failure.reply
    if reply is None or reply.code < 500 or failure.stage not in (Stage.MAIL, Stage.RCPT, Stage.DATA):
        return False
    if cause in (Cause.RELAY_DENIED, Cause.AUTH_FAILED):
        return True
    if cause is Cause.SENDER_NOT_AUTHENTICATED:  # by DNS: no login changes that
        return False
    text = reply.text.lower()
    return cause is not Cause.MAILBOX_UNKNOWN and any(words in text for words in _KNOWN_HOSTS_WORDS)


def _connect_remedies(options: SMTPOptions) -> list[str]:
    link = options.connection
    if is_loopback_name(link.host):
        return [
            (
                f"Check host and port ({link.host}:{link.port}): no mail server answers there. Start one, or name the "
                f"server that sends for you."
            ),
            (
                f"Inside a container {link.host} is the container itself: use the mail container's service name as "
                f"host, or for a server on the Docker host host.docker.internal."
            ),
        ]
    return [
        (
            f"Check host and port ({link.host}:{link.port}), and whether a firewall or the hosting provider blocks "
            f"outgoing mail ports; many block 25, some 587 and 465."
        )
    ]


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
    said = meaning.person if failure.help in ("", general) else failure.help.removeprefix(general).strip()
    if failure.stage is not None and failure.cause in _NAMED_IN_REPLY and failure.reply is None:
        return _sentence(failure.detail)  # there was no reply that could name anything
    if _ITSELF in said:
        said = _NAMES_ITSELF.sub("", said).strip() if failure.reply is not None else ""
        return _sentence(said) or _sentence(failure.detail) or _PATIENCE
    return said or _PATIENCE


# What is printed here never sends a person to where it is printed.
_ITSELF = "manage.py test_email"
_NAMES_ITSELF = pattern(r"(?:^|[;.])\s*[^.;]*`manage\.py test_email[^`]*`[^.;]*")
_NAMED_IN_REPLY = frozenset({Cause.SYNTAX_OR_UNSUPPORTED, Cause.ADDRESS_INVALID})


def _sentence(words: str) -> str:
    return words and f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?', '!')) else '.'}"


def _links(provider: Provider | None, cause: Cause) -> tuple[tuple[str, str], ...]:
    if provider is None or cause not in _PROVIDERS_BUSINESS:
        return ()
    return tuple(provider.links.items())[:3]
