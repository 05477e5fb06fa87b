# SPDX-License-Identifier: LGPL-2.1-or-later
"""The qcow2 images that are measured: files in a volume of this run's own (volume.py). Without
root, or where a container forbids that, they are files beside the plain disks.

Made when the first row asks for them and kept for all runs: ours and theirs read the same ones."""
import contextlib
import os
import random
import subprocess

from lib import KiB, MiB, run

from disks import takes_direct_io
from volume import Volume

CLUSTER = 64 * KiB
CHAIN_LENGTH = 50
_CHAIN_SIZE = 256 * MiB                 # of the disk whose clusters are scattered over the chain
_ROOM = 256 * MiB


class Image:
    """One image; whoever opens it names the format."""

    def __init__(self, path, size, fmt, direct):
        self.path, self.size, self.fmt, self.direct = path, size, fmt, direct

    def options(self, node_name):
        """Arguments of blockdev-add, the same for either daemon."""
        return {'driver': self.fmt, 'node-name': node_name,
                'file': {'driver': 'file', 'filename': self.path, 'node-name': f'{node_name}-file',
                         'cache': {'direct': self.direct}},
                'cache': {'direct': self.direct}}

    def check(self):
        """Fails unless qemu-img finds the image whole."""
        run('qemu-img', 'check', '-q', '-f', self.fmt, self.path)

    def same_as(self, other):
        return subprocess.run(['qemu-img', 'compare', '-q', '-f', self.fmt, '-F', other.fmt,
                               self.path, other.path], check=False).returncode == 0


class Images:
    """Where the images are, used in a with statement."""

    def __init__(self, disks):
        self.size, self.disks, self.place = disks.size, disks, None
        self._made = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def allocated(self, fmt):
        """A disk full of data without zeroes, as qcow2 or raw."""
        return self._once(f'allocated.{fmt}', self.size, fmt, _fill)

    def text(self):
        """A disk full of data that deflate makes half as long, as qcow2."""
        return self._once('text.qcow2', self.size, 'qcow2', _fill_text)

    def chain(self):
        """The top of a chain of images; each holds as many clusters as any other."""
        return self._once('chain.qcow2', min(self.size, _CHAIN_SIZE), 'qcow2', _make_chain)

    def new(self):
        """A new qcow2 image without data."""
        image = self._image('new.qcow2', self.size, 'qcow2')
        _create(image)
        run('sync', '-f', self.place)
        return image

    def _once(self, name, size, fmt, make):
        if name not in self._made:
            self._made[name] = self._image(name, size, fmt)
            make(self._made[name])
            run('sync', '-f', self.place)   # what is measured does not wait for this
        return self._made[name]

    def _image(self, name, size, fmt):
        path = os.path.join(self._folder(), name)
        return Image(path, size, fmt, takes_direct_io_in(self._folder()))

    def _folder(self):
        if not self.place:
            self.place = self.disks.place
            if self.disks.loops:
                room = 5 * self.size + _CHAIN_SIZE + _ROOM
                volume = Volume(self.disks.work, 'images', room)
                self.place = self._stack.enter_context(volume).place
        return self.place


def takes_direct_io_in(folder):
    probe = os.path.join(folder, 'probe')
    with open(probe, 'wb'):
        pass
    try:
        return takes_direct_io(probe)
    finally:
        os.unlink(probe)


def _create(image, *options):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(image.path)
    run('qemu-img', 'create', '-q', '-f', image.fmt, *options, image.path, str(image.size))


def _convert(image, blocks):
    """Makes the image from a raw file of these blocks."""
    raw = f'{image.path}.raw'
    with open(raw, 'wb', buffering=0) as f:
        for block in blocks:
            f.write(block)
    if image.fmt == 'raw':
        os.rename(raw, image.path)
    else:
        run('qemu-img', 'convert', '-q', '-f', 'raw', '-O', image.fmt, raw, image.path)
        os.unlink(raw)


def _fill(image):
    block = bytearray(random.Random(4).randbytes(MiB))
    _convert(image, (_numbered(block, n) for n in range(image.size // MiB)))


def _numbered(block, number):
    block[:8] = (number + 1).to_bytes(8, 'big')
    return block


def _fill_text(image):
    """Words in an order of chance, some of them much more often than others, as in a text."""
    rng = random.Random(5)
    words = [bytes(rng.choices(b'abcdefghijklmnopqrstuvwxyz', k=rng.randint(2, 9))) + b' '
             for _ in range(5000)]
    weights = [1 / (n + 1) for n in range(len(words))]
    text = bytearray(b''.join(rng.choices(words, weights, k=MiB // 3))[:MiB])
    assert len(text) == MiB
    _convert(image, (_numbered(text, n) for n in range(image.size // MiB)))


def _make_chain(top):
    """Cluster n of the disk is in the image that a shuffled list names."""
    owners = [n % CHAIN_LENGTH for n in range(top.size // CLUSTER)]
    random.Random(6).shuffle(owners)
    below = []
    for level in range(CHAIN_LENGTH):
        last = level == CHAIN_LENGTH - 1
        path = top.path if last else f'{top.path}.{level}'
        _create(Image(path, top.size, 'qcow2', top.direct), *below)
        below = ['-b', path, '-F', 'qcow2']
        _write_clusters(path, level, (n for n, owner in enumerate(owners) if owner == level))


def _write_clusters(path, level, clusters):
    commands = [f'write -q -P {level + 1} {n * CLUSTER} {CLUSTER}' for n in clusters]
    run('qemu-io', '-f', 'qcow2', '-t', 'unsafe', *(f'-c{c}' for c in commands), path)
