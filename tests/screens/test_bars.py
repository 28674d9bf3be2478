"""Progress bars for long work: on a terminal, and there alone."""

import shutil
from pathlib import Path

import pytest

from tests.screens.terminal import Site

COUNT = 600
pytestmark = pytest.mark.timeout(180)  # many processes, on a machine that may be busy


@pytest.fixture(scope="module")
def filled(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that holds one message for many."""
    folder = Path(shutil.copytree(migrated, tmp_path_factory.mktemp("bars") / "site"))
    Site(folder).queue(*(f"customer{number}@example.com" for number in range(COUNT)))
    return folder


@pytest.fixture
def full(filled: Path, tmp_path: Path) -> Site:
    """A site with one message for many."""
    return Site(Path(shutil.copytree(filled, tmp_path / "site")))


def shown(site: Site, *arguments: str) -> str:
    """What a terminal shows of an outbox command that ends well."""
    with site.terminal("email_outbox", *arguments) as terminal:
        assert terminal.end() == 0
    assert terminal.raw.rpartition("\x1b[?25h")[1], "the cursor is back"
    return terminal.text


def test_a_terminal_sees_how_far_an_act_has_come(full: Site) -> None:
    """Recipient by recipient; the result is the last line."""
    pytest.importorskip("rich")
    for command in ("hold", "requeue", "cancel"):
        text = shown(full, command, "--all")
        assert "recipients ━" in text
        assert f"{COUNT}/{COUNT}" in text
        assert text.endswith(f"{COUNT} recipients changed")


def test_a_terminal_sees_how_far_an_audit_and_a_pruning_have_come(full: Site) -> None:
    """Message by message, and pruning in its two steps."""
    pytest.importorskip("rich")
    assert full.run("email_outbox", "cancel", "--all").returncode == 0
    audited = shown(full, "audit")
    assert "messages ━" in audited
    assert "1/1" in audited
    pruned = shown(full, "prune", "--content-after", "0s", "--journal-after", "0s")
    assert "contents ━" in pruned
    assert pruned.count("1/1") >= 2
    assert pruned.endswith("1 content and 1 message were removed")


def test_elsewhere_the_result_is_all(full: Site) -> None:
    """Through a pipe, with --plain and with --json."""
    assert full.run("email_outbox", "hold", "--all").stdout == f"{COUNT} recipients changed\n"
    with full.terminal("email_outbox", "requeue", "--all", "--plain") as terminal:
        assert terminal.end() == 0
    assert terminal.raw == f"{COUNT} recipients changed\r\n"
    with full.terminal("email_outbox", "audit", "--json") as terminal:
        assert terminal.end() == 0
    assert terminal.raw.startswith('{"clean": true')
    assert "\x1b" not in terminal.raw
