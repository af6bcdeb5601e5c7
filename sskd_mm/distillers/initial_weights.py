# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Optional

from mmengine.model import BaseModule, PretrainedInit
from mmengine.runner import load_checkpoint
from torch import nn

from ..compat import class_name
from .load_report import LoadReport


def watch_pretrained(student: nn.Module) -> List[LoadReport]:
    """Watch the modules that ``init_weights`` will load from a file, by
    ``init_cfg=dict(type='Pretrained', checkpoint=...)``."""
    reports = []
    for name, module in student.named_modules():
        if not isinstance(module, BaseModule) or module.is_init:
            continue
        cfgs = module.init_cfg or []
        for cfg in [cfgs] if isinstance(cfgs, dict) else cfgs:
            if class_name(cfg['type']) == class_name(PretrainedInit):
                reports.append(
                    LoadReport(
                        module,
                        f'student.{name}' if name else 'student',
                        cfg['checkpoint'],
                        other_classes=True))
    return reports


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
    for report in watch_pretrained(student):
        if '://' not in report.source:
            report.module.init_weights()
            report.close()
    if load_from is not None and '://' not in load_from:
        report = LoadReport(
            student, 'student', load_from, other_classes=not resume)
        load_checkpoint(student, load_from, 'cpu', logger='silent')
        report.close()
