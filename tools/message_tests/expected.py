"""Differences that are meant, each with its reason."""

import re

_EXPECTED = (
    (re.compile(r"subject: \['[^']*'\] for \['.*', '"), "Django 5.2 sends two subjects where one is among the headers"),
    (
        re.compile(r"content: .*\\x00"),
        "a text file with NUL arrives as it is; Django hands it over raw, with a line end more",
    ),
    (
        re.compile(r"for .*(?:jörg ?@|=\?\S*\?=@)"),
        "Django 5.2 sends a local part beyond ASCII as an encoded word, which is another address",
    ),
    (
        re.compile(r"not posted: ValueError: the message cannot be written in its charset"),
        "a message must be writable as MIME for an API, too",
    ),
    (re.compile(r"""for .*'"\\\\"quoted local"""), "Django 5.2 quotes a local part in quotes again"),
)


def explained(difference: str) -> str:
    """The reason, "" for none."""
    return next((reason for pattern, reason in _EXPECTED if pattern.search(difference)), "")
