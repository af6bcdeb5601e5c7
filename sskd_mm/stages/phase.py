# Copyright (c) sskd_mm authors. All rights reserved.
from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class Phase:
    """One training period of a run.

    Attributes:
        name (str): ``mimic/<stage>``, ``mimic/<schedule>``, ``head`` or
            ``finetune``.
        taps (tuple[str]): Stages whose taps are compared; none in the phases
            ``head`` and ``finetune``.
        trains (tuple[str]): Stages that train; what lies after the last tap
            is the stage ``head``.
        border (str): The input of each stage: ``'student'``, the previous
            stage's output; ``'detached'``, the same without a gradient; or
            ``'teacher'``, the teacher's feature at the previous tap.
        by_epoch (bool): Whether its length is given in epochs. Otherwise it
            is one long epoch.
        max_epochs (int): Its epochs.
        max_iters (int): Its iterations.
        epoch_length (int): Iterations per epoch.
        begin (int): Epochs of all earlier phases.
        begin_iter (int): Iterations of all earlier phases.
        begin_pass (int): Passes over the data of all earlier phases.
        dataloader (dict): Config of its training data.
        optim_wrapper (dict): Config of its optimizer wrapper.
        param_scheduler (list[dict], optional): Configs of its schedulers,
            which count from the phase's beginning.
        schedule_note (str): How the config's schedule was fitted to the
            phase, see :func:`fit_schedule`; empty if it was not.
        cached_passes (int): Number of passes whose outputs of frozen networks
            are cached: the teachers' in mimic phases and ``finetune``, the
            student's frozen layers' in ``head``. 0 disables caching.
        cache_begin (int): The first cached pass, maybe of an earlier mimic
            phase that shares its cache.
        cached_taps (tuple[str]): Stages whose teacher features are cached,
            those of all phases that share the cache.
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
        """bool: Whether the teachers' features are cached and replayed."""
        return bool(self.cached_passes) and self.kind != 'head'

    @property
    def caches_features(self) -> bool:
        """bool: Whether the head trains on cached features."""
        return bool(self.cached_passes) and self.kind == 'head'

    @property
    def end(self) -> int:
        """int: The epoch after its last one."""
        return self.begin + self.max_epochs

    @property
    def end_iter(self) -> int:
        """int: The iteration after its last one."""
        return self.begin_iter + self.max_iters
