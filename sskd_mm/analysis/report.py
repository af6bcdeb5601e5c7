# Copyright (c) sskd_mm authors. All rights reserved.
import base64
import io
import itertools
import logging
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

import cv2
import jinja2
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from .cka_matrix import measure_cka_matrix
from .detections import draw_detections
from .feature_maps import draw_feature_maps
from .latency import measure_latency
from .load_networks import build_test_loader, load_distiller, load_networks
from .measure_metrics import measure_metrics
from .phase_curves import draw_phase_curves
from .plan import describe_network
from .work_dir import WorkDir

#: Sample images that are shown, and times that each network is timed.
SAMPLES, REPEATS = 4, 20
#: Images of a batch whose features are compared.
BATCH = 8
#: Taps' features are compared on so many images, which is enough.
COMPARED = 64
#: Pixels that a picture of detections is shrunk to.
WIDTH = 480


def write_report(work_dirs: Sequence[Union[str, Path]],
                 file: Union[str, Path],
                 images: int = 256,
                 device: str = 'cpu') -> None:
    """Write a web page about one or several trainings.

    The page is a single file: style, curves and pictures are in it, and
    nothing is requested from anywhere. Networks are run where the config's
    data, the teacher and the checkpoint are still there; what cannot be shown
    is left out with a sentence that says why. The first plain training, or
    distillation without teacher, among the directories stands beside the
    others as the student from scratch.

    Args:
        work_dirs (Sequence[str or Path]): Of distillations and plain
            trainings.
        file (str or Path): The page to write.
        images (int): The first so many images of the test set are predicted.
            Defaults to 256.
        device (str): Where networks run. Defaults to ``'cpu'``.

    Raises:
        FileNotFoundError: A directory is not that of a training.

    Example:
        >>> write_report(['work_dirs/sskd', 'work_dirs/scratch'],
        >>>              'report.html')
    """
    runs = [WorkDir(path) for path in work_dirs]
    names = _names(runs)
    scratch = next((run for run in runs if not run.distils), None)
    sections = [
        _Section(run, name, scratch, images, device).describe()
        for run, name in zip(runs, names) if run.distils or len(runs) == 1
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True)
    environment.filters.update(number=_number, minutes=_minutes)
    page = environment.get_template('report.html').render(
        sections=sections,
        comparison=_compare(runs, names) if len(runs) > 1 else None)
    Path(file).write_text(page, encoding='utf-8')


class _Section:
    """What the page says about one training."""

    def __init__(self, run: WorkDir, name: str, scratch: Optional[WorkDir],
                 images: int, device: str) -> None:
        self.run = run
        self.name = name
        self.scratch = scratch if scratch is not run else None
        self.images = images
        self.device = device

    def describe(self) -> Dict[str, Any]:
        run = self.run
        section = dict(
            name=self.name,
            run=run,
            facts=self._facts(),
            curves=_try('Curves', _curves, run),
            alignment=_last_alignment(run),
            metrics=self._metrics(),
            loading=self._loading())
        networks = _try('Networks', self._load)
        if isinstance(networks, Missing):
            section.update(
                dict.fromkeys(('measured', 'classes', 'features', 'cka',
                               'detections', 'cost'), networks))
            return section
        measured = _try('Metrics', self._measure, networks)
        section.update(
            measured=measured,
            classes=measured if isinstance(measured, Missing) else _classes(
                measured['results']),
            cost=_try('Cost', self._cost, networks),
            features=_try('Feature maps', self._features, networks),
            cka=_try('CKA', self._cka, networks),
            detections=_try('Detections', self._detections, networks))
        return section

    # --- What is read -------------------------------------------------------

    def _facts(self) -> List[tuple]:
        run, facts = self.run, [('method', self.run.method)]
        if run.config is not None:
            model = run.config.model
            teachers = model.get('teacher', ())
            if isinstance(teachers, dict):
                teachers = [teachers]
            for teacher in teachers:
                cfg = teacher['cfg']
                text = cfg if isinstance(cfg, str) else _architecture(cfg)
                facts.append(('teacher', f'{text}, {teacher["checkpoint"]}'))
            facts.append(
                ('student', _architecture(model.get('student', model))))
            facts += [(f'{part} data', _data(run.config, key))
                      for part, key in (('training', 'train_dataloader'),
                                        ('test', 'test_dataloader'))
                      if run.config.get(key)]
        if run.result:
            facts.append(('seed', run.result['seed']))
            facts.append(('versions', ', '.join(
                f'{k} {v}' for k, v in run.result['versions'].items())))
        return facts

    def _metrics(self) -> Optional[dict]:
        student = self.run.metrics
        if not student:
            return None
        teacher = self.run.result.get('teacher')
        columns = dict(student=student)
        for number, metrics in enumerate(
                teacher if isinstance(teacher, list) else [teacher], 1):
            if metrics:
                name = f'teacher {number}' if isinstance(teacher,
                                                         list) else 'teacher'
                columns = {name: metrics, **columns}
        if self.scratch is not None:
            columns['from scratch'] = self.scratch.metrics
        return dict(columns=columns, rows=list(student))

    def _loading(self) -> Optional[dict]:
        run = self.run
        if run.config_file is None or run.checkpoint is None:
            return None
        return dict(
            config=str(run.config_file),
            checkpoint=str(run.checkpoint),
            megabytes=run.checkpoint.stat().st_size / 1e6)

    # --- What is measured ---------------------------------------------------

    def _load(self) -> '_Networks':
        run = self.run
        if run.config is None:
            raise FileNotFoundError(f'{run.path} holds no */vis_data/config.py'
                                    ', which tells what the networks are.')
        if run.checkpoint is None:
            raise FileNotFoundError(f'{run.path} holds no checkpoint.')
        loader = build_test_loader(run.config, BATCH)
        return _Networks(run, self.scratch, loader, self.device)

    def _measure(self, networks: '_Networks') -> dict:
        results = measure_metrics(run_config(self.run), networks.predictors,
                                  networks.loader, self.images)
        total = len(networks.loader.dataset)
        first = min(total, -(-self.images // BATCH) * BATCH)
        rows = list(next(iter(results.values())).metrics)
        return dict(results=results, images=first, total=total, rows=rows)

    def _cost(self, networks: '_Networks') -> dict:
        loader = build_test_loader(self.run.config, 1)
        batches = list(itertools.islice(loader, 10))
        rows = {
            name: describe_network(model, batches[0])
            for name, model in networks.models.items()
        }
        for name, times in measure_latency(networks.models, batches,
                                           REPEATS).items():
            rows[name].update(times)
        name = (
            torch.cuda.get_device_name(self.device)
            if self.device.startswith('cuda') else
            f'{self.device}, {torch.get_num_threads()} thread(s)')
        return dict(rows=rows, device=name, repeats=REPEATS)

    def _features(self, networks: '_Networks') -> str:
        return _picture(draw_feature_maps, networks.distiller,
                        _singles(networks.loader), SAMPLES)

    def _cka(self, networks: '_Networks') -> dict:
        count = min(COMPARED, len(networks.loader.dataset))
        student, teacher, matrix = measure_cka_matrix(
            networks.distiller, networks.loader, -(-count // BATCH))
        return dict(
            student=student, teacher=teacher, matrix=matrix, images=count)

    def _detections(self, networks: '_Networks') -> Optional[dict]:
        dataset = networks.loader.dataset
        samples = dataset[0]['data_samples']
        if 'gt_instances' not in samples:
            return None
        pictures = [
            _picture(
                draw_detections,
                dataset,
                networks.models, [index],
                as_photograph=True)
            for index in range(min(SAMPLES, len(dataset)))
        ]
        return dict(rows=['truth', *networks.models], pictures=pictures)


class Missing(str):
    """Why something is not shown."""


class _Networks:
    """Teacher, student and student from scratch, ready to run."""

    def __init__(self, run: WorkDir, scratch: Optional[WorkDir],
                 loader: DataLoader, device: str) -> None:
        self.loader = loader
        self.models: Dict[str, nn.Module] = {}
        self.predictors: Dict[str, Callable] = {}
        self._distiller: Optional[nn.Module] = None
        self._without: Optional[Missing] = None
        checkpoint = str(run.checkpoint)
        if run.distils:
            distiller = _try('Teacher', load_distiller, run.config, loader,
                             checkpoint)
            if isinstance(distiller, Missing):
                self._without = distiller
            else:
                self._distiller = distiller.to(device)
                for teacher in distiller.teachers:
                    teacher.model.to(device)
                    self._add(teacher.model, 'teacher', teacher.predict)
        if self._distiller is None:
            self._add(_student(run, device), 'student')
        else:
            self._add(self._distiller.student, 'student')
        if scratch is not None and scratch.checkpoint is not None:
            model = _try('Student from scratch', _student, scratch, device)
            if not isinstance(model, Missing):
                self._add(model, 'from scratch')

    @property
    def distiller(self) -> nn.Module:
        if self._distiller is None:
            raise RuntimeError(self._without or 'no teacher took part.')
        return self._distiller

    def _add(self,
             model: nn.Module,
             name: str,
             predict: Optional[Callable] = None) -> None:
        count = sum(key.startswith(name) for key in self.models)
        name = f'{name} {count + 1}' if count else name
        self.models[name] = model.eval()
        self.predictors[name] = predict or model.val_step


def _student(run: WorkDir, device: str) -> nn.Module:
    cfg = run_config(run)
    if 'student' in cfg.model:
        plain = dict(cfg.model.student)
        cfg.model = plain
    (model, ) = load_networks(cfg, None, str(run.checkpoint)).values()
    return model.to(device)
