# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.registry import MODELS
from torch import Tensor

from ..objects import Objects
from .distributions import assigned_anchors, check_distributions, divergence
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class LDLoss(JointLoss):
    r"""Divergence between the predicted distributions of box sides (LD).

    GFL predicts each side of a box as a distribution over :math:`n + 1`
    distances. LD (*Localization Distillation for Dense Object Detection*,
    arXiv 2102.12252, Section 3) distills these distributions as KD does class
    logits: softened by a temperature :math:`T`, at the anchors :math:`i`
    assigned to an object,

    .. math::
        L = \frac{T^2}{4 (n + 1)} \sum_i w_i \sum_{e} \sum_j
            p_{iej} \log \frac{p_{iej}}{q_{iej}}

    with :math:`e` the four sides, :math:`p` the teacher's and :math:`q` the
    student's distribution, and :math:`w_i` the student's highest score there,
    detached. Assignment and reduction follow mmdet's ``LDHead``, but the
    student's head stays a plain ``GFLHead``: each step assigns the anchors a
    second time.

    Args:
        weight (float): Loss weight. Defaults to 0.25, as in mmdet's configs.
        temperature (float): :math:`T`. Defaults to 10, as in mmdet's configs.

    Example:
        >>> losses = [dict(type='LDLoss', weight=0.25, temperature=10)]
    """

    needs = ('outputs', 'boxes')

    def __init__(self, weight: float = 0.25, temperature: float = 10) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Check that both heads predict distributions of the same shape.

        Raises:
            ValueError: They do not.
        """
        check_distributions(self, student, teacher)

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Objects,
                indices: None) -> Tensor:
        """Compute the unweighted loss from the heads' outputs."""
        total = 0.
        for scores, ours, theirs, assigned in zip(
                *student.outputs, teacher.outputs[1],
                assigned_anchors(student, labels)):
            weights = scores.detach().float().sigmoid().amax(1).flatten(1)
            bins = ours.shape[1] // 4
            distance = divergence(ours, theirs, self.temperature) / bins
            total = total + (weights * assigned * distance).sum()
        return total * self.temperature**2
