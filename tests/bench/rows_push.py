# SPDX-License-Identifier: LGPL-2.1-or-later
"""Push: how fast blockdev-backup copies a disk that nobody writes to, whole, and a part of it by
bitmap."""
import random
from functools import partial

from lib import KiB

from daemons import Measured, scatter
from fio import copy
from row import Figure, Row, megabytes

_CLUSTER = 64 * KiB


def _push(d, amount, **arguments):
    before = d.cpu()
    start, end = d.timed_backup(**arguments)
    return {'speed': megabytes(amount, end - start)}, d.cpu() - before


def _add(disks, bench, d):
    """Adds both disks. If the copy is to be looked at, the target must not hold it from another
    time."""
    if bench.verify:
        disks.target.fill(seed=3)
    d.add_disk(disks.source, 'source')
    d.add_disk(disks.target, 'target')


def full(bench, binary, disks=None, **arguments):
    """disks: others than the run's own; arguments: further ones of blockdev-backup."""
    disks = disks or bench.disks
    with Measured(binary) as d:
        _add(disks, bench, d)
        result = _push(d, disks.size, sync='full', **arguments)
    if bench.verify:
        assert disks.target.same_as(disks.source), f'{binary}: the copy differs'
    return result


def _dirty_clusters(bench, share):
    """This share of all clusters, at random, the same for each run."""
    count = bench.disks.size // _CLUSTER
    return sorted(random.Random(10).sample(range(count), int(count * share)))


def incremental(share, bench, binary):
    """share: how much of the disk is dirty."""
    clusters = _dirty_clusters(bench, share)
    with Measured(binary) as d:
        _add(bench.disks, bench, d)
        d.cmd('block-dirty-bitmap-add', node='source', name='b', granularity=_CLUSTER)
        scatter(d.export('source', writable=True), [n * _CLUSTER for n in clusters])
        d.unexport('source')
        count = d.bitmap('source', 'b')['count']
        assert count == len(clusters) * _CLUSTER, f'{count} bytes are dirty'
        result = _push(d, count, sync='incremental', bitmap='b')
    if bench.verify:
        _compare_clusters(bench, clusters)
    return result


def _compare_clusters(bench, clusters):
    with open(bench.disks.source.file, 'rb') as a, open(bench.disks.target.file, 'rb') as b:
        for n in clusters:
            a.seek(n * _CLUSTER)
            b.seek(n * _CLUSTER)
            assert a.read(_CLUSTER) == b.read(_CLUSTER), f'cluster {n} has not been copied'


def full_limit(bench, disks=None):
    disks = disks or bench.disks
    return {'speed': megabytes(disks.size, copy(disks.source, disks.target))}


def incremental_limit(share, bench):
    amount = len(_dirty_clusters(bench, share)) * _CLUSTER
    took = copy(bench.disks.source, bench.disks.target, bs='64k', rw='rand', amount=amount)
    return {'speed': megabytes(amount, took)}


ROWS = [
    Row('full', [Figure('speed', 'full push', 'MB/s', goal=1.0)], full, full_limit),
    Row('incremental', [Figure('speed', 'incremental push, 10 % dirty', 'MB/s')],
        partial(incremental, 0.1), partial(incremental_limit, 0.1)),
]
