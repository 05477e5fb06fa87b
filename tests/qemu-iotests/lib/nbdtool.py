# SPDX-License-Identifier: LGPL-2.1-or-later
"""NBD from the client's side: libnbd handles, the protocol by hand, and other servers."""
import contextlib
import os
import socket
import struct
import subprocess
import time

import nbd

from .env import DEADLINE

# Options and replies of the handshake, commands and flags of transmission (NBD's doc/proto.md).
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT = 8, 9, 10
OPT_EXTENDED_HEADERS = 11
REP_ACK, REP_SERVER, REP_INFO, REP_META_CONTEXT = 1, 2, 3, 4
REP_ERR_UNSUP, REP_ERR_POLICY, REP_ERR_INVALID = 0x80000001, 0x80000002, 0x80000003
REP_ERR_TLS_REQD, REP_ERR_UNKNOWN, REP_ERR_TOO_BIG = 0x80000005, 0x80000006, 0x80000009
REP_ERR_BLOCK_SIZE_REQD, REP_ERR_EXT_HEADER_REQD = 0x80000008, 0x8000000a
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE = range(6)
CMD_WRITE_ZEROES, CMD_BLOCK_STATUS = 6, 7
FLAG_FUA, FLAG_NO_HOLE, FLAG_DF, FLAG_REQ_ONE, FLAG_FAST_ZERO, FLAG_PAYLOAD_LEN = (1 << bit for bit
                                                                                  in range(6))
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_STATUS_EXT = 0, 1, 2, 5, 6
CHUNK_ERROR, CHUNK_ERROR_OFFSET = 0x8001, 0x8002

_NBDMAGIC, _IHAVEOPT, _REPLYMAGIC = 0x4e42444d41474943, 0x49484156454f5054, 0x3e889045565a9
_REQUEST, _SIMPLE, _CHUNK = 0x25609513, 0x67446698, 0x668e33ef
_EXT_REQUEST, _EXT_CHUNK = 0x21e41c71, 0x6e8a278c


def connect(uri, contexts=(), structured=True, strict=True):
    """A connected libnbd handle. strict=False lets it send what the server must refuse."""
    h = nbd.NBD()
    for c in contexts:
        h.add_meta_context(c)
    h.set_request_structured_replies(structured)
    if not strict:
        h.set_strict_mode(0)
    h.connect_uri(uri)
    return h


def extents(h, context, length, offset=0, flags=0):
    """All extents of a meta context in the range, neighbours with the same flags joined: (offset,
    length, flags)."""
    out, end = [], offset + length
    while offset < end:
        got = []

        def more(name, start, entries, err):
            if name == context:
                got.extend(zip(entries[::2], entries[1::2]))
            return 0
        h.block_status(end - offset, offset, more, flags)
        assert got, f'no reply for {context} at {offset}'
        for size, kind in got:
            size = min(size, end - offset)
            if size and out and out[-1][2] == kind:
                out[-1] = (out[-1][0], out[-1][1] + size, kind)
            elif size:
                out.append((offset, size, kind))
            offset += size
    return out


# What a server may answer to a write that may not or cannot be. The protocol wants the first of
# each; QEMU 10.0
# answers with EINVAL to all that it finds wrong before it starts a request.
READ_ONLY = ('EPERM', 'EINVAL')
BEYOND_END = ('ENOSPC', 'EINVAL')


def nbd_errno(call, *args, **kw):
    """Calls a libnbd function that must fail; returns the name of the errno ('EINVAL')."""
    try:
        call(*args, **kw)
    except nbd.Error as e:
        return e.errno
    raise AssertionError(f'{call.__name__}{args} should fail')


class RawNbd:
    """A client that speaks the protocol by hand, right or wrong."""

    def __init__(self, path):
        """path: a unix socket, or (host, port)."""
        self.extended = False           # headers in transmission
        self.offset = None              # that the last extended chunk repeated
        self.contexts = {}              # name: id
        self.sock = socket.socket(socket.AF_UNIX if isinstance(path, str) else socket.AF_INET)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(path)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def read(self, length):
        """Exactly so many bytes; EOFError when the server closes before."""
        data = b''
        while len(data) < length:
            try:
                more = self.sock.recv(length - len(data))
            except ConnectionResetError:
                more = b''
            if not more:
                raise EOFError('the server closed the connection')
            data += more
        return data

    def closed(self):
        """Waits until the server closes, whatever it sends before."""
        try:
            while self.sock.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        return True

    # --- handshake
    # ----------------------------------------------------------------------------------------

    def hello(self, flags=3):
        """Greeting and client flags; returns the server's handshake flags."""
        magic, opt, server = struct.unpack('>QQH', self.read(18))
        assert (magic, opt) == (_NBDMAGIC, _IHAVEOPT), (hex(magic), hex(opt))
        self.send(struct.pack('>I', flags))
        return server

    @staticmethod
    def option_data(opt, data=b'', length=None, magic=_IHAVEOPT):
        """An option as it is sent; length overrides the true one."""
        return struct.pack('>QII', magic, opt, len(data) if length is None else length) + data

    def option(self, opt, data=b'', length=None, magic=_IHAVEOPT):
        self.send(self.option_data(opt, data, length, magic))

    def reply(self):
        """The next reply to an option: (option, kind, data)."""
        magic, opt, kind, length = struct.unpack('>QIII', self.read(20))
        assert magic == _REPLYMAGIC, hex(magic)
        return opt, kind, self.read(length)

    def ask(self, opt, data=b''):
        """Sends an option; returns all its replies up to an ACK or an error: a list of (kind,
        data)."""
        self.option(opt, data)
        replies = []
        while True:
            got, kind, payload = self.reply()
            assert got == opt, (got, opt)
            replies.append((kind, payload))
            if kind == REP_ACK or kind & 0x80000000:
                return replies

    @staticmethod
    def go_data(name, infos=()):
        name = name.encode()
        return struct.pack('>I', len(name)) + name + struct.pack('>H', len(infos)) + b''.join(
            struct.pack('>H', i) for i in infos)

    @staticmethod
    def context_data(name, queries):
        name = name.encode()
        return struct.pack('>I', len(name)) + name + struct.pack('>I', len(queries)) + b''.join(
            struct.pack('>I', len(q)) + q.encode() for q in queries)

    def set_contexts(self, name, queries):
        """Selects meta contexts; returns {name: id}."""
        replies = self.ask(OPT_SET_META_CONTEXT, self.context_data(name, queries))
        assert replies[-1] == (REP_ACK, b''), replies
        return {data[4:].decode(): struct.unpack('>I', data[:4])[0] for _, data in replies[:-1]}

    def go(self, name, structured=False, infos=(), extended=False, contexts=()):
        """The whole handshake into transmission; returns (size, transmission flags)."""
        self.hello()
        if structured:
            assert self.ask(OPT_STRUCTURED_REPLY) == [(REP_ACK, b'')]
        if extended:
            assert self.ask(OPT_EXTENDED_HEADERS) == [(REP_ACK, b'')]
            self.extended = True
        if contexts:
            self.contexts = self.set_contexts(name, contexts)
        replies = self.ask(OPT_GO, self.go_data(name, infos))
        assert replies[-1][0] == REP_ACK, replies
        for kind, data in replies:
            if kind == REP_INFO and data[:2] == b'\0\0':
                return struct.unpack('>QH', data[2:])
        raise AssertionError(f'no NBD_INFO_EXPORT in {replies}')

    # --- transmission
    # -------------------------------------------------------------------------------------

    def request_data(self, command, offset=0, length=0, handle=1, flags=0, data=b'', magic=None):
        """A request as it is sent."""
        if magic is None:
            magic = _EXT_REQUEST if self.extended else _REQUEST
        return struct.pack('>IHHQQ' + ('Q' if self.extended else 'I'), magic, flags, command,
                           handle, offset, length) + data

    def request(self, *args, **kw):
        self.send(self.request_data(*args, **kw))

    def simple_reply(self, length=0):
        """(handle, error, data); length: bytes that follow when there is no error."""
        magic, error, handle = struct.unpack('>IIQ', self.read(16))
        assert magic == _SIMPLE, hex(magic)
        return handle, error, self.read(0 if error else length)

    def chunk(self):
        """(flags, type, handle, data) of a structured reply."""
        if self.extended:
            magic, flags, kind, handle, self.offset, length = struct.unpack('>IHHQQQ',
                                                                            self.read(32))
        else:
            magic, flags, kind, handle, length = struct.unpack('>IHHQI', self.read(20))
        assert magic == (_EXT_CHUNK if self.extended else _CHUNK), hex(magic)
        return flags, kind, handle, self.read(length)

    def chunks(self):
        """All chunks of the reply to the one request that is under way: a list of (type, data)."""
        got = []
        while True:
            flags, kind, _, data = self.chunk()
            got.append((kind, data))
            if flags & 1:
                return got

    @staticmethod
    def status(data, extended):
        """(context id, [(length, flags)]) of a block status chunk's data."""
        if extended:
            ident, count = struct.unpack('>II', data[:8])
            assert len(data) == 8 + 16 * count, (len(data), count)
            return ident, list(struct.iter_unpack('>QQ', data[8:]))
        return struct.unpack('>I', data[:4])[0], list(struct.iter_unpack('>II', data[4:]))


class Server:
    """Another NBD server as the daemon's peer, used in a with statement. argv holds {pidfile} where
    the server's
    option for its pid file has the name, and the server says that it is ready by writing it."""

    def __init__(self, *argv, name='server'):
        self.pidfile = os.path.abspath(f'{name}.pid')
        self.argv = [str(a).replace('{pidfile}', self.pidfile) for a in argv]
        self.log = f'{name}.log'
        self.proc = None

    @classmethod
    def qemu_nbd(cls, path, *args, sock='server.sock', name='server'):
        """qemu-nbd on a raw file, on a unix socket, for any number of clients."""
        return cls('qemu-nbd', '--pid-file={pidfile}', '-t', '-k', os.path.abspath(sock), '-f',
                   'raw',
                   '-e', '8', *args, path, name=name)

    @classmethod
    def nbdkit(cls, *args, sock='server.sock', name='server'):
        return cls('nbdkit', '-f', '-P', '{pidfile}', '-U', os.path.abspath(sock), *args, name=name)

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.pidfile)
        for arg in self.argv:
            if arg.endswith('.sock'):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(arg)
        with open(self.log, 'wb') as log:
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log)
        end = time.monotonic() + DEADLINE
        while not (os.path.exists(self.pidfile) and os.path.getsize(self.pidfile)):
            with open(self.log, encoding='utf-8') as log:
                assert self.proc.poll() is None, f'{self.argv}: {log.read()}'
            assert time.monotonic() < end, f'{self.argv} is not ready'
            time.sleep(0.005)
        return self

    def stop(self, kill=False):
        if self.proc:
            (self.proc.kill if kill else self.proc.terminate)()
            self.proc.wait(DEADLINE)
            self.proc = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop(kill=True)
            raise

    def __exit__(self, *exc):
        self.stop()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]
