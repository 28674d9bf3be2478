"""Which way to log in, and what to say (RFC 4954; PLAIN is RFC 4616, XOAUTH2 Google's and Microsoft's bearer scheme).

A password is answered once: a server that refused it by PLAIN is not asked again by LOGIN, since providers lock
accounts that fail several times in a row. CRAM-MD5 is not here: inside TLS it protects nothing, and it makes the
server keep the password in clear.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterator
from typing import Protocol

from reliable_email.smtp.options import Credentials

REDACTED = "****"
# RFC 4954 §4: an AUTH line with its initial response stays within the 512 bytes of a command (RFC 5321 §4.5.3.1.4),
# else the response waits for the challenge. "AUTH PLAIN " and the line end are part of it.
MAX_INITIAL_RESPONSE_BYTES = 512 - len("AUTH PLAIN \r\n")
# A shorter secret is looked for as a word of its own only; as a mere part it would make any reply unreadable.
SHORT_SECRET_CHARACTERS = 4
# How much of a known base64 form gives it away where a server cut the echo short.
TELLING_CHARACTERS = 8

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{4,}={0,2}")
_BEARER = re.compile(r"(?i)\b(bearer)[ \t]+[A-Za-z0-9._~+/=-]+")


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
        """What the server said about the refusal inside a challenge (XOAUTH2), "" where it said nothing."""

    def initial_response(self) -> bytes | None:
        """What follows the name on the AUTH line, in base64; None where the server is to ask first."""

    def respond(self, challenge: bytes) -> bytes:
        """The answer to the text of a 334 reply, in base64 and without a line end.

        Raises:
            ChallengeError: the challenge is not base64.
            TooManyChallenges: everything was said already.
        """


class _Answers:
    """Gives fixed answers in order, whatever the prompts say (they differ by server and language)."""

    server_error = ""

    def __init__(self, name: str, answers: Collection[bytes], initial: bytes | None = None) -> None:
        self.name = name
        self._initial = initial
        self._answers = iter(answers)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def initial_response(self) -> bytes | None:
        """See `Mechanism`."""
        return self._initial

    def respond(self, challenge: bytes) -> bytes:
        """See `Mechanism`."""
        _decode(challenge)
        answer = next(self._answers, None)
        if answer is None:
            raise TooManyChallenges(f"the server goes on asking after {self.name} has said everything")
        return answer


class _XOAuth2:
    """The token goes out once; a challenge with an error in it is answered by an empty line, then comes the 535."""

    name = "XOAUTH2"

    def __init__(self, username: str, token: str) -> None:
        self.server_error = ""
        self._response = _encode(b"user=" + _bytes(username) + b"\x01auth=Bearer " + _bytes(token) + b"\x01\x01")
        self._was_asked = False
        self._was_refused = False

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def initial_response(self) -> bytes | None:
        """See `Mechanism`. Longer than RFC 4954 allows: both providers take it, and document it so."""
        return self._response

    def respond(self, challenge: bytes) -> bytes:
        """See `Mechanism`."""
        error = _decode(challenge)
        if not error and not self._was_asked and not self._was_refused:
            # This server did not look at the initial response.
            self._was_asked = True
            return self._response
        if self._was_refused:
            raise TooManyChallenges("the server goes on asking after it has refused the access token")
        self._was_refused = True
        self.server_error = _error_text(error)
        return b""


def choose(
    offered: Collection[str],
    credentials: Credentials,
    wanted: str = "auto",
    *,
    token: str = "",
) -> Mechanism | None:
    """The mechanism to log in by, None where the server offers none that serves.

    Args:
        offered: mechanism names of the EHLO reply (after TLS; an earlier one does not count).
        credentials: whose. With a token provider "auto" means XOAUTH2, else PLAIN, else LOGIN.
        wanted: "auto" or the one mechanism to use, in any case.
        token: the access token for XOAUTH2; without it the mechanism only tells that it could be used.
    """
    names = {name.upper() for name in offered}
    if wanted.lower() != "auto":
        preferred = [wanted.upper()]
    elif credentials.token_provider is not None:
        preferred = ["XOAUTH2"]
    else:
        preferred = ["PLAIN", "LOGIN"]
    for name in preferred:
        if name in names:
            mechanism = _make(name, credentials, token)
            if mechanism is not None:
                return mechanism
    return None


def _make(name: str, credentials: Credentials, token: str) -> Mechanism | None:
    user, password = _bytes(credentials.username), _bytes(credentials.password)
    match name:
        # The separators of PLAIN and XOAUTH2 cannot be escaped, so such names and passwords cannot be said in them.
        case "PLAIN" if b"\0" not in user + password:
            response = _encode(b"\0" + user + b"\0" + password)
            is_short = len(response) <= MAX_INITIAL_RESPONSE_BYTES
            # A server that ignores the initial response asks for it; that is still the first answered try.
            return _Answers("PLAIN", [response], response if is_short else None)
        case "LOGIN":
            return _Answers("LOGIN", [_encode(user), _encode(password)])
        case "XOAUTH2" if "\x01" not in credentials.username + token:
            return _XOAuth2(credentials.username, token)
        case _:
            return None


def redact(text: str, credentials: Credentials, *, token: str = "") -> str:
    """The text without password and access token, plain, in base64, whole or begun.

    Some servers repeat the command that they refuse; their reply goes into logs, rows and error mails.
    """
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    for secret in filter(None, (credentials.password, token)):
        pattern = re.escape(secret)
        if len(secret) < SHORT_SECRET_CHARACTERS:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, REDACTED, text)
    forms = list(_base64_forms(credentials, token))
    secrets = [_bytes(secret) for secret in (credentials.password, token) if len(secret) >= SHORT_SECRET_CHARACTERS]

    def hide(match: re.Match[str]) -> str:
        run = match.group()
        return REDACTED if _gives_away(run, forms, secrets) else run

    return _BASE64_RUN.sub(hide, text)


def _base64_forms(credentials: Credentials, token: str) -> Iterator[str]:
    user, password = _bytes(credentials.username), _bytes(credentials.password)
    if password:
        for form in (
            password,
            b"\0" + user + b"\0" + password,
            user + b"\0" + user + b"\0" + password,
        ):
            yield _encode(form).decode().rstrip("=")
    if token:
        yield _encode(_bytes(token)).decode().rstrip("=")
    yield _encode(b"user=" + user + b"\x01auth=Bearer ").decode().rstrip("=")[:-1]


def _gives_away(run: str, forms: list[str], secrets: list[bytes]) -> bool:
    bare = run.rstrip("=")
    for form in forms:
        if form in bare or (len(bare) >= TELLING_CHARACTERS and form.startswith(bare)):
            return True
    for skipped in range(4):  # the run may begin in the middle of a group of four
        piece = bare[skipped:].replace("-", "+").replace("_", "/")
        decoded = base64.b64decode(piece[: len(piece) - (len(piece) % 4 == 1)] + "===")
        if b"auth=Bearer" in decoded or any(secret in decoded for secret in secrets):
            return True
    return False


def _bytes(text: str) -> bytes:
    # RFC 4616 §2 wants UTF-8. A password that came through the environment in another encoding holds surrogates;
    # this gives its bytes back as they were.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _encode(response: bytes) -> bytes:
    return base64.b64encode(response)


def _decode(challenge: bytes) -> bytes:
    try:
        return base64.b64decode(challenge.strip(), validate=True)
    except binascii.Error as error:
        raise ChallengeError(f"the server's challenge is not base64: {challenge[:40]!r}") from error


def _error_text(error: bytes) -> str:
    """The fields of an XOAUTH2 error challenge, for a person."""
    try:
        fields = json.loads(error)
    except ValueError:
        return error[:200].decode("utf-8", "replace")
    if not isinstance(fields, dict):
        return ""
    return ", ".join(f"{name} {str(fields[name])[:100]}" for name in ("status", "error", "scope") if fields.get(name))
