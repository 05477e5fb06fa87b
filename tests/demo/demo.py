#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job on real input: a guest that never stops writing, its disk served by the daemon, backed up by push
(full, then incremental) and by pull (whole, then only what changed), each copy of an instant at which
the guest's file system was frozen, and each checked with e2fsck and file by file.

usage: demo.py DAEMON [--keep]      started by scripts/demo
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import nbd

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'qemu-iotests')]
from guest import Guest  # noqa: E402
from lib.daemon import Daemon  # noqa: E402

DISK_SIZE = 1 << 29
PUSH_SPEED = 1 << 27  # bytes a second: so that the guest writes a good deal while the push runs
MIB = 1 << 20
STARTED = time.monotonic()


def say(text):
    print(f'[{time.monotonic() - STARTED:5.1f} s] {text}', flush=True)


def mib(path):
    return os.stat(path).st_blocks * 512 / MIB


def raw_node(daemon, name, path, **options):
    daemon.cmd('blockdev-add', {'driver': 'raw', 'node-name': name,
                                'file': {'driver': 'file', 'filename': str(path)}, **options})


def wait_job(daemon, job):
    data = daemon.event('BLOCK_JOB_COMPLETED', device=job)
    assert 'error' not in data, data
    return data


def empty_image(path):
    with open(path, 'wb') as f:
        f.truncate(DISK_SIZE)


# --- checking a restored copy --------------------------------------------------------------------

def files_of(manifest):
    """What must be in the file system: {path: checksum}."""
    files = {}
    for line in manifest.read_text(encoding='ascii').splitlines():
        checksum, path = line.split('  ')
        if checksum == 'gone':
            files.pop(path, None)
        else:
            files[path] = checksum
    return files


def check_copy(image, title):
    """e2fsck finds nothing to repair, and each file of the manifest has its checksum."""
    subprocess.run(['e2fsck', '-f', '-n', image], check=True, capture_output=True)
    out = pathlib.Path(str(image) + '.files')
    out.mkdir()
    subprocess.run(['debugfs', '-R', f'rdump / {out}', image], check=True, capture_output=True)
    files = files_of(out / 'manifest')
    assert files, 'the manifest is empty'
    for path, checksum in files.items():
        found = hashlib.sha256((out / path).read_bytes()).hexdigest()
        assert found == checksum, f'{image}: {path} is damaged'
    shutil.rmtree(out)
    say(f'{title}: e2fsck finds nothing wrong, {len(files)} files have their checksums')


# --- push -----------------------------------------------------------------------------------------

def frozen(guest, what, action):
    """Runs the action while the guest's file system is frozen, and says for how long that was."""
    count = guest.freeze()
    begin = time.monotonic()
    result = action()
    guest.thaw()
    say(f'{what}: instant taken after {count} files; the guest was frozen for '
        f'{(time.monotonic() - begin) * 1000:.0f} ms')
    return result


def push(daemon, guest, title, target, actions):
    begin, before = time.monotonic(), guest.written()
    frozen(guest, title, lambda: daemon.cmd('transaction', {'actions': actions}))
    data = wait_job(daemon, 'push')
    seconds = time.monotonic() - begin
    say(f'{title}: {data["len"] / MIB:.0f} MiB looked at in {seconds:.1f} s; meanwhile the guest wrote '
        f'{guest.written() - before} more files; the target takes {mib(target):.0f} MiB')


def push_full(daemon, guest, work):
    target = work / 'full.raw'
    empty_image(target)
    raw_node(daemon, 'full', target)
    push(daemon, guest, 'full push', target, [
        {'type': 'block-dirty-bitmap-add', 'data': {'node': 'disk', 'name': 'since-full'}},
        {'type': 'blockdev-backup',
         'data': {'job-id': 'push', 'device': 'disk', 'target': 'full', 'sync': 'full',
                  'speed': PUSH_SPEED}}])
    daemon.cmd('blockdev-del', {'node-name': 'full'})
    check_copy(target, 'full push')
    return target


def push_incremental(daemon, guest, work, base):
    target = work / 'incremental.raw'
    subprocess.run(['cp', '--sparse=always', base, target], check=True)
    raw_node(daemon, 'increment', target)
    push(daemon, guest, 'incremental push', target, [
        {'type': 'blockdev-backup',
         'data': {'job-id': 'push', 'device': 'disk', 'target': 'increment', 'sync': 'incremental',
                  'bitmap': 'since-full'}}])
    daemon.cmd('blockdev-del', {'node-name': 'increment'})
    check_copy(target, 'incremental push, laid over the full one')
    return target


# --- pull -----------------------------------------------------------------------------------------

def begin_pull(daemon, work):
    """At this instant: the bitmap stops, a copy-before-write filter comes between guest and disk.  The guest's
    NBD client reconnects to the export of the same name."""
    empty_image(work / 'scratch.raw')
    raw_node(daemon, 'scratch', work / 'scratch.raw')
    daemon.cmd('block-export-del', {'id': 'guest', 'mode': 'hard'})
    daemon.event('BLOCK_EXPORT_DELETED', id='guest')
    daemon.cmd('block-dirty-bitmap-disable', {'node': 'disk', 'name': 'since-full'})
    daemon.cmd('blockdev-add', {'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk',
                                'target': 'scratch', 'discard': 'unmap'})
    daemon.cmd('blockdev-add', {'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw'})
    daemon.cmd('block-export-add', {'type': 'nbd', 'id': 'view', 'node-name': 'view', 'name': 'view',
                                    'bitmaps': [{'node': 'disk', 'name': 'since-full'}]})
    daemon.cmd('block-export-add', {'type': 'nbd', 'id': 'guest', 'node-name': 'cbw', 'name': 'disk',
                                    'writable': True})


def pull_whole(daemon, guest, work):
    target = work / 'pulled.raw'
    begin, before = time.monotonic(), guest.written()
    subprocess.run(['nbdcopy', daemon.uri('view'), target], check=True)
    say(f'pull with nbdcopy: {DISK_SIZE / MIB:.0f} MiB in {time.monotonic() - begin:.1f} s; meanwhile the guest wrote '
        f'{guest.written() - before} more files; the scratch takes {mib(work / "scratch.raw"):.0f} MiB')
    check_copy(target, 'pull with nbdcopy')
    return target


def dirty_extents(handle, context):
    """(offset, length) of each dirty run of the changed map."""
    runs, offset = [], 0

    def collect(name, start, entries, error):
        nonlocal offset
        if name == context:
            for length, flags in zip(entries[::2], entries[1::2]):
                if flags & 1:
                    runs.append((start, length))
                start += length
            offset = start
        return 0

    while offset < handle.get_size():
        handle.block_status(min(handle.get_size() - offset, 1 << 31), offset, collect)
    return runs


def pull_increment(daemon, work, base):
    target, context = work / 'pulled-increment.raw', 'qemu:dirty-bitmap:since-full'
    subprocess.run(['cp', '--sparse=always', base, target], check=True)
    handle = nbd.NBD()
    handle.add_meta_context(context)
    handle.connect_uri(daemon.uri('view'))
    runs = dirty_extents(handle, context)
    with open(target, 'r+b') as out:
        for start, length in runs:
            for at in range(start, start + length, 8 * MIB):
                out.seek(at)
                out.write(handle.pread(min(8 * MIB, start + length - at), at))
    handle.shutdown()
    say(f'pull by changed map: {sum(length for _, length in runs) / MIB:.1f} MiB in {len(runs)} runs, laid over the '
        'incremental push')
    check_copy(target, 'pull by changed map')
    return target


def same(a, b):
    with open(a, 'rb') as one, open(b, 'rb') as two:
        while data := one.read(8 * MIB):
            assert data == two.read(8 * MIB), f'{a} and {b} differ before byte {one.tell()}'


def end_pull(daemon):
    daemon.cmd('block-export-del', {'id': 'view', 'mode': 'hard'})
    daemon.event('BLOCK_EXPORT_DELETED', id='view')


# --- the whole ------------------------------------------------------------------------------------

def run(daemon_binary, work):
    empty_image(work / 'disk.raw')
    subprocess.run(['mkfs.ext4', '-q', '-F', work / 'disk.raw'], check=True)
    os.chdir(work)
    with Daemon(nbd='max-connections=10', binary=daemon_binary) as daemon:
        raw_node(daemon, 'disk', work / 'disk.raw', discard='unmap')
        daemon.cmd('block-export-add', {'type': 'nbd', 'id': 'guest', 'node-name': 'disk', 'name': 'disk',
                                        'writable': True})
        guest = Guest(work, daemon.nbd, 'disk')
        try:
            say(f'a guest runs ({guest.accel}) with an ext4 file system on the disk that '
                f'{os.path.basename(daemon_binary)} serves, and keeps writing files')
            while guest.written() < 100:
                time.sleep(0.1)
            full = push_full(daemon, guest, work)
            incremental = push_incremental(daemon, guest, work, full)
            frozen(guest, 'pull', lambda: begin_pull(daemon, work))
            whole = pull_whole(daemon, guest, work)
            same(whole, pull_increment(daemon, work, incremental))
            say('both pulls are the same, byte for byte')
            end_pull(daemon)
            guest.power_off()
        finally:
            guest.kill()
    check_copy(work / 'disk.raw', 'the disk itself, after the guest was switched off')


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix='tidemark-demo-'))
    binary = os.path.abspath(sys.argv[1]) if '/' in sys.argv[1] else sys.argv[1]
    try:
        run(binary, work)
    except BaseException:
        print(f'VERDICT: failed; what is left is in {work}', flush=True)
        raise
    os.chdir('/')
    if '--keep' in sys.argv:
        print(f'everything is kept in {work}')
    else:
        shutil.rmtree(work)
    print(f'VERDICT: every copy is good ({time.monotonic() - STARTED:.0f} s)')


if __name__ == '__main__':
    main()
