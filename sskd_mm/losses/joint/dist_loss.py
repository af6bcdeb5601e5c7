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
    r"""Correlations of the outputs instead of their divergence (DIST).

    DIST (*Knowledge Distillation from A Stronger Teacher*, arXiv
    2205.10536, Eq. 8 to 10) asks of the student's softened outputs
    :math:`S`, (N, C), only that they go with the teacher's :math:`T`: over
    the classes of each sample (inter-class) and over the samples of the
    batch for each class (intra-class). With :math:`r` the Pearson
    correlation and :math:`\tau` the temperature,

    .. math::
        L = \tau^2 \left(
            \beta \Bigl(1 - \frac{1}{N} \sum_n r(S_{n,:}, T_{n,:})\Bigr)
            + \gamma \Bigl(1 - \frac{1}{C} \sum_c r(S_{:,c}, T_{:,c})\Bigr)
            \right)

    The factor :math:`\tau^2` is not in the paper's equations but in the
    authors' code. Both correlations are those of :class:`PearsonMimicLoss`.
    It also settles what a constant row or column counts, such as all columns
    of a batch of one sample: 0 against another constant and 1/2 against what
    varies, where the authors' code has 1; neither has a gradient.

    Args:
        beta (float): The :math:`\beta`. Defaults to 2.0.
        gamma (float): The :math:`\gamma`. Defaults to 2.0.
        temperature (float): The :math:`\tau`. Defaults to 4.0, for
            CIFAR-100; it is 1 for ImageNet.
        weight (float): What the loss is multiplied with. Defaults to 1.0,
            as :math:`\beta` and :math:`\gamma` are its weights.

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
                f'temperature is {temperature}; it has to be positive.')
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature
        self.pearson = PearsonMimicLoss()

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Compute the loss, without its weight.

        Args:
            student (Knowledge): The student's, with gradients.
            teacher (Knowledge): The teacher's, without.
            labels (Tensor): Not used.
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        outputs = [
            F.softmax(logits / self.temperature, 1)
            for logits in MimicLoss._promote(student.logits, teacher.logits)
        ]
        # It correlates over the samples of a batch; transposed, these are
        # the classes.
        inter = self.pearson(*[output.T for output in outputs])
        intra = self.pearson(*outputs)
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)
