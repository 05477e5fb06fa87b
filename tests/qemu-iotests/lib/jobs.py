# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs and backups: starting and following them, disks drawn as letters (one a cluster), and what a
bitmap holds.

A job that is to be met while it runs is started with HOLD: a speed at which it does not end.
release() lets it go."""
import contextlib
import itertools

from .env import KiB, wait_until
from .nbdtool import connect, extents, nbd

CLUSTER = 64 * KiB
HOLD = 1                        # bytes a second: after the first piece it sleeps for hours
_serial = itertools.count()


# --- following a job
# -------------------------------------------------------------------------------------------

def job(d, id='j'):
    """The job's entry in query-jobs, or None."""
    return next((j for j in d.cmd('query-jobs') if j['id'] == id), None)


def plain_job(d, id='j'):
    """The same without what only tidemarkd tells."""
    return {k: v for k, v in job(d, id).items() if not k.startswith('x-')}


def block_job(d, id='j'):
    """The job's entry in query-block-jobs, or None."""
    return next((j for j in d.cmd('query-block-jobs') if j['device'] == id), None)


def wait_status(d, status, id='j'):
    """Waits until query-jobs shows the job in that state; returns its entry."""
    return wait_until(lambda: (j := job(d, id)) and j['status'] == status and j,
                      f'job {id} {status}')


def statuses(d, id='j', status=None):
    """Takes the job's JOB_STATUS_CHANGE events out of the queue, after waiting for one with that
    status if it is given. A drain may show as a pair of paused and running at any time: such pairs
    are left out."""
    events = d.qmp.events
    if status:
        wait_until(lambda: any(e['event'] == 'JOB_STATUS_CHANGE'
                               and e['data'] == {'id': id, 'status': status}
                               for e in d.qmp.poll()), f'job {id}: status {status}')
    else:
        d.qmp.poll()
    mine = [e for e in events if e['event'] == 'JOB_STATUS_CHANGE' and e['data']['id'] == id]
    out = []
    for e in mine:
        events.remove(e)
        if e['data']['status'] == 'running' and out[-1:] == ['paused']:
            out.pop()
        else:
            out.append(e['data']['status'])
    return [s for i, s in enumerate(out) if not (s == 'running' and out[i - 1:i] == ['running'])]


def completed(d, id='j'):
    """Waits for the job's end, which must be good; returns the data of BLOCK_JOB_COMPLETED."""
    data = d.event('BLOCK_JOB_COMPLETED', device=id)
    assert 'error' not in data, data
    assert data['offset'] == data['len'], data
    gone(d, id)
    return data


def failed(d, id='j'):
    """Waits for the job's end, which must be a failure; returns the data of BLOCK_JOB_COMPLETED."""
    data = d.event('BLOCK_JOB_COMPLETED', device=id)
    assert 'error' in data, data
    gone(d, id)
    return data


def cancel(d, id='j'):
    """Cancels a job and waits until it is gone; returns the data of BLOCK_JOB_CANCELLED. (QEMU does
    not notice a cancel before the first piece is copied until the speed lets the next one through,
    so the limit is lifted, too.)"""
    d.cmd('job-cancel', id=id)
    release(d, id)
    data = d.event('BLOCK_JOB_CANCELLED', device=id)
    gone(d, id)
    return data


def first_piece(d, id='j'):
    """Waits until a held job has copied its first piece and sleeps."""
    return wait_until(lambda: (b := block_job(d, id)) and b['offset'] and not b['busy'],
                      f'first piece of {id}')


def gone(d, id='j'):
    """Waits until the job is no more (it dismisses itself), and drops its status events."""
    wait_until(lambda: job(d, id) is None, f'end of job {id}')
    statuses(d, id)


# --- backups ----------------------------------------------------------------------------------
# -------------

def backup_args(device, target, job_id='j', sync='full', **kw):
    return {'job-id': job_id, 'device': device, 'target': target, 'sync': sync,
            **{k.replace('_', '-'): v for k, v in kw.items()}}


def backup(d, device, target, job_id='j', sync='full', **kw):
    """Starts blockdev-backup."""
    d.cmd('blockdev-backup', backup_args(device, target, job_id, sync, **kw))


def do_backup(d, device, target, job_id='j', sync='full', **kw):
    """A backup from its start to its good end; returns the data of BLOCK_JOB_COMPLETED."""
    backup(d, device, target, job_id, sync, **kw)
    return completed(d, job_id)


def release(d, id='j', speed=0):
    """Lets a job go that was started with speed=HOLD, if it has not come to its end without. QEMU
    loses the new limit where the job is just about to wait for the old one: then it is told again."""
    def goes():
        reply = d.execute('block-job-set-speed', device=id, speed=speed)
        now = job(d, id)
        assert 'return' in reply or (now or {}).get('status') not in ('running', 'paused'), reply
        return speed or not now or now['status'] != 'running' or now['current-progress'] > before
    before = (job(d, id) or {'current-progress': 0})['current-progress']
    wait_until(goes, f'job {id} goes on')


def action(type, **data):
    """An action of a transaction (a_b means a-b)."""
    return {'type': type, 'data': {k.replace('_', '-'): v for k, v in data.items()}}


def transaction(*actions, mode=None):
    """The arguments of a transaction of these actions."""
    return {'actions': list(actions), **({'properties': {'completion-mode': mode}} if mode else {})}


def inject(d, node_name, image, **rule):
    """Adds a blkdebug node on another node. Its rule holds for every request of the type (iotype)
    that touches the sector, once unless said otherwise."""
    rule = {'event': 'none', 'errno': 5, 'once': True, **rule}
    if 'cluster' in rule:
        rule['sector'] = rule.pop('cluster') * CLUSTER // 512
    d.cmd('blockdev-add', {'driver': 'blkdebug', 'node-name': node_name, 'image': image,
                           'inject-error': [rule]})


# --- disks as pictures: a letter for a cluster that holds it all over, '-' for zeroes, '?' for
# anything else -----

def _letter(data):
    first = bytes(data[:1])
    if bytes(data) != first * len(data):
        return '?'
    return '-' if first == b'\0' else first.decode('latin-1')


def drawn(text, size=CLUSTER):
    """The bytes of a picture."""
    return b''.join((b'\0' if c == '-' else c.encode('latin-1')) * size for c in text)


def paint(path, text, size=CLUSTER):
    """Makes an image from a picture; '-' stays a hole. Returns its path."""
    with open(path, 'wb') as f:
        f.truncate(len(text) * size)
        for i, c in enumerate(text):
            if c != '-':
                f.seek(i * size)
                f.write(c.encode('latin-1') * size)
    return path


def picture(disk, clusters=None, size=CLUSTER):
    """The picture of a file (path) or of what an NBD handle reads ('!': a cluster that cannot be
    read)."""
    if isinstance(disk, str):
        with open(disk, 'rb') as f:
            data = f.read()
        return ''.join(_letter(data[i:i + size]) for i in range(0, len(data), size))
    out = ''
    for i in range(clusters or -(-disk.get_size() // size)):
        try:
            out += _letter(disk.pread(size, i * size))
        except nbd.Error:
            out += '!'
    return out


def put(h, text, size=CLUSTER):
    """Writes the letters of a picture through NBD; ' ' leaves a cluster alone, '-' zeroes it."""
    for i, c in enumerate(text):
        if c == '-':
            h.zero(size, i * size)
        elif c != ' ':
            h.pwrite(c.encode('latin-1') * size, i * size)


# --- bitmaps ----------------------------------------------------------------------------------
# ---------------

@contextlib.contextmanager
def exported_bitmap(d, node, name, writable=True, of=None):
    """A libnbd handle on a passing export of a node with a bitmap (of node `of`)."""
    id = f'bits{next(_serial)}'
    uri = d.export(node, id, name=id, writable=writable,
                   bitmaps=[{'node': of, 'name': name} if of else name])
    h = connect(uri, [f'qemu:dirty-bitmap:{name}'])
    yield h
    h.shutdown()
    d.unexport(id)


def dirty(d, node, name, size=CLUSTER, **kw):
    """The dirty clusters of a bitmap as a picture of X and -."""
    with exported_bitmap(d, node, name, **kw) as h:
        out = ''
        for _, length, flags in extents(h, f'qemu:dirty-bitmap:{name}', h.get_size()):
            assert length % size == 0, length
            out += 'X-'[not flags & 1] * (length // size)
        return out


# --- a disk and its guest, for scripts about several disks
# ---------------------------------------------------------

def add_painted(d, name, text, writable=True):
    """A raw disk with that picture, exported; returns a libnbd handle of its guest."""
    paint(f'{name}.img', text)
    d.add_raw(name, f'{name}.img')
    return connect(d.export(name, writable=writable))


# --- copies -----------------------------------------------------------------------------------
# ---------------

def figures(d, node):
    """What tidemarkd tells of the copy that a copy-before-write node makes."""
    return next(n for n in d.cmd('query-named-block-nodes') if n['node-name'] == node)['x-copy']
