# Copyright (c) sskd_mm authors. All rights reserved.
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class FSPMimicLoss(MimicLoss):
    r"""Squared distance between the flows from one tap to the next (FSP).

    FSP (*A Gift from Knowledge Distillation*, CVPR 2017) compares how a
    network gets from one layer to a later one, rather than its features.
    With :math:`F^1` the feature of the previous tap and :math:`F^2` that of
    the tap itself, the flow is their Gram matrix over positions (Eq. 1),

    .. math::
        G_{ij} = \frac{1}{H W} \sum_p F^1_{ip} F^2_{jp}
        \qquad
        L = \frac{1}{N C_1 C_2} \sum_n \| G(s_n) - G(t_n) \|_F^2

    Where their sizes differ, :math:`F^1` is max-pooled to the size of
    :math:`F^2`, as in the paper (if it is smaller, its values are repeated).
    The paper's loss (Eq. 2) is the mean of the squared norms over samples;
    here it is also divided by the number of matrix elements, so that wide
    layers do not outweigh narrow ones.

    The attribute ``uses_previous_tap`` makes the distiller pass the features
    of the previous tap too.

    Example:
        >>> mimic_loss = dict(type='FSPMimicLoss')
    """

    uses_previous_tap = True

    def forward(self, student: Tensor, teacher: Tensor, student_before: Tensor,
                teacher_before: Tensor) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature map (N, C, H, W), tokens (N, L, C) or
                embeddings (N, C).
            teacher (Tensor): Feature of the same shape.
            student_before (Tensor): Feature of the previous tap, of the same
                kind. Channels, height and width (or the number of tokens)
                may differ from those of ``student``.
            teacher_before (Tensor): Feature of the same shape as
                ``student_before``.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The networks' shapes differ at a tap or are none of
                the above, or the taps differ in kind or number of samples.
        """
        student, teacher = self._prepare(student, teacher)
        student_before, teacher_before = self._prepare(student_before,
                                                       teacher_before)
        if (student.dim(), len(student)) != (student_before.dim(),
                                             len(student_before)):
            raise ValueError(
                'The previous tap\'s feature '
                f'{tuple(student_before.shape)} and this tap\'s '
                f'{tuple(student.shape)} differ in kind or in the number of '
                'samples.')
        return (self._flow(student_before, student) -
                self._flow(teacher_before, teacher)).square().mean()

    def _flow(self, before: Tensor, after: Tensor) -> Tensor:
        """Compute the Gram matrices (N, C_before, C_after)."""
        before, after = self._as_map(before), self._as_map(after)
        size = after.shape[2:]
        if before.shape[2:] != size:
            before = F.adaptive_max_pool2d(before, size)
        # Autocast would run this product in half precision.
        with torch.autocast(after.device.type, enabled=False):
            gram = before.flatten(2) @ after.flatten(2).transpose(1, 2)
        return gram / size.numel()
