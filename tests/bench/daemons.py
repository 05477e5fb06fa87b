# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that is measured: the one of the behaviour scripts, with its CPU time, disks, and a
job's duration."""
import functools
import os
import time

from lib import Daemon, connect, nbd, run

JOB_DEADLINE = 600                      # seconds; a push against a busy guest may take long
_SCHEDULER = 2                          # which CPU clock of a process (CPUCLOCK_SCHED)
_BLOCK = 4096
_DEPTH = 32


class Measured(Daemon):
    """A daemon with an NBD server; see Daemon."""

    def __init__(self, binary, limit=None, scratch=None):
        self.spills = _has_scratch_dir(binary)
        args = ['--scratch-dir', scratch.folder] if scratch and self.spills else []
        super().__init__(*args, binary=binary, nbd=True,
                         **({'preexec_fn': limit.enter} if limit else {}))

    def cpu(self):
        """CPU seconds that all its threads have used up to now, by the clock that the scheduler keeps
        of them: the ticks of /proc miss work that is done in bursts."""
        return time.clock_gettime(~self.proc.pid << 3 | _SCHEDULER)

    def memory(self):
        """The most memory that it has had in use up to now, in MiB."""
        with open(f'/proc/{self.proc.pid}/status', encoding='ascii', errors='replace') as f:
            fields = dict(line.split(':', 1) for line in f)
        return int(fields['VmHWM'].split()[0]) // 1024

    def add_disk(self, disk, node_name):
        self.cmd('blockdev-add', disk.options(node_name))

    def timed_backup(self, **arguments):
        """Runs a blockdev-backup to its end; returns the wall-clock times of its start and its
        end."""
        start = time.time()
        self.cmd('blockdev-backup', job_id='push', device='source', target='target', **arguments)
        data = self.event('BLOCK_JOB_COMPLETED', device='push', timeout=JOB_DEADLINE)
        end = time.time()
        assert 'error' not in data, data
        self.event('JOB_STATUS_CHANGE', id='push', status='null')
        return start, end


@functools.cache
def _has_scratch_dir(binary):
    return '--scratch-dir' in run(binary, '--help', ok=None)


def scatter(uri, offsets):
    """Writes a block of 4 KiB at each of these offsets, many at once."""
    data = nbd.Buffer.from_bytearray(bytearray(os.urandom(_BLOCK)))
    h = connect(uri)

    def finished():
        for cookie in [c for c in cookies if h.aio_command_completed(c)]:
            cookies.discard(cookie)

    cookies = set()
    for offset in offsets:
        while len(cookies) >= _DEPTH:
            h.poll(-1)
            finished()
        cookies.add(h.aio_pwrite(data, offset))
    while cookies:
        h.poll(-1)
        finished()
    h.shutdown()
