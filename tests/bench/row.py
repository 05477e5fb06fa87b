# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a row of the table is, and what is handed to it when it is measured."""
from dataclasses import dataclass
from typing import Callable, Optional


@dataclass
class Figure:
    """One line of the table. Units MB/s, IOPS and % want to be high, ms and s want to be low. goal:
    the least ratio that the issues ask for; least: the least that ours may be by itself."""
    key: str
    title: str
    unit: str
    goal: Optional[float] = None
    least: Optional[float] = None

    def ratio(self, ours, theirs):
        """How many times better ours is: above 1 ours is better, whichever way the unit goes."""
        better, worse = (ours, theirs) if self.unit in ('MB/s', 'IOPS', '%') else (theirs, ours)
        return better / worse if worse else float('inf')


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


@dataclass
class Bench:
    """What a row is given: the disks, their limit, the images, and how long to measure."""
    disks: object
    limit: object
    images: object
    seconds: float
    merges: int
    bits: int
    verify: bool = False                # the first run of a daemon also looks at what it has copied


def megabytes(amount, seconds):
    """MB/s, as fio and disk makers count them."""
    return amount / seconds / 1e6
