"""What was posted for a message, compared."""

import re
from typing import Any

from tools.message_tests.noticing import differences

_MARK = re.compile(r"case(\d+)(?:@|%40)sink\.test")


def number_of(post: Any) -> int:
    """The case that a post belongs to, by its hidden recipient."""
    found = _MARK.search(repr(post))
    return int(found[1]) if found else -1


def unlike(ours: list[Any], theirs: list[Any], sources: tuple[bytes, ...] = ()) -> list[str]:
    """What differs, in words; MIME that is posted is read as a receiver reads it."""
    if len(ours) != len(theirs):
        return [f"{len(ours)} posts for {len(theirs)}"]
    found = []
    for one, other in zip(ours, theirs, strict=True):
        mine, wanted = _mime(one), _mime(other)
        if mine and wanted:
            found += differences(mine, wanted, sources, of_the_writing=("DKIM-Signature",))
            one, other = (one[0], {**one[1], "Content": ""}), (other[0], {**other[1], "Content": ""})
        if one != other:
            found.append(f"a post: {_first(one, other)}")
    return found


def _mime(post: Any) -> bytes:
    content = post[1].get("Content") if isinstance(post[1], dict) else None
    if not isinstance(content, bytes):
        return b""
    # The provider's own SMTP ends the last line, whoever has left that open.
    return content.rstrip(b"\r\n").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"


def _first(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            if one.get(key) != other.get(key):
                return f"{key}: {_first(one.get(key), other.get(key))}"
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return next((_first(left, right) for left, right in zip(one, other, strict=True) if left != right), "")
    left, right = repr(one), repr(other)
    at = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return f"{left[max(0, at - 40) : at + 80]} for {right[max(0, at - 40) : at + 80]}"
