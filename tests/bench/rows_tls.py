# SPDX-License-Identifier: LGPL-2.1-or-later
"""NBD with TLS: what one client on one connection reads of a disk, with a pre-shared key. The client
is nbdcopy: fio's URIs may not name a file with keys."""
import os
import time
from functools import partial

from lib import run
from lib.tls import make_keys, psk_object, psk_uri

from daemons import Measured
from row import Figure, Row, megabytes

_ALL = [
    # name, title, bytes of a request, depth, unit
    ('tls-sequential', 'NBD with TLS, 1 MiB sequential read, depth 8', 1 << 20, 8, 'MB/s'),
    ('tls-read-16', 'NBD with TLS, 4 KiB sequential read, depth 16', 4096, 16, 'IOPS'),
]


def _measure(size, depth, unit, bench, binary):
    keys = make_keys('tls-keys', *(() if os.path.exists('tls-keys/keys.psk') else ('bench',)))
    with Measured(binary, objects=[psk_object('tls', keys, 'server')], nbd='tls-creds=tls') as d:
        d.add_disk(bench.disks.source, 'source')
        d.export('source')
        uri = psk_uri(d.nbd, 'source', keys, 'bench')
        before, start = d.cpu(), time.monotonic()
        run('nbdcopy', '--no-extents', '--connections=1', f'--requests={depth}',
            f'--request-size={size}', uri, 'null:')
        took = time.monotonic() - start
        amount = bench.disks.source.size
        rate = megabytes(amount, took) if unit == 'MB/s' else amount / size / took
        return {'rate': rate}, d.cpu() - before


ROWS = [Row(name, [Figure('rate', title, unit, 1.0)], partial(_measure, size, depth, unit))
        for name, title, size, depth, unit in _ALL]
