# SPDX-License-Identifier: LGPL-2.1-or-later
"""The disks that are measured: loop devices over files in a tmpfs of this run's own, or plain
files.

A machine's own disk may be slow, cached or throttled by its host at whim; memory is none of these,
and a loop device makes it a block device that takes direct I/O and can be limited by the block
cgroup (limits.py). Loop devices and mounts need root; without it the disks are plain files, and
`note` says so."""
import contextlib
import os
import random
import shutil
import subprocess
import tempfile

from lib import MiB, run

_ROOM = 256 * MiB                       # kept free beside the disks


class NoRoom(Exception):
    """There is too little memory or space for the disks."""


class Disk:
    """One disk: path is what a daemon or fio opens, file is where its bytes are."""

    def __init__(self, path, file, size, driver, direct):
        self.path, self.file, self.size, self.driver, self.direct = path, file, size, driver, direct

    def options(self, node_name):
        """Arguments of blockdev-add, the same for either daemon."""
        return {'driver': 'raw', 'node-name': node_name,
                'file': {'driver': self.driver, 'filename': self.path,
                         'node-name': f'{node_name}-file', 'cache': {'direct': self.direct}}}

    def fill(self, seed):
        """Overwrites all of it with data that differ from MiB to MiB and from seed to seed, without
        zeroes."""
        block = bytearray(random.Random(seed).randbytes(MiB))
        with open(self.file, 'r+b', buffering=0) as f:
            for number in range(self.size // MiB):
                block[:8] = (number + 1).to_bytes(8, 'big')
                f.write(block)
            os.fsync(f.fileno())        # what is measured next does not wait for it

    def same_as(self, other):
        return subprocess.run(['cmp', '-s', self.file, other.file], check=False).returncode == 0


class Disks:
    """The disks of a run, by default a source and a target, all full of data, used in a with
    statement. They keep to one size."""

    def __init__(self, work, size, plain=False, folder='/dev/shm', names=('source', 'target')):
        """work: a folder of ours to mount on. plain: no loop devices; plain files go to folder."""
        self.size, self.work, self.folder, self.place = size, work, folder, None
        self.names, self.all = names, []
        self.loops = not plain
        self.note = ''
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            if self.loops:
                self._try_loops()
            if not self.loops:
                self._make_plain()
        except BaseException:
            self._stack.close()
            raise
        self.note += ', direct I/O' if self.source.direct else ', no direct I/O'
        return self

    @property
    def source(self):
        return self.all[0]

    @property
    def target(self):
        return self.all[1]

    def __exit__(self, *exc):
        self._stack.close()

    def _try_loops(self):
        try:
            self._mount()
            self._disks()
            self.note = 'loop devices over tmpfs'
        except AssertionError as e:     # a tool failed: not root, or a container that forbids it
            self._stack.close()
            self.loops = False
            self.note = f' (no loop devices: {_reason(e)})'

    def _mount(self):
        available = memory_available()
        if available < self._total() + 2 * _ROOM:
            raise NoRoom(f'{len(self.names)} disks of {self.size // MiB} MiB do not fit in '
                         f'{available // MiB} MiB of free memory')
        self.place = tempfile.mkdtemp(prefix='disks-', dir=self.work)
        self._stack.callback(os.rmdir, self.place)
        run('mount', '-t', 'tmpfs', '-o', f'size={self._total() + MiB}', 'tidemark-bench',
            self.place)
        self._stack.callback(run, 'umount', self.place, ok=None)

    def _make_plain(self):
        self.note = f'plain files in {self.folder}{self.note}'
        if shutil.disk_usage(self.folder).free < self._total() + _ROOM:
            raise NoRoom(f'{self.folder} has no room for {len(self.names)} disks of '
                         f'{self.size // MiB} MiB (see --folder and --size)')
        self.place = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix='tidemark-bench-', dir=self.folder))
        self._disks()

    def _total(self):
        return len(self.names) * self.size

    def _disks(self):
        self.all = [self._disk(name, seed) for seed, name in enumerate(self.names, 1)]

    def _disk(self, name, seed):
        disk = file_disk(os.path.join(self.place, name), self.size, seed)
        if self.loops:
            disk.path, disk.driver = self._loop(disk.file), 'host_device'
            disk.direct = takes_direct_io(disk.path)
        return disk

    def _loop(self, file):
        path = run('losetup', '-f', '--show', file).strip()
        self._stack.callback(run, 'losetup', '-d', path, ok=None)
        # Refused where the file system has no direct I/O: the bytes then go through its cache.
        run('losetup', '--direct-io=on', path, ok=None)
        return path


def file_disk(path, size, seed):
    """A new file full of data as a disk."""
    with open(path, 'wb') as f:
        f.truncate(size)
    disk = Disk(path, path, size, 'file', takes_direct_io(path))
    disk.fill(seed)
    return disk


def takes_direct_io(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    return True


def _reason(error):
    """What the tool said first; run() puts a line of its own above."""
    return ' '.join(str(error).splitlines()[1:2])


def memory_available():
    with open('/proc/meminfo', encoding='ascii') as f:
        for line in f:
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) * 1024
    return 0
