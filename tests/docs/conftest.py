"""The documentation as web pages, built as `make site` does."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, ROOT


def build_site(folder: Path) -> str:
    """Build it into `folder`/var/site; what the builder says."""
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
