# SPDX-License-Identifier: LGPL-2.1-or-later
"""TLS: certificates and keys made by certtool and psktool, and URIs for clients that use them."""
import os

from .env import run

_NAMES = {'server': ['dns_name = localhost', 'ip_address = 127.0.0.1']}


def _certtool(*args):
    run('certtool', *args)


class Authority:
    """A certificate authority in a folder of the scratch folder, which makes the folders that
    daemons and clients are given. cn: its name, which is all by which a client of gnutls chooses
    what to show to a server."""

    def __init__(self, name='ca', cn=None):
        self.dir = os.path.abspath(name)
        os.mkdir(self.dir)
        self.key, self.cert = f'{self.dir}/ca-key.pem', f'{self.dir}/ca-cert.pem'
        self._make_key(self.key)
        self._template(self.dir, [f'cn = {cn or name}', 'ca', 'cert_signing_key', 'crl_signing_key',
                                  'expiration_days = 10'])
        _certtool('--generate-self-signed', '--template', f'{self.dir}/template', '--load-privkey',
                  self.key, '--outfile', self.cert)

    @staticmethod
    def _make_key(path, *args):
        _certtool('--generate-privkey', '--key-type=rsa', '--bits=2048', '--outfile', path, *args)

    @staticmethod
    def _template(folder, lines):
        with open(f'{folder}/template', 'w', encoding='ascii') as f:
            f.write('\n'.join(lines) + '\n')

    def issue(self, side, name=None, ca=True, lines=(), password=None):
        """A folder with the certificate and key of a server or client. ca: whether it trusts this
        authority; lines: more of certtool's template."""
        folder = os.path.abspath(name or side)
        os.mkdir(folder)
        key, cert = f'{folder}/{side}-key.pem', f'{folder}/{side}-cert.pem'
        self._make_key(key)
        self._template(folder, [f'cn = {name or side}', 'organization = Tidemark',
                                f'tls_www_{side}', 'encryption_key', 'signing_key',
                                *(lines or _NAMES.get(side, [])),
                                *([] if any('expiration' in line for line in lines) else
                                  ['expiration_days = 10'])])
        _certtool('--generate-certificate', '--template', f'{folder}/template', '--load-privkey',
                  key, '--load-ca-certificate', self.cert, '--load-ca-privkey', self.key,
                  '--outfile', cert)
        if password:
            _certtool('--to-p8', '--load-privkey', key, '--password', password, '--pkcs-cipher',
                      'aes-256', '--outfile', f'{key}.new')
            os.rename(f'{key}.new', key)
        if ca:
            self.trusted_by(folder)
        return folder

    def trusted_by(self, folder):
        """Makes a folder trust this authority and no other."""
        os.makedirs(folder, exist_ok=True)
        with open(self.cert, encoding='ascii') as f, \
                open(f'{folder}/ca-cert.pem', 'w', encoding='ascii') as out:
            out.write(f.read())
        return os.path.abspath(folder)

    def revoke(self, cert, folder):
        """Puts a list of revoked certificates, with that one, into a folder."""
        self._template(self.dir, ['crl_next_update = 10', 'crl_number = 1'])
        _certtool('--generate-crl', '--template', f'{self.dir}/template', '--load-ca-privkey',
                  self.key, '--load-ca-certificate', self.cert, '--load-certificate', cert,
                  '--outfile', f'{folder}/ca-crl.pem')


def make_keys(folder, *users):
    """keys.psk with a new key for each user."""
    os.makedirs(folder, exist_ok=True)
    for user in users:
        run('psktool', '-u', user, '-p', f'{folder}/keys.psk')
    return os.path.abspath(folder)


def give_dh_params(*folders):
    """dh-params.pem of the standard, for servers: QEMU's without it look for primes for a while."""
    for folder in folders:
        _certtool('--get-dh-params', '--bits=2048', '--outfile', f'{folder}/dh-params.pem')


def x509_object(id, folder, side, **more):
    """The argument of --object for certificates, as a dict."""
    return {'qom-type': 'tls-creds-x509', 'id': id, 'dir': folder, 'endpoint': side,
            **{k.replace('_', '-'): v for k, v in more.items()}}


def psk_object(id, folder, side, **more):
    """The same for keys."""
    return {**x509_object(id, folder, side, **more), 'qom-type': 'tls-creds-psk'}


def x509_uri(sock, name, folder):
    """For libnbd's clients, with the certificates of a folder."""
    return f'nbds+unix:///{name}?socket={sock}&tls-certificates={folder}'


def psk_uri(sock, name, folder, user):
    return f'nbds+unix://{user}@/{name}?socket={sock}&tls-psk-file={folder}/keys.psk'


def image_opts(address, name, **options):
    """QEMU's text of an nbd node; address: a unix socket's path, or a SocketAddress as a dict."""
    if isinstance(address, str):
        address = {'type': 'unix', 'path': address}
    options = {'driver': 'nbd', **{f'server.{k}': v for k, v in address.items()}, 'export': name,
               **{k.replace('_', '-'): v for k, v in options.items()}}
    return ','.join(f'{k}={v}' for k, v in options.items())


def qemu_image(address, name, creds, **more):
    """Arguments for QEMU's tools that have an object with these credentials (see x509_object) as
    an image."""
    return ['--object', qemu_object(creds), '--image-opts',
            image_opts(address, name, tls_creds=creds['id'], **more)]


def qemu_object(creds):
    """The same object for a command line of QEMU's tools."""
    words = {True: 'on', False: 'off'}
    return ','.join([creds['qom-type']] + [f'{k}={words.get(v, v)}' for k, v in creds.items()
                                           if k != 'qom-type'])
