# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor


class Objects(NamedTuple):
    """Objects in a detection batch.

    Boxes are in pixels of the batch as the network sees it: resized,
    augmented and padded. A cell of a feature map is foreground if a box
    overlaps its part of the image, so every object covers at least one cell,
    however coarse the map. Crowds and other ignored regions are background.

    Attributes:
        boxes (tuple[Tensor]): Per image, (K, 4): left, top, right, bottom. K
            may be 0.
        image_size (tuple[int]): Height and width of the batch.
        samples (Sequence): The annotations of the boxes, in the form that
            mmdet's heads take.

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
            ValueError: An image has no box annotation (an empty one is fine).
        """
        found = [
            x.gt_instances.bboxes if 'gt_instances' in x
            and 'bboxes' in x.gt_instances else None
            for x in data_samples or [{}]
        ]
        if any(x is None for x in found):
            raise ValueError(
                '`foreground` needs ground-truth boxes, but the training '
                'images have no gt_instances.bboxes. Use a detection data '
                'set whose pipeline has '
                "dict(type='LoadAnnotations', with_bbox=True), or leave "
                '`foreground` out.')
        # mmdet may wrap them in a class of its own.
        boxes = tuple(getattr(x, 'tensor', x) for x in found)
        return cls(boxes, tuple(inputs.shape[-2:]), data_samples)

    def mask(self, size: Tuple[int, int]) -> Tensor:
        """Mark the foreground cells of a feature map.

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
        """Mark the rows and columns that each box overlaps.

        Args:
            size (tuple[int]): Height H and width W of the map.

        Returns:
            list[tuple[Tensor]]: Per image, (K, H) and (K, W), bool.
        """
        height, width = self.image_size
        return [(_touched(boxes[:, 1], boxes[:, 3], size[0], height),
                 _touched(boxes[:, 0], boxes[:, 2], size[1], width))
                for boxes in self.boxes]


def _touched(begin: Tensor, end: Tensor, number: int, length: int) -> Tensor:
    """Split a length into equal parts and mark those that each interval
    overlaps, (K, number)."""
    parts = torch.arange(number, device=begin.device)
    begin, end = (x[:, None].float() * (number / length) for x in (begin, end))
    # An interval of zero length still lies in one part.
    first = begin.floor().clamp(0, number - 1)
    last = (end.ceil() - 1).clamp(max=number - 1).maximum(first)
    return (parts >= first) & (parts <= last)
