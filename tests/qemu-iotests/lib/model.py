# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model of a disk that guests write all the time, and what it may have held at an instant.

Each sector that a guest writes holds the serial number of its write in every word; zeroed sectors
hold 0. A Window is the time in which an instant lies: writes that ended before it are in the picture,
writes that started after it are not, and of the ones between either will do, for each sector alone."""
import array
import threading

from .env import IS_TIDEMARK
from .nbdtool import connect, nbd

SECTOR = 512
_WORDS = SECTOR // 8


class Window:
    def __init__(self, base, maybe):
        self.base, self.maybe = base, maybe

    def check(self, data, what):
        """Asserts that these bytes may be the disk at the instant."""
        words = array.array('Q', bytes(data))
        got = words[::_WORDS]
        for i in range(1, _WORDS):
            assert words[i::_WORDS] == got, f'{what}: a sector is torn'
        if got == self.base:
            return
        allowed = {}
        for first, count, serial in self.maybe:
            for s in range(first, first + count):
                allowed.setdefault(s, set()).add(serial)
        wrong = [s for s, (a, b) in enumerate(zip(got, self.base)) if a != b
                 and a not in allowed.get(s, ())]
        assert not wrong and len(got) == len(self.base), (
            f'{what}: {len(wrong)} sectors are wrong, the first at {wrong[0] * SECTOR}: it holds write '
            f'{got[wrong[0]]}, not {self.base[wrong[0]]} {allowed.get(wrong[0], "")}; all: {wrong[:20]}')


class Model:
    """The disk as its guests have written it."""

    def __init__(self, size):
        self.now = array.array('Q', bytes(size // SECTOR * 8))
        self.lock = threading.Lock()
        self.flying, self.windows, self.serial = {}, [], 0

    def begin(self, first, count, zero):
        with self.lock:
            self.serial += 1
            write = (first, count, 0 if zero else self.serial)
            self.flying[self.serial] = write
            for w in self.windows:
                w.maybe.append(write)
            return self.serial

    def end(self, key, happened):
        with self.lock:
            first, count, serial = self.flying.pop(key)
            if happened:
                self.now[first:first + count] = array.array('Q', [serial]) * count

    def open(self):
        """A window that starts now."""
        with self.lock:
            self.windows.append(Window(self.now[:], list(self.flying.values())))
            return self.windows[-1]

    def close(self, window):
        with self.lock:
            self.windows.remove(window)

    def instant(self, call):
        """Runs what takes an instant; returns its window."""
        window = self.open()
        try:
            call()
        finally:
            self.close(window)
        return window


class Writer(threading.Thread):
    """A guest that writes its own part of the disk until it is stopped."""

    def __init__(self, model, uri, first, count, rnd):
        super().__init__()
        self.model, self.first, self.count, self.rnd = model, first, count, rnd
        self.h, self.stopped, self.trouble, self.writes = connect(uri), threading.Event(), None, 0

    def run(self):
        try:
            while not self.stopped.is_set():
                self.write()
        except (AssertionError, nbd.Error) as e:
            self.trouble = e

    def write(self):
        count = min(self.rnd.choice((1, 1, 8, 8, 40, 300)), self.count)
        first = self.first + self.rnd.randrange(self.count - count + 1)
        zero = self.rnd.random() < 0.1
        key = self.model.begin(first, count, zero)
        try:
            if zero:
                self.h.zero(count * SECTOR, first * SECTOR)
            else:
                self.h.pwrite(key.to_bytes(8, 'little') * (count * _WORDS), first * SECTOR)
        except nbd.Error as e:
            # QEMU fails a guest's write when its backup's target fails; it has not been done then
            assert not IS_TIDEMARK, f'a guest write failed: {e}'
            self.model.end(key, False)
            now = array.array('Q', bytes(self.h.pread(count * SECTOR, first * SECTOR)))[::_WORDS]
            assert now == self.model.now[first:first + count], 'a write that failed was done'
        else:
            self.model.end(key, True)
        self.writes += 1

    def stop(self):
        self.stopped.set()
        self.join()
        if self.trouble:
            raise self.trouble
        self.h.shutdown()
