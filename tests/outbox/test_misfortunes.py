"""The misfortunes of docs/comparison.md, of which each has cost somebody mail: ours come through."""

from pathlib import Path

import pytest

from bench.compare.__main__ import MISFORTUNES, Site
from reliable_email.testing.server import ScriptedServer
from tests.thoroughness import each

EXPECTED = {
    "`kill -9` in mid batch of 20, two more runs": "20 of 20 arrived, 1 declared unknown",
    "the server closes once, behind 3 of 20": "20 of 20 arrived, by 2 connections",
    "the reply to the message is lost, three runs": (
        "1 copies, 1 Message-IDs; it says: user0@example.net unknown outcome_unknown"
    ),
    "one of two recipients is refused": (
        "it says: bad@example.net rejected mailbox_unknown; good@example.net accepted "
    ),
    "one message that cannot be sent": "4 of 4 good ones arrived; refused when it was queued: ValueError",
    "one row that cannot be read": "2 arrived; the bad row: user0@example.net parked crashed",
    "HTML alone": "arrives as text/html: <p>Hello {{ name }} &amp; {% you %}</p>",
    "alternatives, attachments of one name, an invitation": (
        "text/plain, text/html, text/markdown, 2× text/csv, text/calendar"
    ),
    "an inline image": "arrives, <logo> inline",
    "an urgent message that is rolled back": "not sent",
    "a message whose time is over": "not sent; it says: a@example.net expired ",
    "clean-up of old mail, one for tomorrow among it": "0 contents and 0 messages were removed\n1 left",
}


def test_every_misfortune_has_an_expectation() -> None:
    """None is added to the table without a test."""
    assert EXPECTED.keys() == MISFORTUNES.keys()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables and no row."""
    with ScriptedServer() as server:
        return Site("reliable_email", server, str(tmp_path_factory.mktemp("tables"))).database


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", each(MISFORTUNES, 3))
def test_a_misfortune_costs_no_mail(name: str, tables: Path, tmp_path: Path) -> None:
    """In processes of their own, against a server that misbehaves."""
    with ScriptedServer() as server:
        outcome = MISFORTUNES[name](Site("reliable_email", server, str(tmp_path), tables=tables))
    assert outcome.strip() == EXPECTED[name].strip()
