"""`python -m bench.speed`: measures, prints the table, keeps the figures in var/bench/speed.json."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings

settings.configure(DEFAULT_FROM_EMAIL="shop@example.org", USE_TZ=True, SECRET_KEY="bench")

from bench.speed import content, page, queues, request, start, wire  # noqa: E402
from bench.speed.rows import Row, Scale, machine, markdown, write  # noqa: E402
from bench.speed.servers import Missing  # noqa: E402

GROUPS: dict[str, Callable[[Scale], Iterator[Row]]] = {
    "start": start.rows,
    "content": content.rows,
    "wire": wire.rows,
    "servers": wire.other_rows,
    "flights": wire.flight_rows,
    "request": request.rows,
    "enqueue": queues.enqueue_rows,
    "drain": queues.drain_rows,
    "far": queues.far_rows,
    "long": queues.long_rows,
}


def main() -> None:
    """Run the groups that were asked for."""
    parser = argparse.ArgumentParser(prog="bench.speed", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="one turn, a fifth of the messages")
    parser.add_argument("--turns", type=int, help="how often each client is measured")
    parser.add_argument("--share", type=float, help="of the usual number of messages")
    parser.add_argument("--json", type=Path, default=Path("var/bench/speed.json"), help="where the figures are kept")
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    arguments = parser.parse_args()
    usual = Scale(turns=1, share=0.2) if arguments.quick else Scale()
    scale = Scale(turns=arguments.turns or usual.turns, share=arguments.share or usual.share)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a site runs code that was compiled before
    began_with = machine()
    rows = list(_measured(arguments.groups or list(GROUPS), scale))
    print(", ".join(f"{name} {value}" for name, value in began_with.items()))
    print()
    print(markdown(rows))
    write(rows, arguments.json)
    if arguments.page is not None:
        page.write(rows, arguments.page, machine=began_with, scale=scale)


def _measured(groups: list[str], scale: Scale) -> Iterator[Row]:
    for name in groups:
        began_at = time.monotonic()
        try:
            for row in GROUPS[name](scale):
                for line in row.lines():
                    print(line, file=sys.stderr, flush=True)
                yield row
        except Missing as missing:
            print(f"{name}: skipped, {missing}", file=sys.stderr)
        print(f"{name}: {time.monotonic() - began_at:.0f} s", file=sys.stderr, flush=True)


main()
