# SPDX-License-Identifier: LGPL-2.1-or-later
"""blockdev-create and x-blockdev-check: starting such a job, waiting for its end, dismissing it."""
from .env import equal
from .jobs import wait_status
from .qmp import arguments


def _finish(d, id):
    entry = wait_status(d, 'concluded', id)
    d.cmd('job-dismiss', id=id)
    return entry


def create_image(d, id='create', error=None, **options):
    """Makes an image by a job, which must end well, or with that error."""
    d.cmd('blockdev-create', job_id=id, options=arguments(None, options))
    entry = _finish(d, id)
    equal(entry.get('error'), error, options)
    equal(entry['type'], 'create')
    return entry


def check_image(d, node, fix='none', id='check'):
    """Checks a node's image by a job; returns what it has found."""
    d.cmd('x-blockdev-check', job_id=id, node=node, fix=fix)
    return _finish(d, id)['x-check']
