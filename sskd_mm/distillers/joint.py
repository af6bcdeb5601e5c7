# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..losses.joint import JointLoss, Knowledge
from ..stages import Phase, tapped
from .stage_by_stage import StageByStageDistiller, _sizes


@MODELS.register_module()
class JointDistiller(StageByStageDistiller):
    """A classifier that learns its task and from a teacher at once.

    The control of stage-by-stage distillation, and the form of most other
    methods: minimise the task's loss plus weighted losses against the
    teacher, in one phase in which the whole student trains. That is the
    phase ``finetune`` of a :class:`StageByStageTrainLoop`; mimic phases may
    come before it, as in methods of two stages, and are the parent's, with
    its options.

    The student's forward pass runs once a step; the losses see what it
    computes on the way. The teacher's runs once, without a graph. What the
    losses have of parameters trains with the student, is kept for resuming
    and is no part of a checkpoint's ``state_dict``.

    Args:
        student (dict): Config of the student, a classifier whose output is
            that of a linear layer.
        teacher (dict): As :class:`StageByStageDistiller` has it, of another
            such classifier. There is one only.
        losses (list[dict]): Configs of the losses that are added, each a
            :class:`JointLoss` with its ``weight``.
        task_weight (float): What the student's own losses are multiplied
            with in the phase ``finetune``. Defaults to 1.
        **kwargs: As :class:`StageByStageDistiller` has them. The features
            that the losses get are those of ``stages``, as the student
            outputs them, not adapted; one that is no map nor tokens, such as
            a pooled one, is left out.

    Raises:
        ValueError: No losses, or several teachers.
        TypeError: A loss that is no :class:`JointLoss`.

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
                f'JointDistiller got {len(self._teacher_cfgs)} teachers; its '
                'losses compare with one. Write teacher=dict(cfg=..., '
                'checkpoint=...).')
        if not losses:
            raise ValueError(
                'JointDistiller got no losses. Write e.g. '
                "losses=[dict(type='KDLoss', weight=0.9)], or take a "
                'StageByStageDistiller.')
        self.task_weight = task_weight
        self.joint_losses = nn.ModuleDict()
        for cfg in losses:
            loss = MODELS.build(cfg)
            if not isinstance(loss, JointLoss):
                raise TypeError(
                    f'losses: {type(loss).__name__} is no JointLoss. One that '
                    'compares two features alone goes into mimic_loss.')
            self.joint_losses[self._name(loss)] = loss

    def _name(self, loss: JointLoss) -> str:
        name = type(loss).__name__.replace('Loss', '').lower()
        same = sum(type(x) is type(loss) for x in self.joint_losses.values())
        return f'{name}_{same + 1}' if same else name

    # --- The life of a distillation -------------------------------------

    def prepare(self, data: Union[dict, tuple, list]) -> None:
        """Build the teacher, find the stages and both classifiers.

        Args:
            data (dict or tuple or list): A collated batch of the training
                set.

        Raises:
            ValueError: A network that is no classifier, or images that come
                without their class or number.
        """
        # Whatever is drawn here, the student begins as without a teacher.
        with torch.random.fork_rng(devices=[]):
            super().prepare(data)
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data.get('data_samples')
        training = self.student.training
        self.student.eval()
        teacher = self.teachers[0]
        with torch.no_grad():
            self._classifiers = (
                _find_classifier(self.student, inputs, 'student'),
                _find_classifier(teacher.model, teacher.see(inputs),
                                 'teacher'))
            _check_samples(samples)
            with self._observed(self.student, 0) as seen:
                self.student(inputs, mode='tensor')
            self._example = self._compare(inputs, samples, seen)
        self.student.train(training)

    def prepare_phases(self, phases: Sequence[Phase],
                       num_samples: int) -> None:
        """Build what the phases need besides, and what the losses learn.

        Args:
            phases (Sequence[Phase]): All that are planned.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: No phase ``finetune``, or networks that a loss cannot
                be computed for.
        """
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

    def enter_phase(self, phase: Phase) -> None:
        """Let train what this phase trains and freeze everything else."""
        super().enter_phase(phase)
        self.joint_losses.requires_grad_(bool(self.losses_of(phase)))
        self.joint_losses.zero_grad(set_to_none=True)

    @property
    def helpers(self) -> Dict[str, nn.Module]:
        """dict[str, nn.Module]: The parent's, and the losses."""
        return dict(super().helpers, losses=self.joint_losses)

    def losses_of(self, phase: Phase) -> Dict[str, nn.Module]:
        """The losses that a phase adds to the task's own, by their names."""
        return dict(self.joint_losses) if phase.name == 'finetune' else {}

    # --- What a model of MMEngine does ------------------------------------

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
            ``task_weight``, and ``loss_<name>`` of each that is added, times
            its weight. Else as the parent's.
        """
        if (mode == 'loss' and self.phase is not None
                and self.losses_of(self.phase)):
            return self._learn(inputs, data_samples)
        return super().forward(inputs, data_samples, mode=mode)

    def _learn(self, inputs: Tensor, data_samples: list) -> Dict[str, Tensor]:
        with self._observed(self.student, 0) as seen:
            own = self.student(inputs, data_samples, mode='loss')
        losses = {
            name: value * self.task_weight if 'loss' in name else value
            for name, value in own.items()
        }
        student, teacher = self._compare(inputs, data_samples, seen)
        labels = _labels(data_samples)
        indices = torch.tensor([x.sample_idx for x in data_samples]).to(
            labels.device, non_blocking=True)
        for name, loss in self.joint_losses.items():
            losses[f'loss_{name}'] = loss.weight * loss(
                student, teacher, labels, indices)
        return losses

    @contextmanager
    def _observed(self, model: nn.Module, which: int) -> Iterator[dict]:
        """Keep what a forward pass computes at the taps, and what goes into
        and out of the classifier. ``which`` is 0 for the student, 1 for the
        teacher."""
        paths = [
            stage.teachers[0] if which else stage.student
            for stage in self.stages.values()
        ]
        seen = {}

        def keep(module, args, output):
            seen.update(embedding=args[0], logits=output)

        classifier = model.get_submodule(self._classifiers[which])
        handle = classifier.register_forward_hook(keep)
        try:
            with tapped(model, paths, self._pre_activation) as features:
                yield seen
        finally:
            handle.remove()
        seen['features'] = features

    def _compare(self, inputs: Tensor, data_samples: Optional[list],
                 seen: dict) -> Tuple[Knowledge, Knowledge]:
        """The student's knowledge, of a forward pass that was observed, and
        the teacher's, after one."""
        teacher = self.teachers[0]

        def run() -> dict:
            with torch.no_grad(), self._observed(teacher.model, 1) as taught:
                teacher.model(
                    teacher.see(inputs, _sizes(data_samples)), mode='tensor')
            return taught

        taught = self.teacher_cache.recall(run, inputs.device)
        names: List[str] = []
        pairs: List[Tuple[Tensor, Tensor]] = []
        for name, stage in self.stages.items():
            levels = self._pair(stage, seen['features'][stage.student],
                                [taught['features']], inputs.shape[-2:])
            if levels[0][0].dim() == 2:
                # Of embeddings, the losses get the one that is classified.
                continue
            pairs += levels
            names += [name] if len(levels) == 1 else [
                f'{name}.{i}' for i in range(len(levels))
            ]
        return tuple(
            Knowledge(
                tuple(pair[which] for pair in pairs), each['embedding'],
                each['logits'], tuple(names))
            for which, each in enumerate((seen, taught)))


def _find_classifier(model: nn.Module, inputs: Tensor, role: str) -> str:
    """The path of the linear layer whose output is the network's."""
    runs, handles = [], []
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            handles.append(
                module.register_forward_hook(
                    lambda module, args, output, path=path: runs.append(
                        (path, output))))
    # By name, for mmpretrain need not be there.
    is_classifier = 'BaseClassifier' in [
        base.__name__ for base in type(model).__mro__
    ]
    try:
        logits = model(inputs, mode='tensor') if is_classifier else None
    finally:
        for handle in handles:
            handle.remove()
    for path, output in runs:
        if output is logits and logits.dim() == 2:
            return path
    raise ValueError(
        f'JointDistiller: the {role} ({type(model).__name__}) is no '
        'classifier of mmpretrain whose output is that of a linear layer, so '
        'there are no logits and no embedding to compare. Give e.g. an '
        'ImageClassifier with a LinearClsHead, or take a '
        'StageByStageDistiller, which needs neither.')


def _check_samples(data_samples: Optional[list]) -> None:
    for key in ('gt_label', 'sample_idx'):
        if any(x.get(key) is None for x in data_samples or [{}]):
            raise ValueError(
                f'JointDistiller: the training images come without {key!r}. '
                "mmpretrain's PackInputs passes it on unless its meta_keys "
                'say otherwise, and its data sets tell it.')


def _labels(data_samples: list) -> Tensor:
    """The classes (N, ); of a mixed image, the one that most of it is of."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([x.gt_score for x in data_samples]).argmax(1)
    return torch.cat([x.gt_label for x in data_samples])
