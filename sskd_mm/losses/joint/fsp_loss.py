# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ..fsp_mimic_loss import FSPMimicLoss
from .check_maps import check_maps
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class FSPLoss(JointLoss):
    """The flows from each tap to the next, beside the task's loss (FSP).

    The sum of :class:`FSPMimicLoss` (*A Gift from Knowledge Distillation*,
    CVPR 2017) over consecutive taps. It compares what was not adapted, so
    both networks need features of the same shapes.

    The paper has two stages: the flows first, then the task alone. So has
    CRD's comparison (arXiv 1910.10699), with 30 epochs of the first, in
    which no weight takes part. This form is run without this class, by the
    mimic loss in a phase of all taps and finetuning behind it:

    >>> model = dict(
    >>>     type='StageByStageDistiller',
    >>>     mimic_loss=dict(type='FSPMimicLoss'))
    >>> train_cfg = dict(
    >>>     schedule='joint',
    >>>     mimic=dict(max_epochs=30),
    >>>     head=dict(max_epochs=0),
    >>>     finetune=dict(max_epochs=240))

    There the first tap, which has none before it, is compared with itself
    too; CRD's code starts from the stem's output, and averages where the
    paper takes the maximum.

    Args:
        weight (float): What the loss is multiplied with. Defaults to 50, as
            in CRD's scripts.

    Example:
        >>> losses = [dict(type='FSPLoss', weight=50)]
    """

    def __init__(self, weight: float = 50) -> None:
        super().__init__(weight)
        self.mimic_loss = FSPMimicLoss()

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """See that the taps are several, and of the same shapes.

        Raises:
            ValueError: They are not.
        """
        check_maps(self, student, teacher)
        shapes = [[tuple(x.shape[1:]) for x in knowledge.features]
                  for knowledge in (student, teacher)]
        if shapes[0] != shapes[1] or len(shapes[0]) < 2:
            raise ValueError(
                'FSPLoss compares how features change from tap to tap. It '
                'needs two taps or more, with the same shapes in both '
                f'networks, but the student has {shapes[0]} and the teacher '
                f'{shapes[1]}. With FSPMimicLoss in a mimic phase adapters '
                'make up for the difference.')

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight, from the features."""
        s, t = student.features, teacher.features
        return sum(
            self.mimic_loss(s[k], t[k], s[k - 1], t[k - 1])
            for k in range(1, len(s)))
