# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import os
import os.path as osp
import signal
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner.checkpoint import weights_to_cpu


@HOOKS.register_module()
class PhaseCheckpointHook(CheckpointHook):
    """A ``CheckpointHook`` that knows of phases and loses nothing.

    A checkpoint's ``state_dict`` is the student alone. Beside it, under the
    key ``sskd``, lie the name of the phase, the adapters and what else trains
    beside the student, and the gradients accumulated so far (of several
    processes, the first one's); the optimizer and the schedulers are the
    phase's own, under MMEngine's usual keys.

    Beyond what ``CheckpointHook`` does it saves at the end of every phase,
    and on SIGTERM and Ctrl-C before it ends the run; and an outdated file is
    removed once the new one is there, not before.

    :class:`StageByStageTrainLoop` turns a run's ``CheckpointHook`` into one,
    so a config need not name it.
    """

    _signal: Optional[int] = None
    _handlers: Dict[int, Any] = {}

    @classmethod
    def adopt(cls, hook: CheckpointHook) -> None:
        """Turn a ``CheckpointHook`` into one of these, with its settings."""
        hook.__class__ = cls

    def before_train(self, runner) -> None:
        """Listen to SIGTERM and Ctrl-C from now on."""
        super().before_train(runner)
        if threading.current_thread() is threading.main_thread():
            self._handlers = {
                number: signal.signal(number, self._note_signal)
                for number in (signal.SIGTERM, signal.SIGINT)
            }

    def end_train(self, runner) -> None:
        """Leave the signals as they were, however training has ended."""
        self._restore_handlers()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put the phase and its adapters beside the student."""
        loop = runner.train_loop
        checkpoint['sskd'] = dict(
            phase=loop.entered.name,
            iters_per_epoch=len(loop.dataloader),
            **{
                name: weights_to_cpu(module.state_dict())
                for name, module in loop.distiller.helpers.items()
            },
            # There are some in the midst of an accumulation only.
            gradients={
                name: param.grad.cpu()
                for name, param in loop.distiller.named_parameters()
                if param.grad is not None
            })

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Enter the phase that a run resumes in, so that its optimizer is
        there when MMEngine loads the saved one."""
        if not runner._resume:
            return
        loop, saved = runner.train_loop, checkpoint.get('sskd')
        if saved is None:
            raise ValueError(
                'The checkpoint to resume from was not saved by '
                'StageByStageTrainLoop. To start from its weights, use '
                'load_from without resume.')
        loop.resume_phase(checkpoint['meta'], saved['phase'],
                          saved['iters_per_epoch'])
        if loop.entered.name == saved['phase']:
            for name, module in loop.distiller.helpers.items():
                if name not in saved:
                    raise ValueError(
                        f'The checkpoint was saved by a distiller without '
                        f'{name}, and this is a '
                        f'{type(loop.distiller).__name__}. Resume with the '
                        'config that it was saved with; to start from its '
                        'weights, use load_from without resume.')
                module.load_state_dict(saved[name])
            params = dict(loop.distiller.named_parameters())
            for name, grad in saved['gradients'].items():
                params[name].grad = grad.to(params[name])
        else:
            # The phase was finished: the next one starts its own.
            checkpoint.pop('optimizer', None)
            checkpoint.pop('param_schedulers', None)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs=None) -> None:
        """Save as ``CheckpointHook`` does, and when told to stop."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._signal is not None:
            self._save_checkpoint_here(runner)
            self._stop(f'Saved {self.last_ckpt}; --resume goes on from there.')

    def after_train_epoch(self, runner) -> None:
        """Save as ``CheckpointHook`` does, and at the end of a phase."""
        super().after_train_epoch(runner)
        name = f'epoch_{runner.epoch + 1}.pth'
        if (runner.epoch + 1 == runner.train_loop.entered.end
                and osp.basename(self.last_ckpt or '') != name):
            by_epoch, self.by_epoch = self.by_epoch, True
            template, self.filename_tmpl = self.filename_tmpl, 'epoch_{}.pth'
            self._save_checkpoint(runner)
            self.by_epoch, self.filename_tmpl = by_epoch, template

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch=None,
                       outputs=None) -> None:
        """Stop when told to; what was trained is saved by now."""
        if self._signal is not None:
            self._stop('Stopped in a validation.')

    def _save_checkpoint_here(self, runner) -> None:
        """Save in the midst of an epoch."""
        name = f'iter_{runner.iter + 1}.pth'
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            meta=dict(epoch=runner.epoch, iter=runner.iter + 1),
            by_epoch=False,
            backend_args=self.backend_args)
        if is_main_process():
            with open(osp.join(runner.work_dir, 'last_checkpoint'), 'w') as f:
                f.write(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with self._removing_afterwards():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        with self._removing_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """MMEngine removes an outdated checkpoint, then writes the new one.
        A kill or a full disk in between would leave none."""
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

    def _note_signal(self, number, frame) -> None:
        self._signal = number
        # Whoever sends it twice means now.
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, message: str) -> None:
        name = signal.Signals(self._signal).name
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt(f'{name}: {message}')
        raise SystemExit(f'{name}: {message}')


# A process that is forked meanwhile, such as those of mmdet's VOCMetric, has
# the handlers too, and is to end on SIGTERM all the same: its parent waits for
# that. What is sent to it before it has run at all must not get lost.


def _is_listening() -> bool:
    handler = signal.getsignal(signal.SIGTERM)
    return getattr(handler, '__func__',
                   None) is PhaseCheckpointHook._note_signal


def _before_fork() -> None:
    if _is_listening():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _after_fork() -> None:
    if _is_listening():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _after_fork_in_child() -> None:
    if _is_listening():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child)
