"""The set-up of a session, up to the first message: EHLO, STARTTLS, EHLO again, AUTH (RFC 5321 §3.1, 3207, 4954).

Each step waits for one reply. What must never be traded for delivery is decided here: TLS that was asked for is never
done without, what was heard before TLS counts for nothing, and credentials are not sent in clear text.
"""

from dataclasses import replace

from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.options import Credentials, TLSMode
from reliable_email.smtp.protocol import auth, login_advice
from reliable_email.smtp.protocol.capabilities import Capabilities, parse_capabilities
from reliable_email.smtp.protocol.channel import Channel, Trouble
from reliable_email.smtp.protocol.events import Established, Event, TokenWanted, UpgradeWanted
from reliable_email.smtp.protocol.exchange import Command, Verb, refusal
from reliable_email.smtp.protocol.redaction import Redactor, redactor_for
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply


class SetUp:
    """The set-up of a session. `on_reply` takes each reply, and raises `Trouble` if the session cannot continue."""

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
        self.greeted = False  # whether the present EHLO or HELO was taken
        self.redactor: Redactor | None = redactor_for(credentials) if credentials is not None else None
        self._channel = channel
        self._tls = tls
        self._credentials = credentials
        self._mechanism = mechanism
        self._may_send_secrets = may_send_secrets
        self.local_hostname = local_hostname
        self._ehlo_refusal: Reply | None = None
        self._ways: tuple[str, ...] = ()  # mechanisms that are left
        self._sasl: auth.Mechanism | None = None
        self._refused: list[tuple[str, Reply]] = []  # mechanisms that were, with the reply
        self._is_cancelled = False
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
            case Verb.EHLO if reply.code >= 500:
                # RFC 5321 §3.2: a server that does not know EHLO, or does not want it, may know HELO.
                self._ehlo_refusal = reply
                return self._say_hello(Verb.HELO)
            case Verb.HELO if reply.is_positive:
                return self._after_hello()
            case Verb.HELO if reply.is_refusal:
                raise self._hello_refused("HELO was refused, too")
            case Verb.STARTTLS if reply.code == 220:
                return self._start_tls()
            case Verb.AUTH:
                return self._on_auth_reply(reply)
            case _:
                raise self._channel.refused(reply)

    def tls_established(self) -> None:
        """The handshake is done: everything learned before it is forgotten (RFC 3207 §4.2)."""
        # Whoever stands in between could have written those capabilities, such as an AUTH that shows the password.
        self.is_secure = True
        self.capabilities = Capabilities()
        self._say_hello(Verb.EHLO)

    def authenticate(self, token: str) -> None:
        """Go on after `TokenWanted`."""
        assert self._credentials is not None
        self._token = token
        # Before the token is written: the very next reply may echo it.
        self.redactor = redactor_for(self._credentials, token)
        self._begin_auth()

    def earlier_refusal(self) -> WireFailure | None:
        """Return the refusal before the connection ended, if it is the better explanation of the end.

        A server that refuses EHLO, or a mechanism, and then leaves has given its reason first.
        """
        if self._ehlo_refusal is not None and not self.greeted:
            return self._hello_refused("the connection ended at HELO").failure
        if self.is_in_auth and self._refused:
            return self._auth_refused().failure
        return None

    def _say_hello(self, verb: Verb) -> list[Event]:
        self.greeted = False
        self._channel.require_silence()
        self._channel.write(Command(verb, f"{verb.name} {self.local_hostname}\r\n".encode()))
        return []

    def _after_hello(self) -> list[Event]:
        self.greeted = True
        if self._tls is TLSMode.STARTTLS and not self.is_secure:
            if not self.capabilities.starttls:
                if self._ehlo_refusal is not None:
                    raise self._hello_refused("HELO offers no STARTTLS")
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

    def _hello_refused(self, why: str) -> Trouble:
        assert self._ehlo_refusal is not None
        said = refusal(Stage.EHLO, self._ehlo_refusal)
        return Trouble(replace(said, detail=f"{said.detail} to EHLO, and {why}"))

    def _start_tls(self) -> list[Event]:
        # Bytes of plaintext that wait here would be read behind the handshake, as if the server had encrypted them.
        if not self._channel.is_silent:
            raise _trouble(
                Stage.STARTTLS,
                FailureKind.TLS_INJECTION,
                "plaintext followed the 220 of STARTTLS: an attacker may be writing into the connection",
            )
        return [UpgradeWanted()]

    def _log_in(self, credentials: Credentials) -> list[Event]:
        self.is_in_auth = True
        self._ways = auth.ways(self.capabilities.auth, credentials, self._mechanism)
        if not self._ways:
            if self._ehlo_refusal is not None:
                raise self._hello_refused("HELO offers no login")
            offered = ", ".join(self.capabilities.auth) or "none at all"
            advice = login_advice.where_nothing_fits(
                self.capabilities.auth,
                credentials,
                self._mechanism,
                is_secure=self.is_secure,
                offers_starttls=self.capabilities.starttls,
            )
            detail = f"no usable way to log in: wanted {self._mechanism}, the server offers {offered}"
            kind = FailureKind.AUTH_NOT_OFFERED
            raise Trouble(WireFailure(stage=Stage.AUTH, kind=kind, detail=detail, advice=advice))
        if self._ways[0] in auth.TOKEN_MECHANISMS:
            return [TokenWanted(renew=False)]
        self._begin_auth()
        return []

    def _begin_auth(self) -> None:
        assert self._credentials is not None
        name = self._ways[0]
        self._is_cancelled = False
        self._sasl = auth.make(name, self._credentials, self._token)
        if self._sasl is None:
            raise _trouble(Stage.AUTH, FailureKind.AUTH_NOT_OFFERED, f"{name} cannot carry these credentials")
        initial = self._sasl.initial_response()
        line = f"AUTH {name}"
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
        if not reply.is_refusal:
            raise self._channel.desync(reply)
        is_judged = auth.is_verdict(reply) or (reply.code >= 500 and sasl.server_error != "")
        if sasl.name in auth.TOKEN_MECHANISMS and is_judged and not self._token_was_renewed:
            # Tokens expire early and clocks differ: one fresh token is worth one more try.
            self._token_was_renewed = True
            return [TokenWanted(renew=True)]
        self._refused.append((sasl.name, reply))
        may_go_on = len(self._refused) == 1 and len(self._ways) > 1
        if may_go_on and not is_judged and (self._is_cancelled or auth.speaks_of_mechanism(reply)):
            self._ways = self._ways[1:]
            self._begin_auth()
            return []
        raise self._auth_refused()

    def _auth_refused(self) -> Trouble:
        """Return the trouble of a login that failed; a refusal of our own cancellation has judged nothing."""
        assert self._credentials is not None
        assert self._sasl is not None
        tried, reply = [name for name, _ in self._refused], self._refused[-1][1]
        if self._is_cancelled and not self._sasl.server_error:
            return _trouble(
                Stage.AUTH,
                FailureKind.PROTOCOL,
                f"the server's challenges are none that {tried[-1]} has an answer to, so the login was given up",
            )
        said = refusal(Stage.AUTH, reply)
        # The bearer mechanisms give their reason in the challenge before the refusal.
        reason = f" ({self._sasl.server_error})" if self._sasl.server_error else ""
        before = f", and {self._refused[0][1]} to {tried[0]} before" if len(tried) > 1 else ""
        advice = ""
        if reply.code >= 500 and not auth.asks_for_tls(reply):
            advice = login_advice.after_refusal(
                self.capabilities.auth,
                self._credentials,
                self._mechanism,
                tried,
                is_judged=bool(reason) or auth.judges_credentials(reply),
            )
        return Trouble(replace(said, detail=f"{said.detail}{reason} to {tried[-1]}{before}", advice=advice))

    def _answer(self, sasl: auth.Mechanism, reply: Reply) -> None:
        self._channel.require_silence()
        if self._is_cancelled:
            detail = f"the server goes on asking after {sasl.name} was given up"
            raise _trouble(Stage.AUTH, FailureKind.PROTOCOL, detail)
        try:
            answer = sasl.respond("".join(reply.lines).encode("utf-8", "replace"))
        except auth.ChallengeError:
            # RFC 4954 §4: "*" gives the exchange up; what answers it says nothing of the credentials.
            self._is_cancelled = True
            answer = b"*"
        self._channel.write(Command(Verb.AUTH, answer + b"\r\n"), shown="*" if answer == b"*" else "****")


def _trouble(stage: Stage, kind: FailureKind, detail: str) -> Trouble:
    return Trouble(WireFailure(stage=stage, kind=kind, detail=detail))
