"""`email_outbox status --watch`, in a terminal and through a pipe."""

import re
import signal
import subprocess
from itertools import groupby
from pathlib import Path

import pytest

from tests.screens.terminal import CTRL_C, ROOT, Site
from tests.servers.ground import wait_until
from tests.thoroughness import each

pytestmark = pytest.mark.timeout(180)  # many processes, on a machine that may be busy
WATCH = ("email_outbox", "status", "--watch")
# rich's colours are SGR parameters 30 to 37, 90 to 97, or 38;…
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")


def test_a_terminal_gets_a_view_that_follows_the_outbox_until_ctrl_c(site: Site) -> None:
    """A message that is queued meanwhile appears by itself; the exit code is the verdict at the end."""
    pytest.importorskip("rich")
    with site.terminal(*WATCH) as terminal:
        terminal.wait_for("HEALTHY queued 0")
        site.queue("ada@example.com")
        terminal.wait_for("UNHEALTHY messages are due and no worker was seen")
        terminal.wait_for("1 due now")
        terminal.type(CTRL_C)
        assert terminal.end() == 1
    assert "\x1b[?25h" in terminal.raw.rpartition("\x1b[?25l")[2], "the cursor is back"
    assert COLOUR.search(terminal.raw)
    assert "Traceback" not in terminal.raw


def test_no_color_takes_the_colours_and_leaves_the_view(site: Site) -> None:
    """It still moves, and Ctrl-C at a healthy outbox is exit code 0."""
    pytest.importorskip("rich")
    with site.terminal(*WATCH, NO_COLOR="1") as terminal:
        terminal.wait_for("HEALTHY")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
    assert "\x1b[" in terminal.raw
    assert not COLOUR.search(terminal.raw)


def _without_rich(folder: Path) -> str:
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['rich'] = None\n")
    return f"{folder}:{ROOT / 'src'}"


@pytest.mark.parametrize("reason", each(["no rich", "--plain", "dumb terminal"], 3))
def test_where_lines_cannot_move_a_terminal_gets_plain_ones(site: Site, tmp_path: Path, reason: str) -> None:
    """No control code, whatever the reason is."""
    arguments = ("--plain",) if reason == "--plain" else ()
    more = {"no rich": {"PYTHONPATH": _without_rich(tmp_path)}, "dumb terminal": {"TERM": "dumb"}}.get(reason, {})
    with site.terminal(*WATCH, *arguments, **more) as terminal:
        terminal.wait_for("empty. Status: HEALTHY")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
    assert "\x1b" not in terminal.raw


def test_a_pipe_gets_a_line_for_each_change(site: Site, tmp_path: Path) -> None:
    """And the exit code of a degraded outbox where somebody has to decide."""
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            site.command(*WATCH), env=site.environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True
        )
    try:
        wait_until(lambda: "empty" in log.read_text(), "the first line", log.read_text)
        site.queue("ada@example.com")
        wait_until(lambda: "1 queued" in log.read_text(), "the second line", log.read_text)
        assert site.run("email_outbox", "hold", "--all").returncode == 0
        wait_until(lambda: "1 parked" in log.read_text(), "the third line", log.read_text)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 3
    finally:
        process.kill()
        process.wait()
    lines = log.read_text().splitlines()
    # A verdict may change while the counts do not.
    counts = [counted for counted, _ in groupby(line.split(" ", 1)[1].partition(".")[0] for line in lines)]
    assert counts == ["empty", "1 queued; 1 due", "1 parked"]
    assert all(line.isprintable() for line in lines)


def test_sigterm_ends_it_like_ctrl_c(site: Site) -> None:
    """So that the terminal gets its cursor back."""
    process = subprocess.Popen(site.command(*WATCH), env=site.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "HEALTHY" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == 0


def test_json_and_watch_exclude_each_other(site: Site) -> None:
    """A usage error: exit code 2."""
    done = site.run(*WATCH, "--json")
    assert done.returncode == 2
    assert "choose one" in done.stderr
