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
    """Watches whether a distillation learns, and says so when it does not.

    It stops the run

    - when a loss of any phase is NaN or infinite. The losses stay on their
      device and are read every 50 iterations, at the end of an epoch, and
      before anything is saved; a checkpoint whose trained weights are not
      finite is not written either, so a good one is never replaced by it. A
      step that a gradient scaler skips is no error: its loss is finite.
    - before training, when the teacher's feature at a tap is the same for
      two different images, e.g. zero: there is nothing to learn from it.

    It warns, naming phase, tap and what to try,

    - when a tap's loss explodes: its mean over 50 iterations is more than 10
      times what the phase's first iteration had, before anything was
      learned. Batches differ by far less than that. It is no more than a
      warning since such a loss may still come back.
    - when a stage does not learn: a tap's mean loss fell by less than 1 %
      from the first to the last epoch of its phase. Epochs see the same
      images, so little of that is chance. In a phase of one epoch its first
      and last quarter are compared.
    - when the student's feature at a tap is the same for two different images
      at the end of the phase, as dead ReLUs make it.

    :class:`StageByStageTrainLoop` registers this hook by itself.
    """

    # Before PhaseHook (LOW) and CheckpointHook (VERY_LOW): what is not finite
    # is neither measured nor saved.
    priority = 'BELOW_NORMAL'

    #: Reading the losses waits for the GPU, so it is not done at every step.
    interval = 50
    #: How many times its first value a loss has in an explosion.
    explosion = 10.
    #: What a loss must fall by, relative to where it began.
    progress = 0.01

    def __init__(self) -> None:
        self._phase: Optional[Phase] = None
        self._unread: List[Tuple[int, Dict[str, Tensor]]] = []
        self._losses: Dict[str, Any] = {}

    def before_train(self, runner) -> None:
        """See that the teacher has something to teach at every tap."""
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
                'trained with, or leave the tap out: model.stages=[...].')
            if len(dead) == len(levels):
                raise ValueError(message)
            runner.logger.warning(message)

    def before_phase(self, runner, phase: Phase) -> None:
        """Begin anew."""
        self._phase = phase
        self._losses = dict(start={}, first={}, epoch={})
        self._unread = []

    def state_dict(self) -> Dict[str, Any]:
        """dict: What was read of the phase's losses so far."""
        return self._losses

    def load_state_dict(self, losses: Dict[str, Any]) -> None:
        """Go on where a resumed run was stopped."""
        self._losses = losses

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Keep the losses on their device and read them now and then."""
        self._unread.append((batch_idx, {
            name: value.detach().float()
            for name, value in outputs.items() if 'loss' in name
        }))
        if (batch_idx + 1) % self.interval == 0:
            self._read(runner)

    def after_train_epoch(self, runner) -> None:
        """Read the rest; at a phase's end see what it has come to."""
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
        """Let nothing be saved that is not finite."""
        self._read(runner)
        # The loss before a step tells nothing of the weights after it.
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
        """Each tap's losses in this epoch so far. All are fetched at once.

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
                # The sum of all tells less than its parts.
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
                    f'{tap!r} explodes. It began at {start:.4g} and is '
                    f'{window:.4g} in epoch {runner.epoch + 1} '
                    f'{_circumstances(runner)}. {_advice(self._phase)}')
                # Saying it once is enough.
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
            return  # Too short to tell.
        if first - last < self.progress * abs(first):
            runner.logger.warning(
                f'Phase {self._phase.name!r}: the mimic loss of the tap '
                f'{tap!r} fell by less than {self.progress:.0%} from the '
                f'first ({first:.4g}) to the last {what} ({last:.4g}) '
                f'{_circumstances(runner)}. If the phase\'s alignment is '
                'good, all was learned early and fewer epochs do. If not, try '
                f'another learning rate, {_lr_key(self._phase)}, a loss '
                "without unit, model.mimic_loss=dict(type='L2MimicLoss', "
                'normalize=True), another model.adapter, or a tap that the '
                'student can follow.')

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
                    f'Phase {self._phase.name!r}: at its end the student\'s '
                    f'feature at the tap {stage.name!r} ({stage.student}'
                    f'{_which(dead, levels)}) is the same for two different '
                    'images, as dead ReLUs make it. What follows gets nothing '
                    f'from it. {_advice(self._phase)}')


def _two_images(distiller, feed) -> Tensor:
    """Preprocessed, the first and the last of a training set."""
    samples = [feed.dataset[index] for index in (0, len(feed.dataset) - 1)]
    batch = feed.loader.collate_fn(samples)
    return distiller.data_preprocessor(batch, False)['inputs']


def _dead_levels(images: Tensor, levels: Sequence[Tensor]) -> List[int]:
    if torch.equal(images[0], images[1]):
        return []  # A set of copies: nothing can be told.
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
    loss = (", a loss without unit, model.mimic_loss=dict(type='L2MimicLoss', "
            'normalize=True)' if phase.is_mimic else '')
    return (
        f'Try a smaller learning rate, {_lr_key(phase)}, a longer warm-up, '
        f'gradient clipping, optim_wrapper.clip_grad=dict(max_norm=10){loss}, '
        'and float32 or bfloat16 if it is float16. Start again or --resume '
        'from the end of an earlier phase: within a phase the saved learning '
        'rate counts.')
