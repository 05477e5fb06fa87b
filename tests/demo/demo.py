#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job on real input: a guest that never stops writing, its disk served by the daemon,
backed up by push (full, then incremental) and by pull (whole, then only what changed), each copy of
an instant at which the guest's file system was frozen, and each checked with e2fsck and file by
file.

usage: demo.py DAEMON [--keep]      started by scripts/demo
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
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


# --- what the reader sees -------------------------------------------------------------------------

def chapter(title, text):
    """A heading, and what the reader is about to see."""
    print(f'\n{title}')
    print(textwrap.fill(' '.join(text.split()), 96, initial_indent='  ', subsequent_indent='  '),
          flush=True)


def say(text):
    """Something that has just happened."""
    print(f'[{time.monotonic() - STARTED:5.1f} s] {text}', flush=True)


def mib(path):
    """How much of the file is not a hole."""
    return os.stat(path).st_blocks * 512 / MIB


# --- small things ---------------------------------------------------------------------------------

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


# --- checking a copy ------------------------------------------------------------------------------

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
    """e2fsck finds nothing to repair, and each file of the copy's own manifest has its checksum."""
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
    say(f'checked {title}: e2fsck finds nothing wrong, all {len(files)} files are right')


def next_data(fd, offset):
    """Where the file goes on with something that is not a hole; its end if nowhere."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError:
        return DISK_SIZE


def same(a, b):
    """Asserts that two images are alike; reads only what is not a hole in both."""
    at = 0
    with open(a, 'rb') as one, open(b, 'rb') as two:
        while (at := min(next_data(one.fileno(), at), next_data(two.fileno(), at))) < DISK_SIZE:
            data = os.pread(one.fileno(), MIB, at)
            assert data == os.pread(two.fileno(), MIB, at), f'{a} and {b} differ after byte {at}'
            at += len(data)


# --- push -----------------------------------------------------------------------------------------

def frozen(guest, action):
    """Runs the action while the guest's file system is frozen."""
    count = guest.freeze()
    begin = time.monotonic()
    action()
    guest.thaw()
    say(f'the instant: after {count} files; the guest was frozen for '
        f'{(time.monotonic() - begin) * 1000:.0f} ms')


def push(daemon, guest, target, actions):
    frozen(guest, lambda: daemon.cmd('transaction', {'actions': actions}))
    begin, before = time.monotonic(), guest.written()
    data = wait_job(daemon, 'push')
    seconds, after = time.monotonic() - begin, guest.written()
    say(f'the job went through {data["len"] / MIB:.0f} MiB in {seconds:.1f} s, while the guest '
        f'went on from file {before} to {after}; {target.name} takes {mib(target):.0f} MiB')


def push_full(daemon, guest, work):
    chapter('2. A full backup by push', f"""
        The daemon copies the disk to full.raw. In one QMP transaction, taken while the guest's file
        system is frozen, the backup job starts and so does the dirty bitmap "since-full", which
        from then on records what the guest writes. The guest goes on writing; the copy shows the
        instant. (The job is slowed down to {PUSH_SPEED // MIB} MiB/s, to give the guest time to
        write.)""")
    target = work / 'full.raw'
    empty_image(target)
    raw_node(daemon, 'full', target)
    push(daemon, guest, target, [
        {'type': 'block-dirty-bitmap-add', 'data': {'node': 'disk', 'name': 'since-full'}},
        {'type': 'blockdev-backup',
         'data': {'job-id': 'push', 'device': 'disk', 'target': 'full', 'sync': 'full',
                  'speed': PUSH_SPEED}}])
    daemon.cmd('blockdev-del', {'node-name': 'full'})
    check_copy(target, 'full.raw')
    return target


def push_incremental(daemon, guest, work, base):
    chapter('3. An incremental backup by push', """
        incremental.raw begins as a copy of full.raw; the job brings it up to a new instant by
        copying only what the bitmap says was written since the full backup. The bitmap starts
        afresh at the new instant.""")
    target = work / 'incremental.raw'
    subprocess.run(['cp', '--sparse=always', base, target], check=True)
    raw_node(daemon, 'increment', target)
    push(daemon, guest, target, [
        {'type': 'blockdev-backup',
         'data': {'job-id': 'push', 'device': 'disk', 'target': 'increment', 'sync': 'incremental',
                  'bitmap': 'since-full'}}])
    daemon.cmd('blockdev-del', {'node-name': 'increment'})
    check_copy(target, 'incremental.raw')
    return target


# --- pull -----------------------------------------------------------------------------------------

def begin_pull(daemon, work):
    """At this instant: the bitmap stops, a copy-before-write filter comes between guest and disk.
    The guest's NBD client reconnects to the export of the same name."""
    empty_image(work / 'scratch.raw')
    raw_node(daemon, 'scratch', work / 'scratch.raw')
    daemon.cmd('block-export-del', {'id': 'guest', 'mode': 'hard'})
    daemon.event('BLOCK_EXPORT_DELETED', id='guest')
    daemon.cmd('block-dirty-bitmap-disable', {'node': 'disk', 'name': 'since-full'})
    daemon.cmd('blockdev-add', {'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk',
                                'target': 'scratch', 'discard': 'unmap'})
    daemon.cmd('blockdev-add', {'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw'})
    daemon.cmd('block-export-add', {'type': 'nbd', 'id': 'view', 'node-name': 'view',
                                    'name': 'view',
                                    'bitmaps': [{'node': 'disk', 'name': 'since-full'}]})
    daemon.cmd('block-export-add', {'type': 'nbd', 'id': 'guest', 'node-name': 'cbw',
                                    'name': 'disk', 'writable': True})


def pull_whole(daemon, guest, work):
    chapter('4. A pull of the whole disk', """
        Now a client copies: the daemon serves a view of an instant over NBD. Before the guest
        overwrites something, the old bytes are saved in scratch.raw, where readers of the view find
        them; so the view stays as it was, however long the client takes. This client is
        nbdcopy, which knows nothing of us, and begins when the guest has already written more.""")
    frozen(guest, lambda: begin_pull(daemon, work))
    target, before = work / 'pulled.raw', guest.written()
    guest.wait_written(before + 40)
    begin = time.monotonic()
    subprocess.run(['nbdcopy', daemon.uri('view'), target], check=True)
    say(f'nbdcopy took {time.monotonic() - begin:.1f} s for {DISK_SIZE / MIB:.0f} MiB; since the '
        f'instant the guest wrote {guest.written() - before} more files, for which scratch.raw '
        f'holds {mib(work / "scratch.raw"):.1f} MiB of old data')
    check_copy(target, 'pulled.raw')
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
    chapter('5. A pull of what changed', """
        The same view of the same instant once more, by a client that asks for the changed map
        (NBD's meta context qemu:dirty-bitmap:since-full), and reads only what was written since
        the incremental push. Laid over a copy of incremental.raw it must give the whole disk of
        that instant: the file that nbdcopy made.""")
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
    say(f'read {sum(length for _, length in runs) / MIB:.1f} MiB in {len(runs)} pieces')
    check_copy(target, 'pulled-increment.raw')
    return target


def end_pull(daemon):
    daemon.cmd('block-export-del', {'id': 'view', 'mode': 'hard'})
    daemon.event('BLOCK_EXPORT_DELETED', id='view')


# --- the whole ------------------------------------------------------------------------------------

def start_guest(daemon, work):
    chapter('1. A guest that never stops writing', f"""
        {os.path.basename(daemon.argv[0])} serves disk.raw ({DISK_SIZE // MIB} MiB) over NBD; QEMU
        runs a Linux guest on it, which all the time makes, rewrites and deletes files of an ext4
        file system. Beside them it keeps a manifest of the checksum that each file must have.
        So every copy of the disk can be checked by what is in it: e2fsck must find nothing to
        repair, and each file must be as the manifest of that same instant says.""")
    return Guest(work, daemon.nbd, 'disk')


def backups(daemon, guest, work):
    say(f'the guest runs ({guest.accel})')
    guest.wait_written(60)
    full = push_full(daemon, guest, work)
    guest.wait_written(guest.written() + 20)
    incremental = push_incremental(daemon, guest, work, full)
    guest.wait_written(guest.written() + 20)
    whole = pull_whole(daemon, guest, work)
    same(whole, pull_increment(daemon, work, incremental))
    say('pulled.raw and pulled-increment.raw are the same, byte for byte')
    end_pull(daemon)


def run(daemon_binary, work):
    empty_image(work / 'disk.raw')
    subprocess.run(['mkfs.ext4', '-q', '-F', work / 'disk.raw'], check=True)
    os.chdir(work)
    with Daemon(nbd='max-connections=10', binary=daemon_binary) as daemon:
        raw_node(daemon, 'disk', work / 'disk.raw', discard='unmap')
        daemon.cmd('block-export-add', {'type': 'nbd', 'id': 'guest', 'node-name': 'disk',
                                        'name': 'disk', 'writable': True})
        guest = start_guest(daemon, work)
        try:
            backups(daemon, guest, work)
            guest.power_off()
        finally:
            guest.kill()
    chapter('6. The disk itself', """
        The guest was switched off, and the daemon has ended. All those copies must have left the
        guest's own data alone.""")
    check_copy(work / 'disk.raw', 'disk.raw')


def work_folder():
    """In memory if there is room: the demo is about what is copied, not about this disk's speed."""
    shm = '/dev/shm'
    room = os.path.isdir(shm) and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free
    return pathlib.Path(tempfile.mkdtemp(prefix='tidemark-demo-',
                                         dir=shm if room > 2 * DISK_SIZE else None))


def main():
    work = work_folder()
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
    print(f'\nVERDICT: every copy is good ({time.monotonic() - STARTED:.0f} s)')


if __name__ == '__main__':
    main()
