# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a row of the table is, and what is handed to it when it is measured."""
from dataclasses import dataclass, field
from typing import Callable, Optional

from notes import Notes


@dataclass
class Figure:
    """One line of the table. Units MB/s, IOPS and % want to be high; ms, s and x (times) want to be
    low. goal: the least ratio that the issues ask for; least, most: what ours must keep to by
    itself."""
    key: str
    title: str
    unit: str
    goal: Optional[float] = None
    least: Optional[float] = None
    most: Optional[float] = None

    def values(self, ours, theirs, limit):
        """Ours and theirs, from what was measured: each a {key: figure}."""
        del limit
        return ours[self.key], theirs[self.key]

    def ratio(self, ours, theirs):
        """How many times better ours is: above 1 ours is better, whichever way the unit goes. None
        where there is nothing to compare with."""
        if theirs is None:
            return None
        better, worse = (ours, theirs) if self.unit in ('MB/s', 'IOPS', '%') else (theirs, ours)
        return better / worse if worse else float('inf')


def own(key, mine, theirs, limit):
    """The daemon's own figure."""
    del theirs, limit
    return mine[key]


def idle(key, mine, theirs, limit):
    """Its own figure, or 1.2 times theirs if that is lower: what the goals mean by idle."""
    del limit
    return min(mine[key], 1.2 * theirs[key])


def fio(key, mine, theirs, limit):
    """What fio reaches without a daemon."""
    del mine, theirs
    return limit[key]


@dataclass
class Share(Figure):
    """A line that is worked out from measured ones: `part` as a share (%) or a multiple (x) of
    `whole`, of which `of` (one of the functions above) tells whose is meant."""
    part: str = ''
    whole: str = ''
    of: Callable = own

    def values(self, ours, theirs, limit):
        scale = 100 if self.unit == '%' else 1
        return tuple(scale * mine[self.part] / self.of(self.whole, mine, theirs, limit)
                     for mine in (ours, theirs))


@dataclass
class Row:
    """Something that is measured at one go and gives one or more figures.

    measure(bench, binary) runs a daemon once and returns ({key: figure}, CPU seconds of the
    daemon); limit(bench) lets fio do the like without any daemon and returns {key: figure} for
    those that have a limit."""
    name: str
    figures: list
    measure: Callable
    limit: Callable = lambda bench: {}
    needs_disks: bool = True
    needs_more: bool = False            # disks than two
    needs_real: bool = False
    needs_shared: bool = False          # a file system whose files can share blocks
    title: str = ''                     # of the plot of a row that notes how its guest fared


@dataclass
class Bench:
    """What a row is given: the disks, their limit, the images, and how long to measure."""
    disks: object
    limit: object
    images: object
    seconds: float
    merges: int = 0
    bits: int = 0
    scratch: object = None              # where a backup may put what the guest overwrites
    more: object = None                 # further disks like the two
    real: object = None                 # a source and a target in files of a real disk
    shared: object = None               # the same of a file system whose files can share blocks
    notes: Notes = field(default_factory=Notes)
    verify: bool = False                # the first run of a daemon also looks at what it has copied


def megabytes(amount, seconds):
    """MB/s, as fio and disk makers count them."""
    return amount / seconds / 1e6
