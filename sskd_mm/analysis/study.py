# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import inspect
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmengine.config import Config
from mmengine.runner import Runner

from ..check_keys import did_you_mean
from ..distillers import lay_method_over
from .study_file import check_folders, read_study
from .study_trial import Trial, value_label

_RUNNER = list(inspect.signature(Runner.__init__).parameters)[1:]


@dataclass
class Study:
    """Methods x seeds x pairs of networks, defined in a YAML file.

    Like a config, the file can inherit from another with ``_base_``.

    Attributes:
        title (str): The question of the study.
        pairs (dict[str, dict]): ``config`` (a distillation config, relative
            to the current directory), ``teacher`` (one of ``teachers``) and
            optionally ``options``, e.g. ``max_epochs``, the length of
            training from scratch.
        methods (dict[str, dict]): ``method`` (a file merged into each pair's
            config, see :func:`lay_method_over`; without it a pair is
            distilled by its own config), ``options``, ``seeds`` and ``pairs``
            if they differ from the study's, and ``sweep``: the name of an
            option and a list of values, each of which is trained. A value can
            be anything that a config can hold.
        teachers (dict[str, dict]): ``config`` and ``checkpoint``, and
            ``options`` for training the teacher once before everything else;
            without them it is used as is.
        seeds (list[int]): The seeds.
        options (dict[str, Any]): Settings of every student's config, e.g.
            ``train_dataloader.dataset.indices: 10000``.
        metric (str): The metric to compare; higher is better. Defaults to
            ``accuracy/top1``.
        also (list[str]): Other metrics to show, from the last epoch, e.g.
            ``face/rank-1``.
        equal_compute (str, optional): A method. All others are lengthened or
            shortened to the same FLOPs, see :func:`fit_epochs`.
        reference (str, optional): A method without a sweep. Tables have the
            difference between it and every other row.
        about (str): Notes for readers of the table.
        allow_pickle (list[str]): Checkpoints trusted to run code; set by
            whoever runs the study, never by its file.

    Example:
        >>> study = Study.from_file('studies/cifar10_methods.yaml')
        >>> study.trials()
        [Trial(pair='resnet56_resnet20', method='KD', seed=0, value=None), ...]
    """

    title: str
    pairs: Dict[str, dict]
    methods: Dict[str, dict]
    teachers: Dict[str, dict]
    seeds: List[int]
    options: Dict[str, Any] = field(default_factory=dict)
    metric: str = 'accuracy/top1'
    also: List[str] = field(default_factory=list)
    equal_compute: Optional[str] = None
    reference: Optional[str] = None
    about: str = ''
    allow_pickle: List[str] = field(default_factory=list)

    @classmethod
    def from_file(cls, file: Union[str, Path]) -> 'Study':
        """Read a study and check the file itself; :func:`plan_study` checks
        what it trains.

        Args:
            file (str or Path): The YAML file.

        Raises:
            FileNotFoundError: The file, or one that it names, does not exist.
            InvalidYamlError: It holds more than plain data.
            ValueError: Keys are missing, unknown or of the wrong type, or two
                runs would share a folder.
        """
        study = cls(**read_study(file))
        check_folders(file, study.trials(), study.teachers)
        return study

    def trials(self) -> List[Trial]:
        """List all training runs of students: one seed of everything, then
        the next."""
        every = sorted({
            *self.seeds,
            *itertools.chain(*(m.get('seeds', ())
                               for m in self.methods.values()))
        })
        return [
            Trial(pair, name, seed, value)
            for seed, pair, (name, method) in itertools.product(
                every, self.pairs, self.methods.items())
            if seed in method.get('seeds', self.seeds)
            and pair in method.get('pairs', self.pairs)
            for value in self._labels(method)
        ]

    def config(self, trial: Trial, checkpoint: str) -> Config:
        """Build a trial's config, before its length is fitted.

        Args:
            trial (Trial): One of :meth:`trials`.
            checkpoint (str): The teacher's checkpoint.

        Raises:
            ValueError: An option does not exist in the config.
        """
        pair, method = self.pairs[trial.pair], self.methods[trial.method]
        cfg = Config.fromfile(pair['config'])
        # Before the method, which reads the length of training from scratch.
        _merge(cfg, {**self.options, **pair.get('options', {})})
        if 'method' in method:
            lay_method_over(cfg, method['method'])
        _merge(
            cfg, {
                **method.get('options', {}), 'randomness.seed': trial.seed,
                'model.teacher.checkpoint': checkpoint,
                # Evaluated once for the whole study instead.
                'train_cfg.evaluate_teacher': False,
                'default_hooks.checkpoint.max_keep_ckpts': 1,
                'default_hooks.bootstrap': dict(type='BootstrapHook')
            })
        if trial.value is not None:
            sweep = method['sweep']
            values = dict(zip(self._labels(method), sweep['values']))
            _merge(cfg, {sweep['option']: values[trial.value]})
        self._trust(cfg)
        return cfg

    def teacher_config(self, name: str) -> Config:
        """Build the config by which a teacher is trained and scored.

        Args:
            name (str): One of ``teachers``.

        Raises:
            ValueError: An option does not exist in the config.
        """
        entry = self.teachers[name]
        cfg = Config.fromfile(entry['config'])
        if 'options' in entry:
            _merge(cfg, entry['options'])
            if entry.get('checkpoint'):
                cfg.load_from = entry['checkpoint']
        self._trust(cfg)
        return cfg

    def _trust(self, cfg: Config) -> None:
        if self.allow_pickle:
            cfg.allow_pickle = [
                *cfg.get('allow_pickle', []), *self.allow_pickle
            ]

    @staticmethod
    def _labels(method: dict) -> list:
        if 'sweep' not in method:
            return [None]
        return [value_label(value) for value in method['sweep']['values']]


def _merge(cfg: Config, options: Dict[str, Any]) -> None:
    for path in options:
        _check_path(cfg, path)
    # Merging removes `_delete_` from its argument.
    cfg.merge_from_dict(copy.deepcopy(options))


def _check_path(cfg: Config, path: str) -> None:
    """Check that an option's path exists in the config. Whether it is used
    only shows when everything is built."""
    here, done = cfg, ''
    keys = path.split('.')
    for number, key in enumerate(keys):
        if isinstance(here, list):
            if not key.isdigit() or int(key) >= len(here):
                raise ValueError(
                    f'The option {path!r}: {done} is a list of {len(here)}, '
                    f'so a number below that stands behind it, not {key!r}.')
            here = here[int(key)]
        elif isinstance(here, (dict, Config)):
            if key not in here:
                if any(each.isdigit() for each in keys[number:]):
                    raise ValueError(
                        f'The option {path!r}: {done or "the config"} has no '
                        f'list {key!r} that a number could be of.')
                if not done and key not in _RUNNER:
                    raise ValueError(
                        f'The option {path!r}: neither the config nor '
                        f"MMEngine's Runner has {key!r}."
                        f'{did_you_mean(key, {*cfg, *_RUNNER})}')
                return
            here = here[key]
        else:
            raise ValueError(f'The option {path!r}: {done} is {here!r}, which '
                             f'has no {key!r}.')
        done = f'{done}.{key}'.lstrip('.')
