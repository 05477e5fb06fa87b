# SPDX-License-Identifier: LGPL-2.1-or-later
"""The surroundings of a script: what it needs, how it runs a tool, how it waits."""
import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time

# A daemon under ASAN on a loaded machine is slow, and a hang is found all the same.
DEADLINE = 60

_ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), '../../..'))
DAEMON = (os.environ.get('DAEMON') or os.environ.get('TIDEMARKD')
          or f'{_ROOT}/build/daemon/tidemarkd')
IS_TIDEMARK = os.path.basename(DAEMON).startswith('tidemarkd')

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


def skip(reason):
    """Ends the script as skipped."""
    print(f'skip: {reason}')
    sys.exit(77)


def requires(*tools):
    """Skips unless all these programs are installed."""
    for tool in tools:
        if not shutil.which(tool):
            skip(f'{tool} is not installed')


def requires_root():
    if os.geteuid() != 0:
        skip('needs root')


def requires_qemu(major, minor, tool='qemu-img'):
    """Skips unless QEMU's tools are at least of this version."""
    requires(tool)
    found = re.search(r'(\d+)\.(\d+)', run(tool, '--version'))
    if (int(found[1]), int(found[2])) < (major, minor):
        skip(f'needs {tool} {major}.{minor}, found {found[0]}')


def run(*argv, ok=True, **kw):
    """Runs a tool to its end; returns its output and errors as one text. ok=None: any exit status
    will do."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          text=True, errors='replace', timeout=DEADLINE, check=False, **kw)
    if ok is not None and ok != (done.returncode == 0):
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}, output:\n"
                             f'{done.stdout}')
    return done.stdout


def wait_until(condition, what, timeout=DEADLINE):
    """Waits for something that sends no event; returns what condition() returned."""
    end = time.monotonic() + timeout
    while not (got := condition()):
        assert time.monotonic() < end, f'{what}: not within {timeout} s'
        time.sleep(0.01)
    return got


@contextlib.contextmanager
def case(title):
    """Names what the block is about, so that the log of a failure tells where it was."""
    print(f'- {title}', flush=True)
    yield


def seeded():
    """A random generator; its seed is printed, and TIDEMARK_SEED sets it."""
    seed = int(os.environ.get('TIDEMARK_SEED') or random.SystemRandom().getrandbits(32))
    print(f'TIDEMARK_SEED={seed}', flush=True)
    return random.Random(seed)


def _short(value):
    """Its repr(); of a long one, beginning and end."""
    text = repr(value)
    return text if len(text) <= 4000 else f'{text[:2000]} ... {text[-2000:]}'


def equal(got, expected, what=''):
    """Asserts equality and shows both sides when it fails."""
    assert got == expected, f'{what}\n  got:      {_short(got)}\n  expected: {_short(expected)}'


def matches(text, pattern, what=''):
    """Asserts that the text has the pattern (a regular expression) in it."""
    assert re.search(pattern, text), f'{what}\n  got:     {text!r}\n  pattern: {pattern!r}'
