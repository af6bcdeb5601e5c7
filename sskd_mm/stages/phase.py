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
        begin (int): The first epoch of the phase, counted from 0 over all
            phases.
        max_epochs (int): The length of the phase.
        optim_wrapper (dict): Config of its optimizer wrapper.
        param_scheduler (list[dict], optional): Configs of its schedulers,
            whose epochs and iterations count from the phase's beginning.
        cached_passes (int): From how many passes over the training set is
            kept what frozen networks computed: the teachers in a mimic phase
            and in ``finetune``, the student's frozen part in ``head``. 0 if
            they compute in each iteration.
        cache_begin (int): The epoch with which these passes begin: that of
            the phase, or of an earlier mimic phase whose teachers' features
            serve this one too.
        cached_taps (tuple[str]): Names of the stages that the teachers'
            features are kept of: those of all mimic phases that share them.
    """

    name: str
    taps: Tuple[str, ...]
    trains: Tuple[str, ...]
    border: str = 'student'
    begin: int = 0
    max_epochs: int = 0
    optim_wrapper: Optional[dict] = None
    param_scheduler: Optional[list] = None
    cached_passes: int = 0
    cache_begin: int = 0
    cached_taps: Tuple[str, ...] = ()

    @property
    def is_mimic(self) -> bool:
        """bool: Whether the phase compares features with the teacher's."""
        return bool(self.taps)

    @property
    def end(self) -> int:
        """int: The epoch after its last one."""
        return self.begin + self.max_epochs
