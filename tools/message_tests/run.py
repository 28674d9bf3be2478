"""Sends the messages by every door and prints, for each, how many differ from what Django's backend sends.

    python -m tools.message_tests.run [--count 800] [--seed 1] [--only TEXT] [--show 20]

Exit code 1 where something differs that a receiver or a signature notices and that `EXPECTED` does not explain.
"""

import argparse
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from email.generator import Generator
from hashlib import sha256
from typing import Any

import django

from tests.content.anymail_posts import PROVIDERS
from tools.message_tests import cpython, doors, generated
from tools.message_tests.case import Case, Whole, marker
from tools.message_tests.expected import explained
from tools.message_tests.noticing import differences
from tools.message_tests.posted import number_of, unlike
from tools.message_tests.signing import Signing, verified

PROVIDER_OF = tuple(PROVIDERS)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", type=int, default=20)
    chosen = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    where = cpython.folder()
    known = list(cpython.cases(where)) if where else []
    if not where:
        print("CPython's test messages are skipped: no interpreter here has its own tests")
    cases = [one for one in (*known, *generated.cases(chosen.count, chosen.seed)) if chosen.only in one.name]
    with doors.sinks() as servers:
        doors.configure(servers)
        return _run(cases, servers, chosen.show)


def _run(cases: list[Case], servers: dict[str, Any], show: int) -> int:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    refused: dict[str, dict[int, str]] = {}
    for door in (doors.REFERENCE, *doors.BY_SMTP):
        refused[door] = {number: doors.send(door, case.marked(number)[0]) for number, case in enumerate(cases)}
    posted: dict[str, dict[int, list[Any]]] = {}
    # Boundaries by chance, in what anymail encodes, would hide what differs.
    Generator._make_boundary = classmethod(_boundary)  # type: ignore[attr-defined]
    for way in ("", "failover over ", "queue over "):
        doors.POSTS.found.clear()
        refused[f"{way}anymail"] = {
            number: doors.send(f"{way}{PROVIDER_OF[number % len(PROVIDER_OF)]}", case.marked(number)[0])
            for number, case in enumerate(cases)
            # What anymail itself refuses would close its route.
            if not way or not refused["anymail"][number]
        }
        if way.startswith("queue"):
            doors.work()
        found: dict[int, list[Any]] = {}
        for post in doors.POSTS.found:
            found.setdefault(number_of(post), []).append(post)
        posted[f"{way}anymail"] = found
    worst = 0
    name = f"Python {sys.version_info.major}.{sys.version_info.minor}, Django {django.get_version()}"
    wanted = arrived(servers[doors.REFERENCE])
    for door in doors.BY_SMTP:
        got = arrived(servers[door])
        trouble = {number: _smtp(case, number, wanted, got, refused[door][number]) for number, case in enumerate(cases)}
        worst |= _tell(f"{name}, {door}", cases, trouble, show)
    for door in ("failover over anymail", "queue over anymail"):
        trouble = {
            number: _posts(case, number, posted["anymail"], posted[door], refused["anymail"][number], refused[door])
            for number, case in enumerate(cases)
        }
        worst |= _tell(f"{name}, {door}", cases, trouble, show)
    return worst


def _boundary(cls: type, text: str | bytes | None = None) -> str:
    data = text if isinstance(text, bytes) else (text or "").encode("utf-8", "surrogateescape")
    return f"=_{sha256(data).hexdigest()[:24]}"


def arrived(server: Any) -> dict[int, list[Any]]:
    """What a server took, by the number of the case."""
    found: dict[int, list[Any]] = {}
    for one in server.messages:
        numbers = [int(address[4:].partition("@")[0]) for address in one.recipients if address.endswith("@sink.test")]
        for number in numbers:
            found.setdefault(number, []).append(one)
    return found


def _smtp(case: Case, number: int, wanted: dict[int, Any], got: dict[int, Any], ours: str) -> list[str]:
    theirs, mine = wanted.get(number, []), got.get(number, [])
    if not theirs:
        return []  # Django cannot send it
    if not mine:
        return [f"not sent: {ours or 'no word'}"]
    message, sources = case.marked(number)
    found = differences(mine[0].content, theirs[0].content, sources, of_the_writing=_of_the_writing(message))
    if not verified(theirs[0].content) and (broken := verified(mine[0].content)):
        found.append(f"its signature: {', '.join(broken)}")
    if len(mine) != len(theirs) or _envelope(mine[0]) != _envelope(theirs[0]):
        found.append(f"the envelope: {list(map(_envelope, mine))} for {list(map(_envelope, theirs))}")
    return found


def unexplained(case: Case, number: int, wanted: dict[int, Any], got: dict[int, Any], ours: str) -> list[str]:
    """What differs of what a server got of a case, without what is expected."""
    return [one for one in _smtp(case, number, wanted, got, ours) if not explained(one)]


def _of_the_writing(message: Any) -> list[str]:
    """What Django writes anew each time, unless the message says it."""
    if isinstance(message, Whole):
        return []
    said = {name.lower() for name in message.extra_headers}
    signature = ["DKIM-Signature"] if isinstance(message, Signing) else []
    return [*signature, *(name for name in ("Date", "Message-ID") if name.lower() not in said)]


def _envelope(one: Any) -> tuple[str, list[str]]:
    def path(address: str) -> str:
        local, at, domain = address.rpartition("@")
        return f"{local}{at}{domain.lower()}"

    return path(one.sender), sorted({path(address) for address in one.recipients})


def _posts(
    case: Case, number: int, wanted: dict[int, Any], got: dict[int, Any], theirs: str, ours: dict[int, str]
) -> list[str]:
    if theirs or not wanted.get(number):
        return []
    if not got.get(number):
        return [f"not posted: {ours[number] or 'no word'}"]
    return unlike(got[number], wanted[number], case.make()[1])


def _tell(door: str, cases: list[Case], trouble: dict[int, list[str]], show: int) -> int:
    expected: Counter[str] = Counter()
    left = {}
    for number, found in trouble.items():
        news = []
        for one in found:
            if reason := explained(one):
                expected[reason] += 1
            else:
                news.append(one)
        if news:
            left[number] = news
    told = (
        f"; expected: {', '.join(f'{count} × {reason}' for reason, count in sorted(expected.items()))}"
        if expected
        else ""
    )
    print(f"{door}: {len(cases)} messages, {len(left)} differ{told}", flush=True)
    for number, found in list(left.items())[:show]:
        print(f"  {cases[number].name} ({marker(number)})")
        for one in found[:6]:
            print(f"      {one[:400]}")
    return bool(left)


if __name__ == "__main__":
    raise SystemExit(main())
