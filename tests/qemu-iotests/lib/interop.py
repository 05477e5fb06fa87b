# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the matrices of the daemon and other NBD programs share (nbd-interop, nbd-interop-tls): rows,
the ways to reach a server, the disks, and what is done with the daemon as a client."""
import os
import shutil

import nbd

from .env import KiB, MiB, case, equal, seeded
from .nbdtool import connect, extents, free_port

SIZE = int(os.environ.get('SIZE', 8)) * MiB
ONLY = tuple(os.environ.get('ROW', '').split())
rnd = seeded()


class Unix:
    """A unix socket. nbdkit, qemu_nbd: the options with which such a server listens there; to_list:
    those of qemu-nbd --list; plugin: the parameters of nbdkit's nbd plugin."""
    plain, secure = 'nbd+unix', 'nbds+unix'

    def __init__(self):
        self.path = os.path.abspath('n.sock')
        self.address = {'type': 'unix', 'path': self.path}
        self.nbdkit, self.qemu_nbd = ['-U', self.path], ['-k', self.path]
        self.to_list, self.plugin = ['-k', self.path], [f'socket={self.path}']

    def uri(self, name, scheme=plain, user='', more=''):
        return f'{scheme}://{user and user + "@"}/{name}?socket={self.path}{more and "&" + more}'


class Tcp:
    """A port of 127.0.0.1, with the same members."""
    plain, secure = 'nbd', 'nbds'

    def __init__(self):
        self.port = str(free_port())
        self.address = {'type': 'inet', 'host': '127.0.0.1', 'port': self.port}
        self.nbdkit = ['-i', '127.0.0.1', '-p', self.port]
        self.qemu_nbd = ['-b', '127.0.0.1', '-p', self.port]
        self.to_list = self.qemu_nbd
        self.plugin = ['hostname=127.0.0.1', f'port={self.port}']

    def uri(self, name, scheme=plain, user='', more=''):
        return f'{scheme}://{user and user + "@"}127.0.0.1:{self.port}/{name}{more and "?" + more}'


WAYS = {'unix': Unix, 'tcp': Tcp}


def random_disk(path):
    """Data, holes, and written zeroes."""
    with open(path, 'wb') as f:
        f.truncate(SIZE)
        for at in range(0, SIZE, 65536):
            if what := rnd.choice((0, 0, 1, 2)):
                f.seek(at)
                f.write(rnd.randbytes(65536) if what == 1 else bytes(65536))
    return path


def read_all(h, model):
    """The handle's disk holds this."""
    equal(h.get_size(), len(model))
    for at in range(0, len(model), MiB):
        length = min(MiB, len(model) - at)
        got = bytes(h.pread(length, at))
        assert got == model[at:at + length], f'at {at}'


def change(h, model):
    """Writes, zeroes and trims here and there, in the model too."""
    unit = max(512, h.get_block_size(nbd.SIZE_MINIMUM))
    for _ in range(40):
        length = rnd.choice((unit, 4096, 65536, 300 * KiB))
        at = rnd.randrange((len(model) - length) // unit) * unit
        if rnd.random() < .6:
            model[at:at + length] = data = rnd.randbytes(length)
            h.pwrite(data, at, nbd.CMD_FLAG_FUA if rnd.random() < .3 else 0)
        elif rnd.random() < .6:
            model[at:at + length] = bytes(length)
            h.zero(length, at, nbd.CMD_FLAG_NO_HOLE if rnd.random() < .3 else 0)
        else:
            h.trim(length, at)
            model[at:at + length] = h.pread(length, at)
    h.flush()


def exercise(d, server, size=SIZE, **options):
    """Reads all (of ref.img) through the daemon's nbd node, with these options of its own, writes,
    zeroes and trims, and reads again; returns what must be there now."""
    d.add('nbd', 'n', server=server, discard='unmap', **options)
    h = connect(d.export('n', writable=True))
    with open('ref.img', 'rb') as f:
        model = bytearray(f.read(size))
    equal(len(model), size)
    read_all(h, model)
    change(h, model)
    read_all(h, model)
    out = extents(connect(d.uri('n'), ['base:allocation']), 'base:allocation', size)
    for at, length, flags in out:
        assert not flags & 2 or not any(model[at:at + length]), (at, length)
    h.shutdown()
    d.unexport('n', mode='hard')
    d.cmd('blockdev-del', node_name='n')
    return bytes(model)


def carry_out(name, needs, function, title=None):
    """A row: function(), unless ROW does not want its name or a program is missing."""
    if ONLY and not name.startswith(ONLY):
        return
    with case(title or name):
        if missing := [tool for tool in needs if not shutil.which(tool)]:
            print(f'    skipped: no {", ".join(missing)}', flush=True)
        else:
            function()
