# SPDX-License-Identifier: LGPL-2.1-or-later
"""The folder where a backup may put what the guest overwrites: our daemon's spill files, and the
qcow2 scratch of the classic pull. A volume as large as a disk and its metadata (volume.py), limited
as the disks are; plain disks have a plain folder beside them."""
import contextlib
import os
import tempfile

from lib import MiB, run

from disks import takes_direct_io
from images import Image
from volume import Volume


class Scratch:
    """Used in a with statement; folder is what a daemon is told."""

    def __init__(self, disks, limit):
        self.disks, self.limit, self.folder = disks, limit, None
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        if self.disks.loops:
            room = self.disks.size * 9 // 8 + 128 * MiB
            volume = self._stack.enter_context(Volume(self.disks.work, 'scratch', room))
            self.folder = volume.place
            self.limit.add(volume.loop)
        else:
            folder = tempfile.TemporaryDirectory(prefix='scratch-', dir=self.disks.place)
            self.folder = self._stack.enter_context(folder)
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def qcow2(self):
        """A new image without data, as large as the disks."""
        path = os.path.join(self.folder, 'scratch.qcow2')
        self.forget()
        run('qemu-img', 'create', '-q', '-f', 'qcow2', path, str(self.disks.size))
        return Image(path, self.disks.size, 'qcow2', takes_direct_io(path))

    def forget(self):
        """Removes that image, so that there is room for spill files."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, 'scratch.qcow2'))
