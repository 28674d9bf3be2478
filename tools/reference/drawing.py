"""A sheet of boxes, arrows and words, written as SVG that is readable in light and dark, and 360 pixels wide."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH = 520  # wider pictures have letters that nobody can read on a phone
_LETTER = 7.1  # pixels, of the font of the words, at most
_STYLE = """
svg { color-scheme: light dark; }
.sheet { fill: #ffffff; stroke: #d1d9e0; }
.box { fill: #f6f8fa; stroke: #8c959f; }
.way { fill: #ddf4ff; stroke: #0969da; }
.good { fill: #dafbe1; stroke: #1a7f37; }
.bad { fill: #ffebe9; stroke: #cf222e; }
.wait { fill: #fff8c5; stroke: #9a6700; }
.zone { fill: none; stroke: #8c959f; stroke-dasharray: 5 4; }
.name { font: 600 15px system-ui, sans-serif; fill: #1f2328; }
.words { font: 13px system-ui, sans-serif; fill: #454c54; }
.edge { fill: none; stroke: #59636e; stroke-width: 1.6; marker-end: url(#head); }
.line { fill: none; stroke: #8c959f; stroke-width: 1.6; }
.head { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  .sheet { fill: #0d1117; stroke: #3d444d; }
  .box { fill: #151b23; stroke: #656c76; }
  .way { fill: #0c2d4b; stroke: #4493f8; }
  .good { fill: #12361e; stroke: #3fb950; }
  .bad { fill: #47161a; stroke: #f85149; }
  .wait { fill: #3b2e06; stroke: #d29922; }
  .zone { stroke: #656c76; }
  .name { fill: #f0f6fc; }
  .words { fill: #b7bdc8; }
  .edge { stroke: #9198a1; }
  .line { stroke: #656c76; }
  .head { fill: #9198a1; }
}
"""
_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
)


@dataclass(slots=True)
class Sheet:
    """What is drawn, in order.

    Attributes:
        title: the picture in one sentence, for those who do not see it.
        height: in pixels.
    """

    title: str
    height: int
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, width: float, height: float, name: str, words: Sequence[str] = (), kind: str = "box"
    ) -> None:
        """A rectangle with a name and lines of words, in its middle."""
        self.frame(x, y, width, height, kind)
        top = y + height / 2 - 9 * len(words) + 5
        self.text(x + width / 2, top, name, kind="name", anchor="middle")
        for number, line in enumerate(words, 1):
            assert len(line) * _LETTER <= width, f"{line!r} does not fit its box"
            self.text(x + width / 2, top + 18 * number, line, anchor="middle")

    def frame(self, x: float, y: float, width: float, height: float, kind: str = "zone") -> None:
        """A rectangle."""
        self.parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')

    def text(self, x: float, y: float, text: str, *, kind: str = "words", anchor: str = "start") -> None:
        """One line."""
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, *points: tuple[float, float], kind: str = "edge") -> None:
        """From point to point; `kind="line"` has no head."""
        way = "L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="{kind}" d="M{way}"/>')

    def svg(self) -> str:
        """The file."""
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" role="img"',
                f'  width="{WIDTH}" height="{self.height}" viewBox="0 0 {WIDTH} {self.height}">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{_STYLE}</style>",
                _HEAD,
                f'<rect class="sheet" x="0.5" y="0.5" width="{WIDTH - 1}" height="{self.height - 1}" rx="8"/>',
                *self.parts,
                "</svg>",
                "",
            ]
        )
