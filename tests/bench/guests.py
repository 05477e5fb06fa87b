# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest before, during and after a backup: the spans that are measured, and the lines of the
table that come of them."""
import contextlib

from fio import Guest, on_nbd
from notes import Trace
from row import Figure, Share, idle

WARM_UP = 1                             # seconds after fio's start that count for nothing
AFTER = 2                               # seconds after the backup, for the plot


def fared(key, iops, p99):
    """A guest's two figures, by names that start with key."""
    return {f'{key}-iops': iops, f'{key}-p99': p99}


def watched(bench, d, uris, backup, after=None):
    """Lets a guest write to each of these exports while backup() runs, which returns Jobs or
    something else with begin, end and how (it ended). after: seconds after it that are looked at, too,
    in figures of their own. Returns (figures, the daemon's CPU seconds, what backup returned). Of several guests, idle is their mean, and loaded the one that fares
    worst."""
    guests = [Guest(on_nbd(uri), name=f'guest{number}') for number, uri in enumerate(uris)]
    with contextlib.ExitStack() as stack:
        for guest in guests:
            stack.enter_context(guest)
        first = guests[0]
        first.span(WARM_UP)
        quiet = first.span(bench.seconds)
        before = d.cpu()
        done = backup()
        cpu = d.cpu() - before
        last = first.span(after or AFTER)
    figures = {**fared('idle', *map(_mean, zip(*(g.window(*quiet) for g in guests)))),
               **_worst('loaded', guests, done.begin, done.end)}
    if after:
        figures |= _worst('after', guests, done.end, last[1])
    points = _worst_guest(guests, done).over_time(quiet[0], last[1], done.begin)
    bench.notes.trace(Trace(points, done.end - done.begin, done.how))
    return figures, cpu, done


def _mean(values):
    return sum(values) / len(values)


def _worst_guest(guests, done):
    return min(guests, key=lambda g: g.window(done.begin, done.end)[0])


def _worst(key, guests, begin, end):
    iops, p99 = zip(*(g.window(begin, end) for g in guests))
    return fared(key, min(iops), max(p99))


def idle_lines(title):
    return [Figure('idle-iops', f'{title}, idle', 'IOPS'),
            Figure('idle-p99', '  p99', 'ms')]


def loaded_lines(title, least, most=None, key='loaded'):
    """least: % of the idle rate; most: times the idle p99."""
    return [Figure(f'{key}-iops', f'  {title}', 'IOPS'),
            Share(f'{key}-share', '    of idle', '%', least=least,
                  part=f'{key}-iops', whole='idle-iops', of=idle),
            Figure(f'{key}-p99', '    p99', 'ms'),
            Share(f'{key}-times', '    p99 of idle', 'x', most=most,
                  part=f'{key}-p99', whole='idle-p99', of=idle)]
