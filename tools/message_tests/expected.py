"""Differences that are meant, each with its reason, which docs/reference/differences.md has, too."""

import re

EXPECTED = (
    (
        re.compile(r"subject: \['[^']*'\] for \['.*', '"),
        "Django 5.2 sends two subjects if one is among the `headers`; this package sends that one.",
    ),
    (
        re.compile(r"""for .*'"\\\\"quoted local"""),
        "If another address is not ASCII, Django 5.2 quotes a quoted local part a second time.",
    ),
    (
        re.compile(r"for .*(?:jörg ?@|=\?\S*\?=@)"),
        "Django 5.2 sends a local part that is not ASCII as an encoded word, which is another address.",
    ),
    (
        re.compile(r"content: .*\\x00"),
        "A text attachment with NUL arrives as it is; Django 6 adds a line end, and sends the NUL unencoded.",
    ),
    (
        re.compile(r"not (?:sent|posted): InvalidContent: .*encoding it would break its signature"),
        "A signed message with a line of more than 998 bytes is refused, because servers may break such a line.",
    ),
    (
        re.compile(r"for '=1B\$B"),
        "Django 5.2 sends unreadable Japanese text if `encoding` is a `Charset` of iso-2022-jp with quoted-printable.",
    ),
    (
        re.compile(r"not posted: ValueError: the message cannot be written in its charset"),
        "A message whose `encoding` cannot represent its text is refused, also by routes that use an API.",
    ),
)


def explained(difference: str) -> str:
    """The reason, "" for none."""
    return next((reason for pattern, reason in EXPECTED if pattern.search(difference)), "")
