"""Real mail servers by both doors, each killed in the middle: their books and ours say the same.

`make servers` does it with 500 messages and with servers that make a sender wait.
"""

from collections import Counter

import pytest

from bench.servers.letters import Letter
from bench.servers.trial import DOORS, Told, compare, run, summary
from tests.servers.mail_server import Books
from tests.servers.roll import SERVERS
from tests.services import require

_COUNT = 60
_SECONDS = 150.0
# The others make a sender wait for most of a minute, or are tried by one door, since a server takes seconds.
_BY_BOTH_DOORS = (
    "haraka",
    "exim",
    "exim-flights",
    "courier",
    "opensmtpd",
    "sendmail",
    "postfix-plain",
    "postfix-milter",
    "nagle",
)
_BY_ONE_DOOR = ("exim-max-messages", "exim-max-nonmail", "qpsmtpd", "postfix-postscreen", "aiosmtpd", "twisted")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "door"),
    [*((name, door) for name in _BY_BOTH_DOORS for door in DOORS), *((name, "direct") for name in _BY_ONE_DOOR)],
)
def test_the_books_agree(name: str, door: str) -> None:
    """Its books have what we call accepted, and no more than that and what is unknown; no refusal is ours alone."""
    require(name)
    verdict = run(SERVERS[name], door, count=_COUNT, seconds=_SECONDS)
    assert not verdict.violations, summary(verdict)
    assert verdict.accepted > _COUNT / 2


_LETTER = Letter(message_id="1@letters.example", sender="1@example.org", recipients=("taken-1-0@example.com",))


@pytest.mark.parametrize(
    ("outcome", "was_unknown", "copies", "kinds"),
    [
        ("accepted", False, 1, []),
        ("accepted", False, 0, ["lost"]),
        ("accepted", False, 2, ["twice"]),
        ("accepted", True, 2, []),
        ("unknown", True, 0, []),
        ("unknown", True, 1, []),
        ("rejected", False, 0, ["falsely_rejected"]),
        ("rejected", False, 1, ["undeclared", "falsely_rejected"]),
        ("deferred", False, 0, ["waiting"]),
        ("deferred", False, 1, ["undeclared", "waiting"]),
        ("unsent", False, 0, ["waiting"]),
    ],
)
def test_the_comparison_sees_each_kind_of_disagreement(
    outcome: str, was_unknown: bool, copies: int, kinds: list[str]
) -> None:
    """What we say of a recipient that the server takes, and the copies that it has."""
    pair = (_LETTER.message_id, _LETTER.recipients[0])
    told = {pair: Told(outcome=outcome, was_unknown=was_unknown, evidence="250 Ok")}
    verdict = compare([_LETTER], told, Books(copies=Counter({pair: copies})))
    assert [one.partition(":")[0] for one in verdict.violations] == kinds
