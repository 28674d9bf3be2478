"""Real mail servers against both doors, and the books of both sides compared: `make servers`.

Each server gets messages with bad recipients among them, and messages with no others, and is killed and started again
in the middle. Then must hold: what we call accepted is in the server's books; what is there we call accepted or
unknown; nothing that the server takes is rejected; nothing is there twice unless its outcome was unknown; nothing still
waits. Exit code 1 otherwise. A server that cannot run here is skipped, with the reason.
"""

import argparse
import sys

from bench.servers.trial import DOORS, TrialFailed, Verdict, run, summary
from tests.servers.ground import ServerDidNotStart
from tests.servers.roll import SERVERS

_COLUMNS = (
    "accepted",
    "in_books",
    "lost",
    "undeclared",
    "falsely_rejected",
    "twice",
    "unknown",
    "waiting",
    "seconds",
    "connections",
)


def main() -> int:
    """Try each, print a line each; return 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("servers", nargs="*", help=f"of {', '.join(SERVERS)}; by default all")
    parser.add_argument("--count", type=int, default=500, help="messages")
    parser.add_argument("--door", choices=DOORS, action="append", help="by default both")
    parser.add_argument("--seconds", type=float, default=240.0, help="what is not settled then counts as waiting")
    options = parser.parse_args()
    if unknown := set(options.servers) - set(SERVERS):
        parser.error(f"no such servers: {', '.join(sorted(unknown))}")
    print(f"{'server':<22} {'door':<7}" + "".join(f" {name.replace('_', ' '):>{_width(name)}}" for name in _COLUMNS))
    wrong = 0
    for name in options.servers or SERVERS:
        if reason := SERVERS[name].missing():
            print(f"{name:<22} skipped: {reason}", flush=True)
            continue
        for door in options.door or DOORS:
            try:
                verdict = run(SERVERS[name], door, count=options.count, seconds=options.seconds)
            except (ServerDidNotStart, TrialFailed) as error:
                wrong += 1
                print(f"{name:<22} {door:<7} failed: {error}", flush=True)
                continue
            print(_line(verdict), flush=True)
            if verdict.violations:
                wrong += 1
                print(summary(verdict), flush=True)
    print(f"{wrong} lines with violations" if wrong else "all books agree")
    return int(bool(wrong))


def _width(name: str) -> int:
    return max(len(name), 6)


def _line(verdict: Verdict) -> str:
    numbers = ((name, getattr(verdict, name)) for name in _COLUMNS)
    cells = (
        f" {value:>{_width(name)}.1f}" if name == "seconds" else f" {value:>{_width(name)}}" for name, value in numbers
    )
    return f"{verdict.server:<22} {verdict.door:<7}" + "".join(cells)


if __name__ == "__main__":
    sys.exit(main())
