# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest under a push: what is left to it of what it gets when idle, and what the backup gets
beside it. All on limited disks, as in rows_guest.py."""
import contextlib
import os
from functools import partial

from lib import Server
from lib.jobs import action, transaction

from daemons import JOB_DEADLINE, Measured
from fio import Guest, copy, on_disk, on_nbd
from guests import WARM_UP, fared, idle_lines, loaded_lines, watched
from jobs import Jobs
from row import Figure, Row, Share, megabytes, own

_SLOW = 3                               # times as long as a rate a slow target is looked at
_THIRD = 1 / 3                          # by which several jobs may do worse than one
_CAP_SHARE = 10                         # of the disk that the spill file takes before it is full
_AFTER = 5                              # seconds of the guest after that
_CLEAR = "writes faster than its old data can be put away"


_IN_MEMORY = Figure('memory', '  in memory of what was saved', '%', most=25)


def _push(d, source, target, **options):
    return Jobs(d, ['push'], 'blockdev-backup', job_id='push', device=source, target=target,
                sync='full', **options)


def _noted(bench, d, jobs):
    """Also returns the figure that all of these rows have."""
    bench.notes.detail(memory_mib=d.memory(), errors=jobs.errors, **jobs.most)
    return {'memory': jobs.in_memory()}


def _daemon(bench, binary):
    return Measured(binary, limit=bench.limit, scratch=bench.scratch)


# --- no backup at all

def _idle(bench, binary):
    with _daemon(bench, binary) as d:
        d.add_disk(bench.disks.source, 'source')
        with Guest(on_nbd(d.export('source', writable=True))) as guest:
            guest.span(WARM_UP)
            before = d.cpu()
            quiet = guest.span(bench.seconds)
            cpu = d.cpu() - before
    return fared('idle', *guest.window(*quiet)), cpu


def _idle_limit(bench):
    with Guest(on_disk(bench.disks.source), limit=bench.limit) as guest:
        guest.span(WARM_UP)
        quiet = guest.span(bench.seconds)
    return fared('idle', *guest.window(*quiet))


# --- one push to a like disk

def _like(bench, binary):
    """The push alone, and then beside the guest."""
    with _daemon(bench, binary) as d:
        d.add_disk(bench.disks.source, 'source')
        d.add_disk(bench.disks.target, 'target')
        alone = _push(d, 'source', 'target').completed()
        uri = d.export('source', writable=True)
        figures, cpu, jobs = watched(bench, d, [uri],
                                     lambda: _push(d, 'source', 'target').completed())
        figures |= _noted(bench, d, jobs)
    return {**figures, 'alone': _rate(bench, alone), 'beside': _rate(bench, jobs)}, cpu


def _rate(bench, jobs):
    return megabytes(bench.disks.size, jobs.end - jobs.begin)


def _like_limit(bench):
    """The guest on the disk itself, and fio in the place of the push, in the same cgroup."""
    source, target = bench.disks.source, bench.disks.target
    alone = copy(source, target, limit=bench.limit)
    with Guest(on_disk(source), limit=bench.limit) as guest:
        guest.span(WARM_UP)
        quiet = guest.span(bench.seconds)
        start, _ = guest.span(0)
        beside = copy(source, target, limit=bench.limit)
    return {**fared('idle', *guest.window(*quiet)),
            **fared('loaded', *guest.window(start, start + beside)),
            'alone': megabytes(source.size, alone), 'beside': megabytes(source.size, beside)}


# --- a push to a slow target

@contextlib.contextmanager
def _slow_target(nbdkit, bench, binary):
    """nbdkit: its arguments; it forgets what is written. A daemon, and the guest's URI."""
    server = Server.nbdkit(*nbdkit, f'size={bench.disks.size}', sock='slow.sock', name='slow')
    with server, _daemon(bench, binary) as d:
        d.add_disk(bench.disks.source, 'source')
        d.add('nbd', 'target', server={'type': 'unix', 'path': os.path.abspath('slow.sock')})
        yield d, d.export('source', writable=True)


def _slow(nbdkit, bench, binary):
    """The push is cancelled after a while."""
    with _slow_target(nbdkit, bench, binary) as (d, uri):
        figures, cpu, jobs = watched(bench, d, [uri], lambda: _cancelled(bench, d))
        figures |= _noted(bench, d, jobs)
    return figures, cpu


def _cancelled(bench, d, seconds=None, **options):
    jobs = _push(d, 'source', 'target', **options).wait(seconds or _SLOW * bench.seconds)
    jobs.cancel()
    return jobs


def _cap(bench, binary):
    """Until the spill file is full, where there is one: then the push fails, and a while of the
    guest after it counts, too."""
    with _slow_target(_NARROW, bench, binary) as (d, uri):
        options = {'staging_file_size': bench.disks.size // _CAP_SHARE} if d.spills else {}
        seconds = JOB_DEADLINE if d.spills else None
        figures, cpu, jobs = watched(bench, d, [uri],
                                     lambda: _cancelled(bench, d, seconds, **options), after=_AFTER)
        figures |= _noted(bench, d, jobs)
    clear = sum(_CLEAR in error for error in jobs.errors)
    return {**figures, 'clear': 100 * clear if d.spills else None}, cpu


# --- several pushes at once

def _at_once(d, pairs):
    """Pushes sources to targets, by one transaction, to their ends."""
    ids = [f'push{number}' for number in range(len(pairs))]
    actions = [action('blockdev-backup', job_id=id, device=source, target=target, sync='full')
               for id, (source, target) in zip(ids, pairs)]
    return Jobs(d, ids, 'transaction', transaction(*actions)).completed()


def _add_null(bench, d, name):
    d.add('null-co', name, size=bench.disks.size)


def _two(bench, binary):
    with _daemon(bench, binary) as d:
        d.add_disk(bench.disks.source, 'source')
        d.add_disk(bench.disks.target, 'target')
        _add_null(bench, d, 'null')
        uri = d.export('source', writable=True)
        pairs = [('source', 'target'), ('source', 'null')]
        figures, cpu, jobs = watched(bench, d, [uri], lambda: _at_once(d, pairs))
        figures |= _noted(bench, d, jobs)
    return figures, cpu


def _four(bench, binary):
    """Each disk has a guest of its own."""
    disks = [*bench.disks.all, *bench.more.all]
    names = [f'disk{number}' for number in range(len(disks))]
    with _daemon(bench, binary) as d:
        for name, disk in zip(names, disks):
            d.add_disk(disk, name)
            _add_null(bench, d, f'null-{name}')
        uris = [d.export(name, writable=True) for name in names]
        pairs = [(name, f'null-{name}') for name in names]
        figures, cpu, jobs = watched(bench, d, uris, lambda: _at_once(d, pairs))
        figures |= _noted(bench, d, jobs)
    return figures, cpu


_DELAYED = ('--filter=delay', 'null', 'wdelay=20ms')
_NARROW = ('--filter=rate', 'null', 'rate=160000000')   # bits a second


def _title(what):
    return f'Guest (4 KiB random write, depth 16) under {what}'


ROWS = [
    Row('backup-idle', idle_lines('guest without a backup'), _idle, _idle_limit),
    Row('backup-push', [
        *idle_lines('guest beside a full push'),
        *loaded_lines('during the push', least=50, most=5),
        _IN_MEMORY,
        Figure('alone', '  the push alone', 'MB/s'),
        Figure('beside', '  the push beside the guest', 'MB/s'),
        Share('kept', '    of the push alone', '%', least=40, part='beside', whole='alone', of=own),
    ], _like, _like_limit, title=_title('one full push to a like disk')),
    Row('backup-delayed', [
        *idle_lines('guest, target takes 20 ms a write'),
        *loaded_lines('during the push', least=80, most=3),
        _IN_MEMORY,
    ], partial(_slow, _DELAYED),
        title=_title('a push to a target that takes 20 ms a write')),
    Row('backup-narrow', [
        *idle_lines('guest, target takes 20 MB/s'),
        *loaded_lines('during the push', least=80, most=3),
        _IN_MEMORY,
    ], partial(_slow, _NARROW),
        title=_title('a push to a target that takes 20 MB/s')),
    Row('backup-cap', [
        *idle_lines('guest, 20 MB/s and a small spill file'),
        *loaded_lines('until the file is full', least=80, most=3),
        *loaded_lines(f'{_AFTER} s after that', least=80, most=3, key='after'),
        Figure('clear', '  pushes that failed for that reason', '%', least=100),
        _IN_MEMORY,
    ], _cap, title=_title('a push to a target that takes 20 MB/s, until its spill file is full')),
    Row('backup-two', [
        *idle_lines('guest, two pushes of its disk'),
        *loaded_lines('during the pushes', least=50 * (1 - _THIRD), most=5 * (1 + _THIRD)),
        _IN_MEMORY,
    ], _two, title=_title('two pushes of its disk at once')),
    Row('backup-four', [
        *idle_lines('four guests, mean'),
        *loaded_lines('worst during four pushes', least=50 * (1 - _THIRD), most=5 * (1 + _THIRD)),
        _IN_MEMORY,
    ], _four, needs_more=True,
        title=_title('four disks pushed at once; the guest that fares worst')),
]
