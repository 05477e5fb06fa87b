# SPDX-License-Identifier: LGPL-2.1-or-later
"""NBD servers side by side: ours, qemu-storage-daemon, and nbdkit in the column of the limit. From a
node that costs nothing and from a disk, at several depths, on one connection and on four."""
from functools import partial

from lib import GiB, Server

from daemons import Measured
from fio import timed, on_nbd
from row import Figure, Row

_NULL_SIZE = 16 * GiB
_SOCKET = 'nbdkit.sock'


def _served(bench, d, node):
    """The URI of a node in a measured daemon."""
    if node == 'null':
        d.add('null-co', 'source', size=_NULL_SIZE, read_zeroes=True)
    else:
        d.add_disk(bench.disks.source, 'source')
    return d.export('source', writable=True)


def _nbdkit(bench, node):
    """The same by nbdkit."""
    if node == 'null':
        return Server.nbdkit('null', f'size={_NULL_SIZE}', sock=_SOCKET, name='nbdkit')
    return Server.nbdkit('file', bench.disks.source.path, sock=_SOCKET, name='nbdkit')


def _figures(rw, uri, bs, depth, connections, bench):
    iops, bandwidth = timed({**on_nbd(uri), 'numjobs': connections, 'group_reporting': 1},
                            rw, bs, depth, bench.seconds)
    return iops if rw.startswith('rand') else bandwidth / 1e6


def _measure(node, rw, bs, depth, connections, bench, binary):
    with Measured(binary) as d:
        uri = _served(bench, d, node)
        before = d.cpu()
        rate = _figures(rw, uri, bs, depth, connections, bench)
        cpu = d.cpu() - before
    return {'rate': rate, 'each': rate * bench.seconds / max(cpu, 0.01)}, cpu


def _peer(node, rw, bs, depth, connections, bench):
    with _nbdkit(bench, node):
        return {'rate': _figures(rw, f'nbd+unix:///?socket={_SOCKET}', bs, depth, connections,
                                 bench)}


def _goals(node, depth, connections):
    """Of the rate, and of what a second of the daemon's CPU gives."""
    if depth == 1:
        return 1.0, None
    if node == 'disk':
        return 1.2, None
    return (1.5 if connections > 1 else 1.2), 1.5


def _row(node, rw, depth, connections):
    way = rw.removeprefix('rand')
    rate, each = _goals(node, depth, connections)
    title = f'{node}: random {way}, depth {depth}, {connections} conn.'
    what = (node, rw, '4k', depth, connections)
    return Row(f'nbd-{node}-{way}-{depth}-{connections}',
               [Figure('rate', title, 'IOPS', rate),
                Figure('each', '  for each CPU second', 'IOPS', each)],
               partial(_measure, *what), partial(_peer, *what), needs_disks=node == 'disk')


def _sequential():
    what = ('disk', 'read', '1M', 8, 1)
    return Row('nbd-disk-sequential', [Figure('rate', 'disk: 1 MiB sequential read, depth 8',
                                              'MB/s', 1.5)],
               partial(_measure, *what), partial(_peer, *what))


ROWS = [*(_row(node, rw, depth, connections) for node in ('null', 'disk')
          for rw in ('randread', 'randwrite') for connections in (1, 4) for depth in (1, 16, 64)),
        _sequential()]
