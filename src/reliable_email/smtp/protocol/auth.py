"""Logins: the choice of a mechanism, and its exchange (RFC 4954).

PLAIN is RFC 4616, LOGIN Microsoft's, CRAM-MD5 RFC 2195, OAUTHBEARER RFC 7628, XOAUTH2 Google's and Microsoft's own.

A password is answered once: a server that judged it by one mechanism is not asked again by another, since providers
lock accounts that fail several times in a row. A server that refused the mechanism and not the password is asked by
one more. CRAM-MD5 comes last: inside TLS it protects nothing, and it makes the server keep the password in clear.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Collection, Iterator
from typing import Protocol

from reliable_email.patterns import pattern
from reliable_email.smtp.options import Credentials
from reliable_email.smtp.protocol.redaction import REDACTED, redact, to_bytes
from reliable_email.smtp.syntax.replies import Reply

__all__ = [
    "PASSWORD_MECHANISMS",
    "REDACTED",
    "TOKEN_MECHANISMS",
    "ChallengeError",
    "Mechanism",
    "TooManyChallenges",
    "choose",
    "is_verdict",
    "redact",
    "speaks_of_mechanism",
    "ways",
]

# What this package knows, the preferred one first.
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
TOKEN_MECHANISMS = ("XOAUTH2", "OAUTHBEARER")

# RFC 4954 §4: an AUTH line with its initial response stays within the 512 bytes of a command (RFC 5321 §4.5.3.1.4),
# else the response waits for the challenge. "AUTH PLAIN " and the line end are part of it.
MAX_INITIAL_RESPONSE_BYTES = 512 - len("AUTH PLAIN \r\n")

_TLS_WORDS = pattern(r"(?i)\b(?:start)?tls\b|\bssl\b|encrypt|secure (?:connection|channel)")
_CREDENTIAL_WORDS = pattern(r"(?i)passw|credential|user|log.?in|account|token|secur|sign|invalid|incorrect|wrong")
_UNSUPPORTED_WORDS = pattern(
    r"(?i)unsupported|not (?:supported|implemented|available|recogni[sz]ed|allowed here)|unrecogni[sz]ed|unknown auth"
)


class ChallengeError(ValueError):
    """The server's challenge is not one that this mechanism knows."""


class TooManyChallenges(ChallengeError):
    """The server goes on asking after everything was said."""


class Mechanism(Protocol):
    """One attempt to log in by one SASL mechanism."""

    @property
    def name(self) -> str:
        """The name for the AUTH command."""

    @property
    def server_error(self) -> str:
        """The server's explanation of the refusal inside a challenge (XOAUTH2); "" if there is none."""

    def initial_response(self) -> bytes | None:
        """Return the base64 text for the AUTH line; None if the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """The answer to the text of a 334 reply, in base64 and without a line end.

        Raises:
            ChallengeError: the challenge cannot be answered.
            TooManyChallenges: everything was said already.
        """


class _Named:
    """A mechanism that shows its name alone: error trackers show what objects say of themselves."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


class _Answers(_Named):
    """Gives fixed answers in order, whatever the challenges say: they differ by server and language, and mean nothing.

    Servers in use ask in plain words, in several lines, for the password first, and with a banner behind the base64.
    """

    server_error = ""

    def __init__(self, name: str, answers: Collection[bytes], initial: bytes | None = None) -> None:
        self.name = name
        self._initial = initial
        self._answers = iter(answers)

    def initial_response(self) -> bytes | None:
        """Return the first answer, for the AUTH line."""
        return self._initial

    def respond(self, challenge: bytes) -> bytes:
        """Return the next answer, whatever the challenge says."""
        answer = next(self._answers, None)
        if answer is None:
            raise TooManyChallenges(f"the server goes on asking after {self.name} has said everything")
        return answer


class _CramMD5(_Named):
    """The challenge's keyed digest; the password itself is not said (RFC 2195)."""

    name = "CRAM-MD5"
    server_error = ""

    def __init__(self, user: bytes, password: bytes) -> None:
        self._user = user
        self._password = password
        self._is_said = False

    def initial_response(self) -> bytes | None:
        """Return None, because the server speaks first."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """Return the user name and the digest of the challenge (RFC 2195)."""
        if self._is_said:
            raise TooManyChallenges("the server goes on asking after CRAM-MD5 has said everything")
        stamp = challenge.strip()
        if not (stamp.startswith(b"<") and stamp.endswith(b">")):  # some servers forget the base64
            try:
                stamp = base64.b64decode(stamp, validate=True)
            except binascii.Error as error:
                raise ChallengeError("the server's challenge for CRAM-MD5 is not base64") from error
        self._is_said = True
        digest = hmac.new(self._password, stamp, "md5").hexdigest()
        return _encode(self._user + b" " + digest.encode())


class _Bearer(_Named):
    """The token goes out once; a challenge with an error in it is answered by what ends the exchange, then comes the
    refusal.
    """

    def __init__(self, name: str, response: bytes, ending: bytes) -> None:
        self.name = name
        self.server_error = ""
        self._response = response
        self._ending = ending
        self._was_asked = False
        self._was_refused = False

    def initial_response(self) -> bytes | None:
        """Return the token. It may be longer than RFC 4954 allows, as the providers document it."""
        return self._response

    def respond(self, challenge: bytes) -> bytes:
        """Return the token if the server asks for it; otherwise keep its error and send an empty answer."""
        error = _decoded(challenge)
        if not error and not self._was_asked and not self._was_refused:
            # This server did not look at the initial response.
            self._was_asked = True
            return self._response
        if self._was_refused:
            raise TooManyChallenges("the server goes on asking after it has refused the access token")
        self._was_refused = True
        self.server_error = _error_text(error)
        return self._ending


def ways(offered: Collection[str], credentials: Credentials, wanted: str = "auto") -> tuple[str, ...]:
    """The mechanisms by which one can log in here, the preferred one first.

    Args:
        offered: mechanism names of the EHLO reply (after TLS; an earlier one does not count).
        credentials: whose. With a token provider those for tokens, else those for passwords.
        wanted: "auto" or the one mechanism to use, in any case.
    """
    names = {name.upper() for name in offered}
    if wanted.lower() != "auto":
        preferred: tuple[str, ...] = (wanted.upper(),)
    elif credentials.token_provider is not None:
        preferred = TOKEN_MECHANISMS
    else:
        preferred = PASSWORD_MECHANISMS
    return tuple(name for name in preferred if name in names and make(name, credentials) is not None)


def choose(
    offered: Collection[str],
    credentials: Credentials,
    wanted: str = "auto",
    *,
    token: str = "",
) -> Mechanism | None:
    """The mechanism to log in by, None where the server offers none that serves; the arguments are those of `ways`.

    `token` is the access token; without it the mechanism only tells that it could be used.
    """
    for name in ways(offered, credentials, wanted):
        mechanism = make(name, credentials, token)
        if mechanism is not None:
            return mechanism
    return None


def make(name: str, credentials: Credentials, token: str = "") -> Mechanism | None:
    """One attempt by a mechanism; None where it is not known or cannot carry these credentials."""
    user, password = to_bytes(credentials.username), to_bytes(credentials.password)
    bearer = to_bytes(token)
    match name:
        # The separators of PLAIN and XOAUTH2 cannot be escaped, so such names and passwords cannot be said in them.
        case "PLAIN" if b"\0" not in user + password:
            response = _encode(b"\0" + user + b"\0" + password)
            is_short = len(response) <= MAX_INITIAL_RESPONSE_BYTES
            # A server that ignores the initial response asks for it; that is still the first answered try.
            return _Answers("PLAIN", [response], response if is_short else None)
        case "LOGIN":
            return _Answers("LOGIN", [_encode(user), _encode(password)])
        case "CRAM-MD5" if _has_md5():
            return _CramMD5(user, password)
        case "XOAUTH2" if b"\x01" not in user + bearer:
            return _Bearer(name, _encode(b"user=" + user + b"\x01auth=Bearer " + bearer + b"\x01\x01"), b"")
        case "OAUTHBEARER" if b"\x01" not in user + bearer:
            saslname = user.replace(b"=", b"=3D").replace(b",", b"=2C")  # RFC 5801 §4
            response = _encode(b"n,a=" + saslname + b",\x01auth=Bearer " + bearer + b"\x01\x01")
            return _Bearer(name, response, _encode(b"\x01"))
        case _:
            return None


def is_verdict(reply: Reply) -> bool:
    """Return whether a refusal of AUTH judges the credentials: 534, 535, and 530 unless about TLS (RFC 4954 §6)."""
    return reply.code in (534, 535) or (reply.code == 530 and not asks_for_tls(reply))


def judges_credentials(reply: Reply) -> bool:
    """Return whether the reply's words leave no doubt that the credentials were checked.

    A bare "535 Auth failure" is also what some servers say to a mechanism that they announce and cannot do.
    """
    return is_verdict(reply) and _CREDENTIAL_WORDS.search(reply.text) is not None


def asks_for_tls(reply: Reply) -> bool:
    """Return whether a refusal is about the encryption of the connection."""
    return reply.code in (530, 538) and (_TLS_WORDS.search(reply.text) is not None or reply.enhanced == "5.7.11")


def speaks_of_mechanism(reply: Reply) -> bool:
    """Return whether a refusal of AUTH does not judge the credentials, so another mechanism may be tried."""
    if reply.code >= 500:
        return not is_verdict(reply) and not (reply.code == 530 and asks_for_tls(reply))
    return _UNSUPPORTED_WORDS.search(reply.text) is not None


def _has_md5() -> bool:
    try:
        hashlib.md5(b"", usedforsecurity=True)  # noqa: S324 - RFC 2195 has no other
    except ValueError:  # OpenSSL in FIPS mode
        return False
    return True


def _encode(response: bytes) -> bytes:
    return base64.b64encode(response)


def _decoded(challenge: bytes) -> bytes:
    """Decode a challenge; return it unchanged if it is not base64."""
    try:
        return base64.b64decode(challenge.strip(), validate=True)
    except binascii.Error:
        return challenge.strip()


def _error_text(error: bytes) -> str:
    """The fields of a bearer mechanism's error challenge, for a person."""
    try:
        fields = json.loads(error)
    except (ValueError, RecursionError):
        return error[:200].decode("utf-8", "replace")
    if not isinstance(fields, dict):
        return ""
    return ", ".join(_told(fields))


def _told(fields: dict[str, object]) -> Iterator[str]:
    for name in ("status", "error", "scope"):
        value = fields.get(name)
        if value and isinstance(value, str | int | float):
            yield f"{name} {str(value)[:100]}"
