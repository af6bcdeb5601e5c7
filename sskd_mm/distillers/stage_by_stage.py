# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import functools
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.logging import MMLogger
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
from .value_range import find_wrong_range


@MODELS.register_module()
class StageByStageDistiller(StudentKeys):
    """A student that mimics a teacher's features, stage by stage.

    SSKD (*Feature Matters: A Stage-by-Stage Approach for Knowledge
    Transfer*, arXiv 1812.01819) splits distillation in two: backbone and neck
    first mimic the teacher's features without a task loss, then the head
    trains alone with its own loss. There is no loss weight to tune.
    :class:`StageByStageTrainLoop` runs these phases. In any other loop, in
    validation and in testing the distiller behaves like the plain student.

    Its ``state_dict`` has the student's plain keys, so every checkpoint
    loads strictly in the student's own config.

    Args:
        student (dict): Config of the student, a plain model of mmdet or
            mmpretrain.
        teacher (dict or list[dict]): ``cfg`` (a config file, ``'mmdet::...'``
            or a model dict), ``checkpoint`` (a path or URL), and optionally
            ``input_transform``, see :class:`Teacher`. With several teachers,
            each tap's loss is the mean over them; each has its own adapters,
            and ``stages`` may say which of them teach a stage.
        stages (str or list): Where to compare: ``'auto'`` for the backbone's
            stages and the neck, or a list of module paths, with
            ``dict(student=..., teacher=...)`` where they differ, see
            :func:`parse_stages`. Defaults to ``'auto'``.
        pre_activation (bool): Whether to compare features before the
            activation that a tap ends in, if any. Defaults to False.
        mimic_loss (dict): Config of the distance between two features. For a
            detector it may set ``foreground``, the objects' share of the
            loss, see :class:`PositionwiseMimicLoss`. Defaults to
            ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the adapter from student to teacher
            features; its channels are filled in. Defaults to
            ``dict(type='ConvAdapter')``.
        inherit (Sequence[str]): The student's modules or parameters that
            start from the (first) teacher's weights of the same name and
            shape, e.g. ``['neck', 'rpn_head', 'roi_head']``. From a deeper
            ``'backbone'`` of the same kind, blocks spread evenly over each
            stage are taken, see :func:`spread_blocks`. Defaults to none.
        channels_last (bool): Whether to train in ``torch.channels_last``,
            which suits the tensor cores of a GPU. Defaults to False.
        compile (bool or dict): Whether to ``torch.compile`` the tapped
            modules; a dict holds its arguments, e.g.
            ``dict(mode='max-autotune')``. Pays off if all images have one
            shape; not available with ``pre_activation``. Defaults to False.
        data_preprocessor (dict, optional): The student's, if the config has
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

    #: Whether the teachers are needed after mimicking.
    keeps_teachers = False
    #: Weight of the task's own losses.
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
        if pre_activation and compile:
            raise ValueError(
                'pre_activation=True hooks into the tapped modules, which '
                'compile=True fuses: choose one of them.')
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
        """Fall back on the student, for hooks that reach into their model
        (``YOLOXModeSwitchHook`` sets attributes of its head)."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == 'student' or name.startswith('__'):
                raise
            return getattr(self.student, name)

    # --- Setup ------------------------------------------------------------

    def prepare(self, data: Union[dict, tuple, list]) -> None:
        """Build the teachers, find the stages and size the adapters.

        Args:
            data (dict or tuple or list): A collated batch of the training
                set, run through all networks once.
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
            wrong = find_wrong_range(data['inputs'], self.data_preprocessor)
            if wrong:
                MMLogger.get_current_instance().warning(wrong)
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
        # Hundreds of MiB for a detector.
        self.partition.features.clear()
        self.tap_losses = TapLosses(self.mimic_loss, stages,
                                    self.comparison.tap_shapes)
        if self.tap_losses.read_objects:
            Objects.of(samples, inputs)
        self.adapters = self.comparison.adapters.to(device)
        self.feeders = self.comparison.feeders

    def prepare_phases(self, phases: Sequence[Phase],
                       num_samples: int) -> None:
        """Check the phases and build what they need; called once, after
        :meth:`prepare`.

        Args:
            phases (Sequence[Phase]): All planned phases.
            num_samples (int): Images in the last phase's training set.

        Raises:
            ValueError: A phase has nothing to train, a tap lies in a head
                that does not start from the teacher's weights, or the mimic
                loss cannot compare features of a tap's shape.
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
                    'which mimic phases do not train, and '
                    f'{", ".join(sorted(own))} would not start from the '
                    "teacher's weights. Write inherit=['head'], or, if the "
                    'shapes of the two heads differ, remove the tap from '
                    "`stages`: ['auto', 'neck'] ends with the input of a "
                    "classifier's head.")
        self.tap_losses.check(taps, next(self.student.parameters()).device)
        if any(phase.border == 'teacher' for phase in phases):
            self.prepare_feeding()

    def _check_trains(self, phase: Phase) -> None:
        if phase.cached_passes and phase.kind == 'finetune' and (
                not self.keeps_teachers):
            raise ValueError(
                'train_cfg: cached_passes of the phase finetune caches '
                f"the teacher's outputs, but {type(self).__name__} uses no "
                'teacher in that phase. Remove it.')
        if self.partition.trainable(phase.trains):
            return
        if not phase.is_mimic:
            raise ValueError(
                f'The phase {phase.name!r} has nothing to train: the '
                'student has no weights after its last tap. Skip it: '
                f'train_cfg.{phase.name}=dict(max_epochs=0).')
        raise ValueError(
            f'The phase {phase.name!r} has nothing to train: '
            f'{", ".join(phase.trains)} has no parameters of its own. '
            "Remove it from `stages`, or use schedule='joint', "
            "'cumulative' or 'last', where its tap trains the "
            'stages before it.')

    def prepare_feeding(self) -> None:
        """Build the maps from teacher to student features that the schedule
        ``blockwise`` needs.

        Raises:
            ValueError: The features cannot be mapped to what the student
                passes on.
        """
        names = [n for n in self.stages if not self.partition.in_head[n]][:-1]
        passed_on = all(map(self.comparison.compares_whole, names))
        if len(self.teachers) > 1 or self._pre_activation or not passed_on:
            raise ValueError(
                "schedule='blockwise' feeds each stage with the teacher's "
                "feature, mapped to the student's shape. It needs one "
                'teacher, pre_activation=False, no tokens of the student '
                'that are compared as a map, and a level of the teacher for '
                "each of the student's.")
        for name in names:
            self.comparison.build_feeders(name)
        self.feeders.to(next(self.student.parameters()).device)

    def compile_stages(self) -> None:
        """Compile the tapped modules, if the config asks for it."""
        if self._compile_cfg is False:
            return
        # A run resumed after mimicking has no teachers.
        networks = [self.student, *(t.model for t in self.teachers)]
        for number, network in enumerate(networks):
            paths = [stage.paths[number] for stage in self.stages.values()]
            compile_modules(network, [p for p in paths if p],
                            self._compile_cfg)

    def inherit_weights(self) -> None:
        """Copy the weights that ``inherit`` names from the teacher."""
        self.inheritance.apply(self.student, self.teachers[0].model)

    @property
    def inherits_head(self) -> bool:
        """bool: Whether the head has weights of the teacher's."""
        return not set(self.inheritance.sources).isdisjoint(
            self.partition.params[HEAD])

    def enter_phase(self, phase: Phase) -> None:
        """Unfreeze what this phase trains and freeze everything else."""
        self.phase = phase
        if self._channels_last:
            # Not earlier: it changes the order in which an initialisation
            # draws its random numbers.
            self.to(memory_format=torch.channels_last)
            for teacher in self.teachers:
                teacher.model.to(memory_format=torch.channels_last)
        self.set_trainable(phase)
        if not (phase.is_mimic or self.keeps_teachers):
            self.teachers.release()
        self.train()

    def set_trainable(self, phase: Phase) -> None:
        """Set ``requires_grad`` of all parameters for this phase."""
        self.partition.set_requires_grad(phase.trains)
        self.comparison.set_trainable(phase.taps, phase.border == 'teacher')

    # --- The interface of an MMEngine model -------------------------------

    def train(self, mode: bool = True) -> 'StageByStageDistiller':
        """As the student's ``train``, but what the current phase freezes
        stays in eval mode."""
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
            data_samples (list, optional): Annotations. Mimic phases read the
                image sizes only, and the boxes if the mimic loss has
                ``foreground``.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict or list: As the student's. In a mimic phase, for each tap,
            the mimic loss summed over its levels (``loss_mimic_<stage>``) and
            the relative L2 distance between adapted and teacher feature
            (``distance_<stage>``, logged only). The schedule ``blockwise``
            adds the loss of the map from teacher to student features
            (``loss_feed_<stage>``).
        """
        if mode == 'loss' and self.phase is not None:
            self.teachers.identify(self.data_preprocessor, inputs,
                                   _sizes(data_samples))
            if self.phase.is_mimic:
                return self._mimic(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    @property
    def auxiliary(self) -> Dict[str, nn.Module]:
        """dict[str, nn.Module]: Modules that train beside the student, by
        their key in a checkpoint."""
        return dict(adapters=self.adapters, feeders=self.feeders)

    def losses_of(self, phase: Phase) -> Dict[str, nn.Module]:
        """The losses, by name, that a phase adds to the task's own: none
        here, see :class:`JointDistiller`."""
        return {}

    def adapters_of(self, stage: str) -> nn.ModuleList:
        """The adapters of a stage: for each teacher, one per level."""
        return self.comparison.adapters_of(stage)

    # --- Mimicking --------------------------------------------------------

    def _mimic(self, inputs: Tensor,
               data_samples: Optional[list]) -> Dict[str, Tensor]:
        taps, names = self.phase.taps, list(self.stages)
        wanted = self.tap_losses.with_previous(taps)
        if self.phase.border == 'teacher':
            # Stages before the first tap are fed as well.
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
        """Whether a phase may need annotations. A data preprocessor with
        ``batch_augments`` often moves the boxes, too."""
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
        """Run all networks up to the last of these stages.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            stages (Sequence[str]): Names of the stages.
            data_samples (list, optional): Hold the sizes of the images
                without padding. Defaults to no padding.
            border (str): The input of each stage, see :class:`Phase`.
                Defaults to ``'student'``.
            losses (dict, optional): Receives the losses of the maps that
                ``border='teacher'`` trains.

        Returns:
            dict[str, list[Pair]]: For each stage, for each of its teachers,
            the two features of each level.
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
        """Each teacher's features at its taps."""
        if self.teachers.caches_batch:
            # The cache keeps what later phases compare, too.
            names = {s.name for s in (*self._cached_stages(), *stages)}
            stages = [s for s in self.stages.values() if s.name in names]
        taps = [[s.teachers[number] for s in stages if s.teachers[number]]
                for number in range(len(self.teachers))]
        return self.teachers.teach(inputs, taps, _sizes(data_samples),
                                   self._pre_activation)

    def _cached_stages(self) -> List[Stage]:
        """Stages compared in this phase, or in one that shares its cache."""
        kept = self.phase.cached_taps or self.phase.taps
        return [self.stages[n] for n in self.tap_losses.with_previous(kept)]

    def teacher_outputs(self, inputs: Tensor,
                        data_samples: Optional[list]) -> Any:
        """What the teachers compute for a batch in the current phase: tensors
        in lists, tuples and dicts."""
        return self._teach(inputs, self._cached_stages(), data_samples)

    def teacher_outputs_key(self) -> list:
        """Plain data that determines :meth:`teacher_outputs`, beside the
        teachers and the images; for a cache on disk."""
        return [
            type(self).__name__, [s.teachers for s in self._cached_stages()],
            self._pre_activation, self._channels_last, self._compile_cfg,
            self._preprocessing
        ]


def _check_teacher(teacher: dict) -> dict:
    check_keys('model.teacher', teacher,
               ('cfg', 'checkpoint', 'input_transform'))
    if 'cfg' not in teacher:
        raise ValueError(
            f'model.teacher has the keys {sorted(teacher)}; it takes cfg (a '
            "config file, 'mmdet::...' or a model dict) and checkpoint (a "
            'path or URL), and optionally input_transform.')
    return {'checkpoint': None, **teacher}


def _sizes(data_samples: Optional[list]) -> Optional[List[Tuple[int, int]]]:
    """Height and width of the images without padding, where known."""
    sizes = [getattr(x, 'img_shape', None) for x in data_samples or ()]
    return None if None in sizes or not sizes else [x[:2] for x in sizes]
