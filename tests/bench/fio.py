# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs fio: against a daemon's NBD export, or on a disk itself to find its limit."""
import contextlib
import json
import os
import signal
import subprocess
import time

_WHOLE = '512k'                         # the most a loop device takes in one piece (limits.py)
_SLACK = 120                            # seconds that a run may take beyond its measuring time


def on_disk(disk):
    """Where fio works on the disk itself."""
    return {'ioengine': 'io_uring', 'filename': disk.path, 'direct': int(disk.direct)}


def on_nbd(uri):
    """Where fio is a client of a daemon, on one connection."""
    return {'ioengine': 'nbd', 'uri': uri}


def fio(*jobs, limit=None, timeout=_SLACK):
    """Runs jobs (dicts of fio's options) at the same time; returns fio's figures of each."""
    done = subprocess.run(_command(jobs), capture_output=True, text=True, timeout=timeout,
                          check=False, stdin=subprocess.DEVNULL,
                          preexec_fn=limit.enter if limit else None)
    if done.returncode:
        raise RuntimeError(f'fio {jobs}: {done.stderr}{done.stdout}')
    return json.loads(done.stdout[done.stdout.index('{'):])['jobs']


def timed(where, rw, bs, depth, seconds, limit=None):
    """Runs one job for so many seconds; returns (requests a second, bytes a second)."""
    job = {**where, 'rw': rw, 'bs': bs, 'iodepth': depth, 'time_based': 1, 'runtime': seconds}
    figures = fio(job, limit=limit, timeout=seconds + _SLACK)[0]
    way = figures['write' if 'write' in rw else 'read']
    return way['iops'], way['bw_bytes']


def copy(source, target, bs=_WHOLE, rw='', amount=None, limit=None):
    """Reads from one disk and writes to the other at once (rw 'rand': at random places), without
    either waiting for the other: no copy can be faster. Returns the seconds that it took."""
    common = {'bs': bs, 'iodepth': 16, 'io_size': amount or source.size, 'size': source.size}
    jobs = fio({**on_disk(source), 'rw': f'{rw}read', **common},
               {**on_disk(target), 'rw': f'{rw}write', **common}, limit=limit, timeout=600)
    return max(job['job_runtime'] for job in jobs) / 1000


class Guest:
    """A guest that does 4 KiB random writes at depth 16 for the length of a with block. After it,
    window() tells what happened in a span of that time. fio logs every request, so that it can be
    told to which span it belongs."""

    def __init__(self, where, limit=None, name='guest', size=None):
        """size: how much of the disk it writes to, from its start on; all of it unless given."""
        self.where, self.limit = {**where, **({'size': size} if size else {})}, limit
        self.log = os.path.abspath(name)
        self.requests = []              # (moment of completion, seconds it took)

    def __enter__(self):
        job = {**self.where, 'rw': 'randwrite', 'bs': 4096, 'iodepth': 16,
               'time_based': 1, 'runtime': 3600, 'write_lat_log': self.log,
               'log_unix_epoch': 1, 'disable_slat': 1, 'disable_clat': 1}
        with open(f'{self.log}.out', 'wb') as out:
            self.proc = subprocess.Popen(_command([job]), stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=out,
                                         preexec_fn=self.limit.enter if self.limit else None)
        return self

    def __exit__(self, exc_type, exc, tb):
        try:
            if exc_type is None:
                self._end()
        finally:
            self.proc.kill()
            self.proc.wait()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._log())

    def span(self, seconds):
        """Lets it work alone for so long; returns the span."""
        assert self.proc.poll() is None, self._said()
        start = time.time()
        time.sleep(seconds)
        return start, time.time()

    def window(self, start, end):
        """Requests a second that ended in this span, and the 99th percentile, in ms, of how long
        those took that were in flight in it: a request that hangs until the span is over is counted
        too."""
        took = [t for moment, t in self.requests if moment > start and moment - t < end]
        ended = sum(start < moment <= end for moment, _ in self.requests)
        assert took, f'the guest has done nothing in {end - start:.1f} s'
        return ended / (end - start), _p99(took)

    def over_time(self, start, end, origin, step=0.5):
        """What ended in each step of a span: (its middle in seconds after origin, requests a
        second, p99 in ms, or None where nothing ended). A step begins at the origin."""
        start = origin - int((origin - start) / step) * step
        steps = [[] for _ in range(int((end - start) / step))]
        for moment, took in self.requests:
            number = int((moment - start) // step)
            if 0 <= number < len(steps):
                steps[number].append(took)
        return [(start - origin + (number + 0.5) * step, len(all_took) / step, _p99(all_took))
                for number, all_took in enumerate(steps)]

    def _end(self):
        assert self.proc.poll() is None, self._said()
        self.proc.send_signal(signal.SIGINT)
        self.proc.wait(_SLACK)
        with open(self._log(), 'rb') as log:
            for line in log:
                moment, took, _ = line.split(b',', 2)
                self.requests.append((int(moment) / 1000, int(took) / 1e9))

    def _log(self):
        return f'{self.log}_lat.1.log'

    def _said(self):
        with open(f'{self.log}.out', encoding='utf-8', errors='replace') as f:
            return f'the guest has ended: {f.read()}'


def _p99(took):
    """In ms; None of nothing."""
    if not took:
        return None
    return 1000 * sorted(took)[min(len(took) - 1, len(took) * 99 // 100)]


def _command(jobs):
    """fio's command line. Threads, so that it is one process; no shared memory is left behind if it
    is killed."""
    argv = ['fio', '--output-format=json', '--thread=1']
    for number, job in enumerate(jobs):
        argv += [f'--name=job{number}', *(f'--{key}={value}' for key, value in job.items())]
    return argv
