# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Callable, Optional

import torch
from torch import Tensor

from .mimic_loss import MimicLoss


class PositionwiseMimicLoss(MimicLoss):
    r"""Base class of distances averaged over positions.

    Most positions of a detector's feature show background. With
    ``foreground`` :math:`= \alpha`, the cells that objects overlap,
    :math:`F`, and all others, :math:`B`, are averaged separately:

    .. math::
        L = \frac{\alpha}{|F|} \sum_{p \in F} l_p
            + \frac{1 - \alpha}{|B|} \sum_{p \in B} l_p

    The scale of the loss thus depends on neither the number nor the size of
    the objects. The means run over the batch of a process, separately for
    each level of a tap. An image without objects is background, and a batch
    without any object has only the second term. The boxes come from the
    ground truth, so a mimic phase, which otherwise reads no annotations,
    needs them too.

    Args:
        foreground (float, optional): The :math:`\alpha`: 1 compares only
            objects, as FGFI does; 0.5 weights both equally. By default all
            positions count equally.

    Raises:
        ValueError: ``foreground`` is not between 0 and 1.
    """

    def __init__(self, foreground: Optional[float] = None) -> None:
        super().__init__()
        if foreground is not None and not 0 <= foreground <= 1:
            raise ValueError(
                f'foreground is {foreground}; it is the weight of objects in '
                'the loss, so it must be between 0 and 1.')
        self.foreground = foreground

    def _mean_of(self, loss: Callable, student: Tensor, teacher: Tensor,
                 mask: Optional[Tensor]) -> Tensor:
        """Average one of torch's losses, such as ``F.mse_loss``."""
        if self.foreground is None:
            # The built-in mean allocates no elementwise gradient first.
            return loss(student, teacher)
        return self._mean(loss(student, teacher, reduction='none'), mask)

    def _mean(self, values: Tensor, mask: Optional[Tensor]) -> Tensor:
        """Average values: (N, C, H, W) or (N, H, W) with a mask, any shape
        without."""
        if self.foreground is None:
            return values.mean()
        if mask is None or values.dim() not in (3, 4) or (
                mask.shape != (len(values), *values.shape[-2:])):
            raise ValueError(
                f'{type(self).__name__}(foreground={self.foreground}) takes '
                'maps (N, C, H, W) and a mask (N, H, W), not values of shape '
                f'{tuple(values.shape)} and a mask of shape '
                f'{None if mask is None else tuple(mask.shape)}.')
        if values.dim() == 4:
            values = values.mean(1)
        inside = mask.sum().clamp_min(1)
        outside = (~mask).sum().clamp_min(1)
        weights = torch.where(mask, self.foreground / inside,
                              (1 - self.foreground) / outside)
        return (values * weights).sum()
