"""A site's type checker sees this package's types, whichever of the two common ones it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = Path(__file__).parent / "consumer" / "site_code.py"
WRONG = [number for number, line in enumerate(CODE.read_text("utf-8").splitlines(), 1) if "# wrong:" in line]


def lines_by_mypy(folder: Path) -> list[int]:
    """Where mypy sees an error; `folder` is for its cache."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(folder)]
    done = subprocess.run([*command, str(CODE)], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]


def lines_by_pyright(folder: Path) -> list[int]:
    """Where pyright does."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(CODE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    told = json.loads(done.stdout)["generalDiagnostics"]
    return [one["range"]["start"]["line"] + 1 for one in told if one["severity"] == "error"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("checker", "lines"), [("mypy", lines_by_mypy), ("pyright", lines_by_pyright)])
def test_a_type_checker_sees_what_is_wrong_and_nothing_else(checker: str, lines, tmp_path: Path) -> None:
    """Types of reports, options and doors; two mistakes, each on its line."""
    pytest.importorskip(checker)
    assert sorted(set(lines(tmp_path))) == WRONG
