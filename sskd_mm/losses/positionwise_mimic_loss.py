# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Callable, Optional

import torch
from torch import Tensor

from .mimic_loss import MimicLoss


class PositionwiseMimicLoss(MimicLoss):
    r"""Base of the distances that are a mean over positions.

    In a detector's feature most positions show background. With
    ``foreground`` :math:`= \alpha` the mean is taken over the cells that
    objects reach into, :math:`F`, and over all others, :math:`B`, each by
    itself:

    .. math::
        L = \frac{\alpha}{|F|} \sum_{p \in F} l_p
            + \frac{1 - \alpha}{|B|} \sum_{p \in B} l_p

    So neither the number nor the size of the objects changes the size of the
    loss. It is computed for each level of a tap and over the whole batch (of
    a process); an image without objects is background, and a batch without
    any has the second sum alone. The boxes are the ground truth's, in a mimic
    phase too, which otherwise reads no annotations.

    Args:
        foreground (float, optional): The :math:`\alpha`: 1 compares objects
            alone, as FGFI does, 0.5 weighs both alike. Defaults to none: all
            positions count alike.

    Raises:
        ValueError: ``foreground`` is not from 0 to 1.
    """

    def __init__(self, foreground: Optional[float] = None) -> None:
        super().__init__()
        if foreground is not None and not 0 <= foreground <= 1:
            raise ValueError(
                f'foreground is {foreground}; it is the share of the loss '
                'that objects have, so it has to be from 0 to 1.')
        self.foreground = foreground

    def _mean_of(self, loss: Callable, student: Tensor, teacher: Tensor,
                 mask: Optional[Tensor]) -> Tensor:
        """The mean of one of torch's losses, such as ``F.mse_loss``."""
        if self.foreground is None:
            # Its own mean writes no gradient for each element beforehand.
            return loss(student, teacher)
        return self._mean(loss(student, teacher, reduction='none'), mask)

    def _mean(self, values: Tensor, mask: Optional[Tensor]) -> Tensor:
        """The mean of these values, of any shape without a mask, with one
        (N, C, H, W) or (N, H, W)."""
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
