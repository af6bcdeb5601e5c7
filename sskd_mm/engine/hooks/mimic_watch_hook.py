# Copyright (c) sskd_mm authors. All rights reserved.
import math
from statistics import fmean
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import HOOKS
from torch import Tensor

from ...distillers import Teacher
from ...stages import Phase, run_prefix


@HOOKS.register_module()
class MimicWatchHook(Hook):
    """Watches whether a distillation learns.

    It stops the run

    - if a loss or a trained weight becomes NaN or infinite. Losses stay on
      their device and are read every 50 iterations, at the end of an epoch
      and before a checkpoint is saved, so a good checkpoint is never replaced
      by a bad one. Steps skipped by a gradient scaler are no error.
    - before training, if a teacher's feature at a tap is the same for two
      different images, e.g. zero.

    It warns, with phase, tap and remedies,

    - if a tap's loss explodes: its mean over 50 iterations is more than 10
      times that of the phase's first iteration. It may still recover, so the
      run goes on.
    - if a stage does not learn: a tap's mean loss fell by less than 1 % from
      the first to the last epoch of its phase, or from the first to the last
      quarter of a phase of one epoch.
    - if the student's feature at a tap is the same for two different images
      at the end of the phase, e.g. because of dead ReLUs.

    Registered by :class:`StageByStageTrainLoop`.
    """

    # Before PhaseHook (LOW) and CheckpointHook (VERY_LOW), so that nothing
    # infinite is measured or saved.
    priority = 'BELOW_NORMAL'

    #: Iterations between readings of the losses, which wait for the GPU.
    interval = 50
    #: A loss explodes at this multiple of its first value.
    explosion = 10.
    #: The least relative decrease of a loss that counts as learning.
    progress = 0.01

    def __init__(self) -> None:
        self._phase: Optional[Phase] = None
        self._unread: List[Tuple[int, Dict[str, Tensor]]] = []
        self._losses: Dict[str, Any] = {}

    def before_train(self, runner) -> None:
        """Check the teachers' features at every tap."""
        loop = runner.train_loop
        ahead = [p for p in loop.phases[loop.state.index:] if p.is_mimic]
        if not ahead:
            return
        taps = {tap for phase in ahead for tap in phase.taps}
        stages = [s for n, s in loop.distiller.stages.items() if n in taps]
        images = _two_images(loop.distiller, loop.feed_of(ahead[0]))
        for number, teacher in enumerate(loop.distiller.teachers):
            paths = {
                stage.name: stage.teachers[number]
                for stage in stages if stage.teachers[number]
            }
            if paths:
                self._check_teacher(runner, teacher, paths, images)

    @torch.compiler.set_stance('force_eager')
    def _check_teacher(self, runner, teacher: Teacher, paths: Dict[str, str],
                       images: Tensor) -> None:
        features = teacher.features(images, list(paths.values()))
        for name, path in paths.items():
            levels = features[path]
            dead = _dead_levels(images, levels)
            if not dead:
                continue
            message = (
                f'The tap {name!r}: the teacher\'s feature '
                f'({path}{_which(dead, levels)}) is the same for two '
                'different images, so there is nothing to learn from it. '
                f'Check that {teacher.checkpoint!r} holds trained weights and '
                'that the data preprocessor (mean, std) is the one it was '
                'trained with, or remove the tap: model.stages=[...].')
            if len(dead) == len(levels):
                raise ValueError(message)
            runner.logger.warning(message)

    def before_phase(self, runner, phase: Phase) -> None:
        """Reset the statistics."""
        self._phase = phase
        self._losses = dict(start={}, first={}, epoch={})
        self._unread = []

    def state_dict(self) -> Dict[str, Any]:
        """dict: The phase's losses read so far."""
        return self._losses

    def load_state_dict(self, losses: Dict[str, Any]) -> None:
        """Restore them in a resumed run."""
        self._losses = losses

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Collect the losses, and read them every ``interval`` iterations."""
        self._unread.append((batch_idx, {
            name: value.detach().float()
            for name, value in outputs.items() if 'loss' in name
        }))
        if (batch_idx + 1) % self.interval == 0:
            self._read(runner)

    def after_train_epoch(self, runner) -> None:
        """Read the rest; at the end of a phase, check its progress."""
        self._read(runner)
        phase = self._phase
        epoch, self._losses['epoch'] = self._losses['epoch'], {}
        for tap, losses in epoch.items():
            self._losses['first'].setdefault(tap, fmean(losses))
        loop = runner.train_loop
        if not phase.is_mimic or loop.state.done < phase.max_iters:
            return
        for tap, losses in epoch.items():
            self._check_progress(runner, tap, losses)
        self._check_student(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse to save losses or weights that are not finite."""
        self._read(runner)
        # A step may spoil the weights though its loss was finite.
        bad = [
            name for name, x in runner.train_loop.distiller.named_parameters()
            if x.requires_grad and not torch.isfinite(x).all()
        ]
        if bad:
            raise FloatingPointError(
                f'Phase {self._phase.name!r}, epoch {runner.epoch + 1}: '
                f'{len(bad)} of the trained weights became NaN or infinite, '
                f'e.g. {bad[0]}, though the loss was finite '
                f'{_circumstances(runner)}. {_advice(self._phase)}')

    # --- Losses -------------------------------------------------------------

    def _losses_of_epoch(self, runner) -> Dict[str, List[float]]:
        """Each tap's losses in this epoch so far, all fetched at once.

        Raises:
            FloatingPointError: One of them is not finite.
        """
        epoch = {k: list(v) for k, v in self._losses['epoch'].items()}
        fetched = iter(
            torch.stack([
                value for _, losses in self._unread
                for value in losses.values()
            ]).tolist() if self._unread else [])
        for batch_idx, losses in self._unread:
            values = {name: next(fetched) for name in losses}
            bad = {k: v for k, v in values.items() if not math.isfinite(v)}
            if bad:
                # The sum is less informative than its parts.
                name = next((k for k in bad if k != 'loss'), 'loss')
                raise FloatingPointError(
                    f'Phase {self._phase.name!r}: {_title(name)} became '
                    f'{bad[name]} in epoch {runner.epoch + 1}, iteration '
                    f'{batch_idx + 1} of {len(runner.train_dataloader)} '
                    f'{_circumstances(runner)}. {_advice(self._phase)}')
            for tap in self._phase.taps:
                epoch.setdefault(tap, []).append(values[f'loss_mimic_{tap}'])
        return epoch

    def _read(self, runner) -> None:
        self._losses['epoch'] = self._losses_of_epoch(runner)
        self._unread = []
        for tap, losses in self._losses['epoch'].items():
            window = fmean(losses[-self.interval:])
            start = self._losses['start'].setdefault(tap, losses[0])
            if window > self.explosion * abs(start):
                runner.logger.warning(
                    f'Phase {self._phase.name!r}: the mimic loss of the tap '
                    f'{tap!r} explodes. It began at {start:.4g} and is now '
                    f'{window:.4g}, in epoch {runner.epoch + 1} '
                    f'{_circumstances(runner)}. {_advice(self._phase)}')
                # Warn once.
                self._losses['start'][tap] = math.inf

    def _check_progress(self, runner, tap: str, losses: List[float]) -> None:
        quarter = len(losses) // 4
        if self._phase.max_epochs > 1:
            what = 'epoch'
            first, last = self._losses['first'][tap], fmean(losses)
        elif quarter:
            what = 'quarter of its epoch'
            first, last = fmean(losses[:quarter]), fmean(losses[-quarter:])
        else:
            return  # too short
        if first - last < self.progress * abs(first):
            runner.logger.warning(
                f'Phase {self._phase.name!r}: the mimic loss of the tap '
                f'{tap!r} fell by less than {self.progress:.0%} from the '
                f'first ({first:.4g}) to the last {what} ({last:.4g}) '
                f'{_circumstances(runner)}. If the phase\'s alignment is '
                'good, it learned early and fewer epochs suffice. If not, try '
                f'another learning rate, {_lr_key(self._phase)}, a '
                "scale-free loss, model.mimic_loss=dict(type='L2MimicLoss', "
                'normalize=True), another model.adapter, or a tap that the '
                'student can match.')

    # --- Features -----------------------------------------------------------

    @torch.compiler.set_stance('force_eager')
    @torch.no_grad()
    def _check_student(self, runner) -> None:
        loop = runner.train_loop
        distiller, mode = loop.distiller, loop.distiller.training
        stages = [distiller.stages[tap] for tap in self._phase.taps]
        images = _two_images(distiller, loop.feed_of(self._phase))
        distiller.eval()
        features = run_prefix(distiller.student,
                              [stage.student for stage in stages], images)
        distiller.train(mode)
        for stage in stages:
            levels = features[stage.student]
            dead = _dead_levels(images, levels)
            if dead:
                runner.logger.warning(
                    f'Phase {self._phase.name!r} ended, and the student\'s '
                    f'feature at the tap {stage.name!r} ({stage.student}'
                    f'{_which(dead, levels)}) is the same for two different '
                    'images, e.g. because of dead ReLUs. Later layers get no '
                    f'information from it. {_advice(self._phase)}')


def _two_images(distiller, feed) -> Tensor:
    """The first and the last image of a training set, preprocessed."""
    samples = [feed.dataset[index] for index in (0, len(feed.dataset) - 1)]
    batch = feed.loader.collate_fn(samples)
    return distiller.data_preprocessor(batch, False)['inputs']


def _dead_levels(images: Tensor, levels: Sequence[Tensor]) -> List[int]:
    if torch.equal(images[0], images[1]):
        return []  # copies of one image
    return [k for k, x in enumerate(levels) if torch.equal(x[0], x[1])]


def _which(dead: List[int], levels: Sequence[Tensor]) -> str:
    return f', levels {dead} of {len(levels)}' if len(levels) > 1 else ''


def _title(loss: str) -> str:
    tap = loss[len('loss_mimic_'):]
    return (f'the mimic loss of the tap {tap!r}'
            if loss.startswith('loss_mimic_') else f'{loss!r}')


def _circumstances(runner) -> str:
    wrapper = runner.optim_wrapper
    parameter = next(runner.train_loop.distiller.parameters())
    precision = str(parameter.dtype)
    if isinstance(wrapper, AmpOptimWrapper):
        low = wrapper.cast_dtype or torch.get_autocast_dtype(
            parameter.device.type)
        precision += f' mixed with {low}'
    return (f'(learning rate {wrapper.get_lr()["lr"][0]:.3g}, precision '
            f'{precision})')


def _lr_key(phase: Phase) -> str:
    return (f'train_cfg.phases={{{phase.name!r}: dict(optim_wrapper=dict('
            'optimizer=dict(lr=...)))}')


def _advice(phase: Phase) -> str:
    loss = (", a scale-free loss, model.mimic_loss=dict(type='L2MimicLoss', "
            'normalize=True)' if phase.is_mimic else '')
    return (
        f'Try a smaller learning rate, {_lr_key(phase)}, a longer warm-up, '
        f'gradient clipping, optim_wrapper.clip_grad=dict(max_norm=10){loss}, '
        'and float32 or bfloat16 instead of float16. Start again, or --resume '
        'from the end of an earlier phase: within a phase the saved learning '
        'rate is used.')
