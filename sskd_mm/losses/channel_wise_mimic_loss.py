# Copyright (c) sskd_mm authors. All rights reserved.
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import TAKE_OTHERS, MimicLoss


@MODELS.register_module()
class ChannelWiseMimicLoss(MimicLoss):
    r"""Divergence between where each channel is active (CWD).

    CWD (*Channel-wise Knowledge Distillation for Dense Prediction*, arXiv
    2011.13256) turns each channel into a distribution over its :math:`H W`
    positions and asks the student for the teacher's:

    .. math::
        \phi(x_c)_i = \frac{\exp(x_{ci} / \tau)}{\sum_j \exp(x_{cj} / \tau)}
        \qquad
        L = \frac{\tau^2}{C} \sum_c \sum_i
            \phi(t_c)_i \log \frac{\phi(t_c)_i}{\phi(s_c)_i}

    This is the Kullback-Leibler divergence of the student from the teacher,
    summed over positions and averaged over channels. The paper defines it for
    one sample; here it is also averaged over the batch. Adding a constant to
    a channel of either feature does not change it.

    Args:
        tau (float): Temperature. A larger one lets more positions contribute.
            Defaults to 1.0.

    Raises:
        ValueError: ``tau`` is not positive.

    Example:
        >>> mimic_loss = dict(type='ChannelWiseMimicLoss', tau=4.0)
    """

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        if tau <= 0:
            raise ValueError(f'tau is {tau}; it must be positive.')
        self.tau = tau

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature map (N, C, H, W) or tokens (N, L, C),
                with more than one position.
            teacher (Tensor): Feature of the same shape.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The shapes differ, are none of the above, or have a
                single position, where the loss is always 0.
        """
        student, teacher = self._prepare(student, teacher)
        shape = tuple(student.shape)
        student = self._as_map(student).flatten(2)
        teacher = self._as_map(teacher).flatten(2)
        num_samples, num_channels, num_positions = student.shape
        if num_positions == 1:
            raise ValueError(
                f'Features of shape {shape} have a single position, so their '
                f'channels have no distribution. {TAKE_OTHERS}')
        divergence = F.kl_div(
            F.log_softmax(student / self.tau, dim=2),
            F.log_softmax(teacher / self.tau, dim=2),
            reduction='sum',
            log_target=True)
        return self.tau**2 * divergence / (num_samples * num_channels)
