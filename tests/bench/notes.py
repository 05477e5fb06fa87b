# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the rows tell beside their figures: how a guest fared over time, for the plots, and details
such as the most memory in use, for the JSON file."""
from dataclasses import dataclass


@dataclass
class Trace:
    """A guest over time, in seconds after a backup began: points are (moment, requests a second,
    p99 in ms, or None where no request ended)."""
    points: list
    end: float                          # when the backup ended
    how: str                            # it ended


class Notes:
    """Kept by row and side ('ours' or 'theirs'), whose turn it is at the moment."""

    def __init__(self):
        self.row = self.side = None
        self.traces = {}                # {row: {side: Trace of the last run}}
        self.details = {}               # {row: {side: [details of each run]}}

    def turn(self, row, side):
        self.row, self.side = row, side

    def trace(self, trace):
        self.traces.setdefault(self.row, {})[self.side] = trace

    def detail(self, **details):
        self.details.setdefault(self.row, {}).setdefault(self.side, []).append(details)
