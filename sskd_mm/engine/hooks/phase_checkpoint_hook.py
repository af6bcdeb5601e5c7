# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner.checkpoint import weights_to_cpu


@HOOKS.register_module()
class PhaseCheckpointHook(Hook):
    """Saves what resuming a phase needs, and at the end of every phase.

    A checkpoint's ``state_dict`` is the student alone. Beside it, under the
    key ``sskd``, lie the name of the phase and the adapters; the optimizer
    and the schedulers are the phase's own, under MMEngine's usual keys.
    :class:`StageByStageTrainLoop` registers this hook by itself.
    """

    # After CheckpointHook (VERY_LOW), which may have saved this epoch.
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put the phase and its adapters beside the student."""
        loop = runner.train_loop
        checkpoint['sskd'] = dict(
            phase=loop.entered.name,
            adapters=weights_to_cpu(loop.distiller.adapters.state_dict()))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Enter the phase that a run resumes in, so that its optimizer is
        there when MMEngine loads the saved one."""
        if not runner._resume:
            return
        loop = runner.train_loop
        if 'sskd' not in checkpoint:
            raise ValueError(
                'The checkpoint to resume from was not saved by '
                'StageByStageTrainLoop. To start from its weights, use '
                'load_from without resume.')
        loop.resume_phase(checkpoint['meta']['epoch'],
                          checkpoint['sskd']['phase'])
        if loop.entered.name == checkpoint['sskd']['phase']:
            loop.distiller.adapters.load_state_dict(
                checkpoint['sskd']['adapters'])
        else:
            # The phase was finished: the next one starts its own.
            checkpoint.pop('optimizer', None)
            checkpoint.pop('param_schedulers', None)

    def after_train_epoch(self, runner) -> None:
        """Save at the end of a phase, unless that was done already."""
        if runner.epoch + 1 != runner.train_loop.entered.end:
            return
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                name = hook.filename_tmpl.format(runner.epoch + 1)
                if not (hook.last_ckpt or '').endswith(name):
                    hook._save_checkpoint(runner)
