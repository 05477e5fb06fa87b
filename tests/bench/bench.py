# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures tidemarkd and qemu-storage-daemon in turn, on the same disks, with the same commands.

Run it by scripts/bench; docs/performance.rst tells what the rows mean. Each figure is the median of
several runs, each with a fresh daemon, ours and theirs alternating, so that a machine which grows
slower is slow for both."""
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile

_TESTS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(_TESTS, 'qemu-iotests'))

import machine                          # noqa: E402
import options                          # noqa: E402
import plot                             # noqa: E402
import table                            # noqa: E402
from disks import NoRoom                # noqa: E402
from sections import SECTIONS           # noqa: E402


def measure(row, bench, o):
    """All runs of a row; returns its lines."""
    ours, theirs, limits = [], [], []
    for number in range(o.runs):
        bench.verify = number == 0
        say(f'{row.name}, run {number + 1} of {o.runs}')
        for side, binary, results in (('ours', o.ours, ours), ('theirs', o.theirs, theirs)):
            bench.notes.turn(row.name, side)
            results.append(row.measure(bench, binary))
        limits.append((row.limit(bench), 0))
    lines = list(table.lines(row, ours, theirs, limits))
    for i, line in enumerate(lines):
        line['first'] = i == 0
    return lines


def say(text):
    """Progress, for a human who waits."""
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


def show(lines):
    say('')
    for line in lines:
        print(table.text(line), flush=True)


@contextlib.contextmanager
def work_folder():
    """A new folder, entered; its path is short, for sockets are in it."""
    old = os.getcwd()
    folder = tempfile.mkdtemp(prefix='tidemark-bench-', dir='/tmp')
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(old)
        shutil.rmtree(folder)


def head(about):
    print(*(f'{key + ":":13}{value}' for key, value in about.items()), sep='\n', flush=True)


def bench_section(section, rows, work, o):
    """Measures these rows of a section; returns their lines and what they noted."""
    with contextlib.ExitStack() as stack:
        bench, about = section.prepare(stack, work, o, rows)
        print()
        head({'section': section.title, **about,
              'runs': f'{o.runs}, rates over {o.seconds:g} s'})
        print(table.head(section.limit), flush=True)
        done = []
        for row in rows:
            lines = measure(row, bench, o)
            show(lines)
            done += lines
            if o.plots and row.name in bench.notes.traces:
                plot.write(os.path.join(o.plots, f'{row.name}.svg'), row.title,
                           bench.notes.traces[row.name])
    return {'section': section.name, 'about': about, 'lines': done,
            'details': bench.notes.details}


def bench_all(o):
    """Measures all that is asked for; returns what there is to tell of each section."""
    with work_folder() as work:
        return [bench_section(section, rows, work, o) for section, rows in o.sections]


def stop(signum, frame):
    """Ends by an exception, so that everything is cleaned up, which a second signal does not
    hurt."""
    signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def main():
    o = options.parse(__doc__, SECTIONS)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    about = machine.describe({'ours': o.ours, 'theirs': o.theirs})
    head(about)
    try:
        sections = bench_all(o)
    except NoRoom as e:
        sys.exit(f'scripts/bench: {e}')
    print('\nratio: how many times better ours is, whichever way the unit goes; '
          '! marks a missed goal')
    lines = [line for section in sections for line in section['lines']]
    if o.json:
        with open(o.json, 'w', encoding='utf-8') as f:
            json.dump({'about': about, 'sections': sections}, f, indent=1)
    return 1 if o.check and any(map(table.missed, lines)) else 0


if __name__ == '__main__':
    sys.exit(main())
