# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Iterator, Optional, Tuple

from mmengine.model import BaseModule, PretrainedInit
from mmengine.runner import load_checkpoint
from torch import nn

from ..compat import class_name
from .load_report import LoadReport


def pretrained_modules(
        model: nn.Module) -> Iterator[Tuple[str, nn.Module, str]]:
    """The modules that ``init_weights`` will load from a file, by
    ``init_cfg=dict(type='Pretrained', checkpoint=...)``.

    Yields:
        tuple[str, nn.Module, str]: Path, module, and file or URL.
    """
    for name, module in model.named_modules():
        if not isinstance(module, BaseModule) or module.is_init:
            continue
        cfgs = module.init_cfg or []
        for cfg in [cfgs] if isinstance(cfgs, dict) else cfgs:
            if class_name(cfg['type']) == class_name(PretrainedInit):
                yield name, module, cfg['checkpoint']


def check_initial_weights(student: nn.Module,
                          load_from: Optional[str] = None,
                          resume: bool = False) -> None:
    """Load the weights that a training starts from, and check that they fit.

    Remote files (``torchvision://``, ``https://``) are not fetched.

    Args:
        student (nn.Module): Changed in place, so not the one to train.
        load_from (str, optional): The config's.
        resume (bool): Whether the training resumes from there, so that the
            classes must be the same. Defaults to False.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file does not fit, see :class:`LoadReport`.
    """
    for name, module, file in list(pretrained_modules(student)):
        if '://' not in file:
            report = LoadReport(
                module,
                f'student.{name}' if name else 'student',
                file,
                other_classes=True)
            module.init_weights()
            report.close()
    if load_from is not None and '://' not in load_from:
        report = LoadReport(
            student, 'student', load_from, other_classes=not resume)
        load_checkpoint(student, load_from, 'cpu', logger='silent')
        report.close()
