# SPDX-License-Identifier: LGPL-2.1-or-later
"""Image files, QEMU's tools on them, loop devices and small file systems."""
import contextlib
import json
import os
import subprocess

from .env import MiB, requires, run, skip


def create(path, size, pattern=None):
    """Makes an image: sparse, or filled with one byte. Returns its path."""
    with open(path, 'wb') as f:
        f.truncate(size)
        if pattern is not None:
            write_at(path, 0, size, pattern)
    return path


def write_at(path, offset, length, pattern):
    """Fills a range of a file with one byte."""
    with open(path, 'r+b') as f:
        f.seek(offset)
        while length:
            step = min(length, MiB)
            f.write(bytes([pattern]) * step)
            length -= step


def numbered(path, size, block=4096):
    """Makes an image in which every block differs: each word of 8 bytes is its own offset plus
    one."""
    with open(path, 'wb') as f:
        for start in range(0, size, block):
            f.write(b''.join((o + 1).to_bytes(8, 'little')
                             for o in range(start, min(start + block, size), 8)))
    return path


def read_at(path, offset, length):
    with open(path, 'rb') as f:
        f.seek(offset)
        return f.read(length)


def contents(path):
    with open(path, 'rb') as f:
        return f.read()


def allocated(path):
    """The bytes that the file takes up on its file system."""
    return os.stat(path).st_blocks * 512


def same_files(a, b):
    """Asserts that two files have the same bytes, and names the first that differs."""
    with open(a, 'rb') as fa, open(b, 'rb') as fb:
        offset = 0
        while True:
            da, db = fa.read(MiB), fb.read(MiB)
            if da != db:
                at = next((i for i, (x, y) in enumerate(zip(da, db)) if x != y),
                          min(len(da), len(db)))
                raise AssertionError(f'{a} and {b} differ at {offset + at}: '
                                     f'{da[at:at + 8].hex()} and {db[at:at + 8].hex()}')
            if not da:
                return
            offset += len(da)


def qemu_io(target, *commands, fmt='raw', options=(), ok=True):
    """Runs qemu-io's commands on a file or a URI; returns its output. ok=False: it must fail."""
    argv = ['qemu-io', '-f', fmt, *options]
    for c in commands:
        argv += ['-c', c]
    return run(*argv, target, ok=ok)


def qemu_img(*args, ok=True):
    return run('qemu-img', *args, ok=ok)


def qemu_map(target, fmt='raw'):
    """qemu-img map: a list of (start, length, has data, reads as zeroes)."""
    entries = json.loads(qemu_img('map', '--output=json', '-f', fmt, target))
    return [(e['start'], e['length'], e['data'], e['zero']) for e in entries]


def can_mount():
    """Whether this process may mount: root in a container often may not."""
    if os.geteuid() != 0:
        return False
    os.mkdir('can-mount')
    done = subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', 'can-mount'], capture_output=True,
                          check=False)
    if done.returncode == 0:
        run('umount', 'can-mount')
    os.rmdir('can-mount')
    return done.returncode == 0


def requires_loop():
    """Skips unless loop devices can be made."""
    requires('losetup')
    create('loop-probe', MiB)
    done = subprocess.run(['losetup', '-f', '--show', 'loop-probe'], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        skip(f'no loop device can be made: {done.stderr.strip()}')
    run('losetup', '-d', done.stdout.strip())


@contextlib.contextmanager
def loop_device(path, *args):
    """A loop device on a file; its path. requires_loop() comes first."""
    dev = run('losetup', '-f', '--show', *args, path).strip()
    try:
        yield dev
    finally:
        run('losetup', '-d', dev, ok=None)


@contextlib.contextmanager
def tmpfs(folder, size):
    """A file system of that size; only if can_mount()."""
    os.mkdir(folder)
    run('mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder)
    try:
        yield folder
    finally:
        run('umount', folder)
