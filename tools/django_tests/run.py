"""Runs Django's own tests with our doors in place, and fails for each failure that `expected.toml` does not name.

    python -m tools.django_tests.run SOURCE [door ...]

SOURCE is an unpacked source distribution of the Django that this interpreter has.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import django

HERE = Path(__file__).parent
LABELS = ("auth_tests.test_forms", "auth_tests.test_models", "logging_tests", "test_client", "view_tests")
DOORS = ("direct", "failover")
_FAILED = re.compile(r"^(?:FAIL|ERROR): \S+ \(([\w.]+?)\)?(?: |\)|$)", re.MULTILINE)
_BRIDGED = re.compile(r"^Bridged (\d+) messages", re.MULTILINE)
_RAN = re.compile(r"^Ran (\d+) tests", re.MULTILINE)


def expected() -> list[dict[str, str]]:
    """The differences that are meant, each with its reason."""
    found: list[dict[str, str]] = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))["difference"]
    return found


def run(source: Path, door: str) -> tuple[int, int, set[str]]:
    """How many tests ran, how many messages went through the door, and which tests failed."""
    root = HERE.parent.parent
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "runtests.py", "--settings", "tools.django_tests.bridge_settings"),
            *("--parallel", "1", *LABELS),
        ],
        cwd=source / "tests",
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'src'}", "RELIABLE_EMAIL_DOOR": door},
        capture_output=True,
        text=True,
        check=False,
    )
    ran = _RAN.search(done.stderr)
    if ran is None:
        raise SystemExit(f"Django's tests did not run:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    failed = set(_FAILED.findall(done.stderr))
    if bool(done.returncode) != bool(failed):
        raise SystemExit(f"Django's tests ended with {done.returncode}:\n{done.stderr[-4000:]}")
    bridged = [int(count) for count in _BRIDGED.findall(done.stderr)]
    if not sum(bridged):
        raise SystemExit("No message of Django's tests went through the door, so they prove nothing.")
    return int(ran[1]), sum(bridged), failed


def main(source: Path, doors: tuple[str, ...]) -> int:
    """Run them by each door; 1 where a failure is not expected."""
    known = {one["test"] for one in expected()}
    worst = 0
    for door in doors:
        count, bridged, failed = run(source, door)
        news = sorted(failed - known)
        print(
            f"Django {django.get_version()}, {door}: {count} tests, {bridged} messages, {len(failed)} differ, "
            f"{len(news)} not expected"
        )
        for name in news:
            print(f"  {name}")
        worst |= bool(news)
    return worst


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]).resolve(), tuple(sys.argv[2:]) or DOORS))
