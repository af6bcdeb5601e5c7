# Copyright (c) sskd_mm authors. All rights reserved.
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class KDLoss(JointLoss):
    r"""Divergence between softened predictions (KD).

    In KD (*Distilling the Knowledge in a Neural Network*, arXiv 1503.02531)
    a student learns the teacher's probabilities of all classes, softened by a
    temperature :math:`T` (Eq. 1),

    .. math::
        L = \frac{T^2}{N} \sum_n \sum_c p_{nc} \log \frac{p_{nc}}{q_{nc}}
        \qquad p = \mathrm{softmax}(z_t / T), \;
        q = \mathrm{softmax}(z_s / T)

    The factor :math:`T^2` makes the scale of the gradient independent of the
    temperature (its section 2).

    Args:
        weight (float): Loss weight. Defaults to 0.9, as in CRD's comparison
            (arXiv 1910.10699), together with a task weight of 0.1.
        temperature (float): :math:`T`. Defaults to 4, as in CRD's comparison.

    Example:
        >>> model = dict(
        >>>     type='JointDistiller',
        >>>     task_weight=0.1,
        >>>     losses=[dict(type='KDLoss', weight=0.9)])
    """

    needs = ('logits', )

    def __init__(self, weight: float = 0.9, temperature: float = 4) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Check that both have the same number of classes.

        Raises:
            ValueError: They do not.
        """
        numbers = student.logits.shape[1], teacher.logits.shape[1]
        if numbers[0] != numbers[1]:
            raise ValueError(
                f'KDLoss compares the logits of the same classes, but the '
                f'student has {numbers[0]} and the teacher {numbers[1]}. Use '
                'a teacher trained on the student\'s data set, or a loss that '
                'compares features.')

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss from the logits (N, C)."""
        log_q, log_p = (
            F.log_softmax(logits / self.temperature, dim=1)
            for logits in MimicLoss._promote(student.logits, teacher.logits))
        divergence = F.kl_div(
            log_q, log_p, reduction='batchmean', log_target=True)
        return divergence * self.temperature**2
