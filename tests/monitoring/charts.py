"""Draws a dashboard as Grafana would lay it out: each panel at its place, with its curves or its number."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tests.monitoring.prometheus import Series

_COLUMN, _ROW, _GAP = 50, 30, 6
_INKS = ("#0969da", "#1a7f37", "#cf222e", "#9a6700", "#8250df", "#bf3989", "#57606a", "#1b7c83")
_PAPER, _EDGE, _TEXT = "#ffffff", "#d1d9e0", "#1f2328"


def draw(panels: list[Mapping[str, Any]], drawn: Mapping[int, list[tuple[str, Series]]], file: Path) -> None:
    """Draw all panels; `drawn` has each panel's legends and series by its id."""
    height = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in panels)
    picture = Image.new("RGB", (24 * _COLUMN, height * _ROW), "#f6f8fa")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for one in panels:
        place = one["gridPos"]
        left, top = place["x"] * _COLUMN + _GAP, place["y"] * _ROW + _GAP
        right, bottom = left + place["w"] * _COLUMN - 2 * _GAP, top + place["h"] * _ROW - 2 * _GAP
        pen.rounded_rectangle((left, top, right, bottom), 6, fill=_PAPER, outline=_EDGE)
        pen.text((left + 8, top + 6), one["title"], fill=_TEXT, font=font)
        curves = [(_named(legend, labels), points) for legend, series in drawn[one["id"]] for labels, points in series]
        if one["type"] == "stat":
            words = "  ".join(f"{_number(points[-1][1])}" for _, points in curves)
            pen.text(
                ((left + right) / 2, (top + bottom) / 2 + 6), words, _TEXT, ImageFont.load_default(24), anchor="mm"
            )
        else:
            _curves(pen, font, curves, (left + 10, top + 28, right - 10, bottom - 26))
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, optimize=True)


def _curves(pen: ImageDraw.ImageDraw, font: Any, curves: list[Any], field: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = field
    numbers = [number for _, points in curves for _, number in points if math.isfinite(number)]
    moments = [at for _, points in curves for at, _ in points]
    most, least = max([*numbers, 0.001]), min([*numbers, 0.0])
    since, until = min(moments), max(max(moments), min(moments) + 1)
    pen.line((left, bottom, right, bottom), fill=_EDGE)
    pen.text((right, top - 22), _number(most), fill="#59636e", font=font, anchor="ra")
    at = left
    for number, (name, points) in enumerate(curves):
        ink = _INKS[number % len(_INKS)]
        way = [
            (
                left + (right - left) * (moment - since) / (until - since),
                bottom - (bottom - top) * (value - least) / (most - least),
            )
            for moment, value in points
            if math.isfinite(value)
        ]
        if len(way) > 1:
            pen.line(way, fill=ink, width=2)
        width = pen.textlength(name, font=font)
        if at + width < right:
            pen.text((at, bottom + 5), name, fill=ink, font=font)
        at += width + 10


def _named(legend: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"
