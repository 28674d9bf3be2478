"""The redaction of secrets in a server's replies, in each form in which servers repeat them.

Some servers repeat the command that they refuse, a few long after the login. Their words go into logs, rows, pages and
error mails, so every reply of a session that has credentials passes here before it leaves the session.

A secret is found plain, cut short, in base64 at each alignment (also URL-safe, folded over lines, or cut short),
percent-encoded, in hexadecimal, and escaped as in HTML, JSON or Python.
"""

import base64
import html
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from reliable_email.patterns import pattern
from reliable_email.smtp.failures import WireFailure
from reliable_email.smtp.options import Credentials
from reliable_email.smtp.syntax.replies import Reply

REDACTED = "****"
# A shorter secret is looked for as a word of its own only; as a mere part it would make any reply unreadable.
SHORT_SECRET_CHARACTERS = 4
# How much of a known form gives it away where a server cut the echo short.
TELLING_CHARACTERS = 8

_BASE64_RUN = pattern(r"[A-Za-z0-9+/_-]{4,}={0,2}")
_BEARER = pattern(r"(?i)\b(bearer)(?:[ \t]+|%20|\+)[A-Za-z0-9._~+/=%-]+")
_ESCAPE = pattern(r"%[0-9A-Fa-f]{2}")
_PERCENT_RUN = pattern(r"[^\s\"'<>]+")  # those without a percent sign are left alone
# In which a reply may be read that is not UTF-8 as a whole, whatever the secret in it was sent in.
_OTHER_ENCODINGS = ("latin-1", "cp1252", "cp1251", "koi8-r", "gb18030", "big5", "shift_jis", "euc_kr")


class Redactor:
    """Takes the secrets of one login out of texts. What is not there costs a few searches of a short text.

    Args:
        secrets: passwords and tokens; empty ones are left out.
        username: the login, for the forms in which it stands beside the password.
    """

    def __init__(self, secrets: Iterable[str], *, username: str = "") -> None:
        known = list(dict.fromkeys(filter(None, secrets)))
        self._known = known
        self._short = [
            re.compile(rf"(?<!\w){re.escape(one)}(?!\w)") for one in known if len(one) < SHORT_SECRET_CHARACTERS
        ]
        self._plain = [
            re.compile(re.escape(form), re.IGNORECASE if len(one) >= TELLING_CHARACTERS else 0)
            for one in known
            if len(one) >= SHORT_SECRET_CHARACTERS
            for form in _plain_forms(one)
        ]
        self._begun = [
            (one[:least], one) for one in known if len(one) > (least := max(TELLING_CHARACTERS, (len(one) + 1) // 2))
        ]
        self._forms = [form for one in known for form in _base64_forms(to_bytes(username), to_bytes(one))]
        self._cores = _cores(b"auth=Bearer") + [
            core for one in known if len(one) >= SHORT_SECRET_CHARACTERS for core in _cores(to_bytes(one))
        ]
        self._telling = self._telling_parts()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._known)} secrets>"

    def text(self, text: str) -> str:
        """The text without the secrets."""
        if not self._may_tell(text):
            return text
        text = _BEARER.sub(rf"\1 {REDACTED}", text)
        for known in (*self._plain, *self._short):
            text = known.sub(REDACTED, text)
        for start, secret in self._begun:
            text = _without_begun(text, start, secret)
        if "%" in text:
            text = _PERCENT_RUN.sub(self._hide_percent_run, text)
        return _BASE64_RUN.sub(self._hide_base64_run, text)

    def reply(self, reply: Reply) -> Reply:
        """The reply without the secrets; the same object where there are none in it."""
        lines = reply.lines
        cleaned: tuple[str, ...]
        if len(lines) == 1:
            if not self._may_tell(lines[0]):
                return reply
            cleaned = (self.text(lines[0]),)
        else:
            if not self._may_tell("\n".join(lines)) and not self._may_tell("".join(lines)):
                return reply
            cleaned = tuple(map(self.text, self._without_folded(lines)))
        return reply if cleaned == lines else Reply(reply.code, cleaned, reply.enhanced)

    def failure(self, failure: WireFailure) -> WireFailure:
        """The failure without the secrets, in our own words and in the server's."""
        reply = failure.reply and self.reply(failure.reply)
        detail = self.text(failure.detail)
        if reply is failure.reply and detail == failure.detail:
            return failure
        return replace(failure, reply=reply, detail=detail)

    def _telling_parts(self) -> tuple[str, ...]:
        """Lower-case parts, one of which is in every text that tells a secret (but for percent-encoded ones)."""
        parts = ["bearer", *(one for one in self._known if len(one) < SHORT_SECRET_CHARACTERS)]
        for one in self._known:
            if len(one) >= SHORT_SECRET_CHARACTERS:
                parts += _plain_forms(one)
        parts += (start for start, _ in self._begun)
        for form in self._forms:
            parts += (form[:TELLING_CHARACTERS], form[-TELLING_CHARACTERS:])
        parts += self._cores
        return tuple(dict.fromkeys(part.lower() for part in parts if part))

    def _may_tell(self, text: str) -> bool:
        low = text.lower()
        if "%" in low:
            return True
        if "-" in low or "_" in low:
            low += " " + low.replace("-", "+").replace("_", "/")
        for part in self._telling:  # noqa: SIM110 - asked of every reply, and a generator costs twice the time
            if part in low:
                return True
        return False

    def _hide_base64_run(self, match: re.Match[str]) -> str:
        run = match.group()
        bare = run.rstrip("=").replace("-", "+").replace("_", "/")
        if any(core in bare for core in self._cores):
            return REDACTED
        if len(bare) >= TELLING_CHARACTERS:
            for form in self._forms:
                if form.startswith(bare) or form.endswith(bare) or form in bare:
                    return REDACTED
        return run

    def _hide_percent_run(self, match: re.Match[str]) -> str:
        run = match.group()
        if _ESCAPE.search(run) is None:
            return run
        for read in (unquote(run), unquote_plus(run), unquote(run, "latin-1")):
            if any(secret in read for secret in self._known if len(secret) >= SHORT_SECRET_CHARACTERS):
                return REDACTED
            if _BASE64_RUN.sub(self._hide_base64_run, read) != read:
                return REDACTED
        return run

    def _without_folded(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        """Lines of which only several together tell a secret are left out whole, and what goes on in base64 around."""
        joined = _lower("".join(lines))
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        telling: set[int] = set()
        for part in map(_lower, self._telling):
            if part == "bearer":
                continue
            at = joined.find(part)
            while at >= 0:
                touched = {n for n in range(len(lines)) if starts[n] < at + len(part) and starts[n + 1] > at}
                telling |= touched if len(touched) > 1 else set()
                at = joined.find(part, at + 1)
        for step in (1, -1):
            for n in sorted(telling, reverse=step < 0):
                while 0 <= (n := n + step) < len(lines) and _BASE64_RUN.fullmatch(lines[n]):
                    telling.add(n)
        return tuple(REDACTED if n in telling else line for n, line in enumerate(lines))


def redact(text: str, credentials: Credentials, *, token: str = "") -> str:
    """The text without password and access token; see the module."""
    return redactor_for(credentials, token).text(text)


def redactor_for(credentials: Credentials, token: str = "", *more: str) -> Redactor:
    """The redactor of a login; `more` is what else must not be shown."""
    return Redactor((credentials.password, token, *more), username=credentials.username)


def to_bytes(text: str) -> bytes:
    """The text as it goes over the wire.

    RFC 4616 §2 wants UTF-8. A password that came through the environment in another encoding holds surrogates; this
    gives its bytes back as they were.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _plain_forms(secret: str) -> list[str]:
    data = to_bytes(secret)
    forms = [secret, quote(data, safe=""), quote(data), quote_plus(data), html.escape(secret), data.hex()]
    forms.append(json.dumps(secret)[1:-1])
    forms.append(json.dumps(secret, ensure_ascii=False)[1:-1])
    forms.append(secret.encode("unicode_escape", "replace").decode("ascii"))
    if not secret.isascii():
        forms.append(data.decode("utf-8", "replace"))
        forms += (data.decode(encoding, "replace") for encoding in _OTHER_ENCODINGS)
    # The longest first: of two forms that overlap, nothing of the longer one may stay.
    return sorted(dict.fromkeys(form for form in forms if form), key=len, reverse=True)


def _base64_forms(user: bytes, secret: bytes) -> list[str]:
    """Return the base64 forms of the secrets in login commands, without padding."""
    said = (
        secret,
        b"\0" + user + b"\0" + secret,
        user + b"\0" + user + b"\0" + secret,
        b"user=" + user + b"\x01auth=Bearer " + secret,
        b"n,a=" + user + b",\x01auth=Bearer " + secret,
    )
    return [base64.b64encode(one).decode().rstrip("=") for one in said]


def _cores(secret: bytes) -> list[str]:
    """The characters that base64 has for the secret wherever it begins in a group of three bytes."""
    found = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode().rstrip("=")
        first = (before * 8 + 5) // 6  # characters that hold a bit of what stands before
        whole = (before + len(secret)) * 8 // 6
        found.append(encoded[first:whole])
    return [core for core in found if len(core) >= SHORT_SECRET_CHARACTERS]


def _without_begun(text: str, start: str, secret: str) -> str:
    """The text without beginnings of the secret."""
    kept: list[str] = []
    done = 0
    at = text.find(start)
    while at >= 0:
        end = at + len(start)
        while end < len(text) and end - at < len(secret) and text[end] == secret[end - at]:
            end += 1
        kept += (text[done:at], REDACTED)
        done = end
        at = text.find(start, done)
    return "".join((*kept, text[done:]))


def _lower(text: str) -> str:
    """Return the text in lower case and the ordinary base64 alphabet, character by character."""
    lowered = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    return lowered.replace("-", "+").replace("_", "/")
