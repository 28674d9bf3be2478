"""What a benchmark says: the figures of one run side by side, as ratios, in Markdown and JSON."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import django


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question, and what every client answered.

    Attributes:
        what: the question.
        unit: of the figures.
        figures: the median by client; the first is what the others are compared with.
        more_is_better: whether a ratio above one is good.
    """

    what: str
    unit: str
    figures: Mapping[str, float]
    more_is_better: bool = True

    def ratio(self, client: str) -> float:
        """How many times better than the first client; below one it is worse."""
        base = next(iter(self.figures.values()))
        figure = self.figures[client]
        return figure / base if self.more_is_better else base / figure


def medians(measure: Mapping[str, Callable[[], float]], *, turns: int) -> dict[str, float]:
    """Each client's median. They take turns, so that a slow moment of the machine meets all of them."""
    seen: dict[str, list[float]] = {name: [] for name in measure}
    for _ in range(turns):
        for name, run in measure.items():
            seen[name].append(run())
    return {name: statistics.median(values) for name, values in seen.items()}


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "django": django.__version__,
        "system": f"{platform.system()} {platform.release()}",
        "processors": str(os.cpu_count()),
    }


def markdown(rows: Sequence[Row]) -> str:
    """A table: one line for each client of each row."""
    lines = ["| what | client | figure | better than the first |", "|---|---|---:|---:|"]
    for row in rows:
        for client, figure in row.figures.items():
            lines.append(f"| {row.what} | {client} | {figure:,.4g} {row.unit} | {row.ratio(client):.2f}× |")
    return "\n".join(lines)


def write(rows: Sequence[Row], path: Path) -> None:
    """The same as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answered = [asdict(row) | {"ratios": {client: row.ratio(client) for client in row.figures}} for row in rows]
    path.write_text(json.dumps({"machine": machine(), "rows": answered}, indent=2) + "\n")
