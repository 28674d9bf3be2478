"""`python -m bench.speed`: measures, prints the table, keeps the figures in var/bench/speed.json."""

import argparse
from pathlib import Path

from django.conf import settings

settings.configure(DEFAULT_FROM_EMAIL="shop@example.org", USE_TZ=True, SECRET_KEY="bench")

from bench.speed import content, wire  # noqa: E402 - Django has to be configured first
from bench.speed.rows import machine, markdown, write  # noqa: E402

GROUPS = {"content": content.rows, "wire": wire.rows}


def main() -> None:
    """Run the groups that were asked for."""
    parser = argparse.ArgumentParser(prog="bench.speed", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="default: all")
    parser.add_argument("--json", type=Path, default=Path("var/bench/speed.json"), help="where the figures are kept")
    arguments = parser.parse_args()
    rows = [row for name in arguments.groups or GROUPS for row in GROUPS[name]()]
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print()
    print(markdown(rows))
    write(rows, arguments.json)


main()
