# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures as a table and as JSON."""
import statistics

_COLUMNS = '{:<42}{:>6}{:>11}{:>11}{:>8}{:>7}{:>11}{:>10}{:>10}'


def medians(samples):
    """samples: what measure() returned each time. The medians of each figure, and of the CPU
    seconds."""
    values = {key: statistics.median(s[0][key] for s in samples) for key in samples[0][0]}
    return values, statistics.median(cpu for _, cpu in samples)


def lines(row, ours, theirs, limits):
    """The figures of a row, each as a dict. What was measured comes as measure() returned it."""
    (our_values, our_cpu), (their_values, their_cpu) = medians(ours), medians(theirs)
    limit, _ = medians(limits)
    for figure in row.figures:
        key = figure.key
        yield {'row': row.name, 'figure': key, 'title': figure.title, 'unit': figure.unit,
               'goal': figure.goal, 'least': figure.least,
               'ours': our_values[key], 'theirs': their_values[key], 'limit': limit.get(key),
               'ratio': figure.ratio(our_values[key], their_values[key]),
               'cpu-ours': our_cpu, 'cpu-theirs': their_cpu,
               'all-ours': [s[0][key] for s in ours], 'all-theirs': [s[0][key] for s in theirs]}


def missed(line):
    goal, least = line['goal'], line['least']
    return goal is not None and line['ratio'] < goal or least is not None and line['ours'] < least


def head():
    return (_COLUMNS.format('', 'unit', 'ours', 'theirs', 'ratio', 'goal', 'fio limit', 'CPU ours',
                            'theirs')
            + '\n' + '-' * 116)


def text(line):
    """A line of the table. The CPU seconds belong to the whole row: they stand beside its first
    figure."""
    first = line['first']
    return _COLUMNS.format(
        line['title'], line['unit'], _number(line['ours']), _number(line['theirs']),
        f"{line['ratio']:.2f}",
        _goal(line),
        '' if line['limit'] is None else _number(line['limit']),
        f"{line['cpu-ours']:.2f} s" if first else '',
        f"{line['cpu-theirs']:.2f} s" if first else '').rstrip()


def _goal(line):
    """The ratio, or the value with its unit, that is asked for."""
    if line['least'] is not None:
        goal = f"{line['least']:g} {line['unit']}"
    else:
        goal = '' if line['goal'] is None else f"{line['goal']:.1f}"
    return goal and goal + ('!' if missed(line) else ' ')


def _number(value):
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.3f}'
