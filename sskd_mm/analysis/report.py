# Copyright (c) sskd_mm authors. All rights reserved.
import base64
import logging
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

import cv2
import jinja2
from markupsafe import Markup
from mmengine.logging import print_log
from mmengine.runner import load_checkpoint
from torch import nn

from ..compat import allow_pickle
from ..models import build_model
from .cka_matrix import measure_cka_matrix
from .costs import measure_costs, name_device
from .count_flops import format_gflops
from .detections import draw_detections
from .feature_maps import draw_feature_maps
from .load_networks import build_test_loader, load_distiller, name_teachers
from .measure_metrics import Measured, measure_metrics
from .phase_curves import draw_phase_curves
from .work_dir import WorkDir

#: Images whose features and detections are shown.
SHOWN = 4
#: Images on which taps are compared, and how many at a time.
COMPARED, BATCH = 64, 8
#: How often each network is timed.
REPEATS = 20
#: Pixels that pictures are shrunk to, which else would be many megabytes.
WIDE, NARROW = 1600, 480


def write_report(work_dirs: Sequence[Union[str, Path]],
                 file: Union[str, Path],
                 images: int = 256,
                 device: str = 'cpu',
                 trusted: Sequence[str] = ()) -> None:
    """Write a web page about one or several trainings.

    The page is a single file: style, curves and pictures are in it, and
    nothing is requested from anywhere. Networks are run where the config's
    data, the teacher and the checkpoint are still there; what cannot be shown
    is left out with a sentence that says why. The first training without a
    teacher among the directories stands beside the others as the student
    from scratch.

    Args:
        work_dirs (Sequence[str or Path]): Of distillations and plain
            trainings.
        file (str or Path): The page to write.
        images (int): The first so many images of the test set are predicted.
            Defaults to 256.
        device (str): Where networks run. Defaults to ``'cpu'``.
        trusted (Sequence[str]): Checkpoints that may run code when they are
            read, besides those of the trainings' own ``allow_pickle``, see
            :func:`~sskd_mm.compat.allow_pickle`. Defaults to none.

    Raises:
        FileNotFoundError: A directory is not that of a training.

    Example:
        >>> write_report(['work_dirs/sskd', 'work_dirs/scratch'],
        >>>              'report.html')
    """
    runs = {
        name: WorkDir(path)
        for name, path in zip(_names(work_dirs), work_dirs)
    }
    for run in runs.values():
        if run.config is not None and trusted:
            run.config.allow_pickle = [
                *run.config.get('allow_pickle', []), *trusted
            ]
    scratch = next((r for r in runs.values() if not r.distils), None)
    sections = [
        _describe(name, run, None if run is scratch else scratch, images,
                  device) for name, run in runs.items()
        if run.distils or len(runs) == 1
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True)
    environment.filters.update(
        number=_number,
        duration=_duration,
        gflops=lambda value: format_gflops(value, '.3g'))
    environment.tests.update(missing=lambda value: isinstance(value, Missing))
    page = environment.get_template('report.html').render(
        names=list(runs),
        sections=sections,
        comparison=_compare(runs) if len(runs) > 1 else None)
    Path(file).write_text(page, encoding='utf-8')


class Missing(str):
    """Why something is not shown."""


class _Networks:
    """Teacher, student and student from scratch, ready to run."""

    def __init__(self, run: WorkDir, scratch: Optional[WorkDir],
                 device: str) -> None:
        for what, path in (('config (*/vis_data/config.py)', run.config_file),
                           ('checkpoint', run.checkpoint)):
            if path is None:
                raise FileNotFoundError(f'{run.path} holds no {what}.')
        self.device = device
        self.loader = build_test_loader(run.config, BATCH)
        self.models: Dict[str, nn.Module] = {}
        self.predictors: Dict[str, Callable] = {}
        self.distiller = Missing('No teacher took part.')
        if run.distils:
            self.distiller = _try(load_distiller, run.config, self.loader,
                                  str(run.checkpoint))
        if isinstance(self.distiller, Missing):
            student = _load_student(run)
        else:
            self.distiller.to(device)
            teachers, student = self.distiller.teachers, self.distiller.student
            for name, teacher in zip(name_teachers(len(teachers)), teachers):
                self._add(name, teacher.model, teacher.predict)
        self._add('student', student, student.val_step)
        if scratch is not None:
            student = _try(_load_student, scratch)
            if not isinstance(student, Missing):
                self._add('from scratch', student, student.val_step)

    def _add(self, name: str, model: nn.Module, predict: Callable) -> None:
        self.models[name] = model.to(self.device).eval()
        self.predictors[name] = predict


def _load_student(run: WorkDir) -> nn.Module:
    if run.checkpoint is None:
        raise FileNotFoundError(f'{run.path} holds no checkpoint.')
    allow_pickle(run.config.get('allow_pickle', []))
    model = build_model(run.config)
    load_checkpoint(model, str(run.checkpoint), 'cpu', strict=True)
    return model


def _try(function: Callable, *args) -> Any:
    """What a function returns, or why it could not: whatever keeps a part
    from being shown, the rest of the page is."""
    try:
        return function(*args)
    except Exception as error:
        print_log(
            f'Left out of the report: {type(error).__name__}: {error}',
            level=logging.WARNING)
        return Missing(f'{type(error).__name__}: {error}')


# --- A section ---------------------------------------------------------------


def _describe(name: str, run: WorkDir, scratch: Optional[WorkDir], images: int,
              device: str) -> Dict[str, Any]:
    networks = _try(_Networks, run, scratch, device)

    def show(function, *args):
        if isinstance(networks, Missing):
            return networks
        return _try(function, networks, *args)

    return dict(
        name=name,
        run=run,
        facts=_facts(run),
        phases=[
            dict(
                phase,
                share=max(
                    .5, 100 * phase['seconds'] /
                    max(1e-9, sum(p['seconds'] for p in run.phases))))
            for phase in run.phases
        ],
        curves=_try(lambda: Markup(draw_phase_curves(run, scratch))),
        metrics=_logged_metrics(run, scratch),
        measured=show(_measure, run, images),
        cost=show(_cost),
        features=show(_features),
        cka=show(_cka),
        detections=show(_detections),
        config=run.config_file,
        checkpoint=run.checkpoint)


def _facts(run: WorkDir) -> Dict[str, str]:
    facts = {'method': run.method}
    if run.config is not None:
        model = run.config.model
        if run.distils:
            teachers = model.teacher
            if isinstance(teachers, dict):
                teachers = [teachers]
            facts['teacher'] = '; '.join(
                f'{_source(teacher["cfg"])}, weights {teacher["checkpoint"]}'
                for teacher in teachers)
        facts['student'] = _architecture(model.get('student', model))
        for part, loader in (('train', run.config.get('train_dataloader')),
                             ('test', run.config.get('test_dataloader')
                              or run.config.get('val_dataloader'))):
            if loader:
                dataset = loader['dataset']
                facts[f'{part} data'] = ', '.join(
                    str(dataset[key])
                    for key in ('type', 'data_root', 'ann_file', 'split')
                    if dataset.get(key)) + f', batch {loader["batch_size"]}'
    if run.result:
        facts['seed'] = str(run.result['seed'])
        facts['versions'] = ', '.join(
            f'{name} {version}'
            for name, version in run.result['versions'].items())
    return facts


def _source(cfg: Union[str, dict]) -> str:
    return cfg if isinstance(cfg, str) else _architecture(cfg)


def _architecture(model: dict) -> str:
    parts = [model['type']]
    for name in ('backbone', 'neck'):
        part = model.get(name)
        if isinstance(part, dict):
            size = part.get('depth', part.get('arch', ''))
            parts.append(f'{part["type"]} {size}'.strip())
    return ', '.join(parts)


def _logged_metrics(run: WorkDir,
                    scratch: Optional[WorkDir]) -> Dict[str, dict]:
    columns = {}
    teachers = run.result.get('teacher')
    if not isinstance(teachers, list):
        teachers = [teachers]
    for name, metrics in zip(name_teachers(len(teachers)), teachers):
        if metrics:
            columns[name] = metrics
    if run.metrics:
        columns['student'] = run.metrics
    if scratch is not None and scratch.metrics:
        columns['from scratch'] = scratch.metrics
    return columns


def _measure(networks: _Networks, run: WorkDir, images: int) -> dict:
    results = measure_metrics(run.config, networks.predictors, networks.loader,
                              images)
    total = len(networks.loader.dataset)
    return dict(
        metrics={
            name: result.metrics
            for name, result in results.items()
        },
        classes=_classes(results),
        images=min(total, -(-images // BATCH) * BATCH),
        total=total)


def _classes(results: Dict[str, Measured]) -> List[dict]:
    """Each class, that with the largest loss against the reference first."""
    student = results['student'].classes
    reference = 'teacher' if 'teacher' in results else 'from scratch'
    rows = []
    for name, value in student.items():
        values = {
            role: result.classes.get(name, float('nan'))
            for role, result in results.items()
        }
        difference = value - values.get(reference, value)
        if difference == difference:  # without a box there is no AP
            rows.append(dict(name=name, values=values, difference=difference))
    rows.sort(key=lambda row: row['difference'])
    largest = max((abs(row['difference']) for row in rows), default=0)
    for row in rows:
        row['width'] = 50 * abs(row['difference']) / (largest or 1)
    return rows


def _cost(networks: _Networks) -> dict:
    loader = networks.loader
    # One image at a time, of the set that is read already.
    batches = [
        loader.collate_fn([loader.dataset[i]])
        for i in range(min(10, len(loader.dataset)))
    ]
    rows = measure_costs(networks.models, batches, REPEATS, networks.device)
    return dict(
        rows=rows, device=name_device(networks.device), repeats=REPEATS)


def _distiller(networks: _Networks) -> nn.Module:
    if isinstance(networks.distiller, Missing):
        raise RuntimeError(networks.distiller)
    return networks.distiller


def _features(networks: _Networks) -> str:
    return _picture(WIDE, draw_feature_maps, _distiller(networks),
                    networks.loader, SHOWN)


def _cka(networks: _Networks) -> dict:
    images = min(COMPARED, len(networks.loader.dataset))
    *taps, matrix = measure_cka_matrix(
        _distiller(networks), networks.loader, -(-images // BATCH))
    student, teacher = ([name.removeprefix('backbone.') for name in names]
                        for names in taps)
    return dict(
        student=student, teacher=teacher, matrix=matrix, images=images)


def _detections(networks: _Networks) -> Optional[dict]:
    dataset = networks.loader.dataset
    if 'gt_instances' not in dataset[0]['data_samples']:
        return None
    # Images of different sizes do not fit into one picture.
    pictures = [
        _picture(NARROW, draw_detections, dataset, networks.models, [index])
        for index in range(min(SHOWN, len(dataset)))
    ]
    return dict(rows=['truth', *networks.models], pictures=pictures)


def _picture(width: int, draw: Callable, *args) -> str:
    """What a function draws into a file, as a data URL."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'picture.png')
        draw(*args, file)
        image = cv2.imread(str(file))
    scale = min(1, width / image.shape[1])
    image = cv2.resize(
        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    content = base64.b64encode(cv2.imencode('.jpg', image)[1])
    return f'data:image/jpeg;base64,{content.decode()}'


# --- Beside each other ------------------------------------------------------


def _names(work_dirs: Sequence[Union[str, Path]]) -> List[str]:
    """As few of the last folders as tell them apart."""
    parts = [Path(path).resolve().parts for path in work_dirs]
    length = 1
    while (len({p[-length:] for p in parts}) < len({*parts})):
        length += 1
    return ['/'.join(p[-length:]) for p in parts]


def _compare(runs: Dict[str, WorkDir]) -> Dict[str, Any]:
    metric = next((next(iter(run.metrics))
                   for run in runs.values() if run.metrics), None)
    rows = []
    for name, run in runs.items():
        values = [p[metric] for p in run.validations if metric in p]
        teacher = run.result.get('teacher')
        rows.append(
            dict(
                name=name,
                method=run.method,
                student='' if run.config is None else _architecture(
                    run.config.model.get('student', run.config.model)),
                last=values[-1] if values else None,
                best=max(values, default=None),
                teacher=teacher.get(metric)
                if isinstance(teacher, dict) else None,
                epochs=sum(p['epochs'] for p in run.phases) or None,
                seconds=sum(p['seconds'] for p in run.phases) or None,
                seed=run.result.get('seed')))
    shown = [row['last'] for row in rows if row['last'] is not None]
    if shown:
        # Differences would not be seen on an axis from 0.
        low = min(shown) - .25 * (max(shown) - min(shown))
        span = (max(shown) - low) or 1
        for row in rows:
            if row['last'] is not None:
                row['width'] = 100 * (row['last'] - low) / span
    return dict(metric=metric, rows=rows)


# --- How things are written -------------------------------------------------


def _number(value: Optional[float]) -> str:
    # CocoMetric has -1 where there is no box of that size.
    if value is None or value != value or value == -1:
        return '–'
    if isinstance(value, int):
        return f'{value:,}'
    # Percentages, and rates from 0 to 1.
    return f'{value:.2f}' if abs(value) >= 10 else f'{value:.3f}'


def _duration(seconds: Optional[float]) -> str:
    if seconds is None:
        return '–'
    if seconds < 100:
        return f'{seconds:.1f} s'
    minutes = round(seconds / 60)
    return f'{minutes // 60} h {minutes % 60} min' if minutes > 99 else (
        f'{minutes} min')
