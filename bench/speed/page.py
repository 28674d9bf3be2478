"""The generated part of docs/performance.md: what stands between two markers; the words around it are people's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.speed.rows import Row, Scale, markdown

_BEGIN, _END = "<!-- make bench: begin -->", "<!-- make bench: end -->"


def write(rows: Sequence[Row], path: Path, *, machine: Mapping[str, str], scale: Scale) -> None:
    """Put the table in place of the one that is there."""
    before, _, rest = path.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    told = ", ".join(f"{name} {value}" for name, value in machine.items())
    how = f"Medians of {scale.turns} turns" if scale.turns > 1 else "One turn"
    if scale.share != 1.0:
        how += f", with {scale.share:.0%} of the usual number of messages"
    path.write_text(f"{before}{_BEGIN}\n{how}. {told}.\n\n{markdown(rows)}\n{_END}{after}")
