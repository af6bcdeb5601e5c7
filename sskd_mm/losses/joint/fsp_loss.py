# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ..fsp_mimic_loss import FSPMimicLoss
from .check_maps import check_maps
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class FSPLoss(JointLoss):
    """The flows between consecutive taps added to the task loss (FSP).

    The sum of :class:`FSPMimicLoss` (*A Gift from Knowledge Distillation*,
    CVPR 2017) over consecutive taps. There are no adapters, so both networks
    need features of the same shapes.

    The paper has two stages: first the flows, then the task alone. So has
    CRD's comparison (arXiv 1910.10699), with 30 epochs of the first stage,
    which needs no weight. For this form use the mimic loss instead of this
    class, in one phase for all taps, followed by finetuning:

    >>> model = dict(
    >>>     type='StageByStageDistiller',
    >>>     mimic_loss=dict(type='FSPMimicLoss'))
    >>> train_cfg = dict(
    >>>     schedule='joint',
    >>>     mimic=dict(max_epochs=30),
    >>>     head=dict(max_epochs=0),
    >>>     finetune=dict(max_epochs=240))

    There the first tap, which has no predecessor, is paired with itself;
    CRD's code starts from the stem's output, and uses average pooling where
    the paper uses max pooling.

    Args:
        weight (float): Loss weight. Defaults to 50, as in CRD's scripts.

    Example:
        >>> losses = [dict(type='FSPLoss', weight=50)]
    """

    def __init__(self, weight: float = 50) -> None:
        super().__init__(weight)
        self.mimic_loss = FSPMimicLoss()

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Check that there are several taps with equal shapes.

        Raises:
            ValueError: There are not.
        """
        check_maps(self, student, teacher)
        shapes = [[tuple(x.shape[1:]) for x in knowledge.features]
                  for knowledge in (student, teacher)]
        if shapes[0] != shapes[1] or len(shapes[0]) < 2:
            raise ValueError(
                'FSPLoss compares how features change from tap to tap. It '
                'needs at least two taps, with the same shapes in both '
                f'networks, but the student has {shapes[0]} and the teacher '
                f'{shapes[1]}. FSPMimicLoss in a mimic phase bridges the '
                'difference by adapters.')

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss from the features."""
        s, t = student.features, teacher.features
        return sum(
            self.mimic_loss(s[k], t[k], s[k - 1], t[k - 1])
            for k in range(1, len(s)))
