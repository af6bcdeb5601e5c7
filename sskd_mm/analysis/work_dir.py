# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from ..compat import load_checkpoint_file, read_dumped_config
from .curves import read_losses
from .load_networks import name_teachers
from .logged_scalars import read_json, read_scalars

#: Logged along with the metrics of a validation.
_NO_METRIC = ('step', 'epoch', 'iter', 'iteration', 'time', 'data_time')


class WorkDir:
    """Reads the work directory of a training run.

    Anything in it may be missing or incomplete: the run may be unfinished,
    killed or moved, or its checkpoints deleted.

    Args:
        path (str or Path): The work directory of a distillation or of a plain
            training.

    Raises:
        FileNotFoundError: It is not a work directory.

    Example:
        >>> run = WorkDir('work_dirs/faster_rcnn_r18_coco')
        >>> run.method, run.checkpoint
    """

    def __init__(self, path: Union[str, Path]) -> None:
        self.path = Path(path)
        if self.config_file is None and not self.result:
            raise FileNotFoundError(
                f'{path} has neither a result.json nor a */vis_data/config.py '
                'in it. Give the work directory of a training, such as '
                'work_dirs/NAME.')

    # --- Files ------------------------------------------------------------

    @cached_property
    def config_file(self) -> Optional[Path]:
        """Path or None: The complete config of the last run."""
        files = sorted(self.path.glob('*/vis_data/config.py'))
        return files[-1] if files else None

    @cached_property
    def config(self) -> Optional[Config]:
        """Config or None: The same, read as data without running the file.
        Modules of its ``custom_imports`` are imported."""
        if self.config_file is None:
            return None
        try:
            content = read_dumped_config(self.config_file)
        except ValueError as error:
            print_log(
                f'{error} The report goes on without the config.',
                logger='current',
                level=logging.WARNING)
            return None
        cfg = Config(content, filename=str(self.config_file))
        if cfg.get('custom_imports'):
            import_modules_from_strings(**cfg.custom_imports)
        return cfg

    @cached_property
    def result(self) -> Dict[str, Any]:
        """dict: Content of ``result.json``; empty if there is none."""
        file = self.path / 'result.json'
        if not file.exists():
            return {}
        return read_json(file.read_text(), str(file)) or {}

    @property
    def checkpoint(self) -> Optional[Path]:
        """Path or None: The last checkpoint, also if the directory moved."""
        pointer = self.path / 'last_checkpoint'
        if not pointer.exists():
            return None
        saved = Path(pointer.read_text().strip())
        for file in (saved, self.path / saved.name):
            if file.is_file():
                return file
        return None

    # --- How it was trained -----------------------------------------------

    @property
    def distils(self) -> bool:
        """bool: Whether a teacher takes part, in any phase."""
        if self.config is None or 'student' not in self.config.model:
            return False
        # In a plain loop the distiller is inactive.
        train_cfg = self.config.train_cfg
        settings = [
            train_cfg.get('mimic', {}),
            *(settings
              for name, settings in (train_cfg.get('phases') or {}).items()
              if name.startswith('mimic/'))
        ]
        return bool(
            self.config.model.get('losses') or any(
                s.get('max_epochs') or s.get('max_iters') for s in settings))

    @property
    def method(self) -> str:
        """str: How the student was trained."""
        if self.config is None:
            return 'unknown'
        if not self.distils:
            return 'from scratch'
        losses = [loss['type'] for loss in self.config.model.get('losses', ())]
        if losses:
            return 'joint: ' + ' + '.join(losses)
        schedule = self.config.train_cfg.get('schedule', 'sequential')
        if isinstance(schedule, str):
            schedule = [schedule]
        return 'stage by stage: ' + ', then '.join(schedule)

    @cached_property
    def seed(self) -> Optional[int]:
        """int or None: From ``result.json``, the config or the checkpoint."""
        if 'seed' in self.result:
            return self.result['seed']
        seed = ((self.config or {}).get('randomness') or {}).get('seed')
        if seed is None and self.checkpoint is not None:
            try:
                checkpoint = load_checkpoint_file(str(self.checkpoint))
                seed = checkpoint['meta']['seed']
            except Exception:  # not worth failing for
                pass
        return seed

    @property
    def teachers(self) -> Dict[str, Dict[str, float]]:
        """dict[str, dict]: The metrics of each teacher that was evaluated
        before training, by its name, see :func:`name_teachers`."""
        metrics = self.result.get('teacher')
        metrics = metrics if isinstance(metrics, list) else [metrics]
        return {
            name: values
            for name, values in zip(name_teachers(len(metrics)), metrics)
            if values
        }

    def trained(self, checkpoint: str) -> bool:
        """Tell whether this run saved a checkpoint."""
        return '://' not in checkpoint and (
            Path(checkpoint).resolve().parent == self.path.resolve())

    # --- What was logged --------------------------------------------------

    @cached_property
    def losses(self) -> List[Dict[str, float]]:
        """list[dict]: See :func:`read_losses`."""
        return read_losses(self.path)

    @cached_property
    def validations(self) -> List[Dict[str, float]]:
        """list[dict]: ``epoch``, ``iteration`` and metrics of each
        validation. Without ``result.json`` the iteration is that of the last
        loss logged before it."""
        if self.result:
            return self.result['student_curve']
        found, iteration = {}, 0
        for point in read_scalars(self.path):
            if 'loss' in point:
                iteration = point['iter']
                continue
            metrics = {k: v for k, v in point.items() if k not in _NO_METRIC}
            if metrics:
                # A resumed run may validate the same weights again.
                found[iteration, point['step']] = dict(
                    epoch=point['step'], iteration=iteration, **metrics)
        return [found[place] for place in sorted(found)]

    @property
    def metrics(self) -> Dict[str, float]:
        """dict: Metrics of the last validation, the main one first."""
        last = self.validations[-1] if self.validations else {}
        return {k: v for k, v in last.items() if k not in _NO_METRIC}

    @property
    def phases(self) -> List[Dict[str, Any]]:
        """list[dict]: The finished phases."""
        return self.result.get('phases', [])

    @property
    def ends(self) -> List[int]:
        """list[int]: The iteration after the last one of each phase."""
        ends, end = [], 0
        for phase in self.phases:
            # Early stopping leaves a gap after the phase.
            logged = [
                p['iter'] for p in self.losses if f'{phase["name"]}/loss' in p
            ]
            end = max(end + phase.get('iterations', 0), *logged, end)
            ends.append(end)
        return ends

    @property
    def iterations(self) -> Optional[int]:
        """int or None: Number of iterations logged."""
        if self.phases:
            return self.ends[-1]
        return self.losses[-1]['iter'] if self.losses else None

    @property
    def epochs(self) -> Optional[int]:
        """int or None: Number of epochs; None if not counted."""
        if self.phases:
            return sum(phase['epochs'] for phase in self.phases)
        return max((p['epoch'] for p in self.losses if 'epoch' in p),
                   default=None)

    @property
    def seconds(self) -> Optional[float]:
        """float or None: Time spent in training, without validations."""
        if self.iterations is None:
            return None
        return self.seconds_at([self.iterations])[0]

    def seconds_at(self, iterations: Sequence[int]) -> List[float]:
        """Get the training time up to these iterations.

        Args:
            iterations (Sequence[int]): Numbers of iterations.

        Returns:
            list[float]: Seconds, without validations. The time of a phase in
            ``result.json`` is spread evenly over it; without it, the logged
            times of the iterations count.
        """
        places, seconds = [0], [0.]
        if self.phases:
            places += self.ends
            seconds += np.cumsum([p['seconds'] for p in self.phases]).tolist()
        else:
            for point in self.losses:
                if 'time' in point:
                    passed = point['iter'] - places[-1]
                    places.append(point['iter'])
                    seconds.append(seconds[-1] + passed * point['time'])
        if len(places) == 1:
            return [float('nan')] * len(iterations)
        return np.interp(iterations, places, seconds).tolist()
