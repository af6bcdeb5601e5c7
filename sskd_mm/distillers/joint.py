# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..losses.joint import JointLoss, Knowledge
from ..stages import Phase, run_prefix, tapped
from .classifier_view import ClassifierView
from .detector_view import DetectorView
from .stage_by_stage import StageByStageDistiller, _sizes
from .teachers import TeacherFeatures


@MODELS.register_module()
class JointDistiller(StageByStageDistiller):
    """A student that learns its task and from a teacher at once.

    It minimises the task's loss plus weighted distillation losses, as most
    other methods do, in the phase ``finetune`` of a
    :class:`StageByStageTrainLoop`. Mimic phases may precede it, as in methods
    of two stages.

    The student runs once per step, and the losses read what
    :class:`ClassifierView` or :class:`DetectorView` records. The teacher runs
    without a graph, and only as far as the losses read it. Parameters of the
    losses train with the student and are saved for resuming, outside the
    ``state_dict``.

    Args:
        student (dict): Config of the student: a detector, or a classifier
            that ends in a linear layer.
        teacher (dict): As in :class:`StageByStageDistiller`, for the same
            task; a single one.
        losses (list[dict]): Configs of :class:`JointLoss` objects, each with
            its ``weight``.
        task_weight (float): Weight of the student's own losses in the phase
            ``finetune``. Defaults to 1.
        **kwargs: As in :class:`StageByStageDistiller`. The losses get the
            features of ``stages`` as the student outputs them, not adapted,
            each FPN level separately; only maps and tokens.

    Raises:
        ValueError: No losses, or several teachers.
        TypeError: A loss is no :class:`JointLoss`.

    Example:
        >>> # Knowledge distillation, from the first epoch to the last.
        >>> model = dict(
        >>>     type='JointDistiller',
        >>>     student=dict(type='ImageClassifier', ...),
        >>>     teacher=dict(cfg='resnet56_cifar100.py', checkpoint=...),
        >>>     task_weight=0.1,
        >>>     losses=[dict(type='KDLoss', weight=0.9, temperature=4)])
        >>> train_cfg = dict(
        >>>     type='StageByStageTrainLoop',
        >>>     mimic=dict(max_epochs=0),
        >>>     head=dict(max_epochs=0),
        >>>     finetune=dict(max_epochs=240))
    """

    keeps_teachers = True

    def __init__(self,
                 student: dict,
                 teacher: dict,
                 losses: Sequence[dict],
                 task_weight: float = 1.0,
                 **kwargs) -> None:
        super().__init__(student, teacher, **kwargs)
        if len(self._teacher_cfgs) > 1:
            raise ValueError(
                f'JointDistiller got {len(self._teacher_cfgs)} teachers, but '
                'its losses compare with one. Write teacher=dict(cfg=..., '
                'checkpoint=...).')
        if not losses:
            raise ValueError(
                'JointDistiller got no losses. Write e.g. '
                "losses=[dict(type='KDLoss', weight=0.9)], or use a "
                'StageByStageDistiller.')
        self.task_weight = task_weight
        self.joint_losses = nn.ModuleDict()
        for cfg in losses:
            loss = MODELS.build(cfg)
            if not isinstance(loss, JointLoss):
                raise TypeError(
                    f'losses: {type(loss).__name__} is no JointLoss. A loss '
                    'that compares two features goes into mimic_loss.')
            self.joint_losses[self._name(loss)] = loss

    def _name(self, loss: JointLoss) -> str:
        name = type(loss).__name__.replace('Loss', '').lower()
        same = sum(type(x) is type(loss) for x in self.joint_losses.values())
        return f'{name}_{same + 1}' if same else name

    # --- Setup ------------------------------------------------------------

    def prepare(self, data: Union[dict, tuple, list]) -> None:
        """As the parent's; finds what the losses read, too.

        Raises:
            ValueError: Networks or data lack something that a loss reads.
        """
        view = DetectorView if DetectorView.accepts(
            self.student) else ClassifierView
        for loss in self.joint_losses.values():
            _check_needs(loss, view, self.student)
        # The student starts with the weights it has without a teacher.
        with torch.random.fork_rng(devices=[]):
            super().prepare(data)
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data.get('data_samples')
        training = self.student.training
        self.student.eval()
        teacher = self.teachers[0]
        wanted = {n for x in self.joint_losses.values() for n in x.needs}
        with torch.no_grad():
            self.view = view(self.student, teacher.model,
                             (inputs, teacher.preprocess(inputs)), samples,
                             wanted)
            self._example = self._compare(inputs, samples,
                                          self._run(self.student, 0, inputs))
        self.student.train(training)

    def prepare_phases(self, phases: Sequence[Phase],
                       num_samples: int) -> None:
        """As the parent's; builds what the losses learn, too.

        Raises:
            ValueError: There is no phase ``finetune``, or a loss cannot be
                computed for these networks.
        """
        with torch.random.fork_rng(devices=[]):
            super().prepare_phases(phases, num_samples)
        if not any(self.losses_of(phase) for phase in phases):
            raise ValueError(
                'A JointDistiller adds its losses in the phase finetune, but '
                'the phases are '
                f'{", ".join(phase.name for phase in phases)}. Write '
                "train_cfg=dict(type='StageByStageTrainLoop', "
                'mimic=dict(max_epochs=0), head=dict(max_epochs=0), '
                'finetune=dict(max_epochs=...)).')
        student, teacher = self._example
        del self._example
        with torch.random.fork_rng(devices=[]):
            for loss in self.joint_losses.values():
                loss.prepare(student, teacher, num_samples)
        self.joint_losses.to(next(self.student.parameters()).device)

    def set_trainable(self, phase: Phase) -> None:
        """Set ``requires_grad`` of all parameters for this phase."""
        super().set_trainable(phase)
        self.joint_losses.requires_grad_(bool(self.losses_of(phase)))
        self.joint_losses.zero_grad(set_to_none=True)

    @property
    def auxiliary(self) -> Dict[str, nn.Module]:
        """dict[str, nn.Module]: The parent's, and the losses."""
        return dict(super().auxiliary, losses=self.joint_losses)

    def losses_of(self, phase: Phase) -> Dict[str, nn.Module]:
        """The losses, by name, that a phase adds to the task's own."""
        return dict(self.joint_losses) if phase.name == 'finetune' else {}

    # --- The interface of an MMEngine model -------------------------------

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[list] = None,
                mode: str = 'tensor') -> Union[Dict[str, Tensor], list]:
        """The parent's forward, except for ``mode='loss'`` in ``finetune``.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            data_samples (list, optional): Annotations.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict or list: In ``finetune`` the student's own losses, times
            ``task_weight``, and ``loss_<name>`` of each added loss, times its
            weight. Otherwise as the parent's.
        """
        if (mode == 'loss' and self.phase is not None
                and self.losses_of(self.phase)):
            # Before the student's dropout advances the random state.
            self.teachers.identify(self.data_preprocessor, inputs,
                                   _sizes(data_samples))
            return self._learn(inputs, data_samples)
        return super().forward(inputs, data_samples, mode=mode)

    def _learn(self, inputs: Tensor, data_samples: list) -> Dict[str, Tensor]:
        with self._observed(self.student, 0) as seen:
            own = self.student(inputs, data_samples, mode='loss')
        losses = {
            name: self._weigh(value) if 'loss' in name else value
            for name, value in own.items()
        }
        student, teacher = self._compare(inputs, data_samples, seen)
        truth = self.view.truth(inputs, data_samples)
        for name, loss in self.joint_losses.items():
            losses[f'loss_{name}'] = loss.weight * loss(
                student, teacher, *truth)
        return losses

    def _weigh(self, value: Union[Tensor, list]) -> Union[Tensor, list]:
        # Detectors return a loss per level.
        if isinstance(value, list):
            return [self._weigh(x) for x in value]
        return value * self.task_weight

    @contextmanager
    def _observed(self, model: nn.Module, which: int) -> Iterator[dict]:
        """Record the taps, and what else the losses read, of a forward pass.
        ``which`` is 0 for the student, 1 for the teacher."""
        with self.view.watch(model, which) as seen:
            with tapped(model, self._taps(which),
                        self._pre_activation) as features:
                yield seen
        seen['features'] = features

    def _run(self, model: nn.Module, which: int, inputs: Tensor) -> dict:
        """Run a network for such a record only."""
        if self.view.taps_alone:
            return dict(
                features=run_prefix(model, self._taps(which), inputs,
                                    self._pre_activation))
        with self._observed(model, which) as seen:
            self.view.run(model, inputs)
        return seen

    @torch.no_grad()
    def _run_teacher(self, inputs: Tensor,
                     data_samples: Optional[list]) -> dict:
        teacher = self.teachers[0]
        images = teacher.preprocess(inputs, _sizes(data_samples))
        seen = self._run(teacher.model, 1, images)
        seen.pop('head', None)  # a module, not an output to cache
        return dict(seen, image_size=tuple(images.shape[-2:]))

    def teacher_outputs(self, inputs: Tensor,
                        data_samples: Optional[list]) -> Any:
        """As the parent's; in ``finetune`` what the losses read."""
        if self.losses_of(self.phase):
            return self._run_teacher(inputs, data_samples)
        return super().teacher_outputs(inputs, data_samples)

    def teacher_outputs_key(self) -> list:
        """The parent's, and what the losses read."""
        needs = {n for x in self.joint_losses.values() for n in x.needs}
        taps = self._taps(1) if self.losses_of(self.phase) else []
        return [*super().teacher_outputs_key(), taps, sorted(needs)]

    def _taps(self, which: int) -> List[str]:
        return [
            stage.teachers[0] if which else stage.student
            for stage in self.stages.values()
        ]

    def _compare(self, inputs: Tensor, data_samples: Optional[list],
                 seen: dict) -> Tuple[Knowledge, Knowledge]:
        """The student's knowledge, from an observed forward pass, and the
        teacher's."""
        outputs = self.teachers.recall(
            lambda: self._run_teacher(inputs, data_samples), inputs.device)
        targets = TeacherFeatures(outputs['features'], outputs['image_size'])
        if 'head' in seen:
            outputs = dict(outputs, head=self.teachers[0].model.bbox_head)
        names: List[str] = []
        pairs: List[Tuple[Tensor, Tensor]] = []
        for name, stage in self.stages.items():
            levels = self.comparison.pair(stage,
                                          seen['features'][stage.student],
                                          [targets],
                                          tuple(inputs.shape[-2:]))
            if levels[0][0].dim() == 2:
                # The losses read the classified embedding instead.
                continue
            pairs += levels
            names += [name] if len(levels) == 1 else [
                f'{name}.{i}' for i in range(len(levels))
            ]
        return tuple(
            Knowledge(
                features=tuple(pair[which] for pair in pairs),
                names=tuple(names),
                **{
                    k: v
                    for k, v in each.items()
                    if k not in ('features', 'image_size')
                }) for which, each in enumerate((seen, outputs)))


def _check_needs(loss: JointLoss, view: type, student: nn.Module) -> None:
    for need in loss.needs:
        if need not in view.offers:
            other = next(x for x in (ClassifierView, DetectorView)
                         if need in x.offers)
            raise ValueError(
                f'losses: {type(loss).__name__} reads the {need} of a '
                f'{other.task}, but the student ({type(student).__name__}) is '
                f'a {view.task}. Use one that compares features, such as '
                'FeatureLoss.')
