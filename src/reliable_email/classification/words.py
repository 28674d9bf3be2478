"""The text of a reply as plain words: what phrases are compared with.

Servers wrap, quote and decorate the same sentence differently, and put the recipient's address and the client's IP
into the middle of it. So a reply is joined, cut, lower-cased, freed of addresses, IPs and repeated status codes, and
every mark becomes a space. URLs stay, as words: `?p=BadCredentials` is the most stable part of a Gmail reply.
Accents are dropped. A script without spaces (Chinese, Japanese, Korean) is taken as one word a character. Every step is
linear in the text's length, whatever a hostile server sends.
"""

import string
import unicodedata

from reliable_email.patterns import pattern
from reliable_email.smtp.stages import Stage

MAX_CHARACTERS = 2048

_LOCAL_PART = string.ascii_lowercase + string.digits + ".!#$%&*+-/=?^_`{|}~"
_DOMAIN = string.ascii_lowercase + string.digits + ".-"
# IPv4, and the code and status that servers repeat on each line of a reply that somebody joined.
_NUMBERS = pattern(r"\d{1,3}[-. ]\d{1,3}\.\d{1,3}(?:\.\d{1,3})?")
_IPV6 = pattern(r"(?:[0-9a-f]{1,4}:){3,7}[0-9a-f:]{0,16}|[0-9a-f:]{0,32}::[0-9a-f:]{1,32}")
_MARKS = bytes(code if chr(code).isalnum() and code < 128 else ord(" ") for code in range(256))
_APOSTROPHES = b"'`"
# NFKD may make eighteen characters of one.
_MAX_DECOMPOSED = 2 * MAX_CHARACTERS
# What NFKD does not take apart.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th"})
# Accents that NFKD has set apart, those of kana too, and apostrophes.
_DROPPED = pattern("['`\u2019\u0300-\u036f\u0483-\u0487\u3099\u309a]")
_NO_WORD = pattern(r"[\W_]+")
_SPACELESS = pattern("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
_TOLD = {
    "mail from": Stage.MAIL,
    "rcpt to": Stage.RCPT,
    "data": Stage.DATA,
    "end of data": Stage.FINAL_REPLY,
    "helo": Stage.EHLO,
    "ehlo": Stage.EHLO,
    "auth": Stage.AUTH,
    "starttls": Stage.STARTTLS,
}
_IPV4 = pattern(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_STATUS = pattern(r"[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")


def words(text: str) -> str:
    """The words of a text, each with one space before and after it; " " where there is none."""
    text = text[:MAX_CHARACTERS].lower()
    if "@" in text:
        text = _without_addresses(text)
    is_ascii = text.isascii()
    if not is_ascii:
        text = unicodedata.normalize("NFKD", text).lower()[:_MAX_DECOMPOSED].translate(_LETTERS)
    text = _NUMBERS.sub(" ", text)
    if text.count(":") > 3 or "::" in text:
        text = _IPV6.sub(" ", text)
    if is_ascii:
        # Bytes are translated ten times faster than text.
        found = text.encode("ascii", "ignore").translate(_MARKS, _APOSTROPHES).decode("ascii").split()
    else:
        found = _SPACELESS.sub(r" \g<0> ", _NO_WORD.sub(" ", _DROPPED.sub("", text))).split()
    return f" {' '.join(found)} " if found else " "


def with_marks(read: str, text: str) -> str:
    """`read` and the word "ipnumber" where the text, whose words it has, names an IP address that they left out."""
    return f"{read}ipnumber " if _IPV4.search(text, 0, MAX_CHARACTERS) else read


def told_stage(read: str) -> tuple[str, Stage | None]:
    """(the words before it, the stage) where a relay names the command behind the reply that it passes on.

    As Postfix does: "(in reply to RCPT TO command)".
    """
    before, found, told = read.rpartition(" in reply to ")
    if not found:
        return read, None
    stage = next((stage for words_of, stage in _TOLD.items() if told.startswith(words_of)), None)
    return (f"{before} " if stage else read), stage


def embedded_status(text: str) -> str:
    """The first enhanced status code inside a text, "" where there is none."""
    for match in _STATUS.finditer(text, 0, MAX_CHARACTERS):
        before = text[match.start() - 1 : match.start()]
        if not (before.isdigit() or before == "."):
            return match[0]
    return ""


def _without_addresses(text: str) -> str:
    first, *others = text.split("@")
    parts = [first.rstrip(_LOCAL_PART)]
    for index, part in enumerate(others):
        rest = part.lstrip(_DOMAIN)
        parts.append(rest if index == len(others) - 1 else rest.rstrip(_LOCAL_PART))
    return " ".join(parts)
