"""One server, one door: letters go, the server is killed in the middle and started again, the books are compared."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.servers.letters import Letter, is_refused, letters, waits_for_ever
from tests.servers.ground import public_folder
from tests.servers.mail_server import Books, MailServer

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("direct", "queue")
_KILLED_AT = 0.4  # of the recipients are settled


class TrialFailed(RuntimeError):
    """The sending process did not come to its end; what it wrote is in the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What we say of one recipient: the outcome, whether it was ever unknown, the evidence."""

    outcome: str
    was_unknown: bool
    evidence: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What the comparison shows, in counts of recipients; `violations` are sentences.

    Attributes:
        accepted: we say so.
        in_books: the server has a copy or has discarded it.
        lost: accepted by us, and the server has none.
        undeclared: the server has it, and we say neither accepted nor unknown.
        falsely_rejected: rejected by us, and the server takes such.
        twice: more than one copy where the outcome was never unknown.
        unknown: at the end.
        waiting: not at an end when the time was up, those left out whom the server never takes.
    """

    server: str
    door: str
    accepted: int = 0
    in_books: int = 0
    lost: int = 0
    undeclared: int = 0
    falsely_rejected: int = 0
    twice: int = 0
    unknown: int = 0
    waiting: int = 0
    seconds: float = 0.0
    connections: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, kind: str, letter: Letter, who: str, evidence: str) -> None:
        """Count a violation."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.violations.append(f"{kind}: {letter.message_id} to {who}: {evidence}")


def run(server_class: type[MailServer], door: str, *, count: int, seconds: float, kills: bool = True) -> Verdict:
    """Try one server by one door.

    Args:
        seconds: after so many what is not settled counts as waiting.
        kills: whether the server is killed in the middle.

    Raises:
        ServerDidNotStart: it did not come up.
        TrialFailed: our own process broke.
    """
    with public_folder("re-trial-") as folder, public_folder("re-site-") as site:
        server = server_class(folder)
        try:
            server.start()
            said = _send(server, door, site, count=count, seconds=seconds, kills=kills)
            books = server.books()
        finally:
            server.kill()
        verdict = compare(
            list(letters(count, server.fates, has_busy=server.has_busy)),
            {(one[0], one[1]): Told(outcome=one[2], was_unknown=one[3], evidence=one[4]) for one in said["told"]},
            books,
        )
        verdict.server, verdict.door, verdict.seconds = server.name, door, said["seconds"]
        verdict.connections = (site / "connections").stat().st_size
    return verdict


def _send(server: MailServer, door: str, site: Path, *, count: int, seconds: float, kills: bool) -> dict[str, Any]:
    wanted = {"count": count, "fates": list(server.fates), "has_busy": server.has_busy}
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "bench.servers.settings",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "SERVERS_FOLDER": str(site),
        "SERVERS_PORT": str(server.port),
        "SERVERS_OPTIONS": json.dumps(dict(server.route_options)),
        "SERVERS_LETTERS": json.dumps(wanted),
        "SERVERS_SECONDS": str(seconds),
    }
    recipients = sum(len(one.recipients) for one in letters(count))
    command = [sys.executable, "-W", "ignore", "-m", "bench.servers.doors", door]
    with (
        (site / "errors").open("w+") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        said: Any = None
        for line in process.stdout:
            said = json.loads(line)
            if kills and isinstance(said, int) and said >= _KILLED_AT * recipients:
                kills = False
                server.kill()
                server.start()
        process.wait(60)
        errors.seek(0)
        if process.returncode or not isinstance(said, dict):
            raise TrialFailed(f"{server.name}, {door}: {errors.read()[-3000:]}\n{server.log()}")
        if kills:
            raise TrialFailed(f"{server.name}, {door}: so little was settled that it was never killed: {said}"[:2000])
        return said


def compare(post: Sequence[Letter], told: dict[tuple[str, str], Told], books: Books) -> Verdict:
    """Compare what we say with what the server has."""
    verdict = Verdict(server="", door="")
    known = {(letter.message_id, who) for letter in post for who in letter.recipients}
    for letter, who in _each_recipient(post):
        one = told[letter.message_id, who]
        copies = books.copies[letter.message_id, who]
        discarded = letter.sender in books.discarded
        verdict.accepted += one.outcome == "accepted"
        verdict.unknown += one.outcome == "unknown"
        verdict.in_books += bool(copies or discarded)
        if one.outcome == "accepted" and not copies and not discarded:
            verdict.add("lost", letter, who, one.evidence)
        if copies and one.outcome not in {"accepted", "unknown"}:
            verdict.add("undeclared", letter, who, f"{one.outcome} {one.evidence}")
        if one.outcome == "rejected" and not is_refused(letter, who):
            verdict.add("falsely_rejected", letter, who, one.evidence)
        if copies > 1 and not one.was_unknown:
            verdict.add("twice", letter, who, f"{copies} copies")
        is_at_end = one.outcome in {"accepted", "rejected", "unknown"}
        if not is_at_end and not waits_for_ever(who):
            verdict.add("waiting", letter, who, f"{one.outcome} {one.evidence}")
    verdict.violations += [f"in the books, and never sent: {pair}" for pair in books.copies if pair not in known]
    return verdict


def _each_recipient(post: Sequence[Letter]) -> Iterator[tuple[Letter, str]]:
    for letter in post:
        for who in letter.recipients:
            yield letter, who


def summary(verdict: Verdict) -> str:
    """Return the kinds of violations with one example each, for people."""
    kinds = Counter(one.partition(":")[0] for one in verdict.violations)
    examples = {one.partition(":")[0]: one for one in reversed(verdict.violations)}
    return "\n".join(f"  {count} {kind}, such as {examples[kind][:300]}" for kind, count in kinds.items())
