"""The decoder of stuffed content: any content comes back, whatever the segments are."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reliable_email.testing.records import Digest
from reliable_email.testing.scripted.content import DotDecoder

# Dense in what matters: dots and line ends, also bare ones.
CONTENT = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"..", b"\r\n."]), max_size=30).map(b"".join)


def stuff(content: bytes) -> bytes:
    """RFC 5321 §4.5.2, by a rule of its own: a dot in front of every dot that begins a line."""
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    return re.sub(rb"(\A|(?<=\r\n))\.", b"..", content) + b".\r\n"


@given(content=CONTENT, cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8), rest=st.binary(max_size=9))
def test_content_comes_back_however_it_was_split(content: bytes, cuts: list[int], rest: bytes) -> None:
    """Decoding is the inverse of stuffing, and what follows the terminator is handed back."""
    wire = stuff(content) + rest
    decoder = DotDecoder()
    received = b""
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for start, end in pairwise(edges):
        if decoder.is_done:
            decoder.rest += wire[start:end]
        else:
            received += decoder.feed(wire[start:end])
    assert decoder.is_done
    assert received == content + (b"" if content.endswith(b"\r\n") else b"\r\n")
    assert decoder.rest == rest


@given(content=CONTENT, cut=st.integers(min_value=0, max_value=60))
def test_bare_line_ends_are_found_however_it_was_split(content: bytes, cut: int) -> None:
    """A CR LF that is cut in two is not a bare CR and a bare LF."""
    digest = Digest(keeps_content=True)
    digest.add(content[:cut])
    digest.add(content[cut:])
    assert digest.has_bare_line_ends == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", content))
    assert digest.content == content
    assert digest.size == len(content)
