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

from lib import MiB                     # noqa: E402

import machine                          # noqa: E402
import options                          # noqa: E402
import table                            # noqa: E402
from disks import Disks, NoRoom         # noqa: E402
from images import Images               # noqa: E402
from limits import Limit                # noqa: E402
from row import Bench                   # noqa: E402
import rows_guest, rows_merge, rows_nbd, rows_pull, rows_push, rows_qcow2   # noqa: E402,E401

ROWS = [*rows_push.ROWS, *rows_nbd.ROWS, *rows_guest.ROWS, *rows_pull.ROWS, *rows_merge.ROWS,
        *rows_qcow2.ROWS]


def measure(row, bench, o):
    """All runs of a row; returns its lines."""
    ours, theirs, limits = [], [], []
    for number in range(o.runs):
        bench.verify = number == 0
        say(f'{row.name}, run {number + 1} of {o.runs}')
        ours.append(row.measure(bench, o.ours))
        theirs.append(row.measure(bench, o.theirs))
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


def bench_all(o, about):
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(work_folder())
        disks = limit = images = None
        if any(row.needs_disks for row in o.rows):
            disks = stack.enter_context(Disks(work, o.size, o.plain, o.folder))
            limit = stack.enter_context(Limit(disks))
            images = stack.enter_context(Images(disks))
            about['disks'] = f'{o.size // MiB} MiB each, {disks.note}'
            about['limit'] = f'{limit.note} (only the guest rows)'
        about['runs'] = f'{o.runs}, rates over {o.seconds:g} s'
        print(*(f'{key + ":":13}{value}' for key, value in about.items()), '', table.head(),
              sep='\n', flush=True)
        bench = Bench(disks, limit, images, o.seconds, merges=5, bits=2_500 if o.quick else 25_000)
        done = []
        for row in o.rows:
            lines = measure(row, bench, o)
            show(lines)
            done += lines
    return done


def stop(signum, frame):
    """Ends by an exception, so that everything is cleaned up, which a second signal does not hurt."""
    signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def main():
    o = options.parse(__doc__, ROWS)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    about = machine.describe({'ours': o.ours, 'theirs': o.theirs})
    try:
        lines = bench_all(o, about)
    except NoRoom as e:
        sys.exit(f'scripts/bench: {e}')
    print('\nratio: how many times better ours is, whichever way the unit goes; '
          '! marks a missed goal')
    if o.json:
        with open(o.json, 'w', encoding='utf-8') as f:
            json.dump({'about': about, 'lines': lines}, f, indent=1)
    return 1 if o.check and any(map(table.missed, lines)) else 0


if __name__ == '__main__':
    sys.exit(main())
