"""The map of the rooms as a picture, drawn from the imports of the code: docs/explanation/rooms.svg."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2] / "src" / "reliable_email"
FILE = Path(__file__).parents[2] / "docs" / "explanation" / "rooms.svg"

_WIDTH = 900
_GAP = 26  # pixels between boxes
_BETWEEN = 34  # pixels between rows
_LETTER = 7.4  # pixels, of the smaller font
# What a stranger meets first has a colour: the way of a message.
_WAY = ("backends", "outbox", "delivery", "smtp")
_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
)
_STYLE = """
svg { color-scheme: light dark; }
.box { fill: #f6f8fa; stroke: #8c959f; }
.way { fill: #ddf4ff; stroke: #0969da; }
.name { font: 600 15px system-ui, sans-serif; fill: #1f2328; }
.inside { font: 12px system-ui, sans-serif; fill: #59636e; }
.edge { fill: none; stroke: #8c959f; stroke-width: 1.4; marker-end: url(#head); }
.head { fill: #8c959f; }
@media (prefers-color-scheme: dark) {
  .box { fill: #151b23; stroke: #656c76; }
  .way { fill: #0c2d4b; stroke: #4493f8; }
  .name { fill: #f0f6fc; }
  .inside { fill: #9198a1; }
  .edge { stroke: #656c76; }
  .head { fill: #656c76; }
}
"""


def imports() -> dict[str, set[str]]:
    """Return which room imports from which; a file of the package itself is a room of its own."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in sorted(ROOT.rglob("*.py")):
        room = file.relative_to(ROOT).with_suffix("").parts[0]
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == ROOT.name:
                parts = node.module.split(".")[1:2] or [alias.name for alias in node.names]
                found[room].update(parts)
        found[room].discard(room)
    return {room: used & found.keys() for room, used in found.items()}


def picture() -> str:
    """Return the picture as SVG: who imports stands above whom it imports; lines that others imply are left out."""
    graph = imports()

    @cache
    def below(room: str) -> frozenset[str]:
        return frozenset(graph[room]).union(*(below(one) for one in graph[room]))

    @cache
    def level(room: str) -> int:
        return 1 + max((level(one) for one in graph[room]), default=-1)

    rows: defaultdict[int, list[str]] = defaultdict(list)
    for room in sorted(graph):
        rows[level(room)].append(room)
    boxes: dict[str, tuple[float, float, float, float]] = {}
    top = 12.0
    for number in sorted(rows, reverse=True):
        widths = {room: _width(room) for room in rows[number]}
        height = max(34 + 16 * len(_inside(room)) for room in rows[number])
        left = (_WIDTH - sum(widths.values()) - _GAP * (len(widths) - 1)) / 2
        for room, width in widths.items():
            boxes[room] = left, top, width, height
            left += width + _GAP
        top += height + _BETWEEN
    lines = [
        _edge(boxes[room], boxes[used])
        for room in sorted(graph)
        for used in sorted(graph[room])
        if not any(used in below(other) for other in graph[room] - {used})
    ]
    drawn = [part for room in sorted(boxes) for part in _box(room, *boxes[room])]
    title = "The packages of reliable_email, from the commands at the top to the SMTP client below. Imports point down."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top - _BETWEEN + 12:.0f}" role="img">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            _HEAD,
            *lines,
            *drawn,
            "</svg>",
            "",
        ]
    )


def _width(room: str) -> float:
    return 28 + max(40, len(room) * 8.6, *(len(words) * _LETTER for words in _inside(room)))


def _inside(room: str) -> list[str]:
    """Return the rooms of a room, a few to a line."""
    names = sorted(path.parent.name for path in (ROOT / room).glob("*/__init__.py"))
    return [" · ".join(names[start : start + 3]) for start in range(0, len(names), 3)]


def _box(room: str, left: float, top: float, width: float, height: float) -> list[str]:
    kind = "way" if room in _WAY else "box"
    middle = left + width / 2
    parts = [f'<rect class="{kind}" x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="7"/>']
    parts.append(f'<text class="name" x="{middle:.0f}" y="{top + 22:.0f}" text-anchor="middle">{escape(room)}</text>')
    for number, words in enumerate(_inside(room)):
        y = top + 40 + 16 * number
        parts.append(f'<text class="inside" x="{middle:.0f}" y="{y:.0f}" text-anchor="middle">{escape(words)}</text>')
    return parts


def _edge(upper: tuple[float, float, float, float], lower: tuple[float, float, float, float]) -> str:
    x1, y1 = upper[0] + upper[2] / 2, upper[1] + upper[3]
    x2, y2 = lower[0] + lower[2] / 2, lower[1]
    middle = (y1 + y2) / 2
    way = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2:.0f}"
    return f'<path class="edge" d="{way}"/>'
