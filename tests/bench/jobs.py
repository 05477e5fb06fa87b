# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backup jobs that run at the same time, from the command that starts them to their end."""
import time

from lib.jobs import gone

from daemons import JOB_DEADLINE

_ENDS = ('BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED')
_LOOK_EVERY = 0.1                       # seconds
_WATCHED = ('saved', 'staging', 'spill')


class Jobs:
    """begin and end are wall-clock times. most: the largest figures of query-jobs that concern
    staging and spill, if the daemon has such; kept: the same of each job. errors: what jobs failed
    with."""

    def __init__(self, d, ids, command, args=None, **kw):
        self.d, self.ids, self.running = d, ids, set(ids)
        self.kept = {id: {} for id in ids}
        self.errors, self.how = [], 'ends'
        self.begin = self.end = time.time()
        d.cmd(command, args, **kw)

    def wait(self, seconds=JOB_DEADLINE):
        """Until all have ended, or for so long; the end is then now."""
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            self._look()
            time.sleep(_LOOK_EVERY)
        if self.running:
            self.end = time.time()
        return self

    def completed(self):
        """Waits for their end, which must be good."""
        self.wait()
        assert not self.running, f'{self.running} did not end within {JOB_DEADLINE} s'
        assert not self.errors, self.errors
        self._gone()
        return self

    @property
    def most(self):
        names = {name for kept in self.kept.values() for name in kept}
        return {name: max(kept.get(name, 0) for kept in self.kept.values()) for name in names}

    def in_memory(self):
        """The most that was in staging at once, in % of all that was saved; of the job where
        that is the largest share. None where the daemon has no staging."""
        return max((100 * kept['x-backup.staging-used'] / max(1, kept['x-backup.saved'])
                    for kept in self.kept.values() if kept), default=None)

    def cancel(self):
        """Cancels those that run, and waits until they are gone; the end stays what it was."""
        end = self.end
        if self.running:
            self.how = 'is cancelled'
        for id in self.running:
            self.d.execute('job-cancel', id=id)     # it may have ended just now
        self.wait()
        self.end = end
        self._gone()

    def _gone(self):
        """Their names can be used again."""
        for id in self.ids:
            gone(self.d, id)

    def _look(self):
        for job in self.d.cmd('query-jobs'):
            kept = self.kept[job['id']]
            for name, value in _watched(job):
                kept[name] = max(value, kept.get(name, 0))
        for event in list(self.d.qmp.events):
            if event['event'] in _ENDS and event['data']['device'] in self.running:
                self.d.qmp.events.remove(event)
                self._ended(event)

    def _ended(self, event):
        """By the daemon's own clock, which does not depend on when one looked."""
        stamp, data = event['timestamp'], event['data']
        self.running.discard(data['device'])
        self.end = max(self.end, stamp['seconds'] + stamp['microseconds'] / 1e6)
        if 'error' in data:
            self.errors.append(data['error'])
            self.how = 'fails'


def _watched(members, path=''):
    """Names and values of the numbers in a reply that concern staging and spill."""
    for key, value in members.items():
        name = f'{path}{key}'
        if isinstance(value, dict):
            yield from _watched(value, f'{name}.')
        elif any(word in name for word in _WATCHED) and isinstance(value, (int, float)):
            yield name, value
