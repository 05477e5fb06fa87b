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

    def same_as(self, other):
        return subprocess.run(['cmp', '-s', self.file, other.file], check=False).returncode == 0


class Disks:
    """The source and the target of a run, both full of data, used in a with statement. Both keep to
    one size."""

    def __init__(self, work, size, plain=False, folder='/dev/shm'):
        """work: a folder of ours to mount on. plain: no loop devices; plain files go to folder."""
        self.size, self.work, self.folder, self.place = size, work, folder, None
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
        if available < 2 * self.size + 2 * _ROOM:
            raise NoRoom(f'two disks of {self.size // MiB} MiB do not fit in '
                         f'{available // MiB} MiB of free memory')
        self.place = os.path.join(self.work, 'disks')
        os.mkdir(self.place)
        self._stack.callback(os.rmdir, self.place)
        run('mount', '-t', 'tmpfs', '-o', f'size={2 * self.size + MiB}', 'tidemark-bench',
            self.place)
        self._stack.callback(run, 'umount', self.place, ok=None)

    def _make_plain(self):
        self.note = f'plain files in {self.folder}{self.note}'
        if shutil.disk_usage(self.folder).free < 2 * self.size + _ROOM:
            raise NoRoom(f'{self.folder} has no room for two disks of {self.size // MiB} MiB '
                         '(see --folder and --size)')
        self.place = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix='tidemark-bench-', dir=self.folder))
        self._disks()

    def _disks(self):
        self.source = self._disk('source', seed=1)
        self.target = self._disk('target', seed=2)

    def _disk(self, name, seed):
        file = os.path.join(self.place, name)
        with open(file, 'wb') as f:
            f.truncate(self.size)
        disk = Disk(file, file, self.size, 'file', False)
        disk.fill(seed)
        if self.loops:
            disk.path, disk.driver = self._loop(file), 'host_device'
        disk.direct = takes_direct_io(disk.path)
        return disk

    def _loop(self, file):
        path = run('losetup', '-f', '--show', file).strip()
        self._stack.callback(run, 'losetup', '-d', path, ok=None)
        # Refused where the file system has no direct I/O: the bytes then go through its cache.
        run('losetup', '--direct-io=on', path, ok=None)
        return path


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
