"""Runs Django's own tests with our doors in place, and fails for each failure that `expected.toml` does not name.

    python -m tools.django_tests.run SOURCE [door ...] [label ...]

SOURCE is an unpacked source distribution of the Django that this interpreter has; a label is one of Django's tests.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import django

HERE = Path(__file__).parent
LABELS = ("mail", "auth_tests", "logging_tests", "test_client", "test_client_regress", "view_tests")
DOORS = ("direct", "failover", "queue")
_FAILED = re.compile(r"^(?:FAIL|ERROR): \S+ \(([\w.]+?)\)?(?: |\)|$)", re.MULTILINE)
_BRIDGED = re.compile(r"^Bridged (\d+) messages", re.MULTILINE)
_RAN = re.compile(r"^Ran (\d+) tests", re.MULTILINE)


def expected() -> list[dict[str, str]]:
    """The differences that are meant, each with its versions of Django and its reason."""
    found: list[dict[str, str]] = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))["difference"]
    return found


def run(source: Path, door: str, labels: tuple[str, ...]) -> tuple[int, int, set[str]]:
    """How many tests ran, how many messages went through the door, and which tests failed (class and name)."""
    root = HERE.parent.parent
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "runtests.py", "--settings", "tools.django_tests.bridge_settings"),
            *("--parallel", "1", *labels),
        ],
        cwd=source / "tests",
        # The engine is found by its own name, as Django's tests look for those that are not Django's.
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'src'}:{HERE}", "RELIABLE_EMAIL_DOOR": door},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    ran = _RAN.search(done.stderr)
    if ran is None:
        raise SystemExit(f"Django's tests did not run:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    failed = {".".join(name.split(".")[-2:]) for name in _FAILED.findall(done.stderr)}
    if bool(done.returncode) != bool(failed):
        raise SystemExit(f"Django's tests ended with {done.returncode}:\n{done.stderr[-4000:]}")
    bridged = [int(count) for count in _BRIDGED.findall(done.stderr)]
    if not sum(bridged):
        raise SystemExit("No message of Django's tests went through the door, so they prove nothing.")
    return int(ran[1]), sum(bridged), failed


def main(source: Path, doors: tuple[str, ...], labels: tuple[str, ...]) -> int:
    """Run them by each door; 1 where a failure is not expected."""
    version = ".".join(map(str, django.VERSION[:2]))
    known = {one["test"] for one in expected() if version in one["django"].split(", ")}
    left = set(known)
    worst = 0
    for door in doors:
        count, bridged, failed = run(source, door, labels)
        news = sorted(failed - known)
        left -= failed
        print(
            f"Django {django.get_version()}, {door}: {count} tests, {bridged} messages, {len(failed)} differ, "
            f"{len(news)} not expected",
            flush=True,
        )
        for name in news:
            print(f"  {name}")
        worst |= bool(news)
    if "mail" in labels:
        for name in sorted(left):
            print(f"  expected, and no difference here: {name}")
    return worst


if __name__ == "__main__":
    asked = sys.argv[2:]
    raise SystemExit(
        main(
            Path(sys.argv[1]).resolve(),
            tuple(word for word in asked if word in DOORS) or DOORS,
            tuple(word for word in asked if word not in DOORS) or LABELS,
        )
    )
