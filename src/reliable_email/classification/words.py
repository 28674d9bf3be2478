"""The text of a reply as plain words: what phrases are compared with.

Servers wrap, quote and decorate the same sentence differently, and put the recipient's address and the client's IP
into the middle of it. So a reply is joined, cut, lower-cased, freed of addresses, IPs and repeated status codes, and
every mark becomes a space. URLs stay, as words: `?p=BadCredentials` is the most stable part of a Gmail reply.
Every step is linear in the text's length, whatever a hostile server sends.
"""

import re
import string

MAX_CHARACTERS = 2048

_LOCAL_PART = string.ascii_lowercase + string.digits + ".!#$%&*+-/=?^_`{|}~"
_DOMAIN = string.ascii_lowercase + string.digits + ".-"
# IPv4, and the code and status that servers repeat on each line of a reply that somebody joined.
_NUMBERS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|(?:[245]\d\d[ -])?#?[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
_IPV6 = re.compile(r"(?:[0-9a-f]{1,4}:){3,7}[0-9a-f:]{0,16}|[0-9a-f:]{0,32}::[0-9a-f:]{1,32}")
_APOSTROPHES = "'`’"
_MARKS = str.maketrans(
    {character: " " for character in map(chr, range(128)) if not character.isalnum()}
    | dict.fromkeys(_APOSTROPHES)
    | {"\u00a0": " ", "“": " ", "”": " ", "–": " ", "—": " ", "…": " ", "，": " ", "。": " "}
)
_EMBEDDED_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")


def words(text: str) -> str:
    """The words of a text, each with one space before and after it; " " where there is none."""
    text = text[:MAX_CHARACTERS].lower()
    if "@" in text:
        text = _without_addresses(text)
    text = _NUMBERS.sub(" ", text)
    if "::" in text or text.count(":") > 3:
        text = _IPV6.sub(" ", text)
    found = text.translate(_MARKS).split()
    return f" {' '.join(found)} " if found else " "


def embedded_status(text: str) -> str:
    """The first enhanced status code inside a text, "" where there is none."""
    match = _EMBEDDED_STATUS.search(text, 0, MAX_CHARACTERS)
    return match[0] if match is not None else ""


def _without_addresses(text: str) -> str:
    first, *others = text.split("@")
    parts = [first.rstrip(_LOCAL_PART)]
    for index, part in enumerate(others):
        rest = part.lstrip(_DOMAIN)
        parts.append(rest if index == len(others) - 1 else rest.rstrip(_LOCAL_PART))
    return " ".join(parts)
