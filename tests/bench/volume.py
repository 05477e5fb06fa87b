# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file system of this run's own, on a loop device over a file in a tmpfs, so that a file in it
grows as it does on a server's disk and takes direct I/O."""
import contextlib
import os

from lib import MiB, run

from disks import NoRoom, memory_available

_ROOM = 256 * MiB                       # kept free beside it
_MAKE = {'ext4': ('mkfs.ext4', '-q', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0'),
         'xfs': ('mkfs.xfs', '-q', '-K', '-m', 'reflink=1')}


class Volume:
    """A mounted file system, used in a with statement: place is its folder, loop its device."""

    def __init__(self, work, name, room, kind='ext4'):
        """work: a folder of ours to mount on."""
        self.room, self.kind, self.loop = room, kind, None
        self.memory, self.place = (os.path.join(work, f'{name}{part}') for part in ('-memory', ''))
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        if memory_available() < self.room + _ROOM:
            raise NoRoom(f'a file system of {self.room // MiB} MiB does not fit in '
                         f'{memory_available() // MiB} MiB of free memory')
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def _make(self):
        self._mount(self.memory, '-t', 'tmpfs', '-o', f'size={self.room + MiB}', 'tidemark-bench')
        file = os.path.join(self.memory, 'file')
        self._touch(file)
        self.loop = run('losetup', '-f', '--show', file).strip()
        self._stack.callback(run, 'losetup', '-d', self.loop, ok=None)
        run('losetup', '--direct-io=on', self.loop, ok=None)
        run(*_MAKE[self.kind], self.loop)
        self._mount(self.place, self.loop)

    def _touch(self, file):
        """A virtual machine gets its memory from the host at the first touch, which is slow: that
        is done before anybody is measured."""
        with open(file, 'wb', buffering=0) as f:
            for _ in range(self.room // MiB):
                f.write(bytes(MiB))

    def _mount(self, place, *arguments):
        os.mkdir(place)
        self._stack.callback(os.rmdir, place)
        run('mount', *arguments, place)
        self._stack.callback(run, 'umount', place, ok=None)
