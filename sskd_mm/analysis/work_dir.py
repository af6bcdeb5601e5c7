# Copyright (c) sskd_mm authors. All rights reserved.
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmengine.config import Config

from .curves import read_losses

#: What is logged beside the metrics of a validation.
_NO_METRIC = ('step', 'epoch', 'iter', 'time', 'data_time')


class WorkDir:
    """What a training has left in its work directory.

    Each of it may be missing: of a run that is not finished, that was moved,
    or whose checkpoints were deleted.

    Args:
        path (str or Path): The work directory of a distillation or of a plain
            training.

    Raises:
        FileNotFoundError: No training has left anything there.

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

    @cached_property
    def config_file(self) -> Optional[Path]:
        """Path or None: The whole config of the last run in there."""
        files = sorted(self.path.glob('*/vis_data/config.py'))
        return files[-1] if files else None

    @cached_property
    def config(self) -> Optional[Config]:
        """Config or None: The same, read."""
        return self.config_file and Config.fromfile(self.config_file)

    @cached_property
    def result(self) -> Dict[str, Any]:
        """dict: What ``result.json`` says; empty if there is none."""
        file = self.path / 'result.json'
        return json.loads(file.read_text()) if file.exists() else {}

    @cached_property
    def losses(self) -> List[Dict[str, float]]:
        """list[dict]: See :func:`read_losses`."""
        return read_losses(self.path)

    @cached_property
    def validations(self) -> List[Dict[str, float]]:
        """list[dict]: ``epoch`` and metrics of each validation."""
        if self.result:
            return self.result['student_curve']
        found = {}
        for file in sorted(self.path.glob('*/vis_data/scalars.json')):
            for line in file.read_text().splitlines():
                point = json.loads(line)
                metrics = {
                    key: value
                    for key, value in point.items() if key not in _NO_METRIC
                }
                if 'loss' not in point and metrics:
                    found[point['step']] = dict(epoch=point['step'], **metrics)
        return [found[epoch] for epoch in sorted(found)]

    @property
    def metrics(self) -> Dict[str, float]:
        """dict: Of the last validation, the one that counts first."""
        last = self.validations[-1] if self.validations else {}
        return {k: v for k, v in last.items() if k not in _NO_METRIC}

    @property
    def checkpoint(self) -> Optional[Path]:
        """Path or None: The last one, also if the directory was moved."""
        pointer = self.path / 'last_checkpoint'
        if not pointer.exists():
            return None
        saved = Path(pointer.read_text().strip())
        for file in (saved, self.path / saved.name):
            if file.exists():
                return file
        return None

    @property
    def distils(self) -> bool:
        """bool: Whether a teacher takes part, in any phase."""
        if self.config is None or 'student' not in self.config.model:
            return False
        # A plain loop leaves the distiller switched off.
        train_cfg = self.config.train_cfg
        settings = [
            train_cfg.get('mimic', {}),
            *(settings
              for name, settings in (train_cfg.get('phases') or {}).items()
              if name.startswith('mimic/'))
        ]
        return bool(
            self.config.model.get('losses')
            or any(s.get('max_epochs') for s in settings))

    @property
    def phases(self) -> List[Dict[str, Any]]:
        """list[dict]: Those that are over."""
        return self.result.get('phases', [])

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
