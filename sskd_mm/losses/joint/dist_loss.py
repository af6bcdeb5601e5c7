# Copyright (c) sskd_mm authors. All rights reserved.
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from ..pearson_mimic_loss import PearsonMimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class DISTLoss(JointLoss):
    r"""Correlation of the outputs instead of their divergence (DIST).

    DIST (*Knowledge Distillation from A Stronger Teacher*, arXiv
    2205.10536, Eq. 8 to 10) only requires the student's softened outputs
    :math:`S`, (N, C), to correlate with the teacher's :math:`T`: across the
    classes of each sample (inter-class) and, for each class, across the
    samples of the batch (intra-class). With :math:`r` the Pearson correlation
    and :math:`\tau` the temperature,

    .. math::
        L = \tau^2 \left(
            \beta \Bigl(1 - \frac{1}{N} \sum_n r(S_{n,:}, T_{n,:})\Bigr)
            + \gamma \Bigl(1 - \frac{1}{C} \sum_c r(S_{:,c}, T_{:,c})\Bigr)
            \right)

    The factor :math:`\tau^2` comes from the authors' code, not from the
    paper's equations. Both correlations are those of
    :class:`PearsonMimicLoss`. A constant row or column, such as every column
    of a single-sample batch, therefore costs 0 against another constant one
    and 1/2 against a varying one, where the authors' code gives 1; neither
    has a gradient.

    Args:
        beta (float): The :math:`\beta`. Defaults to 2.0.
        gamma (float): The :math:`\gamma`. Defaults to 2.0.
        temperature (float): The :math:`\tau`. Defaults to 4.0, the value for
            CIFAR-100; use 1 for ImageNet.
        weight (float): Loss weight. Defaults to 1.0, since
            :math:`\beta` and :math:`\gamma` already weight it.

    Raises:
        ValueError: ``temperature`` is not positive.

    Example:
        >>> loss = dict(type='DISTLoss', temperature=1.0)
    """

    needs = ('logits', )

    def __init__(self,
                 beta: float = 2.0,
                 gamma: float = 2.0,
                 temperature: float = 4.0,
                 weight: float = 1.0) -> None:
        super().__init__(weight)
        if temperature <= 0:
            raise ValueError(
                f'temperature is {temperature}; it must be positive.')
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature
        self.pearson = PearsonMimicLoss()

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the unweighted loss.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor): Not used.
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        outputs = [
            F.softmax(logits / self.temperature, 1)
            for logits in MimicLoss._promote(student.logits, teacher.logits)
        ]
        # The loss correlates over samples; transpose to correlate over
        # classes.
        inter = self.pearson(*[output.T for output in outputs])
        intra = self.pearson(*outputs)
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)
