# Copyright (c) sskd_mm authors. All rights reserved.
"""The section of a report about one training run."""
import base64
import statistics
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Union

import cv2
from torch import nn

from .cka_matrix import measure_cka_matrix
from .costs import measure_costs, name_device
from .detections import draw_detections
from .feature_maps import draw_feature_maps
from .measure_metrics import Measured, measure_metrics
from .missing import Missing, attempt
from .phase_curves import draw_phase_curves
from .report_networks import ReportNetworks
from .run_group import AXES, RunGroup
from .work_dir import WorkDir

#: Images whose features and detections are shown.
SHOWN = 4
#: Images on which taps are compared, and how many at a time.
COMPARED, BATCH = 64, 8
#: How often each network is timed.
REPEATS = 20
#: Pictures are shrunk to these widths to save megabytes.
WIDE, NARROW = 1600, 480


def describe_section(group: RunGroup, scratch: Optional[RunGroup], images: int,
                     device: str) -> Dict[str, Any]:
    """Describe a training run; any part may be a :class:`Missing`.

    Args:
        group (RunGroup): The run, with any number of seeds. Networks are
            those of the first.
        scratch (RunGroup, optional): The student from scratch.
        images (int): Number of test images to predict.
        device (str): Device for the networks.

    Returns:
        dict: For ``report.html``.
    """
    run = group.first
    networks = attempt(ReportNetworks, run, scratch and scratch.first, device,
                       BATCH)
    phases = _phases(group)

    def show(function, *args):
        if isinstance(networks, Missing):
            return networks
        return attempt(function, networks, *args)

    return dict(
        name=group.name,
        runs=[str(each.path) for each in group.runs],
        facts=_facts(group),
        phases=phases,
        memory=[_MEMORY[kind] for kind in dict.fromkeys(
            phase['memory'] for phase in phases)],
        curves={
            axis: attempt(draw_phase_curves, group, scratch, axis)
            for axis in AXES
        },
        metrics=_logged_metrics(group, scratch),
        measured=show(_measure, run, images),
        cost=show(_cost),
        features=show(_features),
        cka=show(_cka),
        detections=show(_detections),
        config=run.config_file,
        checkpoint=run.checkpoint)


#: What a peak of memory is of, as ``result.json`` has it.
_MEMORY = {
    'gpu': 'Memory is the peak of what tensors took on the GPU in this phase.',
    'process': 'Memory is the peak that the training process, without its '
    'workers, took in this phase.',
    'process_so_far': 'Memory is the peak of the training process since it '
    'began, as its system does not reset it: a phase cannot show less than '
    'those before it.',
    None: 'An older version noted the memory: on a CPU it is the peak of the '
    'process since it began.',
}


def _phases(group: RunGroup) -> List[Dict[str, Any]]:
    """Those of the first run, with the figures of all."""
    total = max(1e-9, sum(p['seconds'] for p in group.first.phases))
    phases = []
    for phase in group.first.phases:
        alike = [
            p for run in group.runs for p in run.phases
            if p['name'] == phase['name']
        ]
        phases.append(
            dict(
                name=phase['name'],
                epochs=phase['epochs'],
                iterations=phase.get('iterations'),
                seconds=statistics.mean(p['seconds'] for p in alike),
                share=max(.5, 100 * phase['seconds'] / total),
                memory_mib=max(p['peak_memory_mib'] for p in alike),
                memory=phase.get('peak_memory_of'),
                loss_first=statistics.mean(p['loss_first'] for p in alike),
                loss_last=statistics.mean(p['loss_last'] for p in alike),
                alignment={
                    tap: {
                        key: [p['alignment'][tap][key] for p in alike
                              if tap in p.get('alignment', {})]
                        for key in values
                    }
                    for tap, values in phase.get('alignment', {}).items()
                }))
    return phases


def _facts(group: RunGroup) -> Dict[str, str]:
    run = group.first
    facts = {'method': run.method}
    if run.config is not None:
        facts['teacher'] = '; '.join(
            f'{_source(teacher["cfg"])}, weights {teacher["checkpoint"]}'
            for teacher in teacher_cfgs(run))
        facts['student'] = student_name(run)
        for part, loader in (('train', run.config.get('train_dataloader')),
                             ('test', run.config.get('test_dataloader')
                              or run.config.get('val_dataloader'))):
            if loader:
                dataset = loader['dataset']
                facts[f'{part} data'] = ', '.join(
                    str(dataset[key])
                    for key in ('type', 'data_root', 'ann_file', 'split')
                    if dataset.get(key)) + f', batch {loader["batch_size"]}'
    seeds = [str(seed) for seed in group.seeds if seed is not None]
    facts['seeds' if len(seeds) > 1 else 'seed'] = ', '.join(seeds)
    if run.result:
        facts['versions'] = ', '.join(
            f'{name} {version}'
            for name, version in run.result['versions'].items())
    return {name: text for name, text in facts.items() if text}


def teacher_cfgs(run: WorkDir) -> List[dict]:
    """List the configs of the teachers; none in plain training."""
    if not run.distils:
        return []
    teachers = run.config.model.teacher
    return [teachers] if isinstance(teachers, dict) else teachers


def student_name(run: WorkDir) -> str:
    """Describe the student, if its config exists."""
    if run.config is None:
        return ''
    return _architecture(run.config.model.get('student', run.config.model))


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


def _logged_metrics(group: RunGroup,
                    scratch: Optional[RunGroup]) -> Dict[str, dict]:
    columns: Dict[str, dict] = dict(group.first.teachers)
    for name, each in (('student', group), ('from scratch', scratch)):
        if each is not None and each.first.metrics:
            columns[name] = {
                metric: each.scores(metric)
                for metric in each.first.metrics
            }
    return columns


def _measure(networks: ReportNetworks, run: WorkDir, images: int) -> dict:
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
    """List classes, the largest loss against the reference first."""
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


def _cost(networks: ReportNetworks) -> dict:
    loader = networks.loader
    # One image at a time, of the set that is read already.
    batches = [
        loader.collate_fn([loader.dataset[i]])
        for i in range(min(10, len(loader.dataset)))
    ]
    rows = measure_costs(networks.models, batches, REPEATS, networks.device)
    return dict(
        rows=rows, device=name_device(networks.device), repeats=REPEATS)


def _distiller(networks: ReportNetworks) -> nn.Module:
    if isinstance(networks.distiller, Missing):
        raise RuntimeError(networks.distiller)
    return networks.distiller


def _features(networks: ReportNetworks) -> str:
    return _picture(WIDE, draw_feature_maps, _distiller(networks),
                    networks.loader, SHOWN)


def _cka(networks: ReportNetworks) -> dict:
    images = min(COMPARED, len(networks.loader.dataset))
    *taps, matrix = measure_cka_matrix(
        _distiller(networks), networks.loader, -(-images // BATCH))
    student, teacher = ([name.removeprefix('backbone.') for name in names]
                        for names in taps)
    return dict(
        student=student, teacher=teacher, matrix=matrix, images=images)


def _detections(networks: ReportNetworks) -> Optional[dict]:
    dataset = networks.loader.dataset
    if 'gt_instances' not in dataset[0]['data_samples']:
        return None
    # Images of different sizes cannot share a picture.
    pictures = [
        _picture(NARROW, draw_detections, dataset, networks.models, [index])
        for index in range(min(SHOWN, len(dataset)))
    ]
    return dict(rows=['truth', *networks.models], pictures=pictures)


def _picture(width: int, draw: Callable, *args) -> str:
    """Return a picture that a function draws, as a data URL."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'picture.png')
        draw(*args, file)
        image = cv2.imread(str(file))
    scale = min(1, width / image.shape[1])
    image = cv2.resize(
        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    content = base64.b64encode(cv2.imencode('.jpg', image)[1])
    return f'data:image/jpeg;base64,{content.decode()}'
