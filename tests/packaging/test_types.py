"""A site's type checker sees the types of the wheel that it installed, whichever of the two common ones it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.services import require

CODE = Path(__file__).parent / "consumer" / "site_code.py"
WRONG = [number for number, line in enumerate(CODE.read_text("utf-8").splitlines(), 1) if "# wrong:" in line]


@pytest.fixture(scope="module")
def site(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a site with the wheel and the types of Django, and nothing of this project's folder."""
    require("packages")
    folder = tmp_path_factory.mktemp("site") / "venv"
    (wheel,) = dist.glob("*.whl")
    uv = str(ROOT / "tools" / "uv")
    python = folder / "bin" / "python"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), str(wheel), "django-stubs"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return python


def lines_by_mypy(python: Path, folder: Path) -> list[int]:
    """Where mypy sees an error; `folder` is for its cache."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(folder)]
    done = subprocess.run(
        [*command, "--python-executable", str(python), str(CODE)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]


def lines_by_pyright(python: Path, folder: Path) -> list[int]:
    """Where pyright does."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python), str(CODE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    told = json.loads(done.stdout)["generalDiagnostics"]
    return [one["range"]["start"]["line"] + 1 for one in told if one["severity"] == "error"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("checker", "lines"), [("mypy", lines_by_mypy), ("pyright", lines_by_pyright)])
def test_a_type_checker_sees_what_is_wrong_and_nothing_else(checker: str, lines, site: Path, tmp_path: Path) -> None:
    """Types of reports, options and doors; two mistakes, each on its line."""
    pytest.importorskip(checker)
    assert sorted(set(lines(site, tmp_path))) == WRONG
