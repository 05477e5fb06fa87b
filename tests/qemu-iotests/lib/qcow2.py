# SPDX-License-Identifier: LGPL-2.1-or-later
"""qcow2 images: the kinds there are, what QEMU's tools say of them, their tables by hand, and a
disk that a client and a model of it do the same to."""
import json
import os
import struct
import subprocess

from .env import DEADLINE, KiB, MiB, wait_until
from .images import contents, qemu_img, read_at
from .qmp import arguments

REFERENCE = 'qemu-storage-daemon'

# Every kind of image that matters: name -> options of qemu-img create.
KINDS = {
    'plain': {},
    'v2': {'compat': '0.10'},
    'cluster-512': {'cluster_size': 512},
    'cluster-4k': {'cluster_size': 4 * KiB},
    'cluster-2m': {'cluster_size': 2 * MiB},
    'v2-cluster-1k': {'compat': '0.10', 'cluster_size': KiB},
    'refcount-1': {'refcount_bits': 1},
    'refcount-2-cluster-512': {'refcount_bits': 2, 'cluster_size': 512},
    'refcount-4': {'refcount_bits': 4},
    'refcount-8-cluster-4k': {'refcount_bits': 8, 'cluster_size': 4 * KiB},
    'refcount-32': {'refcount_bits': 32},
    'refcount-64-cluster-512': {'refcount_bits': 64, 'cluster_size': 512},
    'lazy': {'lazy_refcounts': 'on'},
    'subclusters-16k': {'extended_l2': 'on', 'cluster_size': 16 * KiB},
    'subclusters-64k': {'extended_l2': 'on'},
    'subclusters-2m': {'extended_l2': 'on', 'cluster_size': 2 * MiB},
    'data-file': {'data_file': 'DATA'},
    'data-file-raw': {'data_file': 'DATA', 'data_file_raw': 'on'},
    'data-file-subclusters': {'data_file': 'DATA', 'extended_l2': 'on'},
    'zstd': {'compression_type': 'zstd'},
    'metadata': {'preallocation': 'metadata'},
    'falloc': {'preallocation': 'falloc'},
    'full': {'preallocation': 'full', 'cluster_size': 4 * KiB},
}


def cluster_size(kind):
    return KINDS[kind].get('cluster_size', 64 * KiB)


def has_snapshots(kind):
    """QEMU keeps internal snapshots out of images with a data file, and a one-bit refcount has no room
    for the second reference."""
    return 'data_file' not in KINDS[kind] and KINDS[kind].get('refcount_bits') != 1


def has_bitmaps(kind):
    return KINDS[kind].get('compat') != '0.10'


def create_qcow2(path, size, kind='plain', backing=None, backing_fmt='raw', **options):
    """Makes an image with QEMU. Its data file, if it has one, is PATH.data. Returns the path."""
    options = {**KINDS[kind], **options}
    if 'data_file' in options:
        options['data_file'] = os.path.basename(path) + '.data'
    argv = ['create', '-q', '-f', 'qcow2']
    if options:
        argv += ['-o', ','.join(f'{k}={v}' for k, v in options.items())]
    if backing:
        argv += ['-b', backing, '-F', backing_fmt]
    qemu_img(*argv, path, *([] if size is None else [size]))
    return path


def add_qcow2(d, node_name, path, below=None, **options):
    """Adds node NAME (qcow2) on node NAME-file (file); read_only holds for both. below: options of the
    file node."""
    shared = {k: options[k] for k in ('read_only', 'discard', 'cache') if k in options}
    nothing = {'backing': None} if options.get('backing', '') is None else {}
    d.cmd('blockdev-add', nothing, driver='qcow2', node_name=node_name,
          file=arguments(None, dict(driver='file', node_name=f'{node_name}-file', filename=path,
                                    **{**shared, **(below or {})})), **options)


def info(path, *args):
    """qemu-img info's answer about an image alone."""
    return json.loads(qemu_img('info', '-U', '--output=json', *args, path))


def _asked_check(path, fmt):
    """qemu-img check's answer; None while the image is locked: the kernel gives the locks of a killed
    daemon back when it has ended its ring, which can be a moment after the process is gone."""
    with open('check.err', 'w+', encoding='utf-8') as errors:
        done = subprocess.run(['qemu-img', 'check', '--output=json', '-f', fmt, path], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                              timeout=DEADLINE)
        errors.seek(0)
        said = errors.read()
    assert done.stdout or 'lock' in said, f'{path}: {said}'
    return json.loads(done.stdout) if done.stdout else None


def check(path, leaks=False, fmt='qcow2'):
    """Asserts that qemu-img check finds nothing wrong: nothing at all, or leaks at most. Returns what
    it says."""
    found = wait_until(lambda: _asked_check(path, fmt), f'{path} is not locked')
    bad = {k: found[k] for k in ('check-errors', 'corruptions') if found.get(k)}
    if not leaks and found.get('leaks'):
        bad['leaks'] = found['leaks']
    assert not bad, f'{path}: {bad}\n{qemu_img("check", "-f", fmt, path, ok=None)}'
    return found


def image_map(path, backing=True):
    """What qemu-img map says of the image, without where it is stored: start, length, depth, present,
    zero, data."""
    target = path if backing else json.dumps({'driver': 'qcow2', 'backing': None, 'file': {
        'driver': 'file', 'filename': path}})
    entries = json.loads(qemu_img('map', '--output=json',
                                  *(['-f', 'qcow2', target] if backing else [f'json:{target}'])))
    joined = []
    for e in entries:
        what = (e['depth'], e.get('present', True), e['zero'], e['data'], e.get('compressed', False))
        if joined and joined[-1][2:] == what:
            joined[-1] = (joined[-1][0], joined[-1][1] + e['length']) + what
        else:
            joined.append((e['start'], e['length']) + what)
    return joined


def disk_of(path, fmt='qcow2'):
    """The bytes that a guest sees in an image, as QEMU reads it."""
    qemu_img('convert', '-U', '-f', fmt, '-O', 'raw', path, 'disk-of.raw')
    data = contents('disk-of.raw')
    os.unlink('disk-of.raw')
    return data


def same_bytes(got, expected, what=''):
    """Asserts equality and names the first byte that differs."""
    if got != expected:
        at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
                  min(len(got), len(expected)))
        raise AssertionError(f'{what}: lengths {len(got)}, {len(expected)}; differs at {at} '
                             f'({at:#x}): {bytes(got[at:at + 8]).hex()}, not '
                             f'{bytes(expected[at:at + 8]).hex()}')


# --- an image's tables by hand ---------------------------------------------------------------------

def field(path, offset, fmt='>Q'):
    """A number in a file."""
    return struct.unpack(fmt, read_at(path, offset, struct.calcsize(fmt)))[0]


def patch(path, offset, value, fmt='>Q'):
    """Overwrites a number in a file."""
    with open(path, 'r+b') as f:
        f.seek(offset)
        f.write(struct.pack(fmt, value))


HEADER = {'magic': (0, '>I'), 'version': (4, '>I'), 'backing_offset': (8, '>Q'),
          'backing_size': (16, '>I'), 'cluster_bits': (20, '>I'), 'size': (24, '>Q'),
          'crypt': (32, '>I'), 'l1_size': (36, '>I'), 'l1': (40, '>Q'), 'refcounts': (48, '>Q'),
          'refcount_clusters': (56, '>I'), 'snapshots': (60, '>I'), 'snapshots_offset': (64, '>Q'),
          'incompatible': (72, '>Q'), 'compatible': (80, '>Q'), 'autoclear': (88, '>Q'),
          'refcount_order': (96, '>I'), 'length': (100, '>I')}


def header(path, name, value=None):
    """Reads a field of the header, or sets it."""
    offset, fmt = HEADER[name]
    if value is None:
        return field(path, offset, fmt)
    return patch(path, offset, value, fmt)


OFFSET_MASK = 0x00fffffffffffe00


def l2_entry(path, cluster):
    """Where the L2 entry of a guest's cluster lies in the file (of the ordinary form)."""
    per_table = 1 << (header(path, 'cluster_bits') - 3)
    l1 = field(path, header(path, 'l1') + 8 * (cluster // per_table))
    assert l1 & OFFSET_MASK, f'cluster {cluster} has no L2 table'
    return (l1 & OFFSET_MASK) + 8 * (cluster % per_table)


# --- a disk and its model --------------------------------------------------------------------------

class Disk:
    """What a client has made of a disk: each operation is done to libnbd handles and to the model."""

    def __init__(self, data, unit, rnd):
        """unit: a length that boundaries are likely to be multiples of (a cluster)."""
        self.data, self.unit, self.rnd = bytearray(data), unit, rnd

    def a_range(self):
        """A random range: whole units, sectors, or any bytes."""
        rnd, size = self.rnd, len(self.data)
        grain = rnd.choice((self.unit, self.unit, self.unit // 2, 512, 512, 1))
        longest = max(1, min(rnd.choice((1, 4, 32)) * self.unit, 2 * MiB) // grain)
        grains = max(1, size // grain)
        first = rnd.randrange(grains)
        count = min(rnd.randint(1, longest), grains - first)
        return first * grain, max(1, min(count * grain, size - first * grain))

    def write(self, *handles):
        offset, length = self.a_range()
        start = self.rnd.randrange(1, 256)
        data = (bytes((start + i) & 255 or 1 for i in range(256)) * (length // 256 + 1))[:length]
        for h in handles:
            h.pwrite(data, offset)
        self.data[offset:offset + length] = data
        return 'write', offset, length

    def zero(self, *handles):
        offset, length = self.a_range()
        no_hole = self.rnd.choice((0, 2))               # NBD_CMD_FLAG_NO_HOLE
        for h in handles:
            h.zero(length, offset, no_hole)
        self.data[offset:offset + length] = bytes(length)
        return 'zero, no hole' if no_hole else 'zero', offset, length

    def trim(self, h):
        """It leaves each sector as it was, or zeroes (images without a backing file): the model takes
        what is read."""
        offset, length = self.a_range()
        h.trim(length, offset)
        after = h.pread(length, offset)
        at, end = offset, offset + length
        while at < end:
            stop = min(end, (at // 512 + 1) * 512)
            new = after[at - offset:stop - offset]
            assert new == self.data[at:stop] or not any(new), f'trim of {length} at {offset}: at {at}'
            at = stop
        self.data[offset:end] = after
        return 'trim', offset, length

    def read(self, *handles):
        offset, length = self.a_range()
        for h in handles:
            same_bytes(h.pread(length, offset), self.data[offset:offset + length],
                       f'read of {length} at {offset}')
        return 'read', offset, length

    def exercise(self, h, count):
        """Some of everything; the last part is to read all of it."""
        for _ in range(count):
            what = self.rnd.choices((self.write, self.read, self.zero, self.trim), (6, 4, 2, 1))[0]
            what(h)
        self.compare(h)

    def compare(self, h, what='the whole disk'):
        for at in range(0, len(self.data), 4 * MiB):
            part = self.data[at:at + 4 * MiB]
            same_bytes(h.pread(len(part), at), part, f'{what}, from {at} on')
