# SPDX-License-Identifier: LGPL-2.1-or-later
"""A source and a target in files of a folder: of a real disk, which the one who measures names, or
of a file system of a certain kind."""
import os
import shutil
import tempfile

from lib import MiB

from disks import NoRoom, file_disk

_ROOM = 256 * MiB


class RealDisks:
    """Used in a with statement."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size
        self.source = self.target = self._place = None

    def __enter__(self):
        if shutil.disk_usage(self.folder).free < 2 * self.size + _ROOM:
            raise NoRoom(f'{self.folder} has no room for two files of {self.size // MiB} MiB')
        self._place = tempfile.TemporaryDirectory(prefix='tidemark-bench-', dir=self.folder)
        try:
            self.source, self.target = (
                file_disk(os.path.join(self._place.name, name), self.size, seed)
                for seed, name in enumerate(('source', 'target'), 1))
        except BaseException:
            self._place.cleanup()
            raise
        return self

    def renew(self):
        """The target without data, as it is where it shares no blocks with the source yet."""
        os.truncate(self.target.file, 0)
        os.truncate(self.target.file, self.size)

    def __exit__(self, *exc):
        self._place.cleanup()

    @property
    def note(self):
        direct = 'direct I/O' if self.source.direct else 'no direct I/O'
        return f'files of {self.size // MiB} MiB in {self.folder}, {direct}'
