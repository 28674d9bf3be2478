"""How a network cuts the server's bytes makes no difference: for every whole session, cut at every byte."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.smtp.options import TLSMode
from tests.fuzz.conftest import fuzz
from tests.fuzz.player import PASSWORD, TOKEN, Player, job

A, B, C = "a@example.net", "b@example.net", "c@example.net"


@dataclass(frozen=True)
class Recording:
    """What a server says in one session, turn by turn (a turn is what it says before it waits)."""

    turns: tuple[str, ...]
    jobs: tuple[tuple[str, ...], ...] = ((A,),)
    options: dict[str, Any] = field(default_factory=dict)
    chains: bool = True
    ends: bool = False

    def play(self, cuts: tuple[tuple[int, ...], ...] = ()) -> Player:
        """Play it, each turn cut at the given offsets."""
        player = Player([job(*one) for one in self.jobs], chains=self.chains, **self.options)
        for number, data in enumerate(self.segments):
            edges = sorted({0, len(data), *(cuts[number] if number < len(cuts) else ())})
            for start, end in pairwise(edges):
                player.feed(data[start:end])
        if self.ends:
            player.lose()
        return player

    @property
    def segments(self) -> list[bytes]:
        """The turns as bytes."""
        return [turn.replace("\n", "\r\n").encode() + b"\r\n" for turn in self.turns]


GROUPS = "250-server.test\n250-PIPELINING\n250-8BITMIME\n250 SIZE 10000"
PLAIN = "250 server.test"

RECORDINGS = {
    "three messages, chained": Recording(
        (
            "220 hello",
            GROUPS,
            "250 ok\n550 5.1.1 no such user\n250 ok\n354 go",
            "250 2.0.0 first\n250 ok\n250 ok\n450 4.2.0 busy\n354 go",
            "554 5.7.1 spam\n250 ok\n250 ok\n354 go",
            "250-2.0.0 third\n250 2.0.0 bye",
        ),
        jobs=((A, B), (C, B), (A,)),
    ),
    "one command at a time": Recording(
        ("220 hello", PLAIN, "250 ok", "250 ok", "550 no", "354 go", "250 first", "250 ok", "250 ok", "354", "250"),
        jobs=((A, B), (C,)),
        chains=False,
    ),
    "HELO after all": Recording(("220 hello", "502 what?", "250 hi", "250 ok", "250 ok", "354 go", "250 done")),
    "TLS and PLAIN": Recording(
        (
            "220-one\n220-two\n220 three",
            "250-server.test\n250 STARTTLS",
            "220 2.0.0 go ahead",
            "250-server.test\n250-AUTH PLAIN LOGIN\n250 PIPELINING",
            "235 2.7.0 welcome",
            "250 ok\n250 ok\n354 go",
            "250 queued",
        ),
        options={"tls": TLSMode.STARTTLS, "credentials": PASSWORD, "may_send_secrets": False},
    ),
    "LOGIN": Recording(
        (
            "220 hello",
            "250-s\n250 AUTH LOGIN",
            "334 VXNlcm5hbWU6",
            "334 UGFzc3dvcmQ6",
            "235 in",
            "250",
            "250",
            "354",
            "250",
        ),
        options={"credentials": PASSWORD},
    ),
    "a token is renewed": Recording(
        (
            "220 hello",
            "250-s\n250 AUTH XOAUTH2",
            "334 eyJzdGF0dXMiOiI0MDAifQ==",
            "535 5.7.8 expired",
            "235 in",
            "250",
            "250",
            "354",
            "250",
        ),
        options={"credentials": TOKEN},
    ),
    "nobody is taken": Recording(
        (
            "220 hello",
            GROUPS,
            "250 ok\n550 no\n451 later\n554 no valid recipients",
            "250 reset\n250 ok\n250 ok\n354 go",
            "250",
        ),
        jobs=((A, B), (C,)),
    ),
    "nobody is taken and content wanted": Recording(
        ("220 hello", GROUPS, "250 ok\n550 no\n354 go", "250 queued nothing"),
    ),
    "MAIL is refused": Recording(
        ("220 hello", GROUPS, "550 5.7.1 no\n503 mail first\n503 mail first", "250 ok\n250 ok\n354 go", "250 done"),
        jobs=((A,), (B,)),
    ),
    "421 in a group": Recording(("220 hello", GROUPS, "250 ok\n250 ok\n421 4.3.2 bye"), jobs=((A, B), (C,))),
    "421 for the message": Recording(("220 hello", GROUPS, "250 ok\n250 ok\n354 go", "421 4.3.2 bye")),
    "mixed codes": Recording(("220 hello", GROUPS, "250-ok\n550 no")),
    "not SMTP": Recording(("HTTP/1.1 400 Bad Request\n\n<html>",)),
    "gone after the dot": Recording(("220 hello", GROUPS, "250 ok\n250 ok\n354 go", "250-que"), ends=True),
    "garbage after the dot": Recording(("220 hello", GROUPS, "250 ok\n250 ok\n354 go", "what?")),
    "535": Recording(("220 hello", "250-s\n250 AUTH PLAIN", "535 5.7.8 no"), options={"credentials": PASSWORD}),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_one_cut_at_any_byte_changes_nothing(name: str) -> None:
    """Neither an event nor a byte that is written."""
    recording = RECORDINGS[name]
    whole = recording.play()
    assert whole.story
    for number, data in enumerate(recording.segments):
        for at in range(1, len(data)):
            cut = recording.play((*[()] * number, (at,)))
            assert (cut.story, cut.written) == (whole.story, whole.written), f"turn {number}, byte {at}"


@pytest.mark.parametrize("name", RECORDINGS)
def test_one_byte_at_a_time_changes_nothing(name: str) -> None:
    """The slowest network there is."""
    recording = RECORDINGS[name]
    whole = recording.play()
    drip = recording.play(tuple(tuple(range(len(data))) for data in recording.segments))
    assert (drip.story, drip.written) == (whole.story, whole.written)


@fuzz
@given(st.data())
def test_any_cuts_change_nothing(data: st.DataObject) -> None:
    """Any number of them, in any turn."""
    recording = RECORDINGS[data.draw(st.sampled_from(sorted(RECORDINGS)))]
    cuts = tuple(
        tuple(data.draw(st.lists(st.integers(1, max(1, len(segment) - 1)), max_size=8)))
        for segment in recording.segments
    )
    whole, cut = recording.play(), recording.play(cuts)
    assert (cut.story, cut.written) == (whole.story, whole.written)


def test_the_recordings_end_as_they_are_called() -> None:
    """They play what they say, so that the tests above compare something."""
    endings = {name: recording.play().story[-1][0] for name, recording in RECORDINGS.items()}
    broken = {"421 in a group", "421 for the message", "mixed codes", "not SMTP", "gone after the dot", "535"}
    assert {name for name, end in endings.items() if end == "broken"} == broken | {"garbage after the dot"}
    assert all(end == "finished" for name, end in endings.items() if name not in broken | {"garbage after the dot"})
