# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.config import Config

#: Settings kept from the config.
_MODEL = ('student', 'teacher', 'stages', 'data_preprocessor', 'channels_last',
          'compile')
_TRAIN = ('type', 'evaluate_teacher', 'accept_weak_teacher',
          'accept_other_classes', 'val_begin', 'val_interval')


def lay_method_over(cfg: Config,
                    path: str,
                    options: Optional[dict] = None) -> None:
    """Replace a config's distillation method, keeping its pair of networks.

    Networks, stages, data and the training protocol (optimizer, learning
    rate, validation) stay; losses, adapters, inheritance, phases and their
    settings come from the method. Its phase ``finetune`` is as long as
    training from scratch, ``cfg.max_epochs``, unless the method sets a length
    or has no such phase (``finetune=None``).

    Args:
        cfg (Config): Of a distillation, changed in place.
        path (str): The method's config: ``model`` without networks, and
            ``train_cfg``.
        options (dict, optional): Settings by dotted keys that override both,
            as from ``--cfg-options``. Defaults to None.

    Raises:
        ValueError: ``cfg`` is no distillation, or has no ``max_epochs``.

    Example:
        >>> cfg = Config.fromfile('configs/sskd/PAIR.py')
        >>> lay_method_over(cfg, 'configs/_base_/methods/kd.py')
    """
    options = options or {}
    if not {'student', 'teacher'} <= set(cfg.model):
        raise ValueError(
            f'{cfg.filename} has model.type={cfg.model.get("type")!r}, which '
            'has no student and teacher. --method needs a distillation '
            'config, such as those in configs/sskd.')
    method = Config.fromfile(path)
    model = {k: v for k, v in cfg.model.items() if k in _MODEL}
    train_cfg = {k: v for k, v in cfg.train_cfg.items() if k in _TRAIN}
    cfg.model = {**model, **method.model}
    cfg.train_cfg = {**train_cfg, 'finetune': {}, **method.train_cfg}
    finetune = cfg.train_cfg.finetune
    # None: the method has no such phase.
    if finetune is not None and not (
            'max_epochs' in finetune
            or 'train_cfg.finetune.max_epochs' in options):
        length = options.get('max_epochs', cfg.get('max_epochs'))
        if length is None:
            raise ValueError(
                f'{cfg.filename} does not say how long training from scratch '
                'takes, which is how long the method trains. Add e.g. '
                'max_epochs = 240 beside train_cfg, or pass '
                '--cfg-options max_epochs=240.')
        finetune.max_epochs = length
    cfg.merge_from_dict(options)
