# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon under test: started, spoken to, stopped, and looked over when it ends."""
import json
import os
import re
import signal
import subprocess
import sys
import time

from .env import DAEMON, DEADLINE, wait_until
from .qmp import Qmp, SessionClosed, arguments

_SANITIZER = re.compile(r'ERROR: \w*Sanitizer|SUMMARY: \w*Sanitizer|runtime error:')


def command_line(args):
    """Options of the daemon as texts: a dict or a list is written as JSON."""
    return [json.dumps(a) if isinstance(a, (dict, list)) else str(a) for a in args]


class Daemon:
    """A daemon and its monitors, used in a with statement:

        with Daemon('--blockdev', {'driver': 'null-co', 'node-name': 'n'}, nbd=True) as d:
            d.cmd('block-export-add', id='e', type='nbd', node_name='n')

    It starts in the scratch folder, has `monitors` QMP sockets, and an NBD server on the unix
    socket d.nbd when
    nbd is true; that one may name any of `objects`, dicts as object-add has them. At the end of the block it must be alive, stop by `quit` with status 0, and have
    said nothing that
    a sanitizer would; a script that ends it itself calls quit(), terminate() or ended() before.
    After an
    exception it is killed and its stderr is shown."""

    def __init__(self, *args, name='d', monitors=1, nbd=False, objects=(), binary=DAEMON,
                 **popen):
        self.name, self.sockets = name, [f'{name}-qmp{i}.sock' for i in range(monitors)]
        self.nbd = os.path.abspath(f'{name}-nbd.sock')
        self.pidfile, self.errfile = f'{name}.pid', f'{name}.stderr'
        argv = [binary, '--pidfile', self.pidfile]
        for i, path in enumerate(self.sockets):
            argv += ['--chardev', f'socket,id=qmp{i},path={path},server=on,wait=off',
                     '--monitor', f'chardev=qmp{i}']
        for made in objects:
            argv += ['--object', json.dumps(made)]
        if nbd:
            extra = f',{nbd}' if isinstance(nbd, str) else ''
            argv += ['--nbd-server', f'addr.type=unix,addr.path={self.nbd}{extra}']
        self.argv = argv + command_line(args)
        self.popen = popen
        self.proc = None
        self.monitors = []

    # --- life
    # ---------------------------------------------------------------------------------------------

    def start(self):
        for path in (self.pidfile, self.nbd, *self.sockets):
            if os.path.exists(path):
                os.unlink(path)
        with open(self.errfile, 'wb') as err:
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=err,
                                         stderr=err, **self.popen)
        self.wait_ready()
        self.monitors = [Qmp.connect(path) for path in self.sockets]
        return self

    def wait_ready(self):
        """The pid file is written when all options have been carried out."""
        end = time.monotonic() + DEADLINE
        while not (os.path.exists(self.pidfile) and os.path.getsize(self.pidfile)):
            assert self.proc.poll() is None, f'{self.describe()} did not start:\n{self.stderr()}'
            assert time.monotonic() < end, f'{self.describe()} is not ready after {DEADLINE} s'
            time.sleep(0.005)

    def describe(self):
        return f'daemon {self.name} ({os.path.basename(self.argv[0])})'

    def stderr(self):
        with open(self.errfile, encoding='utf-8', errors='replace') as f:
            return f.read()

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def ended(self, status=0, timeout=DEADLINE):
        """Waits for the end of the daemon, and asserts its exit status (-N: killed by signal N)."""
        got = self.proc.wait(timeout)
        for monitor in self.monitors:
            monitor.close()
        assert got == status, (
            f'{self.describe()}: exit status {got}, not {status}:\n{self.stderr()}')
        found = _SANITIZER.search(self.stderr())
        assert not found, f'{self.describe()}:\n{self.stderr()}'
        self.proc = None

    def quit(self):
        """Stops it by QMP."""
        self.cmd('quit')
        self.ended()

    def terminate(self, signum=signal.SIGTERM):
        """Stops it by a signal."""
        self.proc.send_signal(signum)
        self.ended()

    def kill(self):
        """As a crash would."""
        self.proc.kill()
        self.ended(-signal.SIGKILL)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.abandon()
            raise

    def __exit__(self, exc_type, exc, tb):
        if exc_type:
            self.abandon()
        elif self.proc:
            assert self.alive(), (
                f'{self.describe()} died, status {self.proc.returncode}:\n{self.stderr()}')
            self.quit()

    def abandon(self):
        """The script has failed: end the daemon and show what it said."""
        if self.proc:
            if self.proc.poll() is not None:
                print(f'{self.describe()} had ended with status {self.proc.returncode}',
                      file=sys.stderr)
            self.proc.kill()
            self.proc.wait()
            said = self.stderr().splitlines()
            print(f'{self.describe()} said (last of {len(said)} lines):', *said[-30:], sep='\n',
                  file=sys.stderr)
            self.proc = None

    # --- its first monitor
    # --------------------------------------------------------------------------------

    @property
    def qmp(self):
        return self.monitors[0]

    def _checked(self, call, *args, **kw):
        try:
            return call(*args, **kw)
        except SessionClosed as e:
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                raise e from None
            raise AssertionError(f'{self.describe()} died, status {self.proc.returncode}') from e

    def cmd(self, *args, **kw):
        return self._checked(self.qmp.cmd, *args, **kw)

    def execute(self, *args, **kw):
        return self._checked(self.qmp.execute, *args, **kw)

    def refused(self, *args, **kw):
        return self._checked(self.qmp.refused, *args, **kw)

    def event(self, *args, **kw):
        return self._checked(self.qmp.event, *args, **kw)

    def no_event(self, *args, **kw):
        return self._checked(self.qmp.no_event, *args, **kw)

    # --- things that most scripts do
    # ----------------------------------------------------------------------

    def add(self, driver, node_name, args=None, **kw):
        """blockdev-add."""
        self.cmd('blockdev-add', args, driver=driver, node_name=node_name, **kw)

    def add_raw(self, node_name, path, size=None, **options):
        """Adds node NAME (raw) on node NAME-file (file). size creates the file, sparse. read_only,
        discard and
        cache hold for both nodes."""
        if size is not None:
            with open(path, 'wb') as f:
                f.truncate(size)
        below = {k: options[k] for k in ('read_only', 'discard', 'cache') if k in options}
        self.cmd('blockdev-add', driver='raw', node_name=node_name, **options,
                 file=arguments(None, dict(driver='file', node_name=f'{node_name}-file',
                                           filename=path, **below)))

    def export(self, node_name, id=None, args=None, **kw):
        """Adds an NBD export; its id and name are the node's name unless given. Returns its URI."""
        name = kw.get('name') or node_name
        self.cmd('block-export-add', args, type='nbd', id=id or node_name, node_name=node_name,
                 **kw)
        return self.uri(name)

    def uri(self, name=''):
        return f'nbd+unix:///{name}?socket={self.nbd}'

    def unexport(self, id, **kw):
        """Removes an export and waits until it is gone. QEMU counts a client for a moment longer
        than its connection lasts."""
        def removed():
            reply = self.execute('block-export-del', id=id, **kw)
            lingers = not self.qmp.is_tidemark() and 'still in use' in str(reply.get('error'))
            assert lingers or reply == {'return': {}}, reply
            return not lingers

        wait_until(removed, f'the clients of export {id} having left')
        self.event('BLOCK_EXPORT_DELETED', id=id)

    def node(self, node_name):
        """The entry of query-named-block-nodes."""
        for node in self.cmd('query-named-block-nodes'):
            if node['node-name'] == node_name:
                return node
        raise AssertionError(f'no node {node_name}')

    def nodes(self):
        return {n['node-name'] for n in self.cmd('query-named-block-nodes')}

    def bitmap(self, node_name, name):
        """The bitmap's entry in query-named-block-nodes, or None."""
        for bitmap in self.node(node_name).get('dirty-bitmaps', []):
            if bitmap.get('name') == name:
                return bitmap
        return None


def run_daemon(*args, binary=DAEMON, **kw):
    """Runs a daemon that ends at once; returns exit status, stdout and stderr."""
    done = subprocess.run([binary, *command_line(args)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True,
                          timeout=DEADLINE, check=False, **kw)
    assert not _SANITIZER.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr


def daemon_refuses(*args, **kw):
    """Starts a daemon that must end with status 1; returns what it says on stderr, without its own
    name."""
    status, _, err = run_daemon(*args, **kw)
    assert status == 1, f'{args}: exit status {status}: {err}'
    return re.sub(r'^\S*(qemu-storage-daemon|tidemarkd): ', '', err.strip(), flags=re.M)
