"""What a benchmark says: the figures of one run side by side, as ratios, in Markdown and JSON."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import django

OURS = "reliable_email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long a run may take.

    Attributes:
        turns: how often each client is measured.
        share: of the usual number of messages.
    """

    turns: int = 3
    share: float = 1.0

    def count(self, usual: int, *, at_least: int = 10) -> int:
        """So many messages instead of the usual number."""
        return max(at_least, round(usual * self.share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question, and what every client answered.

    Attributes:
        what: the question.
        unit: of the figures.
        figures: the median by client; one of them is ours.
        more_is_better: whether a larger figure is the better one.
        goals: by peer, how many times better than it we mean to be.
        at_most: what our own figure may be.
        at_least: what our own figure should be.
    """

    what: str
    unit: str
    figures: Mapping[str, float]
    more_is_better: bool = True
    goals: Mapping[str, float] = field(default_factory=dict)
    at_most: float | None = None
    at_least: float | None = None

    @property
    def peers(self) -> list[str]:
        """Beside whom."""
        return [client for client in self.figures if client != OURS]

    def ratio(self, peer: str) -> float:
        """How many times better than the peer we are; below one it is worse."""
        ours, theirs = self.figures[OURS], self.figures[peer]
        return ours / theirs if self.more_is_better else theirs / ours

    def lines(self) -> Iterator[str]:
        """As lines of the table: what, beside whom, theirs, ours, ratio, goal."""
        ours = f"{_number(self.figures[OURS])} {self.unit}".rstrip()
        bounds = [f"{sign} {_number(bound)}" for sign, bound in (("≤", self.at_most), ("≥", self.at_least)) if bound]
        is_inside = (self.at_most is None or self.figures[OURS] <= self.at_most) and (
            self.at_least is None or self.figures[OURS] >= self.at_least
        )
        if bounds:
            bound = f"{' '.join(bounds)}{'' if is_inside else ' **short**'}"
            yield f"| {self.what} | – | – | {ours} | – | {bound} |"
        for peer in self.peers:
            theirs, ratio, goal = f"{_number(self.figures[peer])} {self.unit}".rstrip(), self.ratio(peer), ""
            if peer in self.goals:
                goal = f"≥ {self.goals[peer]:.3g}×{'' if ratio >= self.goals[peer] else ' **short**'}"
            yield f"| {self.what} | {peer} | {theirs} | {ours} | {ratio:.2f}× | {goal} |"
        if not bounds and not self.peers:
            yield f"| {self.what} | – | – | {ours} | – | |"


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"


def medians(measure: Mapping[str, Callable[[], float]], *, turns: int) -> dict[str, float]:
    """Each client's median. They take turns, so that a slow moment of the machine meets all of them."""
    seen: dict[str, list[float]] = {name: [] for name in measure}
    for _ in range(turns):
        for name, run in measure.items():
            seen[name].append(run())
    return {name: statistics.median(values) for name, values in seen.items()}


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processors": f"{os.cpu_count()} × {model or platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "django": django.__version__,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def markdown(rows: Sequence[Row]) -> str:
    """A table: one line for each peer of each row."""
    lines = ["| what | beside | theirs | ours | times better | goal |", "|---|---|---:|---:|---:|---|"]
    return "\n".join([*lines, *(line for row in rows for line in row.lines())])


def write(rows: Sequence[Row], path: Path) -> None:
    """The same as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answered = [asdict(row) | {"ratios": {peer: row.ratio(peer) for peer in row.peers}} for row in rows]
    path.write_text(json.dumps({"machine": machine(), "rows": answered}, indent=2) + "\n")
