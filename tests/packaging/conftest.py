"""What is published, built once for the tests of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path, *arguments: str) -> Path:
    """Build into the folder, as `make build` does."""
    command = [sys.executable, "tools/build.py", "--out", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, the source distribution and the list of dependencies."""
    return build(tmp_path_factory.mktemp("dist"))
