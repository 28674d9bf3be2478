"""From the greeting to the first message: EHLO, STARTTLS, EHLO again, AUTH (RFC 5321 §3.1, 3207, 4954).

Each step waits for one reply. What must never be traded for delivery is decided here: TLS that was asked for is never
done without, what was heard before TLS counts for nothing, and credentials are not sent in clear text.
"""

from dataclasses import replace

from reliable_email.smtp import auth
from reliable_email.smtp.capabilities import Capabilities, parse_capabilities
from reliable_email.smtp.channel import Channel, Trouble, refusal
from reliable_email.smtp.events import Established, Event, TokenWanted, UpgradeWanted
from reliable_email.smtp.exchange import Command, Verb
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.replies import Reply
from reliable_email.smtp.stages import Stage

# RFC 5321 §3.2: a server that does not know EHLO, or does not want it, may know HELO.
_NO_EHLO = (500, 501, 502, 504, 550)


class SetUp:
    """See the module. `on_reply` takes each reply; it raises `Trouble` where the session cannot go on."""

    def __init__(
        self,
        channel: Channel,
        *,
        tls: TLSMode,
        credentials: Credentials | None,
        mechanism: str,
        may_send_secrets: bool,
        local_hostname: str,
    ) -> None:
        self.capabilities = Capabilities()
        self.is_secure = tls is TLSMode.IMPLICIT
        self.greeting: Reply | None = None
        self.is_in_auth = False
        self._channel = channel
        self._tls = tls
        self._credentials = credentials
        self._mechanism = mechanism
        self._may_send_secrets = may_send_secrets
        self._local_hostname = local_hostname
        self._sasl: auth.Mechanism | None = None
        self._token = ""
        self._token_was_renewed = False

    def on_reply(self, verb: Verb, reply: Reply) -> list[Event]:
        """Take the reply to a set-up command."""
        match verb:
            case Verb.GREETING if reply.is_positive:
                self.greeting = reply
                return self._say_hello(Verb.EHLO)
            case Verb.EHLO if reply.is_positive:
                self.capabilities = parse_capabilities(reply)
                return self._after_hello()
            case Verb.EHLO if reply.code in _NO_EHLO:
                return self._say_hello(Verb.HELO)
            case Verb.HELO if reply.is_positive:
                return self._after_hello()
            case Verb.STARTTLS if reply.code == 220:
                return self._start_tls()
            case Verb.AUTH:
                return self._on_auth_reply(reply)
            case _:
                raise self._channel.refused(reply)

    def tls_established(self) -> None:
        """The handshake is done: everything learned before it is forgotten (RFC 3207 §4.2)."""
        self.is_secure = True
        self.capabilities = Capabilities()
        self._say_hello(Verb.EHLO)

    def authenticate(self, token: str) -> None:
        """Go on after `TokenWanted`."""
        self._token = token
        self._begin_auth("xoauth2")

    def redacted(self, reply: Reply) -> Reply:
        """The reply without secrets: servers exist that repeat the command which they refuse."""
        assert self._credentials is not None
        lines = tuple(auth.redact(line, self._credentials, token=self._token) for line in reply.lines)
        return Reply(reply.code, lines, reply.enhanced)

    def _say_hello(self, verb: Verb) -> list[Event]:
        self._channel.require_silence()
        self._channel.write(Command(verb, f"{verb.name} {self._local_hostname}\r\n".encode()))
        return []

    def _after_hello(self) -> list[Event]:
        if self._tls is TLSMode.STARTTLS and not self.is_secure:
            if not self.capabilities.starttls:
                raise _trouble(
                    Stage.STARTTLS,
                    FailureKind.TLS_NOT_OFFERED,
                    "the server does not offer STARTTLS (wrong port, or something in between removes it)",
                )
            self._channel.require_silence()
            self._channel.write(Command(Verb.STARTTLS, b"STARTTLS\r\n"))
            return []
        if self._credentials is None:
            return [Established()]
        if not self.is_secure and not self._may_send_secrets:
            raise _trouble(
                Stage.AUTH,
                FailureKind.AUTH_INSECURE,
                "the connection is not encrypted, so the credentials were not sent",
            )
        return self._log_in(self._credentials)

    def _start_tls(self) -> list[Event]:
        if not self._channel.is_silent:
            raise _trouble(
                Stage.STARTTLS,
                FailureKind.TLS_INJECTION,
                "plaintext came behind the 220 of STARTTLS: somebody may be writing into the connection",
            )
        return [UpgradeWanted()]

    def _log_in(self, credentials: Credentials) -> list[Event]:
        self.is_in_auth = True
        has_tokens = credentials.token_provider is not None
        wanted = "xoauth2" if has_tokens else self._mechanism
        if auth.choose(self.capabilities.auth, credentials, wanted=wanted) is None:
            offered = ", ".join(self.capabilities.auth) or "none at all"
            raise _trouble(
                Stage.AUTH,
                FailureKind.AUTH_NOT_OFFERED,
                f"no usable way to log in: wanted {wanted}, the server offers {offered}",
            )
        if has_tokens:
            return [TokenWanted(renew=False)]
        self._begin_auth(wanted)
        return []

    def _begin_auth(self, wanted: str) -> None:
        assert self._credentials is not None
        self._sasl = auth.choose(self.capabilities.auth, self._credentials, wanted=wanted, token=self._token)
        if self._sasl is None:
            raise _trouble(Stage.AUTH, FailureKind.AUTH_NOT_OFFERED, f"{wanted} cannot carry these credentials")
        initial = self._sasl.initial_response()
        line = f"AUTH {self._sasl.name}"
        data = line.encode() + (b" " + initial if initial is not None else b"") + b"\r\n"
        self._channel.require_silence()
        self._channel.write(Command(Verb.AUTH, data), shown=f"{line} ****" if initial is not None else line)

    def _on_auth_reply(self, reply: Reply) -> list[Event]:
        sasl = self._sasl
        assert sasl is not None
        if reply.is_positive:
            self.is_in_auth = False
            return [Established()]
        if reply.code == 334:
            self._answer(sasl, reply)
            return []
        if reply.code == 535 and sasl.name == "XOAUTH2" and not self._token_was_renewed:
            # Tokens expire early and clocks differ: one fresh token is worth one more try.
            self._token_was_renewed = True
            return [TokenWanted(renew=True)]
        if not reply.is_refusal:
            raise self._channel.desync(reply)
        said = refusal(Stage.AUTH, reply)
        # XOAUTH2 gives its reason in the challenge before the refusal.
        reason = f" ({sasl.server_error})" if sasl.server_error else ""
        raise Trouble(replace(said, detail=said.detail + reason))

    def _answer(self, sasl: auth.Mechanism, reply: Reply) -> None:
        try:
            answer = sasl.respond(reply.text.encode())
        except auth.ChallengeError as error:
            is_endless = isinstance(error, auth.TooManyChallenges)
            kind = FailureKind.AUTH_NOT_OFFERED if is_endless else FailureKind.PROTOCOL
            raise Trouble(WireFailure(stage=Stage.AUTH, kind=kind, detail=str(error), reply=reply)) from error
        self._channel.require_silence()
        self._channel.write(Command(Verb.AUTH, answer + b"\r\n"), shown="****")


def _trouble(stage: Stage, kind: FailureKind, detail: str) -> Trouble:
    return Trouble(WireFailure(stage=stage, kind=kind, detail=detail))
