# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict

import torch
import torch.nn.functional as F
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor


class CropFlipDataPreprocessor(ClsDataPreprocessor):
    """A ``ClsDataPreprocessor`` that also crops and flips whole batches.

    It applies CIFAR's usual augmentation, ``RandomCrop(crop_size=32,
    padding=4)`` and ``RandomFlip(prob=0.5)``, to a batch on its device. Each
    image gets its own offset and flip, from the same distribution and, for
    the same draw, with the same pixels as in a pipeline. Validation and
    testing are not augmented.

    The draws come from torch's generator of that device, so under
    :class:`StageByStageTrainLoop` they depend only on the seed, the process,
    the epoch and the iteration.

    Args:
        padding (int): Black pixels around an image before a crop of its
            original size is taken. Defaults to 4.
        flip_prob (float): Probability of a horizontal flip. Defaults to 0.5.
        **kwargs: Arguments of mmpretrain's ``ClsDataPreprocessor``, which
            gets the augmented images.

    Example:
        >>> data_preprocessor = dict(
        >>>     type='CropFlipDataPreprocessor',
        >>>     num_classes=10,
        >>>     mean=[123.675, 116.28, 103.53],
        >>>     std=[58.395, 57.12, 57.375])
    """

    def __init__(self,
                 padding: int = 4,
                 flip_prob: float = 0.5,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.padding = padding
        self.flip_prob = flip_prob

    def forward(self, data: dict, training: bool = False) -> Dict:
        """Augment while training, then preprocess as the base class does.

        Args:
            data (dict): ``inputs``, images (N, C, H, W) or a list of N images
                (C, H, W) of the same size, and ``data_samples``.
            training (bool): Whether to augment. Defaults to False.

        Returns:
            dict: ``inputs`` (N, C, H, W), normalised, and ``data_samples``.
        """
        if training:
            images = self.cast_data(data['inputs'])
            if not isinstance(images, Tensor):
                images = torch.stack(images)
            data = {**data, 'inputs': self.augment(images)}
        return super().forward(data, training)

    def augment(self, images: Tensor) -> Tensor:
        """Crop and flip.

        Args:
            images (Tensor): (N, C, H, W).

        Returns:
            Tensor: Same shape.
        """
        number, device = len(images), images.device
        offsets = torch.randint(
            2 * self.padding + 1, (2, number), device=device)
        flips = torch.rand(number, device=device) < self.flip_prob
        return crop_and_flip(images, self.padding, *offsets, flips)


def crop_and_flip(images: Tensor, padding: int, top: Tensor, left: Tensor,
                  flips: Tensor) -> Tensor:
    """Crop each padded image, then flip some.

    Args:
        images (Tensor): (N, C, H, W).
        padding (int): Number of zeros on each side.
        top (Tensor): The first row of each crop, (N, ), 0 to 2 * padding.
        left (Tensor): The first column of each crop, likewise.
        flips (Tensor): Whether to flip each image, (N, ), bool.

    Returns:
        Tensor: (N, C, H, W).
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, [padding] * 4)
    # All possible crops, as a view: (N, C, top, left, H, W).
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    numbers = torch.arange(len(images), device=images.device)
    images = crops[numbers, :, top, left]
    return torch.where(flips[:, None, None, None], images.flip(3), images)
