# Copyright (c) sskd_mm authors. All rights reserved.
import json
import platform
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, Container, Dict, List, Optional, Sequence, Union

import matplotlib
import torch
from matplotlib.figure import Figure

from ..evaluation.bootstrap import RESAMPLES
from .count_flops import format_gflops
from .mean_and_deviation import mean_and_deviation
from .plot_scores import plot_scores
from .study import Study
from .study_intervals import (difference_cell, interval_cell, list_missing,
                              read_bootstrap)
from .study_trial import Trial

#: Alignment metrics and their names in the table.
ALIGNMENT = dict(cka='CKA', cosine='cosine', relative_l2='relative L2')


def read_metrics(work_dir: Union[str, Path],
                 metric: str,
                 also: Sequence[str] = ()) -> Dict[str, Any]:
    """Read the scores of a finished distillation.

    Args:
        work_dir (str or Path): Its work directory with ``result.json``.
        metric (str): Name of the metric; higher is better.
        also (Sequence[str]): Other metrics of the last validation. Defaults
            to none.

    Returns:
        dict: ``last`` and ``best`` (of all validations), ``also`` (a dict),
        ``seconds`` of its phases, and the last ``alignment`` of each tap.

    Raises:
        ValueError: There is no such metric; the message lists those present.
    """
    result = json.loads(Path(work_dir, 'result.json').read_text())
    curve = result['student_curve']
    for name in (metric, *also):
        if not curve or name not in curve[-1]:
            raise ValueError(
                f'{work_dir} has no metric {name!r}. Its last validation has '
                f'{", ".join(curve[-1]) if curve else "none"}. Write one of '
                'these as metric, or in also, of the study, and call the same '
                'command again: nothing is trained anew.')
    alignment: Dict[str, dict] = {}
    for phase in result['phases']:
        alignment.update(phase.get('alignment', {}))
    return dict(
        last=curve[-1][metric],
        best=max(point[metric] for point in curve),
        also={name: curve[-1][name] for name in also},
        seconds=sum(phase['seconds'] for phase in result['phases']),
        alignment=alignment)


def finished_trials(study: Study, work_dir: Union[str, Path]) -> List[Trial]:
    """List all finished trials, including those of seeds that are no longer in
    the study.

    Args:
        study (Study): The study.
        work_dir (str or Path): Its folder.
    """
    found = []
    for trial in dict.fromkeys(replace(t, seed=0) for t in study.trials()):
        seeds = []
        for file in Path(work_dir, trial.folder).parent.glob('*/trial.json'):
            seed = re.fullmatch(r'seed_(-?\d+)', file.parent.name)
            if seed:
                seeds.append(int(seed[1]))
        found += [replace(trial, seed=seed) for seed in sorted(seeds)]
    return found


def write_study_report(study: Study,
                       teachers: Dict[str, dict],
                       work_dir: Union[str, Path],
                       leave_out: Container[Trial] = ()) -> None:
    """Write the results of a study so far, from all calls.

    For each pair and method, ``table.md`` has the mean and standard deviation
    over seeds of the metric after the last and the best epoch, seconds and
    FLOPs spent, and the alignment of each tap with the teacher's. Where the
    metric can be resampled by images, it has an interval for the last epoch
    and for the difference to ``study.reference``.
    ``PAIR.png`` shows the same, with one point per seed; a swept option with
    numeric values gets its own axis.

    Args:
        study (Study): The study.
        teachers (dict[str, dict]): ``score`` and ``also`` of each known
            teacher.
        work_dir (str or Path): Its folder with the results of the trials.
        leave_out (Container[Trial]): Finished trials whose settings the study
            no longer has. Defaults to none.
    """
    work_dir = Path(work_dir)
    results = {
        trial: _read_result(study, work_dir / trial.folder)
        for trial in finished_trials(study, work_dir)
        if trial not in leave_out
    }
    lines = [f'# {study.title}', '', study.about.strip(), '']
    for pair, entry in study.pairs.items():
        rows = [
            row for name in study.methods
            for row in _rows(study, pair, name, results)
        ]
        if not rows:
            continue
        teacher = teachers.get(entry['teacher'])
        lines += [f'## {pair}', '', *_table(rows, teacher, study), '']
        lines += _alignment_table(rows)
        _plot(rows, pair, teacher, study, work_dir / f'{pair}.png')
    gpu = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available() else 'no GPU')
    lines.append(f'{study.metric}; {platform.machine()}, {gpu}, torch '
                 f'{torch.__version__}.')
    (work_dir / 'table.md').write_text('\n'.join(lines) + '\n')


def _read_result(study: Study, folder: Path) -> Dict[str, Any]:
    result = json.loads((folder / 'trial.json').read_text())
    if (folder / 'result.json').exists():
        # The study's metrics may have changed since training.
        result.update(read_metrics(folder, study.metric, study.also))
    try:
        bootstrap = read_bootstrap(folder, study.metric, result['last'])
    except ValueError as error:
        return dict(result, bootstrap=None, no_bootstrap=str(error))
    return dict(result, bootstrap=bootstrap)


def _rows(study: Study, pair: str, method: str,
          results: Dict[Trial, dict]) -> List[Dict[str, Any]]:
    rows: Dict[Any, Dict[str, Any]] = {}
    for trial, result in results.items():
        if (trial.pair, trial.method) == (pair, method):
            row = rows.setdefault(
                trial.value,
                dict(
                    name=trial.name,
                    method=method,
                    value=trial.value,
                    seeds=[],
                    results=[]))
            row['seeds'].append(trial.seed)
            row['results'].append(result)
    return list(rows.values())


def _table(rows: List[dict], teacher: Optional[dict],
           study: Study) -> List[str]:
    # An accuracy is in per cent, an average precision is a fraction.
    score = teacher['score'] if teacher else rows[0]['results'][0]['last']
    digits = 2 if score > 1 else 3
    intervals = _intervals(rows, study, digits)
    head = [
        'method', 'last epoch', *intervals, 'best epoch', *study.also,
        'seeds', 'seconds', 'GFLOPs an image'
    ]
    lines = [_line(head), _line(['---'] * len(head))]
    if teacher:
        theirs = [f'{teacher["also"][name]:.{digits}f}' for name in study.also]
        lines.append(
            _line([
                'teacher', f'{score:.{digits}f}', *[''] * len(intervals), '',
                *theirs, '', '', ''
            ]))
    for number, row in enumerate(rows):
        results = row['results']
        last, best, *also = (
            mean_and_deviation(values, digits) for values in (
                [r['last'] for r in results], [r['best'] for r in results],
                *([r['also'][name] for r in results] for name in study.also)))
        lines.append(
            _line([
                row['name'], last,
                *(cells[number] for cells in intervals.values()), best, *also,
                ', '.join(map(str, row['seeds'])),
                f'{statistics.mean(r["seconds"] for r in results):.0f}',
                format_gflops(results[0]['gflops'])
            ]))
    if intervals:
        lines += [
            '', f'Intervals: 95 %, by {RESAMPLES} resamples of the validation '
            'images, the same for all rows.'
        ]
    for line in list_missing(rows):
        lines += ['', line]
    return lines


def _intervals(rows: List[dict], study: Study,
               digits: int) -> Dict[str, List[str]]:
    """Cells by column; none if no row has an interval."""
    columns = {'95 % interval': [interval_cell(row, digits) for row in rows]}
    for reference in rows:
        if reference['method'] == study.reference:
            columns[f'{study.reference} minus this'] = [
                '' if row is reference else difference_cell(
                    reference, row, digits) for row in rows
            ]
    return {name: cells for name, cells in columns.items() if any(cells)}


def _line(cells: List[str]) -> str:
    # An empty cell is one space wide.
    return f'|{"|".join(f" {cell} " if cell else " " for cell in cells)}|'


def _alignment_table(rows: List[dict]) -> List[str]:
    lines = []
    for row in rows:
        measured = [r['alignment'] for r in row['results'] if r['alignment']]
        for tap in measured[0] if measured else ():
            cells = [
                mean_and_deviation([m[tap][key] for m in measured], 3)
                if key in measured[0][tap] else ''
                for key in ALIGNMENT
            ]
            lines.append(f'| {row["name"]} | {tap} | {" | ".join(cells)} |')
    if lines:
        lines = [
            f'| method | tap | {" | ".join(ALIGNMENT.values())} |',
            '| --- | --- | --- | --- | --- |', *lines, ''
        ]
    return lines


def _plot(rows: List[dict], pair: str, teacher: Optional[dict], study: Study,
          file: Path) -> None:
    with matplotlib.rc_context({'axes.grid': True, 'grid.alpha': .3}):
        figure = Figure(
            figsize=(9, 1.6 + .4 * len(rows)), layout='constrained')
        axes = figure.subplots()
        values = [row['value'] for row in rows if row['value'] is not None]
        if values and not any(isinstance(v, str) for v in values):
            figure.set_size_inches(8, 5)
            _plot_sweeps(axes, rows)
            axes.set(xlabel='value of the swept option', ylabel=study.metric)
            if min(values) > 0:
                axes.set(
                    xscale='log',
                    xlabel='value of the swept option (log scale)')
            if teacher:
                axes.axhline(
                    teacher['score'], color='grey', ls=':', label='teacher')
            axes.legend()
        else:
            plot_scores(
                axes, {
                    row['name']: [result['last'] for result in row['results']]
                    for row in rows
                }, dict(teacher=teacher['score']) if teacher else None)
            axes.set(xlabel=f'{study.metric}, last epoch: each seed, and the '
                     'mean; dotted: the teacher')
        axes.set_title(f'{study.title}: {pair}')
        figure.savefig(file, dpi=120)


def _plot_sweeps(axes, rows: List[dict]) -> None:
    for number, method in enumerate(dict.fromkeys(r['method'] for r in rows)):
        points = [(row['value'],
                   statistics.mean(r['last'] for r in row['results']),
                   [r['last'] for r in row['results']]) for row in rows
                  if row['method'] == method]
        if points[0][0] is None:
            axes.axhline(points[0][1], color=f'C{number}', label=method)
            continue
        points.sort()
        xs, means, seeds = zip(*points)
        axes.plot(xs, means, 'o-', color=f'C{number}', label=method)
        for x, values in zip(xs, seeds):
            axes.plot([x] * len(values), values, '.', color=f'C{number}',
                      alpha=.4)
