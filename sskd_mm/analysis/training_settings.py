# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import math
import os.path as osp
import re
from collections import OrderedDict
from functools import lru_cache
from typing import Any, Dict, List, Optional

import torch
from mmengine.config import Config

from ..compat import class_name, load_checkpoint_file
from ..distillers.teacher import read_teacher_config

#: Runner arguments that a result depends on; not auxiliary names in a config,
#: logs or paths.
TRAINING = ('model', 'data_preprocessor', 'train_dataloader', 'train_cfg',
            'val_dataloader', 'val_cfg', 'val_evaluator', 'optim_wrapper',
            'param_scheduler', 'auto_scale_lr', 'default_hooks',
            'custom_hooks', 'load_from', 'randomness')
#: Runner arguments that a score depends on.
SCORING = ('model', 'data_preprocessor', 'test_dataloader', 'test_cfg',
           'test_evaluator')

_WITHOUT_EFFECT = {
    '_dataloader': ('num_workers', 'persistent_workers', 'pin_memory',
                    'pin_memory_device', 'prefetch_factor', 'timeout'),
    'default_hooks': ('timer', 'logger', 'checkpoint', 'visualization',
                      'bootstrap'),
    'train_cfg':
    ('cache_dir', 'cache_limit', 'evaluate_teacher', 'accept_weak_teacher')
}


def describe_settings(cfg: Config, keys: tuple = TRAINING) -> Dict[str, Any]:
    """Describe a training run by what its config builds.

    Equivalent configs get the same description, even if their text, the order
    of keys or the spelling of a class (``'SGD'``, ``'torch.optim.SGD'``, the
    class itself) differ. Initial weights and the teacher's weights are
    described by their values, not their file names, and a teacher's config by
    what it builds.

    Args:
        cfg (Config): The complete config.
        keys (tuple[str]): The parts to describe. Defaults to those that
            training depends on; use :data:`SCORING` for a test.

    Returns:
        dict[str, Any]: Settings by path, such as
        ``'optim_wrapper.optimizer.lr'``; plain data for JSON.

    Raises:
        FileNotFoundError: A teacher's config or a local weight file does not
            exist.

    Example:
        >>> cfg = Config.fromfile('configs/sskd/faster_rcnn_r18_coco.py')
        >>> describe_settings(cfg)['train_cfg.head.max_epochs']
        12
    """
    described: Dict[str, Any] = {}
    scope = cfg.get('default_scope')
    for key in keys:
        value = cfg.get(key)
        if value is None:
            continue
        if isinstance(value, dict):
            without = next((names for end, names in _WITHOUT_EFFECT.items()
                            if key.endswith(end)), ())
            value = {k: v for k, v in value.items() if k not in without}
        _describe(key, value, scope, described)
    return described


def list_differences(before: Dict[str, Any],
                     now: Dict[str, Any],
                     most: int = 6) -> List[str]:
    """List the settings that differ between two runs.

    Args:
        before (dict[str, Any]): :func:`describe_settings` of the existing
            run.
        now (dict[str, Any]): :func:`describe_settings` of the requested run.
        most (int): Maximum number of lines. Defaults to 6.

    Returns:
        list[str]: One line per setting, such as
        ``'optim_wrapper.optimizer.lr was 0.1, is 0.2'``; empty if none
        differs.
    """
    paths = [
        path for path in {**before, **now}
        if json.dumps(before.get(path, ...), default=repr) != json.dumps(
            now.get(path, ...), default=repr)
    ]
    lines = [
        f'{path} was {_shown(before, path)}, is {_shown(now, path)}'
        for path in paths[:most]
    ]
    if len(paths) > most:
        lines.append(f'and {len(paths) - most} more')
    return lines


def _shown(settings: Dict[str, Any], path: str) -> str:
    return json.dumps(settings[path]) if path in settings else 'not set'


def _describe(path: str, value: Any, scope: Optional[str],
              into: Dict[str, Any]) -> None:
    if isinstance(value, dict):
        scope = value.get('_scope_', scope)
        if re.fullmatch(r'model\.teacher(\.\d+)?', path):
            value = _teacher(value)
            scope = value.get('_scope_', scope)
        entries = [(str(k), v) for k, v in value.items() if k != '_scope_']
    elif isinstance(value, (list, tuple)):
        entries = [(str(i), v) for i, v in enumerate(value)]
    else:
        into[path] = _plain(path.rpartition('.')[2], value, scope)
        return
    if not entries:
        into[path] = {} if isinstance(value, dict) else []
    for key, each in sorted(entries):
        _describe(f'{path}.{key}', each, scope, into)


def _plain(key: str, value: Any, scope: Optional[str]) -> Any:
    if isinstance(value, str):
        if key in ('type', 'constructor'):
            return class_name(value, scope)
        if key in ('checkpoint', 'load_from'):
            return _weights(value)
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, (bool, int)):
        return value
    if hasattr(value, '__qualname__'):
        return class_name(value)
    return re.sub(r' at 0x[0-9a-f]+', '', repr(value))


def _teacher(teacher: dict) -> dict:
    """Replace the name of a teacher's config by what it builds."""
    cfg = teacher.get('cfg')
    if not isinstance(cfg, str):
        return teacher
    whole = read_teacher_config(cfg)
    cfg = {
        'data_preprocessor': whole.get('data_preprocessor'),
        **whole.model, '_scope_': whole.get('default_scope')
    }
    return {**teacher, 'cfg': cfg}


def _weights(checkpoint: str) -> str:
    """Digest the weights of a local file; keep the name of a remote one."""
    if '://' in checkpoint:
        return checkpoint
    path = osp.abspath(osp.expanduser(checkpoint))
    if not osp.isfile(path):
        raise FileNotFoundError(f'The weights {checkpoint!r} are not there '
                                f'(looked for {path!r}).')
    return 'weights ' + _digest(path, osp.getmtime(path), osp.getsize(path))


@lru_cache(maxsize=64)
def _digest(path: str, *version: float) -> str:
    checkpoint = load_checkpoint_file(path)
    found = hashlib.sha256()
    for key, value in sorted(
            OrderedDict(checkpoint.get('state_dict', checkpoint)).items()):
        found.update(f'{key} {getattr(value, "dtype", value)}'.encode())
        if hasattr(value, 'shape'):
            found.update(str(tuple(value.shape)).encode())
            found.update(value.contiguous().reshape(-1).view(
                torch.uint8).numpy())
    return found.hexdigest()[:16]
