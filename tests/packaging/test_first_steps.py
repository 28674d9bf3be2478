"""What a newcomer types from the README."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_UV_BYTES = 30_000_000  # its wheel, which tools/uv fetches where there is none


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_has_the_command_at_the_start_of_a_line(command: str) -> None:
    """So that it is found, by people and by machines."""
    assert re.search(rf"^{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_every_target_that_the_documents_name_exists() -> None:
    """README and CONTRIBUTING promise no target that `make` does not have."""
    named = set()
    for document in ("README.md", "CONTRIBUTING.md"):
        named |= set(re.findall(r"\bmake ([a-z][a-z-]+)\b", (ROOT / document).read_text()))
    named -= {"check", "sure"}
    for target in sorted(named):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_demo_downloads_little() -> None:
    """At most 80 MB with uv itself, counted by the biggest wheel of each package; no tool of development is needed."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (line,) = re.findall(r"^RUN_DEMO := tools/uv run (.*)$", makefile, re.MULTILINE)
    command = [str(ROOT / "tools" / "uv"), "export", "--quiet", "--no-hashes", "--no-emit-project", *shlex.split(line)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    needed = set(re.findall(r"^([\w.-]+)==", done.stdout, re.MULTILINE))
    assert "django" in needed
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    sizes = {
        one["name"]: max(wheel["size"] for wheel in one["wheels"]) for one in lock["package"] if one["name"] in needed
    }
    assert set(sizes) == needed
    assert sum(sizes.values()) + _UV_BYTES < 80_000_000, sizes
