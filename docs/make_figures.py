# Copyright (c) sskd_mm authors. All rights reserved.
"""Draw the figures of docs/benchmarks.md from the rows in docs/benchmarks/.

python docs/make_figures.py

The tables of those pages are the only record: write a new result into its
table, run this, and the figure has it. Like docs/images/method.svg, figures
have no background, and their colours stand out from white and from black.
"""
import io
import re
import textwrap
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parent
TEACHER, SSKD, OTHER, TEXT = '#3f7fc7', '#d06a10', '#8a8f98', '#788089'
BACKWARD = '#3a9a6e'
WIDTH, ROW = 4.8, .31  # inches: a phone's screen scales it little

STYLE = {
    'axes.edgecolor': TEXT,
    'axes.labelcolor': TEXT,
    'axes.spines.left': False,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlecolor': TEXT,
    'axes.titlesize': 10,
    'font.sans-serif': ['DejaVu Sans', 'Segoe UI', 'Helvetica', 'Arial'],
    'font.size': 9.5,
    'legend.frameon': False,
    'legend.labelcolor': TEXT,
    'savefig.transparent': True,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'sskd_mm',  # the same file from the same rows
    'text.color': TEXT,
    'xtick.color': TEXT,
    'ytick.color': TEXT,
    'ytick.major.size': 0,
}


class Table:
    """One table of a page.

    Args:
        page (str): A page of docs/benchmarks, without its suffix.
        section (str): The heading that it stands below.
        number (int): Which one of that section. Defaults to 0.
        labels (int): How many columns name a row. Defaults to 1.

    Attributes:
        heading (str): What the first column is headed.
        columns (list): How the others are.
        rows (dict): The cells of each row, by its name.
    """

    def __init__(self, page, section, number=0, labels=1):
        text = (DOCS / 'benchmarks' / f'{page}.md').read_text()
        text = re.split(rf'^#+ {re.escape(section)}$', text, flags=re.M)[1]
        text = re.split('^#', text, flags=re.M)[0]
        lines = re.findall(r'(?:^\|.*\n?)+', text, re.M)[number].splitlines()
        self.columns, _, *rows = ([
            re.sub(r'[*`]', '', cell).strip() for cell in line[1:-1].split('|')
        ] for line in lines)
        heads, self.columns = self.columns[:labels], self.columns[labels:]
        self.heading = heads[0]
        self.rows = {
            ', '.join(f'{head} {cell}' if head != self.heading and is_number(
                cell) else cell
                      for head, cell in zip(heads, row)): row[labels:]
            for row in rows
        }

    def cells(self, column):
        """The cells of a column, by the names of the rows."""
        i = self.columns.index(column)
        return {name: row[i] for name, row in self.rows.items()}


def is_number(cell):
    return re.fullmatch(r'[\d.,]+', cell)


def number(cell):
    """What a cell measures: 413.7 of '413.7 (403.5 to 431.1)'."""
    return float(label(cell).replace(',', ''))


def label(cell):
    """The same as it is written."""
    return re.match(r'\d+(,\d{3})*(\.\d+)?', cell)[0]


def colour(name):
    if name.startswith('teacher'):
        return TEACHER
    return SSKD if re.search('^SSKD|by SSKD|sskd_mm|engine', name) else OTHER


def panels(table, columns, names=None):
    """Axes beside each other, one a column, with the rows' names on the left.

    Yields:
        tuple: Axes, and for each row its height, name and cell.
    """
    names = names or list(table.rows)
    wrapped = [textwrap.fill(name, 27) for name in names]
    height = sum(ROW * (1 + .5 * name.count('\n')) for name in wrapped)
    figure, axes = plt.subplots(
        1,
        len(columns),
        sharey=True,
        squeeze=False,
        figsize=(WIDTH, height + .75),
        layout='constrained')
    places, y = [], 0
    for name in wrapped:
        y += ROW * (1 + .5 * name.count('\n'))
        places.append(y - ROW * (1 + .5 * name.count('\n')) / 2)
    axes[0, 0].set(ylim=(height, 0), yticks=places, yticklabels=wrapped)
    if all(map(is_number, names)):
        axes[0, 0].set_ylabel(table.heading)
    for ax, column in zip(axes[0], columns):
        cells = table.cells(column)
        yield ax, [(y, name, cells[name]) for y, name in zip(places, names)]


def dots(table, columns, names=None, titles=None):
    """A dot for each cell, with its deviation: for scores, whose axes need
    not begin at 0."""
    shown = panels(table, columns, names)
    for (ax, rows), title in zip(shown, titles or columns):
        for y, name, cell in rows:
            spread = re.search(r'± ([\d.]+)', cell)
            value, tint = number(cell), colour(name)
            ax.errorbar(
                value,
                y,
                xerr=float(spread[1]) if spread else None,
                fmt='o',
                color=tint,
                markersize=5,
                capsize=2)
            ax.annotate(
                label(cell), (value, y),
                xytext=(0, 4),
                textcoords='offset points',
                ha='center',
                va='bottom',
                fontsize=8,
                color=tint)
        ax.set_title(title)
        ax.margins(x=.35)
        ax.grid(axis='x', alpha=.25)
        if len(columns) > 2:
            ax.locator_params(axis='x', nbins=2, min_n_ticks=1)
        else:
            ax.locator_params(axis='x', nbins=3)


def bars(table, columns, names=None, titles=None, one_scale=True):
    """A bar from 0 for each cell: for times and sizes."""
    shown = list(panels(table, columns, names))
    highest = max(number(cell) for _, rows in shown for *_, cell in rows)
    for (ax, rows), column, title in zip(shown, columns, titles or columns):
        top = highest if one_scale else max(number(c) for *_, c in rows)
        for y, name, cell in rows:
            mine = SSKD if colour(column) == SSKD else colour(name)
            ax.barh(y, number(cell), ROW * .55, color=mine)
            ax.annotate(
                label(cell), (number(cell), y),
                xytext=(3, 0),
                textcoords='offset points',
                va='center',
                fontsize=8,
                color=mine)
        ax.set_title(title)
        ax.set(xlim=(0, top * 1.35), xticks=[])
        ax.spines['bottom'].set_visible(False)
        ax.axvline(0, color=TEXT, linewidth=1)


def shares(table):
    """Parts of a whole, one bar a column; parts below 5 % as one."""
    figure, ax = plt.subplots(
        figsize=(WIDTH, ROW * len(table.columns) + .9), layout='constrained')
    large = [
        name for name, cells in table.rows.items()
        if max(float(re.search(r'([\d.]+)%', c)[1]) for c in cells) > 5
    ]
    tints = dict(zip([*large, 'all else'], (TEACHER, SSKD, BACKWARD, OTHER)))
    for y, column in enumerate(table.columns):
        cells = table.cells(column)
        left = 0
        parts = [(name, cells[name]) for name in large]
        rest = sum(number(c) for n, c in cells.items() if n not in large)
        for name, cell in [*parts, ('all else', f'{rest:.1f}')]:
            ax.barh(
                y,
                number(cell),
                .6,
                left,
                color=tints[name],
                label=name if y == 0 else None)
            if name in large:
                ax.annotate(
                    label(cell), (left + number(cell) / 2, y),
                    ha='center',
                    va='center',
                    fontsize=7,
                    color='white')
            left += number(cell)
    ax.set(
        xlabel='ms an iteration',
        yticks=range(len(table.columns)),
        yticklabels=table.columns)
    ax.invert_yaxis()
    ax.legend(loc='upper center', bbox_to_anchor=(.4, 1.35), ncols=4)


def quickstart():
    dots(Table('detection', "The quickstart's rows"), ['mAP'])


def bccd():
    dots(Table('detection', 'BCCD at equal time'), ['mAP, last epoch'])


def bccd_detectors():
    table = Table('detection', 'Three detectors, at equal FLOPs')
    dots(table, table.columns)


def bccd_weights():
    dots(
        Table('detection', 'The weight of joint imitation'), ['COCO mAP'])


def cifar():
    table = Table('classification', 'Methods at equal FLOPs')
    dots(table, table.columns)


def cifar_schedules():
    table = Table('classification', 'Schedules at equal FLOPs')
    dots(table, table.columns)


def cifar_weights():
    table = Table('classification', 'The weight of joint methods')
    dots(table, table.columns)


def cifar_stages():
    table = Table('classification', 'How near each stage comes to the teacher')
    dots(table, ['layer1', 'layer2', 'layer3'])


def faces():
    columns = ['TAR, FAR 0.01', 'TAR, FAR 0.001', 'rank-1']
    dots(
        Table('faces', 'ORL'),
        columns,
        titles=[column.replace(', ', ',\n') for column in columns])


def bare_loop():
    table = Table('speed', 'A bare loop', 1)
    bars(table, ['engine, ms', 'bare loop, ms'])


def joint_time():
    table = Table('speed', 'Full forward passes', 1)
    bars(
        table, ['engine, ms', 'joint distillation, ms'],
        list(table.rows)[:-1])


def joint_memory():
    table = Table('speed', 'Full forward passes', 1)
    bars(
        table, ['engine, MiB', 'joint distillation, MiB'],
        list(table.rows)[:-1])


def torchdistill():
    table = Table('speed', 'torchdistill 1.1.5', labels=2)
    bars(table, ['s'], titles=['seconds'])


def phase_parts():
    shares(Table('speed', 'Where the time of a phase goes', 1))


def teacher_pass():
    bars(
        Table('speed', "The teacher's cost"), ['of as it is'],
        titles=['time of a pass, relative'])


def cached_head():
    bars(
        Table('speed', 'The head on features computed once', 1),
        ['top-1', 'seconds'],
        one_scale=False)


def growth():
    table = Table('speed', 'Growth')
    bars(table, ['peak of a phase, MiB'])


def recipe():
    table = Table('detection', 'How the recipe was found', labels=2)
    dots(table, ['mAP'])


def choices():
    dots(Table('detection', 'What each choice is worth'), ['mAP'])


#: By their file names, in the order of the page.
FIGURES = dict(
    quickstart=quickstart,
    bccd=bccd,
    bccd_detectors=bccd_detectors,
    bccd_weights=bccd_weights,
    cifar=cifar,
    cifar_schedules=cifar_schedules,
    cifar_weights=cifar_weights,
    cifar_stages=cifar_stages,
    faces=faces,
    bare_loop=bare_loop,
    joint_time=joint_time,
    joint_memory=joint_memory,
    torchdistill=torchdistill,
    phase_parts=phase_parts,
    teacher_pass=teacher_pass,
    cached_head=cached_head,
    growth=growth,
    recipe=recipe,
    choices=choices)


def main(folder=DOCS / 'images/benchmarks'):
    matplotlib.use('Agg')
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            draw()
            picture = io.StringIO()
            plt.savefig(picture, format='svg', metadata=dict(Date=None))
            plt.close('all')
            lines = map(str.rstrip, picture.getvalue().splitlines())
            (folder / f'{name}.svg').write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
