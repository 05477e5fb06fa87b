# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws how guests fared over time as SVG: requests a second above, p99 below, both daemons in
each, with marks where their backups began and ended."""
import math
from html import escape

_WIDTH, _LEFT, _RIGHT = 900, 80, 20
_PANEL, _TOP, _GAP, _BOTTOM = 220, 84, 64, 56
_HEIGHT = _TOP + 2 * _PANEL + _GAP + _BOTTOM
_SIDES = {'ours': ('tidemarkd', '#0060b0'), 'theirs': ('qemu-storage-daemon', '#d04a00')}
_GREY, _LIGHT = '#444444', '#dddddd'


def write(path, title, traces):
    """traces: {'ours': Trace, 'theirs': Trace}."""
    with open(path, 'w', encoding='utf-8') as f:
        f.write(_drawing(title, traces))


class _Axis:
    """Maps values to places from `low` to `high` on the paper."""

    def __init__(self, ticks, low, high, log=False):
        self.ticks, self.low, self.high = ticks, low, high
        self._scale = math.log10 if log else float

    def __call__(self, value):
        first, last, here = map(self._scale, (self.ticks[0], self.ticks[-1], value))
        return self.low + (self.high - self.low) * (here - first) / (last - first)


def _drawing(title, traces):
    points = [p for trace in traces.values() for p in trace.points]
    x = _Axis(_steps(min(p[0] for p in points), max(p[0] for p in points), 8),
              _LEFT, _WIDTH - _RIGHT)
    upper, lower = _TOP + _PANEL, _TOP + 2 * _PANEL + _GAP
    iops = _Axis(_steps(0, max(p[1] for p in points), 5), upper, _TOP)
    p99 = _Axis(_decades([p[2] for p in points if p[2]]), lower, lower - _PANEL, log=True)
    return '\n'.join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<title>{escape(title)}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 26, title, size=17),
        *_legend(traces),
        *_panel(x, iops, 'requests a second (IOPS)'),
        *_panel(x, p99, 'p99 of each half second (ms)'),
        *_marks(x, traces, lower),
        *_curves(x, iops, traces, 1), *_curves(x, p99, traces, 2),
        _text((x.low + x.high) / 2, lower + 40, 'seconds since the backup began', 'middle'),
        '</svg>', ''])


def _legend(traces):
    at = _LEFT
    for side in traces:
        name, colour = _SIDES[side]
        yield _line(at, 46, at + 28, 46, colour, 3)
        yield _text(at + 34, 50, name)
        at += 60 + 8 * len(name)
    yield _text(at, 50, 'dashed: where a backup began (grey) and ended (its colour)')


def _panel(x, y, label):
    """Grid, numbers and name of the axes."""
    for tick in y.ticks:
        yield _line(x.low, y(tick), x.high, y(tick), _LIGHT)
        yield _text(x.low - 8, y(tick) + 4, f'{tick:,g}', 'end')
    for tick in x.ticks:
        yield _line(x(tick), y.low, x(tick), y.low + 5, _GREY)
        yield _text(x(tick), y.low + 19, f'{tick:g}', 'middle')
    yield _line(x.low, y.low, x.high, y.low, _GREY)
    yield _line(x.low, y.low, x.low, y.high, _GREY)
    middle = (y.low + y.high) / 2
    yield _text(20, middle, label, 'middle', extra=f' transform="rotate(-90 20 {middle:.1f})"')


def _marks(x, traces, lower):
    yield from _mark(x(0), _GREY, 'begins', _TOP - 4, lower)
    for number, (side, trace) in enumerate(traces.items()):
        # Two ends may be close to one another: one is named higher up.
        top = _TOP - 4 - 12 * (number % 2)
        yield from _mark(x(trace.end), _SIDES[side][1], trace.how, top, lower)


def _mark(at, colour, what, top, lower):
    yield _line(at, top + 2, at, lower, colour, 1.5, ' stroke-dasharray="6 4"')
    yield _text(at, top, what, 'middle', colour, size=11)


def _curves(x, y, traces, column):
    for side, trace in traces.items():
        for run in _runs(trace.points, column):
            places = ' '.join(f'{x(p[0]):.1f},{y(p[column]):.1f}' for p in run)
            yield (f'<polyline points="{places}" fill="none" stroke="{_SIDES[side][1]}" '
                   'stroke-width="2" stroke-linejoin="round"/>')
        for point in trace.points:
            if point[column] is not None:
                yield (f'<circle cx="{x(point[0]):.1f}" cy="{y(point[column]):.1f}" r="2.5" '
                       f'fill="{_SIDES[side][1]}"/>')


def _runs(points, column):
    """The points in runs without a gap: there is no p99 where no request ended."""
    run = []
    for point in points:
        if point[column] is None:
            yield run
            run = []
        else:
            run.append(point)
    yield run


def _steps(low, high, most):
    """At most so many round steps (and a bit) that hold both values."""
    rough = max(high - low, 1e-9) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    return [step * n for n in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _decades(values):
    """Powers of ten that hold all values, two of them at least."""
    low = math.floor(math.log10(min(values, default=1)))
    high = math.ceil(math.log10(max(values, default=1)))
    return [10.0 ** n for n in range(low, max(high, low + 1) + 1)]


def _line(x1, y1, x2, y2, colour, width=1.0, extra=''):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{extra}/>')


def _text(x, y, text, anchor='start', colour=_GREY, size=13, extra=''):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
            f'font-size="{size}"{extra}>{escape(text)}</text>')
