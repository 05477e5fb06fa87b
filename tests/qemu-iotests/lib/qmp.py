# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP session, as a script sees it."""
import json
import re
import socket
import time

from .env import DEADLINE


class QmpError(Exception):
    """An error reply: its class and its text."""

    def __init__(self, reply, command=None):
        self.cls, self.desc = reply['class'], reply['desc']
        super().__init__(f'{command}: {self.cls}: {self.desc}')


class SessionClosed(Exception):
    """The daemon closed the session."""


def arguments(args, kw):
    """The arguments of a command: keywords (a_b is sent as a-b) laid over the members of args."""
    return {**(args or {}),
            **{k.rstrip('_').replace('_', '-'): v for k, v in kw.items() if v is not None}}


class Qmp:
    """A connected session. Events that arrive while one waits for something else are kept, in
    order."""

    def __init__(self, sock, negotiate=True):
        self.sock = sock
        self.buffer = b''
        self.events = []
        self.greeting = None
        if negotiate:
            self.negotiate()

    @classmethod
    def connect(cls, address, negotiate=True):
        """address: a unix socket's path, or (host, port)."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(DEADLINE)
        sock.connect(address)
        return cls(sock, negotiate)

    def negotiate(self):
        self.greeting = self.receive()
        assert 'QMP' in self.greeting, self.greeting
        reply = self.execute('qmp_capabilities')
        if reply == self.greeting and not self.is_tidemark():
            reply = self.receive_reply()        # QEMU greets twice who connects while its monitor starts
        assert reply == {'return': {}}, reply

    def is_tidemark(self):
        return self.greeting['QMP']['version']['package'].startswith('tidemark')

    def close(self):
        self.sock.close()

    # --- messages
    # -----------------------------------------------------------------------------------------

    def send_raw(self, data):
        """Sends bytes, or a text, just as they are."""
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self, timeout=DEADLINE):
        """The next message, whatever it is."""
        end = time.monotonic() + timeout
        while b'\n' not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f'no QMP message within {timeout} s')
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b''
            if not data:
                raise SessionClosed('the daemon closed the QMP session')
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line)

    def receive_reply(self, timeout=DEADLINE):
        """The next message that is not an event."""
        while 'event' in (message := self.receive(timeout)):
            self.events.append(message)
        return message

    # --- commands
    # -----------------------------------------------------------------------------------------

    def execute(self, command, args=None, **kw):
        """The whole reply to a command."""
        message = {'execute': command}
        if args := arguments(args, kw):
            message['arguments'] = args
        self.send_raw(json.dumps(message) + '\n')
        return self.receive_reply()

    def cmd(self, command, args=None, **kw):
        """Runs a command that must succeed; returns what it returns."""
        reply = self.execute(command, args, **kw)
        if 'error' in reply:
            raise QmpError(reply['error'], f'{command} {arguments(args, kw)}')
        return reply['return']

    def refused(self, expected, command, args=None, **kw):
        """Runs a command that must fail. expected: the text of the error, or a compiled regular
        expression
        that it must match wholly, or a pair of class and text; the class is GenericError unless
        given."""
        reply = self.execute(command, args, **kw)
        assert 'error' in reply, (
            f'{command} {arguments(args, kw)}: should be refused, returned {reply}')
        assert_error(reply['error'], expected, f'{command} {arguments(args, kw)}')
        return reply['error']['desc']

    # --- events
    # -------------------------------------------------------------------------------------------

    def event(self, name, match=None, timeout=DEADLINE, **data):
        """Waits for the next event of that name whose data have these members (a_b means a-b) and
        for which
        match(data) holds; takes it out of the queue and returns its data."""
        wanted = arguments(None, data)

        def fits(event):
            got = event.get('data', {})
            return (event['event'] == name and all(got.get(k) == v for k, v in wanted.items())
                    and (match is None or match(got)))
        end = time.monotonic() + timeout
        while True:
            for i, event in enumerate(self.events):
                if fits(event):
                    del self.events[i]
                    return event.get('data', {})
            try:
                message = self.receive(end - time.monotonic())
            except TimeoutError:
                raise AssertionError(f'no {name} {wanted} within {timeout} s; '
                                     f'seen: {self.events}') from None
            assert 'event' in message, f'a reply came while waiting for {name}: {message}'
            self.events.append(message)

    def poll(self):
        """Lets events that were sent up to now come in; returns all that are queued."""
        self.cmd('query-version')
        return self.events

    def no_event(self, name, **data):
        """Asserts that no such event has been sent up to now."""
        wanted = arguments(None, data)
        found = [e for e in self.poll() if e['event'] == name
                 and all(e.get('data', {}).get(k) == v for k, v in wanted.items())]
        assert not found, f'unexpected: {found}'


def assert_error(error, expected, what=''):
    """Asserts the class and the text of an error (see Qmp.refused)."""
    cls, text = expected if isinstance(expected, tuple) else ('GenericError', expected)
    good = (text.fullmatch(error['desc']) if isinstance(text, re.Pattern) else text
            == error['desc'])
    assert good and error['class'] == cls, (
        f'{what}\n  got:      {error["class"]}: {error["desc"]}\n'
        f'  expected: {cls}: {getattr(text, "pattern", text)}')
