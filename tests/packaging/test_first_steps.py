"""What a newcomer types from the README."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
