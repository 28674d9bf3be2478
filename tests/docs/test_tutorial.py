"""The tutorial, followed to the letter in a fresh virtual environment and a new Django project."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import django
import pytest

from tests.docs.pages import DOCS, ROOT, Block, blocks
from tests.docs.walk import Reader, alike, environment, steps
from tests.services import require

TUTORIAL = DOCS / "tutorial.md"
_PORT = "2525"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with Python, pip, a terminal and the built wheel."""
    require("packages")
    dist = tmp_path / "dist"
    built = subprocess.run(
        [str(ROOT / "tools" / "uv"), "build", "--quiet", "--wheel", "--out-dir", str(dist)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = dist.glob("*.whl")
    home = tmp_path / "home"
    home.mkdir()
    reader = Reader(home, environment(tmp_path, wheel, django.get_version()))
    yield reader
    reader.close()


@pytest.mark.timeout(400)
def test_the_tutorial_works_to_the_letter(reader: Reader) -> None:
    """Each command ends well, each edit is made, each output is what the page shows; only the port is a free one."""
    port = _free_port()
    found = [_with_port(block, port) for block in blocks(TUTORIAL)]
    followed = 0
    with ExitStack() as terminals:
        said, server = "", []
        for kind, group in steps(found):
            for block in group:
                followed += 1
                match kind:
                    case "sh" if block.text.rstrip().endswith("python manage.py shell"):
                        # What is typed there comes with the next block.
                        reader.type(block.text.rstrip().removesuffix("python manage.py shell") + ":")
                    case "sh":
                        said = reader.type(block.text)
                    case "text":
                        assert alike(said) == alike(block.text), block.place
                    case "edit":
                        _edit(reader, block)
                    case "second sh":
                        server = terminals.enter_context(reader.second_terminal(block.text))
                    case "second text":
                        assert alike("".join(server)) == alike(block.text), block.place
                    case "pycon":
                        pass
                    case _:
                        pytest.fail(f"{block.place}: a block of an unknown kind, {kind}")
            if kind == "pycon":
                wrong = reader.type_in_shell("\n".join(block.text for block in group), group[0].place)
                assert not wrong, wrong
    assert followed == len(found) > 15
    assert any("took 'Your order' for ann@example.com" in line for line in server)


@pytest.mark.parametrize("commands", ["false", "false\ntrue", "true\nno-such-command\ntrue"])
def test_a_command_that_fails_is_noticed(tmp_path: Path, commands: str) -> None:
    """Also where others follow it."""
    reader = Reader(tmp_path, dict(os.environ))
    with pytest.raises(AssertionError, match="failed:"):
        reader.type(commands)
    reader.close()


def _edit(reader: Reader, block: Block) -> None:
    name, _, condition = block.title.partition(", at the end")
    assert block.title.startswith(f"{name}, at the end"), block.place
    if condition == ", before Django 6.1" and django.VERSION >= (6, 1):
        return
    file = reader.here / name
    file.write_text(f"{file.read_text('utf-8')}\n{block.text}", "utf-8")


def _with_port(block: Block, port: int) -> Block:
    text = block.text.replace(_PORT, str(port))
    if block.language == "sh":
        text = text.replace("-m reliable_email.testing", f"-m reliable_email.testing --port {port}")
    return Block(page=block.page, line=block.line, language=block.language, title=block.title, text=text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
