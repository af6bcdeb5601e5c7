# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import redirect_stdout
from pathlib import Path
from sys import stderr
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from ..datasets import check_data_files
from .dry_run import dry_runner
from .study import Study
from .study_trial import Trial
from .training_cost import count_cost, fit_epochs, spent
from .training_settings import describe_settings

#: Pair, method and value of a trial; all seeds cost the same.
Key = Tuple[str, str, Optional[Union[float, str]]]


def plan_study(study: Study, trials: Sequence[Trial],
               checkpoints: Dict[str, str]) -> Dict[Key, List[dict]]:
    """Build everything that a study trains, and compute its costs.

    This finds what cannot be trained before training begins: networks, data,
    phases, optimizers and evaluators are built, and one step of each phase is
    run.

    Args:
        study (Study): The study.
        trials (list[Trial]): The trials to be trained.
        checkpoints (dict[str, str]): Weights for each teacher that they need;
            any fitting weights will do, see :func:`check_teacher`.

    Returns:
        dict[tuple, list[dict]]: By pair, method and swept value, the result
        of :func:`describe_cost`, with epochs adjusted to
        ``study.equal_compute``.

    Raises:
        ValueError: Names all trials that cannot be trained and all swept
            values without effect.

    Example:
        >>> plan_study(study, study.trials(), dict(resnet56='resnet56.pth'))
        {('resnet56_resnet20', 'KD', None): [{'name': 'finetune', ...}], ...}
    """
    planned: Dict[Key, List[dict]] = {}
    settings: Dict[Key, Dict[str, Any]] = {}
    problems = []
    for trial in _with_budgets(study, trials):
        key = trial.pair, trial.method, trial.value
        try:
            cfg = study.config(
                trial, checkpoints[study.pairs[trial.pair]['teacher']])
            check_data_files(cfg)
            settings[key] = describe_settings(cfg)
            with redirect_stdout(stderr), dry_runner(cfg) as runner:
                _check_optimizers(runner)
                _check_metrics(runner.val_loop, study, 'val')
                planned[key] = count_cost(runner)
        except Exception as error:
            problems.append(f'{trial.name}, of the pair {trial.pair}: '
                            f'{type(error).__name__}: {error}')
    problems += _values_alike(settings)
    if problems:
        raise ValueError('This study cannot be trained as it is:\n- ' +
                         '\n- '.join(problems))
    return _fit(study, planned)


def check_teacher(study: Study, name: str, file: Union[str, Path]) -> None:
    """Build a study's teacher for training, and write fitting weights.

    Args:
        study (Study): The study.
        name (str): One of its teachers.
        file (str or Path): Where to write its initial weights, for
            :func:`plan_study` until it is trained.

    Raises:
        FileNotFoundError: Its data or initial weights do not exist.
        ValueError: It cannot be trained.
    """
    try:
        cfg = study.teacher_config(name)
        check_data_files(cfg)
        describe_settings(cfg)
        with redirect_stdout(stderr), dry_runner(cfg) as runner:
            _check_optimizers(runner)
            _check_metrics(runner.test_loop, study, 'test')
            state_dict = runner.model.state_dict()
    except FileNotFoundError as error:
        raise FileNotFoundError(f'The teacher {name!r}: {error}') from error
    except Exception as error:
        raise ValueError(f'The teacher {name!r} cannot be trained: '
                         f'{type(error).__name__}: {error}') from error
    torch.save(dict(state_dict=state_dict), file)


def fitted_config(study: Study, trial: Trial, checkpoint: str,
                  cost: List[dict]) -> Config:
    """Build a trial's final config.

    Args:
        study (Study): The study.
        trial (Trial): One of its trials.
        checkpoint (str): The teacher's checkpoint.
        cost (list[dict]): The result of :func:`plan_study` for it.
    """
    cfg = study.config(trial, checkpoint)
    if study.equal_compute is not None:
        phases = {p['name']: dict(max_epochs=p['epochs']) for p in cost}
        cfg.merge_from_dict(dict(train_cfg=dict(phases=phases)))
    return cfg


def _with_budgets(study: Study, trials: Sequence[Trial]) -> List[Trial]:
    """Pick one trial per key, and those that set the compute budget."""
    wanted = {(t.pair, t.method, t.value): t for t in trials}
    pairs = {trial.pair for trial in trials}
    for trial in study.trials():
        if trial.method == study.equal_compute and trial.pair in pairs:
            wanted.setdefault((trial.pair, trial.method, trial.value), trial)
    return list(wanted.values())


def _fit(study: Study, planned: Dict[Key, List[dict]]) -> Dict[Key, list]:
    if study.equal_compute is None:
        return planned
    budgets: Dict[str, float] = {}
    for (pair, method, _), cost in planned.items():
        if method == study.equal_compute:
            budgets.setdefault(pair, spent(cost))
    fitted = {}
    for key, cost in planned.items():
        if key[0] not in budgets:
            raise ValueError(
                f'equal_compute is {study.equal_compute!r}, which is not for '
                f'the pair {key[0]!r}. Put it among `pairs` of that method.')
        epochs = fit_epochs(cost, budgets[key[0]])
        fitted[key] = [dict(p, epochs=epochs[p['name']]) for p in cost]
    return fitted


def _values_alike(settings: Dict[Key, Dict[str, Any]]) -> List[str]:
    problems = []
    seen: Dict[tuple, Any] = {}
    for (pair, method, value), each in settings.items():
        key = pair, method, repr(sorted(each.items()))
        if key in seen:
            problems.append(
                f'{method}, of the pair {pair}: the values {seen[key]!r} and '
                f'{value!r} of its sweep build the same training. Is the '
                "option's name right?")
        seen.setdefault(key, value)
    return problems


def _check_optimizers(runner: Runner) -> None:
    loop = runner.train_loop
    if hasattr(loop, 'check_optimizers'):
        loop.check_optimizers()
        return
    # As in Runner.train.
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if runner.param_schedulers is not None:
        runner.build_param_scheduler(runner.param_schedulers)


def _check_metrics(loop, study: Study, kind: str) -> None:
    if loop is None:
        raise ValueError(f'there is no {kind}_dataloader and {kind}_evaluator '
                         f'to measure {study.metric!r} with.')
    evaluator: Evaluator = loop.evaluator
    prefixes = [metric.prefix for metric in evaluator.metrics]
    if not all(prefixes):
        return  # Names without a prefix are only known once measured.
    for name in (study.metric, *study.also):
        if not name.startswith(tuple(f'{p}/' for p in prefixes)):
            raise ValueError(
                f'the metric {name!r} is not measured: names of what '
                f'{kind}_evaluator measures begin with '
                f'{", ".join(f"{p}/" for p in dict.fromkeys(prefixes))}.')
