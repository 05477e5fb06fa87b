# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a process has in use, for scripts with many connections."""
import os
import re
import resource

from .env import skip


def open_files(count):
    """Lets this process, which has the other ends, open so many; skips if it may not."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < count:
        skip(f'no more than {hard} descriptors')
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Process:
    """What the daemon has: descriptors, mappings (each stack is one), memory in KiB."""

    def __init__(self, pid):
        self.proc = f'/proc/{pid}'

    def fds(self):
        return len(os.listdir(f'{self.proc}/fd'))

    def maps(self):
        with open(f'{self.proc}/maps', encoding='ascii') as f:
            return len(f.readlines())

    def sanitized(self):
        with open(f'{self.proc}/maps', encoding='ascii') as f:
            return re.search('lib[at]san', f.read()) is not None

    def memory(self):
        with open(f'{self.proc}/status', encoding='ascii') as f:
            return int(re.search(r'VmRSS:\s*(\d+)', f.read())[1])
