# Copyright (c) sskd_mm authors. All rights reserved.
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmengine.config import Config

from ..check_keys import check_keys
from ..distillers import lay_method_over

_SHAPES = dict(
    study=('title', 'about', 'metric', 'also', 'seeds', 'options',
           'equal_compute', 'teachers', 'pairs', 'methods'),
    teacher=('config', 'checkpoint', 'options'),
    pair=('config', 'teacher', 'options'),
    method=('method', 'options', 'sweep', 'seeds', 'pairs'))


@dataclass(frozen=True)
class Trial:
    """One training of a study.

    Attributes:
        pair (str): Name of its pair of networks.
        method (str): Name of its method.
        seed (int): Its seed.
        value (float, optional): What the swept option is set to.
    """

    pair: str
    method: str
    seed: int
    value: Optional[float] = None

    @property
    def folder(self) -> Path:
        """Path: Where it trains, below the study's folder."""
        method = ''.join(c if c.isalnum() else '_' for c in self.method)
        if self.value is not None:
            method += f'_{self.value:g}'
        return Path(self.pair, method, f'seed_{self.seed}')


@dataclass
class Study:
    """Methods x seeds x pairs of networks, as a YAML file says.

    The file may inherit from another with ``_base_``, as configs do.

    Attributes:
        title (str): What is asked.
        pairs (dict[str, dict]): ``config`` (of a distillation, relative to
            where the study is run), ``teacher`` (which of ``teachers``) and
            optionally ``options``, e.g. ``max_epochs``, the length of
            training from scratch.
        methods (dict[str, dict]): ``method`` (a file that is laid over each
            pair, see :func:`lay_method_over`; without it a pair is distilled
            as its config says), ``options``, ``seeds`` where they are others,
            ``pairs`` where it is not for all of them, and ``sweep``: an
            option's name and a list of values, each of which is trained with.
        teachers (dict[str, dict]): ``config`` and ``checkpoint``, and
            ``options`` with which the teacher is trained once, before all
            else; without them it is taken as it is.
        seeds (list[int]): The seeds.
        options (dict[str, Any]): Settings of every student's config, e.g.
            ``train_dataloader.dataset.indices: 10000``.
        metric (str): What is compared; more is better. Defaults to
            ``accuracy/top1``.
        also (list[str]): Other metrics that the table shows, of the last
            epoch, e.g. ``face/rank-1``.
        equal_compute (str, optional): A method. All others are lengthened or
            shortened to as many FLOPs as it spends, see :func:`fit_epochs`.
        about (str): What a reader of the table has to know.

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
    about: str = ''

    @classmethod
    def from_file(cls, file: Union[str, Path]) -> 'Study':
        """Read a study and check it.

        Args:
            file (str or Path): The YAML file.

        Raises:
            FileNotFoundError: There is no such file, or none of those that
                it names.
            ValueError: Keys are missing, unknown or of the wrong kind.
        """
        content = Config.fromfile(file).to_dict()
        _check_keys(file, 'the study', content, 'study')
        for key in ('title', 'pairs', 'methods', 'teachers', 'seeds'):
            if not content.get(key):
                raise ValueError(f'{file}: {key} is missing.')
        study = cls(**content)
        for kind in ('teacher', 'pair', 'method'):
            for name, entry in getattr(study, f'{kind}s').items():
                where = f'{kind} {name!r}'
                _check_keys(file, where, entry or {}, kind)
                for key in {'config', 'method'} & set(entry or {}):
                    if not Path(entry[key]).is_file():
                        raise FileNotFoundError(
                            f'{file}: {where} has {key}={entry[key]!r}, '
                            'which is no file here. Run studies from the '
                            'root of sskd_mm.')
        study.methods = {k: v or {} for k, v in study.methods.items()}
        for name, method in study.methods.items():
            for pair in method.get('pairs', ()):
                _check_choice(f'{file}: a pair of the method {name!r}', pair,
                              study.pairs)
        for name, pair in study.pairs.items():
            _check_choice(f'{file}: teacher of the pair {name!r}',
                          pair.get('teacher'), study.teachers)
        if study.equal_compute is not None:
            _check_choice(f'{file}: equal_compute', study.equal_compute,
                          study.methods)
        return study

    def trials(self) -> List[Trial]:
        """All trainings of students: one seed of everything, then the
        next."""
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
            for value in method.get('sweep', {}).get('values', [None])
        ]

    def config(self, trial: Trial, checkpoint: str) -> Config:
        """What a trial trains with, before its length is fitted.

        Args:
            trial (Trial): One of :meth:`trials`.
            checkpoint (str): The teacher's.
        """
        pair, method = self.pairs[trial.pair], self.methods[trial.method]
        cfg = Config.fromfile(pair['config'])
        # Before the method, which asks how long training from scratch is.
        cfg.merge_from_dict({**self.options, **pair.get('options', {})})
        if 'method' in method:
            lay_method_over(cfg, method['method'])
        options = {
            **method.get('options', {}), 'randomness.seed': trial.seed,
            'model.teacher.checkpoint': checkpoint,
            # Once is enough, and that is not here.
            'train_cfg.evaluate_teacher': False,
            'default_hooks.checkpoint.max_keep_ckpts': 1
        }
        if trial.value is not None:
            options[method['sweep']['option']] = trial.value
        cfg.merge_from_dict(options)
        return cfg


def _check_keys(file, where: str, entry: dict, kind: str) -> None:
    valid = _SHAPES[kind]
    if not isinstance(entry, dict):
        raise ValueError(f'{file}: {where} has to be a mapping with the keys '
                         f'{", ".join(valid)}, not {json.dumps(entry)}.')
    check_keys(f'{file}: {where}', entry, valid)
    if 'sweep' in entry and set(entry['sweep']) != {'option', 'values'}:
        raise ValueError(f'{file}: sweep of {where} takes option (the name of '
                         'a setting) and values (a list).')


def _check_choice(where: str, choice: Optional[str], choices: dict) -> None:
    if choice not in choices:
        raise ValueError(f'{where} is {choice!r}, which is none of '
                         f'{", ".join(choices)}.')
