# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import functools
from typing import (Any, Callable, Collection, Dict, List, NamedTuple,
                    Optional, Sequence, Tuple, Union)

import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..check_keys import arguments, check_keys
from ..losses.objects import Objects
from ..stages import (HEAD, Phase, Stage, StagePartition, pair_levels,
                      parse_stages, run_prefix, tokens_to_map)
from .spread_blocks import spread_blocks
from .student_keys import StudentKeys
from .teacher import Teacher
from .teacher_cache import TeacherCache


class Pair(NamedTuple):
    """A student's feature beside a teacher's, at one level of a tap.

    Attributes:
        student (Tensor): The student's feature: a map (N, C, H, W), tokens
            (N, L, C) or embeddings (N, C).
        adapted (Tensor): The same in the shape of the teacher's.
        teacher (Tensor): The teacher's feature.
    """

    student: Tensor
    adapted: Tensor
    teacher: Tensor


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
        frozen_norm (str): By what the batch norm of a frozen stage
            normalises: ``'running'``, its running statistics, as in
            inference; or ``'batch'``, those of the batch, as when it was
            trained. The running ones stay as they are either way. Defaults
            to ``'running'``.
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
                 frozen_norm: str = 'running',
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
        self.teachers: List[Teacher] = []
        self.teacher_cache = TeacherCache()
        self.phase: Optional[Phase] = None
        self.partition: Optional[StagePartition] = None
        if frozen_norm not in ('running', 'batch'):
            raise ValueError(f'frozen_norm={frozen_norm!r} must be '
                             "'running' or 'batch'.")
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
        self.frozen_norm = frozen_norm
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
        self.teachers = [
            Teacher(
                **cfg, data_preprocessor=self.data_preprocessor, device=device)
            for cfg in self._teacher_cfgs
        ]
        stages = parse_stages(self._stages_cfg, self.student,
                              [teacher.model for teacher in self.teachers])
        self.stages = {stage.name: stage for stage in stages}
        self._check_inherit()
        self._inherited = self._find_inherited()
        data = self.data_preprocessor(data, False)
        inputs = data['inputs']
        self.input_shape = tuple(inputs.shape[-2:])
        targets = self._teach(inputs, stages, data.get('data_samples'))
        # Once for all, since small images do not tell all strides.
        self._levels: Dict[str, List[List[Tuple[int, int]]]] = {}

        def compared(stage, features):
            self._levels[stage.name] = self._find_levels(
                stage, features, targets)
            return sorted(
                {i
                 for levels in self._levels[stage.name] for i, _ in levels})

        self.partition = StagePartition(self.student, stages, inputs,
                                        self._pre_activation, compared)
        self.tap_shapes = {}
        for stage in stages:
            pairs = self._pair(stage, self.partition.features[stage.name],
                               targets, self.input_shape)
            self.tap_shapes[stage.name] = [(tuple(s.shape[1:]),
                                            tuple(t.shape[1:]))
                                           for s, t in pairs]
            self.adapters[_key(stage.name)] = nn.ModuleList(
                self._build_adapter(s, t) for s, t in pairs)
        self._check_previous_taps()
        if self._looks_at_objects:
            self._check_foreground(inputs, data.get('data_samples'))
        self.adapters.to(device)

    def _find_levels(self, stage: Stage, features: Sequence[Tensor],
                     targets: List[dict]) -> List[List[Tuple[int, int]]]:
        """Which of a student's features are compared with which of each
        teacher's."""
        found = []
        for teacher, path, target in zip(self.teachers, stage.teachers,
                                         targets):
            if path is None:
                found.append([])
                continue
            try:
                levels = pair_levels(features, target[path], self.input_shape,
                                     teacher.image_size)
            except ValueError as error:
                raise ValueError(f'Stage {stage.name!r}: {error}') from None
            found.append(levels)
            if not len(features) == len(target[path]) == len(levels):
                MMLogger.get_current_instance().info(
                    f'Stage {stage.name!r}: of the student\'s '
                    f'{len(features)} levels and the teacher\'s '
                    f'{len(target[path])}, the {len(levels)} of equal strides '
                    'are compared. What none of these depends on trains with '
                    'the head.')
        return found

    def _build_adapter(self, source: Tensor, target: Tensor) -> nn.Module:
        # Tokens have their channels last.
        source, target = (x.shape[2 if x.dim() == 3 else 1]
                          for x in (source, target))
        return MODELS.build(
            dict(
                self._adapter_cfg,
                student_channels=source,
                teacher_channels=target))

    def prepare_phases(self, phases: Sequence[Phase],
                       num_samples: int) -> None:
        """Build what the phases need besides; called once, after
        :meth:`prepare`.

        Args:
            phases (Sequence[Phase]): All that are planned.
            num_samples (int): Size of the training set.

        Raises:
            ValueError: A tap to mimic lies in a head that does not start
                from the teacher's weights, or the mimic loss cannot compare
                features of its shape.
        """
        for name in {tap for phase in phases for tap in phase.taps}:
            own = set(self.partition.in_head[name]) - set(self._inherited)
            if own:
                raise ValueError(
                    f'The tap {self.stages[name].student!r} lies in the head, '
                    'which mimicking does not train, and '
                    f'{", ".join(sorted(own))} would not start from the '
                    "teacher's weights. Write inherit=['head'], or, where "
                    'the shapes of the two heads differ, take the tap out of '
                    "`stages`: ['auto', 'neck'] ends with what a "
                    "classifier's head reads.")
        self._check_mimic_loss(
            {tap for phase in phases if phase.is_mimic for tap in phase.taps})
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
        # As maps, or not all of them.
        otherwise = any(
            [tuple(feature.shape[1:])
             for feature in self.partition.features[name]] !=
            [shape for shape, _ in self.tap_shapes[name]] for name in names)
        if len(self.teachers) > 1 or self._pre_activation or otherwise:
            raise ValueError(
                "schedule='blockwise' feeds a stage with the feature that one "
                'teacher passes on, in the form in which the student passes '
                'it on. So it takes one teacher, pre_activation=False, no '
                'tokens of a student that can be compared with the '
                'teacher\'s feature only as a map, and a counterpart of the '
                'teacher for each of a student\'s levels.')
        for name in names:
            self.feeders[_key(name)] = nn.ModuleList(
                self._build_adapter(
                    torch.empty(1, *t, device='meta'),
                    torch.empty(1, *s, device='meta'))
                for s, t in self.tap_shapes[name])
        self.feeders.to(next(self.student.parameters()).device)

    def find_blocks(self, taps: Sequence[str]) -> List[Tuple[str, ...]]:
        """Which stages of a phase ``blockwise`` depend on each other.

        A stage needs nothing but the teacher. Only where the teacher's
        feature does not fit, the map between learns from the student's, so
        that all from there on train together; as do all if the mimic loss
        compares a tap with the one before. One without parameters goes with
        a neighbour.

        Args:
            taps (Sequence[str]): Names of the phase's stages, in order.

        Returns:
            list[tuple[str]]: The blocks, in order.
        """
        blocks: List[Tuple[str, ...]] = []
        tied = bool(self._previous_taps(taps))
        for name in taps:
            if blocks and (tied or not all(
                    map(self.partition.trainable, ([name], blocks[-1])))):
                blocks[-1] += (name, )
            else:
                blocks.append((name, ))
            feeder = self.feeders[_key(name)] if _key(
                name) in self.feeders else nn.ModuleList()
            tied = tied or any(True for _ in feeder.parameters())
        return blocks

    def fold_teachers(self, data: Union[dict, tuple, list]) -> None:
        """Fold the teachers' batch norms, once nothing is to be inherited and
        no metric is to be computed any more.

        Not those of compiled modules, which have been traced as they are, nor
        with taps before an activation, which look into the modules.

        Args:
            data (dict or tuple or list): A collated batch to try it on.
        """
        if self._compile_cfg is not False or self._pre_activation:
            return
        inputs = self.data_preprocessor(data, False)['inputs']
        for number, teacher in enumerate(self.teachers):
            teacher.fold_norms(inputs, [
                stage.teachers[number] for stage in self.stages.values()
                if stage.teachers[number]
            ])

    def compile_stages(self) -> None:
        """Compile the tapped modules, if the config asks for it.

        Each by itself, since a forward pass is looked into, or ended, where
        two of them meet.
        """
        if self._compile_cfg is False:
            return
        # The limit is for each piece of code, and stages mostly share one.
        config = torch._dynamo.config
        config.cache_size_limit = max(config.cache_size_limit,
                                      16 * len(self.stages))
        stages = self.stages.values()
        networks = [(self.student, [stage.student for stage in stages])]
        # There is none in a run that is resumed behind mimicking.
        for number, teacher in enumerate(self.teachers):
            networks.append((teacher.model, [
                stage.teachers[number] for stage in stages
                if stage.teachers[number]
            ]))
        for network, taps in networks:
            for path in taps:
                if not any(tap.startswith(f'{path}.') for tap in taps):
                    module = network.get_submodule(path)
                    module.forward = torch.compile(module.forward,
                                                   **self._compile_cfg)

    def inherit_weights(self) -> None:
        """Start what ``inherit`` names from the teacher's."""
        source = self.teachers[0].model.state_dict()
        own = self.student.state_dict()
        with torch.no_grad():
            for name, taught in self._inherited.items():
                own[name].copy_(source[taught])
        if self._inherit:
            left = [
                name for name in own
                if self._is_to_inherit(name) and name not in self._inherited
            ]
            taken = [
                name if name == taught else f'{name} from {taught}'
                for name, taught in self._inherited.items()
            ]
            MMLogger.get_current_instance().info(
                f'Inherited from the teacher: {len(taken)} tensors: '
                f'{", ".join(taken)}. Left as they were since the '
                f'teacher has none of the name and shape: '
                f'{", ".join(left) or "none"}.')

    def _is_to_inherit(self, name: str) -> bool:
        return any(f'{name}.'.startswith(f'{part}.') for part in self._inherit)

    @property
    def inherits_head(self) -> bool:
        """bool: Whether the head has weights of the teacher's."""
        return not set(self._inherited).isdisjoint(self.partition.params[HEAD])

    def enter_phase(self, phase: Phase) -> None:
        """Let train what this phase trains and freeze everything else."""
        before, self.phase = self.phase, phase
        if before is None or before.cache_begin != phase.cache_begin:
            self.teacher_cache.clear()
        if self._channels_last:
            # Not earlier, since it changes which random number goes where in
            # an initialisation.
            self.to(memory_format=torch.channels_last)
            for teacher in self.teachers:
                teacher.model.to(memory_format=torch.channels_last)
        self.partition.set_requires_grad(phase.trains)
        for name in self.stages:
            adapters = self.adapters_of(name)
            adapters.requires_grad_(name in phase.taps)
            adapters.zero_grad(set_to_none=True)
        for name, feeder in self.feeders.items():
            feeder.requires_grad_(phase.border == 'teacher'
                                  and name in map(_key, phase.taps))
        self.feeders.zero_grad(set_to_none=True)
        if not (phase.is_mimic or self.keeps_teachers):
            self.teachers = []
        self.train()

    # --- What a model of MMEngine does ------------------------------------

    def train(self, mode: bool = True) -> 'StageByStageDistiller':
        """Set the mode as the student's own ``train`` does, but for what the
        current phase freezes: that stays in eval mode."""
        super().train(mode)
        if mode and self.phase is not None:
            self.partition.set_mode(self.phase.trains,
                                    self.frozen_norm == 'batch')
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
        if mode == 'loss' and self.phase is not None and self.phase.is_mimic:
            return self._mimic(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    @property
    def helpers(self) -> Dict[str, nn.Module]:
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
        return self.adapters[_key(stage)]

    @staticmethod
    def helps(key: str, stages: Sequence[str]) -> bool:
        """Whether a tensor of adapters or feeders is of one of these stages.
        """
        return key.partition('.')[0] in map(_key, stages)

    def _mimic(self, inputs: Tensor,
               data_samples: Optional[list]) -> Dict[str, Tensor]:
        taps = self.phase.taps
        before = self._previous_taps(taps)
        wanted = [n for n in self.stages if n in {*taps, *before.values()}]
        if self.phase.border == 'teacher':
            # What comes before a block is fed as well.
            names = list(self.stages)
            wanted = names[:names.index(wanted[-1]) + 1]
        losses: Dict[str, Tensor] = {}
        pairs = self.compare(inputs, wanted, data_samples, self.phase.border,
                             losses)
        objects = Objects.of(
            data_samples, inputs) if self._looks_at_objects else None
        for name in taps:
            total = self._tap_loss(pairs[name], pairs.get(before.get(name)),
                                   None if objects is None else objects.mask)
            teachers = self.stages[name].teachers
            losses[f'loss_mimic_{name}'] = total / (
                len(teachers) - teachers.count(None))
            losses[f'distance_{name}'] = _distance(pairs[name])
        return losses

    def _tap_loss(self, pairs: Sequence[Pair],
                  before: Optional[Sequence[Pair]],
                  mask: Optional[Callable[[tuple], Tensor]]) -> Tensor:
        """The mimic loss of a tap, summed over its levels."""
        levels = [pair[1:] for pair in pairs]
        if before:
            # A single map goes with each level that follows it.
            each = len(levels) // len(before)
            levels = [(*level, *before[i // each][1:])
                      for i, level in enumerate(levels)]
        if mask is not None:
            levels = [(*level, mask(level[1].shape[-2:])) for level in levels]
        return sum(self.mimic_loss(*level) for level in levels)

    def reads_annotations(self, phase: Phase) -> bool:
        """Whether a phase depends on more than the images, or might: what
        a data preprocessor does besides (``batch_augments``) often moves the
        boxes, too."""
        preprocessor = self.data_preprocessor
        return (not phase.is_mimic or self._looks_at_objects
                or type(preprocessor).__name__ != 'DetDataPreprocessor'
                or bool(getattr(preprocessor, 'batch_augments', None)))

    @property
    def _looks_at_objects(self) -> bool:
        return getattr(self.mimic_loss, 'foreground', None) is not None

    def _previous_taps(self, taps: Sequence[str]) -> Dict[str, str]:
        """The tap before each, where the loss compares their relation; the
        first tap, which has none before it, is taken with itself."""
        if not getattr(self.mimic_loss, 'uses_previous_tap', False):
            return {}
        names = list(self.stages)
        return {name: names[max(names.index(name) - 1, 0)] for name in taps}

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

        def detach(path, outputs):
            return [x.detach().clone() for x in outputs]

        def feed(path, outputs):
            stage = by_path[path]
            pairs = self._pair(stage, outputs, targets, inputs.shape[-2:])
            return self._feed(stage, pairs, losses)

        pass_on = dict(student=None, detached=detach, teacher=feed)[border]
        features = run_prefix(self.student, list(by_path), inputs,
                              self._pre_activation, pass_on)
        return {
            stage.name: [
                Pair(s, adapter(s, t.shape), t) for adapter, (s, t) in zip(
                    self.adapters_of(stage.name),
                    self._pair(stage, features[stage.student], targets,
                               inputs.shape[-2:]))
            ]
            for stage in stages
        }

    def _teach(self, inputs: Tensor, stages: Sequence[Stage],
               data_samples: Optional[list]) -> List[dict]:
        """Each teacher's features at the taps that it teaches."""
        if self.teacher_cache.key is not None:
            # What later phases compare is kept with it.
            names = {s.name for s in (*self._kept_stages(), *stages)}
            stages = [s for s in self.stages.values() if s.name in names]
        sizes = _sizes(data_samples)

        def run() -> Tuple[List[dict], List[tuple]]:
            targets = []
            for number, teacher in enumerate(self.teachers):
                taps = [
                    s.teachers[number] for s in stages if s.teachers[number]
                ]
                targets.append(
                    teacher.features(inputs, taps, sizes, self._pre_activation)
                    if taps else {})
            return targets, [teacher.image_size for teacher in self.teachers]

        targets, image_sizes = self.teacher_cache.recall(run, inputs.device)
        for teacher, image_size in zip(self.teachers, image_sizes):
            teacher.image_size = image_size
        return targets

    def _kept_stages(self) -> List[Stage]:
        """Those whose taps are compared in this phase, or in one that shares
        its cached passes."""
        kept = self.phase.cached_taps or self.phase.taps
        names = {*kept, *self._previous_taps(kept).values()}
        return [s for s in self.stages.values() if s.name in names]

    def taught(self, inputs: Tensor, data_samples: Optional[list]) -> Any:
        """What the teachers compute for a batch in the current phase.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            data_samples (list, optional): As :meth:`forward` has it.

        Returns:
            list or dict: Tensors, in lists, tuples and dicts.
        """
        return self._teach(inputs, self._kept_stages(), data_samples)

    def what_is_taught(self) -> list:
        """Plain data that tells, beside the teachers and the images, what
        they compute in the current phase, for a cache on disk."""
        return [
            type(self).__name__, [s.teachers for s in self._kept_stages()],
            self._pre_activation, self._channels_last, self._compile_cfg,
            self._preprocessing
        ]

    def _pair(self, stage: Stage, features: Sequence[Tensor],
              targets: List[dict],
              image_size: Tuple[int, int]) -> List[Tuple[Tensor, Tensor]]:
        """A student's features with each teacher's, level by level, in one
        form: tokens stay tokens if there are as many on both sides, else
        they become maps."""
        pairs = []
        for teacher, path, target, levels in zip(self.teachers,
                                                 stage.teachers, targets,
                                                 self._levels[stage.name]):
            for i, j in levels:
                s, t = features[i], target[path][j]
                if not s.dim() == t.dim() or (s.dim() == 3
                                              and s.shape[1] != t.shape[1]):
                    s, t = (
                        tokens_to_map(x, size) if x.dim() == 3 else x
                        for x, size in ((s, image_size),
                                        (t, teacher.image_size)))
                pairs.append((s, t))
        return pairs

    def _feed(self, stage: Stage, pairs: Sequence[Tuple[Tensor, Tensor]],
              losses: Dict[str, Tensor]) -> List[Tensor]:
        """The teacher's features of a tap in the shape of the student's."""
        fed, errors = [], []
        for feeder, (s, t) in zip(self.feeders[_key(stage.name)], pairs):
            mapped = feeder(t, s.shape)
            if mapped.requires_grad:
                # Its only aim is the student's feature: the next stage must
                # not bend what it is fed with.
                aim = s.detach().float()
                errors.append(
                    F.mse_loss(mapped.float(), aim) /
                    aim.square().mean().clamp_min(1e-12))
            fed.append(mapped.detach().clone())
        if errors:
            losses[f'loss_feed_{stage.name}'] = sum(errors)
        return fed

    # --- Checks and keys ----------------------------------------------------

    def _find_inherited(self) -> Dict[str, str]:
        """The student's tensors that start from the teacher's, and which."""
        teacher = self.teachers[0].model
        source = teacher.state_dict()
        blocks = spread_blocks(self.student, teacher)
        found = {}
        for name, tensor in self.student.state_dict().items():
            if not self._is_to_inherit(name):
                continue
            taught = name
            for own, other in blocks.items():
                if name.startswith(f'{own}.'):
                    taught = other + name[len(own):]
            if taught in source and source[taught].shape == tensor.shape:
                found[name] = taught
        return found

    def _check_inherit(self) -> None:
        for module in self._inherit:
            for role, model in (('student', self.student),
                                ('teacher', self.teachers[0].model)):
                names = [
                    name for name, _ in (*model.named_modules(),
                                         *model.named_parameters()) if name
                ]
                if module not in names:
                    raise ValueError(
                        f'inherit: the {role} ({type(model).__name__}) has no '
                        f'module {module!r}. Its parts are: '
                        f'{", ".join(n for n in names if "." not in n)}.')

    def _check_previous_taps(self) -> None:
        for name, before in self._previous_taps(list(self.stages)).items():
            numbers = [len(self.tap_shapes[n]) for n in (before, name)]
            if numbers[1] % numbers[0]:
                raise ValueError(
                    f'{type(self.mimic_loss).__name__} compares each tap with '
                    f'the one before, but {before!r} has {numbers[0]} feature '
                    f'maps and {name!r} has {numbers[1]}. Leave one of them '
                    'out of `stages`, or choose another loss.')

    @torch.no_grad()
    def _check_mimic_loss(self, taps: Collection[str]) -> None:
        """Compare features in the shapes of the taps, before anything trains.
        """
        ones = functools.partial(
            torch.ones, device=next(self.student.parameters()).device)

        def features(name):
            return [
                Pair(*3 * [ones(2, *shape)])
                for _, shape in self.tap_shapes[name]
            ]

        def mask(size):
            return ones(2, *size, dtype=torch.bool)

        for name in sorted(taps):
            before = self._previous_taps([name]).get(name)
            try:
                self._tap_loss(
                    features(name),
                    features(before) if before else None,
                    mask if self._looks_at_objects else None)
            except ValueError as error:
                raise ValueError(f'Stage {name!r}: {error}') from None

    def _check_foreground(self, inputs: Tensor,
                          data_samples: Optional[list]) -> None:
        Objects.of(data_samples, inputs)
        for name, levels in self.tap_shapes.items():
            for _, shape in levels:
                if len(shape) != 3:
                    raise ValueError(
                        'mimic_loss.foreground tells objects from background '
                        'on maps (C, H, W), but the features of the tap '
                        f'{name!r} have the shape {shape}. Leave the tap out '
                        'of `stages`, or `foreground` out of the loss.')


@torch.no_grad()
def _distance(pairs: Sequence[Pair]) -> Tensor:
    """The mean over the levels; left on its device."""
    norm = functools.partial(torch.linalg.vector_norm, dtype=torch.float32)
    return torch.stack([
        norm(adapted - teacher) / norm(teacher).clamp_min(1e-12)
        for _, adapted, teacher in pairs
    ]).mean()


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


def _key(name: str) -> str:
    # Names of modules must not hold dots.
    return name.replace('.', '_')
