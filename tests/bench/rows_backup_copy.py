# SPDX-License-Identifier: LGPL-2.1-or-later
"""The copy itself, without a guest and without limits: a full push, an increment, a full push on a
real disk, and one by the host."""
from functools import partial

from row import Figure, Row, Share, fio
from rows_push import full, full_limit, incremental, incremental_limit

_DIRTY = 0.02


def _of_fio(least):
    return Share('of-fio', '  of fio', '%', least=least, part='speed', whole='speed', of=fio)


def _real(bench, binary):
    return full(bench, binary, bench.real)


def _real_limit(bench):
    return full_limit(bench, bench.real)


def _by_host(bench, binary):
    bench.shared.renew()
    return full(bench, binary, bench.shared, **{'x-perf': {'use-copy-range': True}})


ROWS = [
    Row('backup-full', [Figure('speed', 'full push, no guest', 'MB/s', goal=1.4), _of_fio(85)],
        full, full_limit),
    Row('backup-increment',
        [Figure('speed', 'incremental push, 2 % scattered', 'MB/s', goal=1.5)],
        partial(incremental, _DIRTY), partial(incremental_limit, _DIRTY)),
    Row('backup-real', [Figure('speed', 'full push on a real disk', 'MB/s'), _of_fio(95)],
        _real, _real_limit, needs_real=True),
    Row('backup-copy-range', [Figure('speed', 'full push by the host, XFS', 'MB/s')],
        _by_host, needs_shared=True),
]
