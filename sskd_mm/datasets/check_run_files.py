# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import Any, Dict, Iterator, Tuple

from mmengine.config import Config
from mmengine.model import PretrainedInit


def check_run_files(cfg: Config) -> None:
    """Check that the files of a training run, other than its data, exist.

    These are ``load_from``, the weights that initialise the student's modules
    (``init_cfg=dict(type='Pretrained', ...)``), each teacher's config and
    checkpoint, and the annotations of ``val_evaluator``. Called before
    anything is built, so that one message names everything missing. Remote
    files (``https://``, ``torchvision://``, ``mmdet::``, other
    ``backend_args``) are not checked.

    Args:
        cfg (Config): Config of a distillation or of plain training.

    Raises:
        FileNotFoundError: Names each file with its place in the config.

    Example:
        >>> check_run_files(Config.fromfile('my_distillation.py'))
    """
    missing = {
        key: path
        for key, path in _files(cfg)
        if '://' not in path and '::' not in path
        and not osp.exists(osp.expanduser(path))
    }
    if missing:
        lines = ''.join(f'\n  {key}: {osp.abspath(osp.expanduser(path))}'
                        for key, path in missing.items())
        raise FileNotFoundError(
            f'Files that this run needs do not exist:{lines}\nPut them there, '
            'or point the config elsewhere with --cfg-options '
            f'{next(iter(missing))}=PATH.')


def _files(cfg: Config) -> Iterator[Tuple[str, str]]:
    """Yield the files of a config with their keys."""
    model = cfg.get('model') or {}
    found: Dict[str, Any] = dict(load_from=cfg.get('load_from'))
    student = 'model.student' if 'student' in model else 'model'
    for key, entry in _dicts(student, model.get('student', model)):
        if _is_pretrained(entry.get('type')):
            found[f'{key}.checkpoint'] = entry.get('checkpoint')
    teachers = model.get('teacher') or {}
    if isinstance(teachers, dict):
        teachers = {'model.teacher': teachers}
    else:
        teachers = {f'model.teacher.{i}': x for i, x in enumerate(teachers)}
    for key, teacher in teachers.items():
        found[f'{key}.cfg'] = teacher.get('cfg')
        found[f'{key}.checkpoint'] = teacher.get('checkpoint')
    for key, entry in _dicts('val_evaluator', cfg.get('val_evaluator')):
        if not entry.get('backend_args'):
            found[f'{key}.ann_file'] = entry.get('ann_file')
    return ((key, path) for key, path in found.items()
            if isinstance(path, str) and path)


def _is_pretrained(kind: Any) -> bool:
    """A config names it with or without a scope, as a class or, once dumped,
    by the name of the class."""
    if isinstance(kind, str):
        return kind.rpartition('.')[2] in ('Pretrained', 'PretrainedInit')
    return kind is PretrainedInit


def _dicts(key: str, value: Any) -> Iterator[Tuple[str, dict]]:
    """Yield all dicts within a value, with their keys."""
    if isinstance(value, dict):
        yield key, value
        items: Any = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return
    for name, entry in items:
        yield from _dicts(f'{key}.{name}', entry)
