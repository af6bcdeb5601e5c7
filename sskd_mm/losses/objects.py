# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor


class Objects(NamedTuple):
    """Where the objects of a batch of a detector are.

    Boxes are in pixels of the batch that the network gets, so after resizing,
    augmentation and padding. A cell of a feature map is foreground if a box
    reaches into the part of the image that it stands for, so every object
    covers one cell at least, however coarse the map is. Crowds and other
    regions that a detector is told to ignore are background.

    Attributes:
        boxes (tuple[Tensor]): For each image (K, 4): left, top, right and
            bottom; K may be 0.
        image_size (tuple[int]): Height and width of the batch.
        samples (Sequence): The annotations that they are from, as mmdet's
            heads take them.

    Example:
        >>> objects = Objects.of(data_samples, inputs)
        >>> objects.mask((25, 38)).shape
        torch.Size([2, 25, 38])
    """

    boxes: Tuple[Tensor, ...]
    image_size: Tuple[int, int]
    samples: Sequence = ()

    @classmethod
    def of(cls, data_samples: Optional[list], inputs: Tensor) -> 'Objects':
        """Read the boxes of a preprocessed batch.

        Args:
            data_samples (list[DetDataSample]): Annotations.
            inputs (Tensor): The images (N, C, H, W).

        Raises:
            ValueError: An image comes without boxes (having none is fine).
        """
        found = [
            x.gt_instances.bboxes if 'gt_instances' in x
            and 'bboxes' in x.gt_instances else None
            for x in data_samples or [{}]
        ]
        if any(x is None for x in found):
            raise ValueError(
                'The foreground is where the boxes of the ground truth are, '
                'but the training images come without gt_instances.bboxes. '
                'Give a detection data set whose pipeline has '
                "dict(type='LoadAnnotations', with_bbox=True), or leave "
                '`foreground` out.')
        # mmdet may hold them in a class of its own.
        boxes = tuple(getattr(x, 'tensor', x) for x in found)
        return cls(boxes, tuple(inputs.shape[-2:]), data_samples)

    def mask(self, size: Tuple[int, int]) -> Tensor:
        """Which cells of a feature map are foreground.

        Args:
            size (tuple[int]): Height H and width W of the map.

        Returns:
            Tensor: (N, H, W), bool.
        """
        return torch.stack([
            (rows[:, :, None] & columns[:, None]).any(0)
            for rows, columns in self.cells(size)
        ])

    def cells(self, size: Tuple[int, int]) -> List[Tuple[Tensor, Tensor]]:
        """The rows and columns that each box reaches into.

        Args:
            size (tuple[int]): Height H and width W of the map.

        Returns:
            list[tuple[Tensor]]: For each image (K, H) and (K, W), bool.
        """
        height, width = self.image_size
        return [(_touched(boxes[:, 1], boxes[:, 3], size[0], height),
                 _touched(boxes[:, 0], boxes[:, 2], size[1], width))
                for boxes in self.boxes]


def _touched(begin: Tensor, end: Tensor, number: int, length: int) -> Tensor:
    """Which of so many equal parts of a length these intervals reach into,
    (K, number)."""
    parts = torch.arange(number, device=begin.device)
    begin, end = (x[:, None].float() * (number / length) for x in (begin, end))
    # An interval without length lies in one part, too.
    first = begin.floor().clamp(0, number - 1)
    last = (end.ceil() - 1).clamp(max=number - 1).maximum(first)
    return (parts >= first) & (parts <= last)
