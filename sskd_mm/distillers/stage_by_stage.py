# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..stages import Phase, StagePartition, parse_stages, run_prefix
from .teacher import Teacher


@MODELS.register_module()
class StageByStageDistiller(BaseModel):
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
        teacher (dict): ``cfg`` (a config file, ``'mmdet::...'`` or a model
            dict) and ``checkpoint`` (a path or URL).
        stages (str or list): Where to compare: ``'auto'`` for the backbone's
            stages and the neck, or a list of module paths, with
            ``dict(student=..., teacher=...)`` where they differ. Defaults to
            ``'auto'``.
        mimic_loss (dict): Config of the distance between two features.
            Defaults to ``dict(type='L2MimicLoss')``.
        adapter (dict): Config of the map from a student's feature to the
            shape of the teacher's; a dry run fills in the channels. Defaults
            to ``dict(type='ConvAdapter')``.
        inherit (Sequence[str]): Modules of the student that start from the
            teacher's weights of the same names, as far as shapes agree, e.g.
            ``['neck', 'rpn_head', 'roi_head']``. Defaults to none.
        channels_last (bool): Whether student, teacher and adapters train in
            ``torch.channels_last``, which suits the tensor cores of a GPU.
            Defaults to False.
        compile (bool or dict): Whether ``torch.compile`` is applied to the
            tapped modules of both networks; a dict holds its arguments, e.g.
            ``dict(mode='max-autotune')``. Worthwhile where all images have
            one shape. Defaults to False.
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

    def __init__(self,
                 student: dict,
                 teacher: dict,
                 stages: Union[str, Sequence[Union[str, dict]]] = 'auto',
                 mimic_loss: dict = dict(type='L2MimicLoss'),
                 adapter: dict = dict(type='ConvAdapter'),
                 inherit: Sequence[str] = (),
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 data_preprocessor: Optional[dict] = None) -> None:
        if data_preprocessor is not None:
            student = {'data_preprocessor': data_preprocessor, **student}
        student = MODELS.build(student)
        super().__init__(data_preprocessor=student.data_preprocessor)
        self.student = student
        self.adapters = nn.ModuleDict()
        self.mimic_loss = MODELS.build(mimic_loss)
        self.teacher: Optional[Teacher] = None
        self.phase: Optional[Phase] = None
        self.partition: Optional[StagePartition] = None
        self._teacher_cfg = _check_teacher(teacher)
        self._stages_cfg = stages
        self._adapter_cfg = adapter
        self._inherit = tuple(inherit)
        self._channels_last = channels_last
        self._compile_cfg = {} if compile is True else compile
        self._register_state_dict_hook(_keep_student_only)
        self._register_load_state_dict_pre_hook(self._accept_student_keys)
        self.register_load_state_dict_post_hook(_expect_student_only)

    # --- The life of a distillation -------------------------------------

    def prepare(self, data: Union[dict, tuple, list]) -> None:
        """Build the teacher, find the stages and size the adapters.

        Args:
            data (dict or tuple or list): A collated batch of the training
                set. One forward pass of both networks on it gives the taps'
                shapes.
        """
        parameter = next(self.student.parameters())
        self.teacher = Teacher(**self._teacher_cfg, device=parameter.device)
        stages = parse_stages(self._stages_cfg, self.student,
                              self.teacher.model)
        self.stages = {stage.name: stage for stage in stages}
        self._check_inherit()
        inputs = self.data_preprocessor(data, False)['inputs']
        self.input_shape = tuple(inputs.shape[-2:])
        self.partition = StagePartition(self.student, stages, inputs)
        targets = self.teacher.features(inputs,
                                        [stage.teacher for stage in stages])
        self.tap_shapes = {}
        for stage in stages:
            pairs = _pair_levels(stage.name, self.partition.features,
                                 targets[stage.teacher])
            self.tap_shapes[stage.name] = [(tuple(s.shape[1:]),
                                            tuple(t.shape[1:]))
                                           for s, t in pairs]
            self.adapters[_key(stage.name)] = nn.ModuleList(
                MODELS.build(
                    dict(
                        self._adapter_cfg,
                        student_channels=s.shape[1],
                        teacher_channels=t.shape[1])) for s, t in pairs)
        self.adapters.to(parameter.device)

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
        networks = dict(student=self.student)
        if self.teacher is not None:  # not resumed behind mimicking
            networks['teacher'] = self.teacher.model
        for role, network in networks.items():
            taps = [getattr(stage, role) for stage in self.stages.values()]
            for path in taps:
                if not any(tap.startswith(f'{path}.') for tap in taps):
                    module = network.get_submodule(path)
                    module.forward = torch.compile(module.forward,
                                                   **self._compile_cfg)

    def inherit_weights(self) -> None:
        """Start the modules named by ``inherit`` from the teacher's."""
        source = self.teacher.model.state_dict()
        taken, left = [], []
        with torch.no_grad():
            for name, tensor in self.student.state_dict().items():
                if not any(name.startswith(f'{m}.') for m in self._inherit):
                    continue
                other = source.get(name)
                if other is not None and other.shape == tensor.shape:
                    tensor.copy_(other)
                    taken.append(name)
                else:
                    left.append(name)
        if self._inherit:
            MMLogger.get_current_instance().info(
                f'Inherited from the teacher: {len(taken)} tensors of '
                f'{", ".join(self._inherit)}. Left as they were since the '
                f'shapes differ: {", ".join(left) or "none"}.')

    def enter_phase(self, phase: Phase) -> None:
        """Let train what this phase trains and freeze everything else."""
        self.phase = phase
        if self._channels_last:
            # Not earlier, since it changes which random number goes where in
            # an initialisation.
            self.to(memory_format=torch.channels_last)
            if self.teacher is not None:
                self.teacher.model.to(memory_format=torch.channels_last)
        self.partition.set_requires_grad(phase.trains)
        for name in self.stages:
            adapters = self.adapters_of(name)
            adapters.requires_grad_(name in phase.taps)
            adapters.zero_grad(set_to_none=True)
        if not phase.is_mimic:
            self.teacher = None
        self.train()

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
            data_samples (list, optional): Annotations; not read in mimic
                phases.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict or list: As the student's. In a mimic phase, for each tap the
            mimic loss, summed over its levels with weight 1
            (``loss_mimic_<stage>``).
        """
        if mode == 'loss' and self.phase is not None and self.phase.is_mimic:
            return self._mimic(inputs)
        return self.student(inputs, data_samples, mode=mode)

    def adapters_of(self, stage: str) -> nn.ModuleList:
        """The adapters of a stage's tap, one a level."""
        return self.adapters[_key(stage)]

    def _mimic(self, inputs: Tensor) -> Dict[str, Tensor]:
        taps = self.phase.taps
        before = self._previous_taps(taps)
        wanted = [n for n in self.stages if n in {*taps, *before.values()}]
        pairs = self.compare(inputs, wanted, self.phase.detach)
        losses = {}
        for name in taps:
            levels = [level[1:] for level in pairs[name]]
            if before:
                earlier = [level[1:] for level in pairs[before[name]]]
                levels = [(*x, *y) for x, y in zip(levels, earlier)]
            losses[f'loss_mimic_{name}'] = sum(
                self.mimic_loss(*level) for level in levels)
        return losses

    def _previous_taps(self, taps: Sequence[str]) -> Dict[str, str]:
        """The tap before each, where the loss compares their relation; the
        first tap, which has none before it, is taken with itself."""
        if not getattr(self.mimic_loss, 'uses_previous_tap', False):
            return {}
        names = list(self.stages)
        return {name: names[max(names.index(name) - 1, 0)] for name in taps}

    def compare(self,
                inputs: Tensor,
                stages: Sequence[str],
                detach: bool = False) -> Dict[str, List[Tuple[Tensor, ...]]]:
        """Run both networks as far as the last of these stages.

        Args:
            inputs (Tensor): Preprocessed images (N, C, H, W).
            stages (Sequence[str]): Names of the stages.
            detach (bool): Whether gradients stop at the borders of the
                student's stages. Defaults to False.

        Returns:
            dict[str, list[tuple[Tensor]]]: For each stage and each level of
            its tap the student's feature, the same adapted to the teacher's
            shape, and the teacher's feature.
        """
        stages = [self.stages[name] for name in stages]
        targets = self.teacher.features(inputs,
                                        [stage.teacher for stage in stages])
        features = run_prefix(self.student,
                              [stage.student for stage in stages], inputs,
                              detach)
        pairs = {}
        for stage in stages:
            adapters = self.adapters_of(stage.name)
            pairs[stage.name] = [
                (s, adapter(s, t.shape[-2:]), t)
                for adapter, s, t in zip(adapters, features[stage.student],
                                         targets[stage.teacher])
            ]
        return pairs

    # --- Checks and keys ----------------------------------------------------

    def _check_inherit(self) -> None:
        for module in self._inherit:
            for role, model in (('student', self.student),
                                ('teacher', self.teacher.model)):
                names = [name for name, _ in model.named_modules() if name]
                if module not in names:
                    raise ValueError(
                        f'inherit: the {role} ({type(model).__name__}) has no '
                        f'module {module!r}. Its parts are: '
                        f'{", ".join(n for n in names if "." not in n)}.')

    @staticmethod
    def _accept_student_keys(state_dict, prefix, *args) -> None:
        """Rename a checkpoint's plain keys to where they go in here."""
        for key in list(state_dict):
            if key.startswith(prefix) and not key.startswith(
                    f'{prefix}student.'):
                name = key[len(prefix):]
                state_dict[f'{prefix}student.{name}'] = state_dict.pop(key)


def _keep_student_only(module, state_dict, prefix, local_metadata) -> None:
    """Save the student under its plain keys and nothing else."""
    for keys in (state_dict, state_dict._metadata):
        for key in list(keys):
            if key.startswith(prefix):
                value = keys.pop(key)
                name = key[len(prefix):]
                if name.startswith('student'):
                    keys[prefix + name[len('student.'):]] = value


def _expect_student_only(module, incompatible_keys) -> None:
    """Adapters are no part of a ``state_dict``, so none is missing in it."""
    incompatible_keys.missing_keys[:] = [
        key for key in incompatible_keys.missing_keys if 'student.' in key
    ]


def _check_teacher(teacher: dict) -> dict:
    unknown = set(teacher) - {'cfg', 'checkpoint'}
    if unknown or 'cfg' not in teacher:
        raise ValueError(
            f'teacher has the keys {sorted(teacher)}; it takes cfg (a config '
            "file, 'mmdet::...' or a model dict) and checkpoint (a path or "
            'URL).')
    return dict(
        cfg=teacher['cfg'], checkpoint=teacher.get('checkpoint'))


def _pair_levels(name: str, features: Dict[str, Sequence[Tensor]],
                 targets: Sequence[Tensor]) -> List[tuple]:
    if len(features[name]) != len(targets):
        raise ValueError(
            f'Stage {name!r}: the student outputs {len(features[name])} '
            f'feature maps '
            f'{[tuple(x.shape[1:]) for x in features[name]]}, the teacher '
            f'{len(targets)} {[tuple(x.shape[1:]) for x in targets]}. Tap '
            'modules that output as many.')
    return list(zip(features[name], targets))


def _key(name: str) -> str:
    # Names of modules must not hold dots.
    return name.replace('.', '_')
