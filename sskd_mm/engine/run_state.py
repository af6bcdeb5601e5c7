# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch
from mmengine.dist import (all_gather_object, all_reduce_params, broadcast,
                           get_rank, get_world_size)
from mmengine.hooks import Hook
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor

from ..distillers import StageByStageDistiller
from ..stages import Phase
from .stop_request import StopRequest

#: The key of a checkpoint that holds the run state.
KEY = 'sskd'


class RunState(Hook):
    """The position of a run, and all that resuming needs.

    That is the phase and the position in it, the modules that train beside
    the student, each process's running statistics and accumulated gradients,
    the sums of hooks, and the phase's optimizer and schedulers. It is a hook,
    so every checkpoint includes it, whoever saves.

    Args:
        phases (Sequence[Phase]): All phases of the run.
        distiller (StageByStageDistiller): The distiller.

    Attributes:
        phase (Phase): The phase of the next iteration, or the one that has
            just ended.
        epochs (int): Finished epochs of the phase.
        done (int): Finished iterations of the phase.
        ended (bool): Whether the phase is over.
        validated (int, optional): ``done`` at the last validation in the
            phase.
        resumed (bool): Whether the run was resumed.
        stop (StopRequest): Whether the run is to stop.
    """

    # After the hooks of the user and before CheckpointHook (VERY_LOW).
    priority = 'LOW'

    def __init__(self, phases: Sequence[Phase],
                 distiller: StageByStageDistiller) -> None:
        self.phase = phases[0]
        self.epochs = self.done = 0
        self.ended = False
        self.validated: Optional[int] = None
        self.resumed = False
        self.stop = StopRequest()
        self._phases = list(phases)
        self._distiller = distiller
        self._parts: Dict[str, Any] = {}
        self._ranks: Optional[List[dict]] = None
        self._saved: Dict[str, Any] = {}

    # --- Position ---------------------------------------------------------

    @property
    def epoch(self) -> int:
        """int: Finished epochs of all phases."""
        return self.phase.begin + self.epochs

    @property
    def iter(self) -> int:
        """int: Finished iterations of all phases."""
        return self.phase.begin_iter + self.done

    @property
    def index(self) -> int:
        """int: Number of the phase, from 0."""
        return self._phases.index(self.phase)

    def enter(self, phase: Phase) -> None:
        """Begin a phase, unless a resumed run is in the middle of it."""
        if phase != self.phase:
            self.phase = phase
            self.epochs = self.done = 0
            self.ended = False
            self.validated = None

    def after_val_epoch(self,
                        runner,
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """Note the position of the validation."""
        self.validated = self.done

    # --- Saving -----------------------------------------------------------

    def add(self, name: str, part: Any) -> None:
        """Save and restore something else that has ``state_dict`` and
        ``load_state_dict``, such as a hook's sums."""
        self._parts[name] = part

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Gather the state of each process, to be saved within this context.
        All processes must enter it."""
        self._ranks = all_gather_object(self._rank_state())
        try:
            yield
        finally:
            self._ranks = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the run state to the checkpoint."""
        meta, phase = checkpoint['meta'], self.phase
        checkpoint[KEY] = dict(
            phase=phase.name,
            begin=phase.begin,
            epoch_length=phase.epoch_length,
            # Counts an iteration whose hooks are still running.
            epochs=meta['epoch'] - phase.begin,
            done=meta['iter'] - phase.begin_iter,
            ended=self.ended,
            validated=self.validated,
            auxiliary={
                name: weights_to_cpu(module.state_dict())
                for name, module in self._distiller.auxiliary.items()
            },
            ranks=self._ranks or [self._rank_state()],
            parts={
                name: part.state_dict()
                for name, part in self._parts.items()
            })

    def _rank_state(self) -> Dict[str, Dict[str, Tensor]]:
        # With one process, they are part of the student's state_dict.
        buffers = {
            name: buffer.cpu()
            for name, buffer in self._changing_buffers().items()
        } if get_world_size() > 1 and not self.ended else {}
        # Exist only in the middle of an accumulation.
        gradients = {
            name: param.grad.cpu()
            for name, param in self._distiller.named_parameters()
            if param.grad is not None
        }
        return dict(buffers=buffers, gradients=gradients)

    def _changing_buffers(self) -> Dict[str, Tensor]:
        student = 'student.'
        changing = self._distiller.partition.changing(self.phase.trains)
        return {
            name: buffer
            for name, buffer in self._distiller.named_buffers()
            if not name.startswith(student) or name[len(student):] in changing
        }

    def sync_buffers(self) -> None:
        """Average running statistics over all processes, so that what the next
        phase freezes is the same everywhere."""
        if get_world_size() == 1:
            return
        buffers = self._changing_buffers().values()
        floats = [b for b in buffers if b.is_floating_point()]
        if floats:
            all_reduce_params(floats, op='mean')
        for buffer in buffers:
            if not buffer.is_floating_point():
                broadcast(buffer)

    # --- Resuming ---------------------------------------------------------

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Set the position; the rest waits for :meth:`restore`.

        Raises:
            ValueError: The checkpoint has no run state, or its phases differ
                from the config's.
        """
        if not runner._resume:
            return
        saved = checkpoint.get(KEY)
        if not isinstance(saved, dict) or 'done' not in saved:
            raise ValueError(
                'The checkpoint to resume from was saved by another loop than '
                'StageByStageTrainLoop, or by an older version of sskd_mm. To '
                'start from its weights, use load_from without resume.')
        self._set_position(saved)
        # MMEngine must not load these yet: they belong to the phase.
        self._saved = dict(
            saved,
            optimizer=checkpoint.pop('optimizer', None),
            param_schedulers=checkpoint.pop('param_schedulers', None))
        self.resumed = True

    def _set_position(self, saved: dict) -> None:
        phase = next(
            (p for p in self._phases if p.name == saved['phase']), None)
        if phase is None or phase.begin != saved['begin']:
            epoch = saved['begin'] + saved['epochs']
            there = next((p.name for p in self._phases
                          if p.begin <= saved['begin'] < p.end), 'no phase')
            raise ValueError(
                f'The checkpoint was saved after epoch {epoch} in the phase '
                f'{saved["phase"]!r}, where this config has {there!r}. '
                'Resume with the original config; to start from its weights, '
                'use load_from without resume.')
        length = saved['epoch_length']
        if length != phase.epoch_length and not saved['ended']:
            raise ValueError(
                f'The checkpoint was saved with {length} iterations per '
                f'epoch, now there are {phase.epoch_length}. Within a phase, '
                'resume with the same global batch: processes x batch_size.')
        self.phase = phase
        self.epochs, self.ended = saved['epochs'], saved['ended']
        self.done, self.validated = saved['done'], saved['validated']
        if self.ended:
            # In iterations of the current epoch length.
            self.done = phase.epoch_length * self.epochs
            if self.validated == saved['done']:
                self.validated = self.done

    def restore(self, runner) -> None:
        """Load the rest of the saved state, once its phase is entered.

        Raises:
            ValueError: The checkpoint is of another type of distiller.
        """
        saved, self._saved = self._saved, {}
        if not saved:
            return
        for name, module in self._distiller.auxiliary.items():
            if name not in saved['auxiliary']:
                raise ValueError(
                    f'The checkpoint was saved by a distiller without {name}, '
                    f'but this is a {type(self._distiller).__name__}. Resume '
                    'with the original config; to start from its weights, '
                    'use load_from without resume.')
            module.load_state_dict(saved['auxiliary'][name])
        if saved['ended']:
            return  # The next phase begins with a new optimizer.
        if saved['optimizer'] is not None:
            runner.optim_wrapper.load_state_dict(saved['optimizer'])
        for scheduler, state in zip(runner.param_schedulers or (),
                                    saved['param_schedulers'] or ()):
            scheduler.load_state_dict(state)
        ranks = saved['ranks']
        self._restore_rank(ranks[get_rank() % len(ranks)])
        for name, part in self._parts.items():
            if name in saved['parts']:
                part.load_state_dict(saved['parts'][name])

    @torch.no_grad()
    def _restore_rank(self, own: Dict[str, Dict[str, Tensor]]) -> None:
        buffers = dict(self._distiller.named_buffers())
        for name, value in own['buffers'].items():
            buffers[name].copy_(value)
        params = dict(self._distiller.named_parameters())
        for name, grad in own['gradients'].items():
            params[name].grad = grad.to(params[name])
