# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real guest: Debian's cloud kernel and an initramfs of busybox, which keeps writing files to an
ext4 file system on the virtio disk that it is given, and freezes it when told to."""
import pathlib
import socket
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'guest'))
from initramfs import Initramfs  # noqa: E402
from kernel import COMMAND_LINE, kernel, kvm_works  # noqa: E402

MODULES = ['virtio_pci', 'virtio_blk']

# The manifest gets a line when a file is complete, and a line "gone" before it is rewritten or
# deleted: so at every instant each file whose last line is a checksum must be there with just that
# content.  Each file is synchronised, so that it is on the disk and not only in the guest's memory.
INIT = r'''#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
while [ ! -b /dev/vda ]; do usleep 10000; done
mount -t ext4 /dev/vda /mnt
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty -echo raw
echo 0 >/count
/writer &
echo ready
while read command; do
    case $command in
    freeze) fsfreeze --freeze /mnt && echo "frozen $(cat /count)" ;;
    thaw) fsfreeze --unfreeze /mnt && echo thawed ;;
    count) echo "count $(cat /count)" ;;
    off) echo 1 >/stop; wait; umount /mnt; echo bye; poweroff -f ;;
    esac
done
'''
WRITER = r'''#!/bin/sh
cd /mnt
mkdir d0 d1 d2 d3 d4 d5 d6 d7
put() { # FILE NUMBER
    dd if=/dev/urandom of=$1 bs=4k count=$((1 + $2 % 24)) conv=notrunc,fsync 2>/dev/null
    sha256sum $1 >>manifest
}
n=0
while [ ! -e /stop ]; do
    n=$((n + 1))
    put d$((n % 8))/f$n $n
    old=$((n - 30))
    if [ $old -gt 0 ]; then
        file=d$((old % 8))/f$old
        case $((n % 3)) in
        0) echo "gone  $file" >>manifest; rm $file ;;
        1) echo "gone  $file" >>manifest; put $file $old ;;
        esac
    fi
    echo $n >/count.new && mv /count.new /count
done
'''


def make_initramfs(work, modules):
    fs = Initramfs(work / 'initramfs', modules)
    for name in MODULES:
        fs.module(name)
    fs.text('/init', INIT, 0o755)
    fs.text('/writer', WRITER, 0o755)
    fs.pack(work / 'initramfs.cpio')
    return work / 'initramfs.cpio'


class Guest:
    """A running guest; its disk is the NBD export of that URI's parts."""

    def __init__(self, work, nbd_socket, export):
        image, modules = kernel()
        self.accel = 'kvm' if kvm_works(image) else 'tcg'
        control = work / 'guest.sock'
        disk = (f'driver=nbd,node-name=disk,server.type=unix,server.path={nbd_socket},'
                f'export={export},reconnect-delay=30,discard=unmap')
        self.log = open(work / 'guest.log', 'wb')
        self.process = subprocess.Popen(
            ['qemu-system-x86_64', '-accel', self.accel, '-m', '256', '-nographic', '-no-reboot',
             '-nodefaults', '-kernel', image, '-initrd', make_initramfs(work, modules),
             '-append', COMMAND_LINE,
             '-serial', 'file:' + str(work / 'console.log'),
             '-chardev', f'socket,id=c,path={control},server=on,wait=off', '-serial', 'chardev:c',
             '-blockdev', disk, '-device', 'virtio-blk-pci,drive=disk'],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.control = self._connect(control)
        self.lines = self.control.makefile('rb')
        self.expect('ready')

    def _connect(self, path):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        end = time.monotonic() + 60
        while True:
            try:
                sock.connect(str(path))
                return sock
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, \
                    'the guest did not start'
                time.sleep(0.02)

    def expect(self, word):
        while True:
            line = self.lines.readline().decode('ascii', 'replace').strip()
            assert line or self.process.poll() is None, 'the guest has ended'
            if line.split(' ')[0] == word:
                return line

    def command(self, text, answer):
        self.control.sendall(text.encode() + b'\n')
        return self.expect(answer)

    def freeze(self):
        """Freezes the file system; returns how many files the guest has written so far."""
        return int(self.command('freeze', 'frozen').split()[1])

    def thaw(self):
        self.command('thaw', 'thawed')

    def written(self):
        return int(self.command('count', 'count').split()[1])

    def wait_written(self, count):
        while self.written() < count:
            time.sleep(0.1)

    def power_off(self):
        self.command('off', 'bye')
        self.process.wait(60)
        self.control.close()
        self.log.close()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
