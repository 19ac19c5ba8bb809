"""Drawing: the picture of a run. At the left what was read, and to the right of all what was made of it.

An SVG 1.1 of rectangles, lines and text: no scripts, no style sheets, nothing fetched; title and description say the
same in words, after WAI-ARIA Graphics (https://www.w3.org/TR/graphics-aria/), for those who do not see it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from terp.storage.provenance import Record, Stage

DRAWING = "run.svg"

_WIDTH, _HEIGHT, _GAP, _ROW, _EDGE, _TOP = 210, 62, 70, 24, 24, 76
_LETTERS = 29  # that fit into a box
_FILL = {"input": "#e8eef7", "stage": "#fdf3e1", "result": "#e5f3e8"}
_LINE = {"input": "#1f4e8c", "stage": "#8a5a00", "result": "#1c6b32"}


@dataclass(frozen=True)
class _Box:
    kind: str
    name: str
    lines: tuple[str, ...]
    reads: tuple[str, ...]


def drawing(record: Record) -> str:
    """Return the picture of a run; "" where no stage is known."""
    boxes = _boxes(record)
    if not record.stages:
        return ""
    places = _places(boxes)
    width = 2 * _EDGE + max(x for x, _ in places.values()) + _WIDTH
    height = max(y for _, y in places.values()) + _HEIGHT + _EDGE
    told = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"']
    told += [f' viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc"']
    told += [' font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="13">\n']
    title = f"Run of the flow {record.flow.name}"
    lines = ["".join(told), _text_of("title", "title", title), _text_of("desc", "desc", _in_words(record))]
    lines.append(f'<rect width="{width}" height="{height}" fill="#ffffff"/>')
    lines.append(_words(_EDGE, 30, title, "#1a1a1a", ' font-size="18" font-weight="bold"'))
    lines.append(_words(_EDGE, 52, f"{record.started:%-d %B %Y}, {record.agent.name}", "#444444"))
    lines += [_arrow(places[read], places[one.name]) for one in boxes for read in one.reads if read in places]
    lines += [_drawn(one, *places[one.name]) for one in boxes]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _boxes(record: Record) -> list[_Box]:
    inputs = [
        _Box("input", one.sha256, (one.name, one.url or "read", f"SHA-256 {one.sha256[:12]}"), ())
        for one in record.inputs
    ]
    stages = [_Box("stage", one.key, (one.name, _made(one), one.key), tuple(one.reads)) for one in record.steps]
    results = [
        _Box("result", f"result {one.file}", (one.result, "result", one.file), (one.key,))
        for one in record.outputs
        if one.result
    ]
    return [*inputs, *stages, *results]


def _made(stage: Stage) -> str:
    regions = f"{stage.regions:,} region" + ("s" if stage.regions != 1 else "")
    return f"{regions}, made before" if stage.reused else f"{regions}, {stage.seconds:,.1f} s of work"


def _places(boxes: Sequence[_Box]) -> dict[str, tuple[int, int]]:
    """Return the upper left corner of each box: a column to the right of all that it reads."""
    columns: dict[str, int] = {}
    for one in boxes:  # what is read stands before what reads it
        columns[one.name] = max((columns[read] + 1 for read in one.reads if read in columns), default=0)
    rows: dict[int, int] = {}
    places = {}
    for one in boxes:
        row = rows.setdefault(columns[one.name], 0)
        rows[columns[one.name]] += 1
        places[one.name] = _EDGE + columns[one.name] * (_WIDTH + _GAP), _TOP + row * (_HEIGHT + _ROW)
    return places


def _drawn(box: _Box, x: int, y: int) -> str:
    line = _LINE[box.kind]
    corner = 0 if box.kind == "stage" else 10
    shape = f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="{corner}"'
    shape += f' fill="{_FILL[box.kind]}" stroke="{line}" stroke-width="1.5"/>'
    first, *rest = (_short(text) for text in box.lines)
    words = [_words(x + 10, y + 20, first, "#1a1a1a", ' font-weight="bold"')]
    words += [_words(x + 10, y + 37 + 15 * n, text, "#333333", ' font-size="11"') for n, text in enumerate(rest)]
    return "\n".join([f"<g>{_text_of('title', '', ', '.join(box.lines))}", shape, *words, "</g>"])


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    right, down = end[0], end[1] + _HEIGHT // 2
    bend = max((right - x) // 2, 20)
    path = f"M{x} {y} C{x + bend} {y} {right - bend} {down} {right - 6} {down}"
    head = f"M{right} {down} l-8 -4 v8 z"
    return f'<path d="{path}" fill="none" stroke="#666666" stroke-width="1.5"/><path d="{head}" fill="#666666"/>'


def _words(x: int, y: int, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}"{more}>{_escaped(text)}</text>'


def _text_of(tag: str, name: str, text: str) -> str:
    return f"<{tag}{f' id="{name}"' if name else ''}>{_escaped(text)}</{tag}>"


def _escaped(text: str) -> str:
    return escape("".join(c for c in text if c.isprintable()))


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 9]}…{text[-8:]}"


def _in_words(record: Record) -> str:
    names: Mapping[str, str] = {one.sha256: one.name for one in record.inputs}
    names = {**names, **{one.key: f"the product of {one.name}" for one in record.steps}}
    told = [
        f"Stage {one.name} reads {', '.join(names.get(read, read) for read in one.reads) or 'nothing'} and makes "
        f"{one.regions} regions."
        for one in record.steps
    ]
    results = [one.result for one in record.outputs if one.result]
    return " ".join([*told, f"Results: {', '.join(results)}."] if results else told)
