# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits a process to what an SSD does, by the block cgroup, version 1 or 2.

The limit holds for each disk and each direction by itself. It is charged to the process that
submits an I/O, a worker thread of io_uring included, so the one who measures enters fio into it in
the place of the daemon to see what it really gives: a request that the kernel splits is charged
more than once, which shows in 1 MiB requests."""
import os
import time

BYTES_PER_SECOND = 500_000_000
REQUESTS_PER_SECOND = 60_000


class Limit:
    """A cgroup of our own with these limits on these disks, used in a with statement. Where that
    cannot be, `note` says why and `enter` does nothing."""

    def __init__(self, disks):
        self.disks, self.path = disks, None
        self._version = None
        self.note = 'no limit'

    def __enter__(self):
        if not self.disks.loops:
            self.note = 'no limit: the disks are plain files'
            return self
        try:
            self._make(*_hierarchy())
            for disk in self.disks.all:
                self.add(disk.path)
            self.note = (f'{BYTES_PER_SECOND // 1_000_000} MB/s and {REQUESTS_PER_SECOND} IOPS '
                         'each way')
        except OSError as e:
            self.__exit__()
            self.note = f'no limit: {e}'
        return self

    def __exit__(self, *exc):
        if self.path:
            _remove(self.path)
            self.path = None

    def enter(self):
        """Enters the calling process: to be called in a child before it becomes the program
        (preexec_fn)."""
        if self.path:
            _write(f'{self.path}/cgroup.procs', '0')

    def add(self, path):
        """Limits one more disk, if there is a limit."""
        if not self.path:
            return
        device = os.stat(path).st_rdev
        number = f'{os.major(device)}:{os.minor(device)}'
        if self._version == 2:
            rates = [f'{way}bps={BYTES_PER_SECOND} {way}iops={REQUESTS_PER_SECOND}' for way in 'rw']
            _write(f'{self.path}/io.max', ' '.join([number, *rates]))
            return
        for way in 'read', 'write':
            throttle = f'{self.path}/blkio.throttle.{way}'
            _write(f'{throttle}_bps_device', f'{number} {BYTES_PER_SECOND}')
            _write(f'{throttle}_iops_device', f'{number} {REQUESTS_PER_SECOND}')

    def _make(self, mount, version):
        path = f'{mount}/tidemark-bench-{os.getpid()}'
        if version == 2:
            _write(f'{mount}/cgroup.subtree_control', '+io')
        os.mkdir(path)
        self.path, self._version = path, version


def _hierarchy():
    """The mount point and version of the cgroup tree that limits block I/O."""
    with open('/proc/mounts', encoding='utf-8') as f:
        mounts = [line.split() for line in f]
    for _, point, kind, options, *_ in mounts:
        if kind == 'cgroup' and 'blkio' in options.split(','):
            return point, 1
    for _, point, kind, *_ in mounts:
        if kind == 'cgroup2' and 'io' in _read(f'{point}/cgroup.controllers').split():
            return point, 2
    raise OSError('no cgroup tree with the block controller is mounted')


def _read(path):
    with open(path, encoding='ascii') as f:
        return f.read()


def _write(path, text):
    with open(path, 'w', encoding='ascii') as f:
        f.write(text)


def _remove(path):
    """A cgroup can go when the last process in it has been reaped by the kernel, a moment after its
    parent knew."""
    for _ in range(100):
        try:
            os.rmdir(path)
            return
        except OSError:
            time.sleep(0.05)
