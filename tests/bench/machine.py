# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the figures were taken on."""
import os
import platform
import re
import subprocess
import time

from lib import run


def describe(binaries):
    """Texts by name; binaries: {name: path of a daemon}."""
    about = {'date': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
             'machine': f'{os.cpu_count()} CPUs, {_cpu_model()}, {_memory()} GiB, '
                        f'Linux {platform.release()}',
             'load before': ' '.join(f'{x:.2f}' for x in os.getloadavg()),
             'fio': run('fio', '--version').strip()}
    for name, binary in binaries.items():
        about[name] = f'{binary}: {version(binary)}'
    return about


def version(binary):
    done = subprocess.run([binary, '--version'], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def _cpu_model():
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        found = re.search(r'^model name\s*: (.*)$', f.read(), re.M)
    return found[1] if found else platform.machine()


def _memory():
    return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30))
