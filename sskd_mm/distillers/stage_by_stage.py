# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import functools
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..check_keys import arguments, check_keys
from ..losses.objects import Objects
from ..stages import (HEAD, Phase, Stage, StagePartition, find_layouts,
                      parse_stages, run_prefix, warn_of_left_out)
from .comparison import Comparison, Pair
from .compile_modules import compile_modules
from .inheritance import Inheritance
from .student_keys import StudentKeys
from .tap_losses import TapLosses
from .teachers import TeacherFeatures, Teachers
from .value_range import warn_of_wrong_range


@MODELS.register_module()
class StageByStageDistiller(StudentKeys):
    """A student that mimics a teacher's features, stage after stage.

    SSKD (*Feature Matters: A Stage-by-Stage Approach for Knowledge
    Transfer*, arXiv 1812.01819) splits distillation in two: the backbone and
    neck mimic the teacher's features without any task loss, then the head
    alone is trained with its own loss on what was mimicked. So there is no
    loss weight to tune. :class:`StageByStageTrainLoop` leads through these
    phases; in a plain loop, in validation and in testing the distiller is
    the student and nothing else.

    Its ``state_dict`` has the student's plain keys: every checkpoint loads
    strictly in the student's own config. Teacher and adapters exist only
    while training needs them.

    Args:
        student (dict): Config of the student, a plain model of mmdet or
            mmpretrain.
        teacher (dict or list[dict]): ``cfg`` (a config file, ``'mmdet::...'``
            or a model dict), ``checkpoint`` (a path or URL), and optionally
            ``input_transform``, see :class:`Teacher`. Of several teachers
            the mean of the losses is taken at each tap, each with adapters
            of its own; which of them teaches a stage can be said in
            ``stages``.
        stages (str or list): Where to compare: ``'auto'`` for the backbone's
            stages and the neck, or a list of module paths, with
            ``dict(student=..., teacher=...)`` where they differ, see
            :func:`parse_stages`. Defaults to ``'auto'``.
        pre_activation (bool): Whether to compare before the activation that
            a tap ends in, where it ends in one. The paper does not say;
            behind it, what the next stage gets, is this project's reading.
            Defaults to False.
        mimic_loss (dict): Config of the distance between two features; for
            a detector it may have ``foreground``, the share of it that
            objects have, see :class:`PositionwiseMimicLoss`. Defaults to
            ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the map from a student's feature to the
            shape of the teacher's; a dry run fills in the channels. Defaults
            to ``dict(type='ConvAdapter')``.
        inherit (Sequence[str]): Modules, or single parameters, of the
            student that start from the (first) teacher's weights of the same
            names, as far as shapes agree, e.g. ``['neck', 'rpn_head',
            'roi_head']``. Of a deeper ``'backbone'`` of the same kind they
            start from blocks that are spread over each of its stages, see
            :func:`spread_blocks`. Defaults to none.
        channels_last (bool): Whether student, teacher and adapters train in
            ``torch.channels_last``, which suits the tensor cores of a GPU.
            Defaults to False.
        compile (bool or dict): Whether ``torch.compile`` is applied to the
            tapped modules of both networks; a dict holds its arguments, e.g.
            ``dict(mode='max-autotune')``. Worthwhile where all images have
            one shape; not with ``pre_activation``. Defaults to False.
        data_preprocessor (dict, optional): The student's, where a config has
            it beside the model, as mmpretrain's do.

    Example:
        >>> model = dict(
        >>>     type='StageByStageDistiller',
        >>>     student=dict(type='FasterRCNN', ...),
        >>>     teacher=dict(
        >>>         cfg='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        >>>         checkpoint='checkpoints/faster_rcnn_r50.pth'),
        >>>     stages='auto')
    """

    #: Whether the teachers are needed once mimicking is over.
    keeps_teachers = False
    #: What the task's own losses are multiplied with where others are added.
    task_weight = 1.0

    def __init__(self,
                 student: dict,
                 teacher: Union[dict, Sequence[dict]],
                 stages: Union[str, Sequence[Union[str, dict]]] = 'auto',
                 pre_activation: bool = False,
                 mimic_loss: dict = dict(type='L2MimicLoss'),
                 adapter: dict = dict(type='ConvAdapter'),
                 inherit: Sequence[str] = (),
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 data_preprocessor: Optional[dict] = None,
                 **unknown) -> None:
        check_keys('model', unknown,
                   arguments(type(self), StageByStageDistiller))
        if data_preprocessor is not None:
            student = {'data_preprocessor': data_preprocessor, **student}
        preprocessing = copy.deepcopy(student.get('data_preprocessor'))
        student = MODELS.build(student)
        super().__init__(data_preprocessor=student.data_preprocessor)
        self.student = student
        self.adapters = nn.ModuleDict()
        self.feeders = nn.ModuleDict()
        self.mimic_loss = MODELS.build(mimic_loss)
        self.teachers = Teachers()
        self.phase: Optional[Phase] = None
        self.partition: Optional[StagePartition] = None
        if pre_activation and compile:
            raise ValueError(
                'pre_activation=True looks into the tapped modules, which '
                'compile=True makes whole: choose one of them.')
        self._preprocessing = preprocessing
        self._teacher_cfgs = [
            _check_teacher(t)
            for t in ([teacher] if isinstance(teacher, dict) else teacher)
        ]
        self._stages_cfg = stages
        self._pre_activation = pre_activation
        self._adapter_cfg = adapter
        self._inherit = tuple(inherit)
        self._channels_last = channels_last
        self._compile_cfg = {} if compile is True else compile

    def __getattr__(self, name: str) -> Any:
        """What it has not is the student's, so that a hook which reaches
        into its model (``YOLOXModeSwitchHook``) finds its head."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == 'student' or name.startswith('__'):
                raise
            return getattr(self.student, name)

    # --- The life of a distillation -------------------------------------

    def prepare(self, data: Union[dict, tuple, list]) -> None:
        """Build the teachers, find the stages and size the adapters.

        Args:
            data (dict or tuple or list): A collated batch of the training
                set. One forward pass of all networks on it gives the taps'
                shapes.
        """
        device = next(self.student.parameters()).device
        self.teachers = Teachers(self._teacher_cfgs, self.data_preprocessor,
                                 device)
        # Some backbones freeze what their config says no earlier.
        self.student.train()
        stages = parse_stages(self._stages_cfg, self.student,
                              [teacher.model for teacher in self.teachers])
        self.stages = {stage.name: stage for stage in stages}
        self.inheritance = Inheritance(self._inherit, self.student,
                                       self.teachers[0].model)
        if isinstance(data, dict):
            warn_of_wrong_range(data['inputs'], self.data_preprocessor)
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data.get('data_samples')
        self.input_shape = tuple(inputs.shape[-2:])
        targets = self._teach(inputs, stages, samples)
        layouts = [find_layouts(self.student, stages, 0, inputs)]
        for number, teacher in enumerate(self.teachers, 1):
            images = teacher.preprocess(inputs, _sizes(samples))
            layouts.append(
                find_layouts(teacher.model, stages, number, images))
        self.comparison = Comparison(stages, self._adapter_cfg,
                                     self.input_shape, layouts)
        self.partition = StagePartition(
            self.student,
            stages,
            inputs,
            self._pre_activation,
            compared=functools.partial(
                self.comparison.find_levels, targets=targets))
        warn_of_left_out(self.partition)
        for stage in stages:
            self.comparison.build_adapters(
                stage, self.partition.features[stage.name], targets)
        # Hundreds of MiB for a detector, which nobody needs any more.
        self.partition.features.clear()
        self.tap_losses = TapLosses(self.mimic_loss, stages,
                                    self.comparison.tap_shapes)
        if self.tap_losses.read_objects:
            Objects.of(samples, inputs)
        self.adapters = self.comparison.adapters.to(device)
        self.feeders = self.comparison.feeders

    def prepare_phases(self, phases: Sequence[Phase],
                       num_samples: int) -> None:
        """Build what the phases need besides; called once, after
        :meth:`prepare`.

        Args:
            phases (Sequence[Phase]): All that are planned.
            num_samples (int): Images of the last phase's training set.

        Raises:
            ValueError: A phase has nothing to train; a tap to mimic lies in a
                head that does not start from the teacher's weights; or the
                mimic loss cannot compare features of its shape.
        """
        for phase in phases:
            self._check_trains(phase)
        taps = {tap for phase in phases for tap in phase.taps}
        for name in taps:
            own = set(self.partition.in_head[name]) - set(
                self.inheritance.sources)
            if own:
                raise ValueError(
                    f'The tap {self.stages[name].student!r} lies in the head, '
                    'which mimicking does not train, and '
                    f'{", ".join(sorted(own))} would not start from the '
                    "teacher's weights. Write inherit=['head'], or, where "
                    'the shapes of the two heads differ, take the tap out of '
                    "`stages`: ['auto', 'neck'] ends with what a "
                    "classifier's head reads.")
        self.tap_losses.check(taps, next(self.student.parameters()).device)
        if any(phase.border == 'teacher' for phase in phases):
            self.prepare_feeding()

    def prepare_feeding(self) -> None:
        """Build what turns the teacher's features into the student's, which
        the schedule ``blockwise`` needs.

        Raises:
            ValueError: Several teachers, taps before an activation,
                tokens of a student that are compared as a map, or levels of
                it that are compared with none.
        """
        names = [n for n in self.stages if not self.partition.in_head[n]][:-1]
        passed_on = all(map(self.comparison.compares_whole, names))
        if (len(self.teachers) > 1 or self._pre_activation
                or not passed_on):
            raise ValueError(
                "schedule='blockwise' feeds a stage with the feature that one "
                'teacher passes on, in the form in which the student passes '
                'it on. So it takes one teacher, pre_activation=False, no '
                'tokens of a student that can be compared with the '
                'teacher\'s feature only as a map, and a counterpart of the '
                'teacher for each of a student\'s levels.')
        for name in names:
            self.comparison.build_feeders(name)
        self.feeders.to(next(self.student.parameters()).device)

    def compile_stages(self) -> None:
        """Compile the tapped modules, if the config asks for it."""
        if self._compile_cfg is False:
            return
        stages = self.stages.values()
        compile_modules(self.student, [s.student for s in stages],
                        self._compile_cfg)
        # There is none in a run that is resumed behind mimicking.
        for number, teacher in enumerate(self.teachers):
            taps = [s.teachers[number] for s in stages if s.teachers[number]]
            compile_modules(teacher.model, taps, self._compile_cfg)

    def inherit_weights(self) -> None:
        """Start what ``inherit`` names from the teacher's."""
        self.inheritance.apply(self.student, self.teachers[0].model)

    @property
    def inherits_head(self) -> bool:
        """bool: Whether the head has weights of the teacher's."""
        return not set(self.inheritance.sources).isdisjoint(
            self.partition.params[HEAD])

    def enter_phase(self, phase: Phase) -> None:
        """Let train what this phase trains and freeze everything else."""
        self.phase = phase
        if self._channels_last:
            # Not earlier, since it changes which random number goes where in
            # an initialisation.
            self.to(memory_format=torch.channels_last)
            for teacher in self.teachers:
                teacher.model.to(memory_format=torch.channels_last)
        self.set_trainable(phase)
        if not (phase.is_mimic or self.keeps_teachers):
            self.teachers.release()
        self.train()

    def set_trainable(self, phase: Phase) -> None:
        """Let gradients reach what this phase trains and nothing else."""
        self.partition.set_requires_grad(phase.trains)
        self.comparison.set_trainable(phase.taps, phase.border == 'teacher')

    # --- What a model of MMEngine does ------------------------------------

    def train(self, mode: bool = True) -> 'StageByStageDistiller':
        """Set the mode as the student's own ``train`` does, but for what the
        current phase freezes: that stays in eval mode."""
        super().train(mode)
        if mode and self.phase is not None:
            self.partition.set_mode(self.phase.trains)
        return self

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[list] = None,
                mode: str = 'tensor') -> Union[Dict[str, Tensor], list]:
        """The student's forward, except for ``mode='loss'`` in a mimic phase.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            data_samples (list, optional): Annotations; in mimic phases only
                the sizes of the images are read, to tell their padding, and
                the boxes if the mimic loss has ``foreground``.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict or list: As the student's. In a mimic phase, for each tap the
            mimic loss, summed over its levels with weight 1
            (``loss_mimic_<stage>``), and, whatever the loss, how far the
            adapted feature of this batch is from the teacher's
            (``distance_<stage>``, the ``relative_l2`` of
            :class:`Alignment`, which takes no part in training); with the
            schedule ``blockwise`` also the loss of the map from the teacher's
            features to the student's (``loss_feed_<stage>``).
        """
        if mode == 'loss' and self.phase is not None:
            self.teachers.identify(self.data_preprocessor, inputs,
                                   _sizes(data_samples))
            if self.phase.is_mimic:
                return self._mimic(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    @property
    def auxiliary(self) -> Dict[str, nn.Module]:
        """dict[str, nn.Module]: What trains beside the student, by the key
        under which a checkpoint holds it for resuming."""
        return dict(adapters=self.adapters, feeders=self.feeders)

    def losses_of(self, phase: Phase) -> Dict[str, nn.Module]:
        """The losses that a phase adds to the task's own, by their names:
        none here, see :class:`JointDistiller`."""
        return {}

    def adapters_of(self, stage: str) -> nn.ModuleList:
        """The adapters of a stage's tap: for each of its teachers, one a
        level."""
        return self.comparison.adapters_of(stage)

    @property
    def tap_shapes(self) -> Dict[str, List[Tuple[tuple, tuple]]]:
        """dict[str, list[tuple]]: For each stage, for each pair of features
        that are compared their shapes without the batch."""
        return self.comparison.tap_shapes

    # --- Mimicking --------------------------------------------------------

    def _mimic(self, inputs: Tensor,
               data_samples: Optional[list]) -> Dict[str, Tensor]:
        taps, names = self.phase.taps, list(self.stages)
        wanted = self.tap_losses.with_previous(taps)
        if self.phase.border == 'teacher':
            # What comes before a block is fed as well.
            wanted = names[:names.index(wanted[-1]) + 1]
        losses: Dict[str, Tensor] = {}
        pairs = self.compare(inputs, wanted, data_samples, self.phase.border,
                             losses)
        objects = Objects.of(
            data_samples, inputs) if self.tap_losses.read_objects else None
        for name in taps:
            losses.update(self.tap_losses.compute(name, pairs, objects))
        return losses

    def reads_annotations(self, phase: Phase) -> bool:
        """Whether a phase depends on more than the images, or might: what
        a data preprocessor does besides (``batch_augments``) often moves the
        boxes, too."""
        preprocessor = self.data_preprocessor
        return (not phase.is_mimic or self.tap_losses.read_objects
                or type(preprocessor).__name__ != 'DetDataPreprocessor'
                or bool(getattr(preprocessor, 'batch_augments', None)))

    def compare(
        self,
        inputs: Tensor,
        stages: Sequence[str],
        data_samples: Optional[list] = None,
        border: str = 'student',
        losses: Optional[Dict[str, Tensor]] = None,
    ) -> Dict[str, List[Pair]]:
        """Run all networks as far as the last of these stages.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            stages (Sequence[str]): Names of the stages.
            data_samples (list, optional): Tell the size of each image
                without its padding. Defaults to no padding.
            border (str): What a stage gets from the one before, see
                :class:`Phase`. Defaults to ``'student'``.
            losses (dict, optional): Where ``border='teacher'`` adds the
                losses of its maps.

        Returns:
            dict[str, list[Pair]]: For each stage, for each of its teachers,
            for each level of its tap the two features.
        """
        stages = [self.stages[name] for name in stages]
        targets = self._teach(inputs, stages, data_samples)
        by_path = {stage.student: stage for stage in stages}
        size = tuple(inputs.shape[-2:])

        def detach(path, outputs):
            return [x.detach().clone() for x in outputs]

        def feed(path, outputs):
            return self.comparison.feed(by_path[path], outputs, targets, size,
                                        losses)

        pass_on = dict(student=None, detached=detach, teacher=feed)[border]
        features = run_prefix(self.student, list(by_path), inputs,
                              self._pre_activation, pass_on)
        return {
            stage.name: self.comparison.adapt(stage, features[stage.student],
                                              targets, size)
            for stage in stages
        }

    def _teach(self, inputs: Tensor, stages: Sequence[Stage],
               data_samples: Optional[list]) -> List[TeacherFeatures]:
        """Each teacher's features at the taps that it teaches."""
        if self.teachers.keeps_batch:
            # What later phases compare is kept with it.
            names = {s.name for s in (*self._kept_stages(), *stages)}
            stages = [s for s in self.stages.values() if s.name in names]
        taps = [[s.teachers[number] for s in stages if s.teachers[number]]
                for number in range(len(self.teachers))]
        return self.teachers.teach(inputs, taps, _sizes(data_samples),
                                   self._pre_activation)

    def _kept_stages(self) -> List[Stage]:
        """Those whose taps are compared in this phase, or in one that shares
        its cached passes."""
        kept = self.phase.cached_taps or self.phase.taps
        return [self.stages[n] for n in self.tap_losses.with_previous(kept)]

    def teacher_outputs(self, inputs: Tensor,
                        data_samples: Optional[list]) -> Any:
        """What the teachers compute for a batch in the current phase.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            data_samples (list, optional): As :meth:`forward` has it.

        Returns:
            list or dict: Tensors, in lists, tuples and dicts.
        """
        return self._teach(inputs, self._kept_stages(), data_samples)

    def teacher_outputs_key(self) -> list:
        """Plain data that tells, beside the teachers and the images, what
        :meth:`teacher_outputs` are in the current phase, for a cache on
        disk."""
        return [
            type(self).__name__, [s.teachers for s in self._kept_stages()],
            self._pre_activation, self._channels_last, self._compile_cfg,
            self._preprocessing
        ]

    # --- Checks and keys ----------------------------------------------------

    def _check_trains(self, phase: Phase) -> None:
        if phase.cached_passes and phase.kind == 'finetune' and (
                not self.keeps_teachers):
            raise ValueError(
                'train_cfg: cached_passes of the phase finetune keeps what '
                f'the teacher computes in it, but a {type(self).__name__} has '
                'no use for a teacher there. Leave it out.')
        if self.partition.trainable(phase.trains):
            return
        if not phase.is_mimic:
            raise ValueError(
                f'The phase {phase.name!r} has nothing to train: the '
                'student has no weights behind its last tap. Leave it '
                f'out: train_cfg.{phase.name}=dict(max_epochs=0).')
        raise ValueError(
            f'The phase {phase.name!r} has nothing to train: '
            f'{", ".join(phase.trains)} has no parameters of its own. '
            "Leave it out of `stages`, or take schedule='joint', "
            "'cumulative' or 'last', in which its tap trains the "
            'stages before it.')


def _check_teacher(teacher: dict) -> dict:
    check_keys('model.teacher', teacher,
               ('cfg', 'checkpoint', 'input_transform'))
    if 'cfg' not in teacher:
        raise ValueError(
            f'model.teacher has the keys {sorted(teacher)}; it takes cfg (a '
            "config file, 'mmdet::...' or a model dict) and checkpoint (a "
            'path or URL), and may have input_transform.')
    return {'checkpoint': None, **teacher}


def _sizes(data_samples: Optional[list]) -> Optional[List[Tuple[int, int]]]:
    """Height and width of images without their padding, where known."""
    sizes = [getattr(x, 'img_shape', None) for x in data_samples or ()]
    return None if None in sizes or not sizes else [x[:2] for x in sizes]
