# Copyright (c) sskd_mm authors. All rights reserved.
import json
import os
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .missing import Missing, attempt
from .phase_costs import PhaseCost, count_training, spent_at
from .training_settings import TRAINING
from .work_dir import WorkDir

#: Possible x axes of curves.
AXES = ('iterations', 'seconds', 'FLOPs')


class Curve(NamedTuple):
    """Mean and spread of a logged value over several runs.

    Attributes:
        x (np.ndarray): Positions on the x axis, (N,).
        mean (np.ndarray): Mean over the runs, (N,).
        low (np.ndarray): Minimum over the runs, (N,).
        high (np.ndarray): Maximum over the runs, (N,).
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class RunGroup:
    """Training runs of one config that differ only in the seed.

    Args:
        runs (dict[str, WorkDir]): At least one run, by name.

    Attributes:
        name (str): The common part of the names.
        runs (list[WorkDir]): The runs.

    Example:
        >>> group = RunGroup({'kd/seed_0': WorkDir(...),
        >>>                   'kd/seed_1': WorkDir(...)})
        >>> group.name, group.seeds
        ('kd', [0, 1])
    """

    def __init__(self, runs: Dict[str, WorkDir]) -> None:
        self.name = _common_name(list(runs))
        self.runs = list(runs.values())
        self._costs: Optional[List[PhaseCost]] = None

    @classmethod
    def group(cls, runs: Dict[str, WorkDir]) -> List['RunGroup']:
        """Group runs by config.

        Args:
            runs (dict[str, WorkDir]): Any runs, by name.

        Returns:
            list[RunGroup]: Groups in the order of their first runs.
        """
        groups: Dict[str, Dict[str, WorkDir]] = {}
        for name, run in runs.items():
            groups.setdefault(_settings(run) or name, {})[name] = run
        found: Dict[str, RunGroup] = {}
        for each in groups.values():
            group = cls(each)
            if group.name in found:
                group.name = next(iter(each))
            found[group.name] = group
        return list(found.values())

    @property
    def first(self) -> WorkDir:
        """WorkDir: The run that represents the group."""
        return self.runs[0]

    @property
    def seeds(self) -> List[Optional[int]]:
        """list[int or None]: The seed of each run, if known."""
        return [run.seed for run in self.runs]

    def scores(self, metric: str,
               choose: Callable = lambda values: values[-1]) -> List[float]:
        """Get a metric of each run that has it.

        Args:
            metric (str): Its name.
            choose (callable): Picks one of the values of all validations.
                Defaults to the last.
        """
        curves = [[p[metric] for p in run.validations if metric in p]
                  for run in self.runs]
        return [choose(values) for values in curves if values]

    def curve(self, points: Callable[[WorkDir], Sequence[Tuple[int, float]]],
              axis: str) -> Optional[Curve]:
        """Compute mean and spread of a logged value.

        Args:
            points (callable): Gives iterations and values of a run.
            axis (str): One of :data:`AXES`.

        Returns:
            Curve or None: At the iterations that all runs have in common; None
            if there are none.

        Raises:
            ValueError: The runs cannot be drawn over this axis.
        """
        logged = [dict(points(run)) for run in self.runs]
        shared = sorted(set.intersection(*map(set, logged)))
        if not shared:
            return None
        values = np.array([[each[i] for i in shared] for each in logged])
        places = [self.places(run, shared, axis) for run in self.runs]
        return Curve(np.mean(places, 0), *(
            function(values, 0) for function in (np.mean, np.min, np.max)))

    def places(self, run: WorkDir, iterations: Sequence[int],
               axis: str) -> List[float]:
        """Convert iterations of a run to positions on an axis.

        Args:
            run (WorkDir): One of the runs.
            iterations (Sequence[int]): Numbers of iterations.
            axis (str): One of :data:`AXES`.

        Raises:
            ValueError: No times were logged, or the FLOPs cannot be counted.
        """
        if axis == 'FLOPs':
            return [1e9 * spent_at(self.costs, i) for i in iterations]
        if axis == 'seconds':
            seconds = run.seconds_at(iterations)
            if np.isnan(seconds).any():
                raise ValueError(f'{run.path} has logged no times.')
            return seconds
        return list(iterations)

    @property
    def costs(self) -> List[PhaseCost]:
        """list[PhaseCost]: Compute of the training, from its config.

        Raises:
            ValueError: It cannot be counted.
        """
        if self._costs is None:
            self._costs = attempt(count_training, self.first.config)
        if isinstance(self._costs, Missing):
            raise ValueError(f'The FLOPs of {self.name} cannot be counted: '
                             f'{self._costs}')
        return self._costs


def _settings(run: WorkDir) -> Optional[str]:
    """Describe the settings shared by runs of one config."""
    if run.config is None:
        return None
    cfg = {k: v for k, v in run.config.to_dict().items() if k in TRAINING}
    cfg['randomness'] = {
        k: v
        for k, v in (cfg.get('randomness') or {}).items() if k != 'seed'
    }
    return json.dumps(cfg, sort_keys=True, default=repr)


def _common_name(names: List[str]) -> str:
    if len(names) == 1:
        return names[0]
    prefix = os.path.commonprefix(names)
    suffix = os.path.commonprefix([name[::-1] for name in names])[::-1]
    for part in (prefix, suffix):
        part = part.strip('/_-. 0123456789')
        for word in ('seed', 'run'):
            part = part.removesuffix(word)
        if part.strip('/_-. '):
            return part.strip('/_-. ')
    return names[0]
