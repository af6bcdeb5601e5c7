# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn


class WarmUp(nn.Module):
    r"""A factor that grows from :math:`1 / E` to 1 over the first epochs.

    In epoch :math:`e = 1, 2, \dots` it is :math:`\min(e / E, 1)`. The epoch
    follows from the number of samples seen by all processes, which is kept in
    a buffer, so that a resumed run continues where it stopped.

    Args:
        epochs (float): The :math:`E`; 0 is no warm-up.
        num_samples (int): Size of the training set.

    Raises:
        ValueError: ``epochs`` is negative.
    """

    seen: Tensor

    def __init__(self, epochs: float, num_samples: int) -> None:
        super().__init__()
        if epochs < 0:
            raise ValueError(
                f'warmup_epochs is {epochs}; it must be 0 (no warm-up) or '
                'more.')
        self.epochs = epochs
        self.num_samples = num_samples
        self.register_buffer('seen', torch.tensor(0))

    def forward(self, loss: Tensor, batch_size: int) -> Tensor:
        """Scale a loss and, in training, count its batch.

        Args:
            loss (Tensor): The loss of this batch, a scalar.
            batch_size (int): The number of samples in this process's batch.

        Returns:
            Tensor: The loss, scaled.
        """
        if self.epochs == 0:
            return loss
        epoch = self.seen // self.num_samples + 1
        if self.training:
            self.seen += batch_size * get_world_size()
        return loss * (epoch / self.epochs).clamp_max(1)
