# Copyright (c) sskd_mm authors. All rights reserved.
from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class Phase:
    """One training period of the schedule.

    Attributes:
        name (str): ``mimic/<stage>``, ``mimic/<schedule>``, ``head`` or
            ``finetune``.
        taps (tuple[str]): Names of the stages whose taps are compared; none
            in the phases ``head`` and ``finetune``.
        trains (tuple[str]): Names of the stages that train. What lies behind
            the last tap counts as the stage ``head``.
        border (str): What a stage gets from the one before it:
            ``'student'``, its feature; ``'detached'``, the same without a
            gradient; or ``'teacher'``, the teacher's feature at its tap.
        by_epoch (bool): Whether its length was given in epochs. A phase
            whose length was given in iterations is one long epoch, as in
            MMEngine's ``IterBasedTrainLoop``.
        max_epochs (int): Its epochs.
        max_iters (int): Its iterations.
        epoch_length (int): Iterations of one of its epochs.
        begin (int): Epochs of all phases before it.
        begin_iter (int): Iterations of all phases before it.
        begin_pass (int): Passes over their data of all phases before it.
        dataloader (dict): Config of its training data.
        optim_wrapper (dict): Config of its optimizer wrapper.
        param_scheduler (list[dict], optional): Configs of its schedulers,
            whose epochs and iterations count from the phase's beginning.
        schedule_note (str): How the config's schedule was fitted to the
            phase, see :func:`fit_schedule`; empty if it was not.
        cached_passes (int): From how many passes over the training set the
            outputs of frozen networks are kept: the teachers' in a mimic
            phase and in ``finetune``, the student's frozen part's in
            ``head``. 0 if they run in each iteration.
        cache_begin (int): The pass with which these begin: the phase's
            first, or that of an earlier mimic phase whose teachers' features
            serve this one too.
        cached_taps (tuple[str]): Names of the stages whose teachers' features
            are kept: those of all mimic phases that share them.
    """

    name: str
    taps: Tuple[str, ...]
    trains: Tuple[str, ...]
    border: str = 'student'
    by_epoch: bool = True
    max_epochs: int = 0
    max_iters: int = 0
    epoch_length: int = 0
    begin: int = 0
    begin_iter: int = 0
    begin_pass: int = 0
    dataloader: Optional[dict] = None
    optim_wrapper: Optional[dict] = None
    param_scheduler: Optional[list] = None
    schedule_note: str = ''
    cached_passes: int = 0
    cache_begin: int = 0
    cached_taps: Tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """str: ``'mimic'``, ``'head'`` or ``'finetune'``."""
        return self.name.partition('/')[0]

    @property
    def is_mimic(self) -> bool:
        """bool: Whether the phase compares features with the teacher's."""
        return bool(self.taps)

    @property
    def caches_teachers(self) -> bool:
        """bool: Whether the teachers' features are kept and replayed."""
        return bool(self.cached_passes) and self.kind != 'head'

    @property
    def caches_features(self) -> bool:
        """bool: Whether the head trains on features that are kept."""
        return bool(self.cached_passes) and self.kind == 'head'

    @property
    def end(self) -> int:
        """int: The epoch after its last one."""
        return self.begin + self.max_epochs

    @property
    def end_iter(self) -> int:
        """int: The iteration after its last one."""
        return self.begin_iter + self.max_iters
