# SPDX-License-Identifier: LGPL-2.1-or-later
"""qcow2: what a client gets from an image, and how fast images are pushed to images."""
from functools import partial

from daemons import Measured
from fio import fio, on_nbd, timed
from images import CHAIN_LENGTH
from row import Figure, Row, megabytes


def _served(bench, binary, image, work):
    """What work(uri) gives while a daemon exports the image, and the daemon's CPU seconds."""
    with Measured(binary) as d:
        d.add_disk(image, 'source')
        uri = d.export('source', writable=True)
        before = d.cpu()
        return work(uri), d.cpu() - before


def _iops(bench, rw, uri):
    return timed(on_nbd(uri), rw, '4k', 16, bench.seconds)[0]


def _read(bench, binary):
    """The same on an image and on a raw file, in turns, so that a machine that is busy for a while
    is so for both."""
    total = {'qcow2': 0, 'raw': 0}
    cpu = 0
    with Measured(binary) as d:
        for fmt in total:
            d.add_disk(bench.images.allocated(fmt), fmt)
        uris = {fmt: d.export(fmt) for fmt in total}
        for fmt in ('qcow2', 'raw', 'raw', 'qcow2'):
            before = d.cpu()
            total[fmt] += _iops(bench, 'randread', uris[fmt]) / 2
            cpu += d.cpu() - before if fmt == 'qcow2' else 0
    return {'rate': total['qcow2'], 'raw': total['raw'],
            'share': 100 * total['qcow2'] / total['raw']}, cpu


def _write(bench, binary):
    image = bench.images.allocated('qcow2')
    rate, cpu = _served(bench, binary, image, partial(_iops, bench, 'randwrite'))
    if bench.verify:
        image.check()
    return {'rate': rate}, cpu


def _chain(bench, binary):
    rate, cpu = _served(bench, binary, bench.images.chain(), partial(_iops, bench, 'randread'))
    return {'rate': rate}, cpu


def _write_all(image, bs, depth, uri):
    figures = fio({**on_nbd(uri), 'rw': 'write', 'bs': bs, 'iodepth': depth,
                   'size': image.size})[0]
    return megabytes(image.size, figures['job_runtime'] / 1000)


def _sequential(bs, depth, bench, binary):
    image = bench.images.new()
    speed, cpu = _served(bench, binary, image, partial(_write_all, image, bs, depth))
    if bench.verify:
        image.check()
    return {'speed': speed}, cpu


def _push(source, bench, binary, **arguments):
    target = bench.images.new()
    with Measured(binary) as d:
        d.add_disk(source, 'source')
        d.add_disk(target, 'target')
        before = d.cpu()
        start, end = d.timed_backup(sync='full', **arguments)
        cpu = d.cpu() - before
    if bench.verify:
        target.check()
        assert target.same_as(source), f'{binary}: the copy differs'
    return {'speed': megabytes(source.size, end - start)}, cpu


def _full(bench, binary):
    return _push(bench.images.allocated('qcow2'), bench, binary)


def _compressed(bench, binary):
    return _push(bench.images.text(), bench, binary, compress=True)


ROWS = [
    Row('qcow2-read', [
        Figure('rate', 'qcow2 4 KiB random read, depth 16', 'IOPS', goal=1.0),
        Figure('raw', '  the same on a raw file', 'IOPS'),
        Figure('share', '  qcow2 of raw', '%', least=90),
    ], _read),
    Row('qcow2-write', [Figure('rate', 'qcow2 4 KiB random write, depth 16', 'IOPS', goal=1.0)],
        _write),
    Row('qcow2-new', [Figure('speed', 'qcow2 new image, 1 MiB writes, depth 8', 'MB/s', goal=1.0)],
        partial(_sequential, '1M', 8)),
    Row('qcow2-new-64k',
        [Figure('speed', 'qcow2 new image, 64 KiB writes, depth 16', 'MB/s', goal=1.0)],
        partial(_sequential, '64k', 16)),
    Row('qcow2-chain',
        [Figure('rate', f'qcow2 chain of {CHAIN_LENGTH}, 4 KiB random read', 'IOPS', goal=1.0)],
        _chain),
    Row('qcow2-full', [Figure('speed', 'full push qcow2 to qcow2', 'MB/s', goal=1.0)], _full),
    Row('qcow2-compressed', [Figure('speed', '  the same, compressed', 'MB/s', goal=1.5)],
        _compressed),
]
