# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures as a table and as JSON."""
import statistics

_COLUMNS = '{:<42}{:>6}{:>11}{:>11}{:>8}{:>9}{:>11}{:>10}{:>10}'


def medians(samples):
    """samples: what measure() returned each time. The medians of each figure, and of the CPU
    seconds."""
    values = {key: _median([s[0][key] for s in samples]) for key in samples[0][0]}
    return values, statistics.median(cpu for _, cpu in samples)


def _median(values):
    """None where a daemon has no such figure."""
    return None if None in values else statistics.median(values)


def lines(row, ours, theirs, limits):
    """The figures of a row, each as a dict. What was measured comes as measure() returned it."""
    (our_values, our_cpu), (their_values, their_cpu) = medians(ours), medians(theirs)
    limit, _ = medians(limits)
    samples = [tuple(values for values, _ in run) for run in zip(ours, theirs, limits)]
    for figure in row.figures:
        mine, other = figure.values(our_values, their_values, limit)
        each = [figure.values(*sample) for sample in samples]
        yield {'row': row.name, 'figure': figure.key, 'title': figure.title, 'unit': figure.unit,
               'goal': figure.goal, 'least': figure.least, 'most': figure.most,
               'ours': mine, 'theirs': other, 'limit': limit.get(figure.key),
               'ratio': figure.ratio(mine, other),
               'cpu-ours': our_cpu, 'cpu-theirs': their_cpu,
               'all-ours': [pair[0] for pair in each], 'all-theirs': [pair[1] for pair in each]}


def missed(line):
    goal, least, most = line['goal'], line['least'], line['most']
    return (goal is not None and line['ratio'] < goal
            or least is not None and line['ours'] < least
            or most is not None and line['ours'] > most)


def head(limit):
    """limit: the title of its column."""
    return (_COLUMNS.format('', 'unit', 'ours', 'theirs', 'ratio', 'goal', limit, 'CPU ours',
                            'theirs')
            + '\n' + '-' * 118)


def text(line):
    """A line of the table. The CPU seconds belong to the whole row: they stand beside its first
    figure."""
    first = line['first']
    return _COLUMNS.format(
        line['title'], line['unit'], _number(line['ours']), _number(line['theirs']),
        '-' if line['ratio'] is None else f"{line['ratio']:.2f}",
        _goal(line),
        '' if line['limit'] is None else _number(line['limit']),
        f"{line['cpu-ours']:.2f} s" if first else '',
        f"{line['cpu-theirs']:.2f} s" if first else '').rstrip()


def _goal(line):
    """The ratio, or the value with its unit, that is asked for."""
    bound = line['least'] if line['least'] is not None else line['most']
    if bound is not None:
        goal = f"{bound:.3g} {line['unit']}"
    else:
        goal = '' if line['goal'] is None else f"{line['goal']:.1f}"
    return goal and goal + ('!' if missed(line) else ' ')


def _number(value):
    if value is None:
        return '-'
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.3f}'
