# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Callable, Dict, Optional

from mmengine.runner import load_checkpoint
from torch import nn

from ..compat import allow_pickle
from ..models import build_model
from .load_networks import build_test_loader, load_distiller, name_teachers
from .missing import Missing, attempt
from .quiet import quiet
from .work_dir import WorkDir


class ReportNetworks:
    """Teacher, student and student from scratch, ready to run.

    Args:
        run (WorkDir): A distillation or plain training run.
        scratch (WorkDir, optional): The student from scratch.
        device (str): The device to run on.
        batch_size (int): Batch size of the test set.

    Attributes:
        device (str): The same.
        loader (DataLoader): The test set.
        distiller (StageByStageDistiller or Missing): Student and teachers.
        models (dict[str, nn.Module]): The networks by role.
        predictors (dict[str, callable]): For each network, a function that
            predicts a batch.

    Raises:
        FileNotFoundError: Config, checkpoint or test set do not exist.
    """

    def __init__(self, run: WorkDir, scratch: Optional[WorkDir],
                 device: str, batch_size: int) -> None:
        for what, path in (('config (*/vis_data/config.py)', run.config),
                           ('checkpoint', run.checkpoint)):
            if path is None:
                raise FileNotFoundError(f'{run.path} holds no {what}.')
        self.device = device
        self.loader = build_test_loader(run.config, batch_size)
        self.models: Dict[str, nn.Module] = {}
        self.predictors: Dict[str, Callable] = {}
        self.distiller = Missing('No teacher took part.')
        if run.distils:
            self.distiller = attempt(load_distiller, run.config, self.loader,
                                     str(run.checkpoint))
        if isinstance(self.distiller, Missing):
            student = _load_student(run)
        else:
            self.distiller.to(device)
            teachers, student = self.distiller.teachers, self.distiller.student
            for name, teacher in zip(name_teachers(len(teachers)), teachers):
                self._add(name, teacher.model, teacher.predict)
        self._add('student', student, student.val_step)
        if scratch is not None:
            student = attempt(_load_student, scratch)
            if not isinstance(student, Missing):
                self._add('from scratch', student, student.val_step)

    def _add(self, name: str, model: nn.Module, predict: Callable) -> None:
        self.models[name] = model.to(self.device).eval()
        self.predictors[name] = predict


def _load_student(run: WorkDir) -> nn.Module:
    if run.checkpoint is None:
        raise FileNotFoundError(f'{run.path} holds no checkpoint.')
    allow_pickle(run.config.get('allow_pickle', []))
    model = build_model(run.config)
    with quiet():
        load_checkpoint(model, str(run.checkpoint), 'cpu', strict=True)
    return model
