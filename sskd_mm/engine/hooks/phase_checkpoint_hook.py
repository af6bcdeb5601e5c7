# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import os.path as osp
from contextlib import contextmanager
from typing import Iterator, List

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import HOOKS

from ...stages import Phase


@HOOKS.register_module()
class PhaseCheckpointHook(CheckpointHook):
    """A ``CheckpointHook`` that also saves at the end of each phase, and on
    SIGTERM and Ctrl-C before it ends the run.

    A checkpoint's ``state_dict`` is the student's; :class:`RunState` adds
    what resuming needs. An outdated file is removed after the new one is
    written, not before.

    :class:`StageByStageTrainLoop` turns the config's ``CheckpointHook``, or
    its subclass, into one, so a config need not name it.
    """

    @classmethod
    def adopt(cls, hook: CheckpointHook) -> None:
        """Convert a ``CheckpointHook``, keeping its settings and the methods
        of its own class."""
        kind = type(hook)
        if issubclass(kind, cls):
            return
        hook.__class__ = cls if kind is CheckpointHook else type(
            kind.__name__, (cls, kind), {})

    def before_train(self, runner) -> None:
        """Set up the output folder, and find earlier checkpoints of a resumed
        run."""
        super().before_train(runner)
        # In a copied work directory, leave the original's files alone.
        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = self._here(self.best_ckpt_path)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = path and self._here(path)
        # Processes can agree on a stop only while all of them validate.
        self._val_batches = 0 if runner.val_loop is None else min(
            all_gather_object(len(runner.val_dataloader)))

    def _here(self, path: str) -> str:
        return self.file_backend.join_path(self.out_dir, osp.basename(path))

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs=None) -> None:
        """Save as ``CheckpointHook`` does, and on a stop request."""
        state = runner.train_loop.state
        if state.done + 1 < state.phase.max_iters:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if state.stop.is_agreed(runner.iter + 1):
            self._save_and_stop(runner, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        """Save as ``CheckpointHook`` does; the last epoch of a phase is left
        to :meth:`after_phase`."""
        state = runner.train_loop.state
        if state.done < state.phase.max_iters:
            super().after_train_epoch(runner)

    def after_phase(self, runner, phase: Phase) -> None:
        """Save the end of the phase."""
        self._save_checkpoint_with_step(
            runner, runner.epoch if self.by_epoch else runner.iter,
            dict(epoch=runner.epoch, iter=runner.iter))

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch=None,
                       outputs=None) -> None:
        """Save on a stop request; a resumed run validates again."""
        number = batch_idx + 1
        stop = runner.train_loop.state.stop
        if number <= self._val_batches and stop.is_agreed(number):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    # Swap back the student's own weights.
                    hook.after_val_epoch(runner)
            self._save_and_stop(runner, runner.iter)

    def _save_and_stop(self, runner, iteration: int) -> None:
        """Save in the middle of an epoch and end the run."""
        loop = runner.train_loop
        name = f'iter_{iteration}.pth'
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with loop.state.collected():
            runner.save_checkpoint(
                self.out_dir,
                name,
                meta=dict(epoch=runner.epoch, iter=iteration),
                by_epoch=False,
                backend_args=self.backend_args)
        if is_main_process():
            with open(osp.join(runner.work_dir, 'last_checkpoint'), 'w') as f:
                f.write(self.last_ckpt)
        loop.state.stop.leave(
            f'Saved {self.last_ckpt}; --resume continues from there.')

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with (runner.train_loop.state.collected(),
              self._removing_afterwards()):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        if not self.save_best:
            # Nothing is saved: skip the gathering.
            super()._save_best_checkpoint(runner, metrics)
            return
        with (runner.train_loop.state.collected(),
              self._removing_afterwards()):
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """Delay the removal of outdated checkpoints until the new one is
        written: a kill or a full disk in between would leave none."""
        backend, outdated = self.file_backend, []  # type: ignore
        self.file_backend = copy.copy(backend)
        self.file_backend.remove = outdated.append
        try:
            yield
        finally:
            self.file_backend = backend
        kept: List[str] = [
            self.last_ckpt,
            getattr(self, 'best_ckpt_path', None),
            *getattr(self, 'best_ckpt_path_dict', {}).values()
        ]
        for path in outdated:
            if path not in kept:
                backend.remove(path)
