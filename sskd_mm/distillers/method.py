# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional

from mmengine.config import Config

#: What a method takes from the distillation that it is laid over.
_MODEL = ('student', 'teacher', 'stages', 'data_preprocessor', 'channels_last',
          'compile')
_TRAIN = ('type', 'evaluate_teacher', 'accept_weak_teacher',
          'accept_other_classes', 'val_begin', 'val_interval')


def lay_method_over(cfg: Config,
                    path: str,
                    options: Optional[dict] = None) -> None:
    """Distil a config's pair of networks by another method.

    Networks, stages, data and the protocol of training (optimizer, learning
    rate, validation) stay as they are; how the config distils (losses,
    adapters, what is inherited, phases and their settings) gives way to
    the method. Its phase ``finetune`` is as long as training from scratch,
    ``cfg.max_epochs``, unless the method says otherwise or has none
    (``finetune=None``).

    Args:
        cfg (Config): Of a distillation, changed in place.
        path (str): The method's: ``model`` without networks, and
            ``train_cfg``.
        options (dict, optional): Settings of the config, by dotted keys, that
            have the last word, as of ``--cfg-options``: of the method, or
            ``max_epochs``. Defaults to None.

    Raises:
        ValueError: ``cfg`` is no distillation, or does not tell how long
            training from scratch is.

    Example:
        >>> cfg = Config.fromfile('configs/sskd/PAIR.py')
        >>> lay_method_over(cfg, 'configs/_base_/methods/kd.py')
    """
    options = options or {}
    if not {'student', 'teacher'} <= set(cfg.model):
        raise ValueError(
            f'{cfg.filename} has model.type={cfg.model.get("type")!r}, which '
            'has no student and teacher. A method is laid over a config that '
            'distils, such as those in configs/sskd.')
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
                f'{cfg.filename} does not tell how long training from scratch '
                'is, so how long the method may train. Write e.g. '
                'max_epochs = 240 in it, beside train_cfg, or say '
                '--cfg-options max_epochs=240.')
        finetune.max_epochs = length
    cfg.merge_from_dict(options)
