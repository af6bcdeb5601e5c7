# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn


class Renormalize:
    """Converts images preprocessed for a student to a teacher's preprocessing.

    Mean, standard deviation, channel order and padding value are exchanged;
    random augmentation (flips, mixing) stays. Grey images are repeated for a
    teacher that takes three channels.

    Args:
        student (nn.Module): The student's data preprocessor: MMEngine's
            ``ImgDataPreprocessor`` or a subclass, or mmpretrain's
            ``ClsDataPreprocessor``.
        teacher (nn.Module): The teacher's.
        device (torch.device): Of the images. Defaults to the CPU.
        in_channels (int, optional): Input channels of the teacher's network.
            Defaults to the student's.

    Example:
        >>> renormalize = Renormalize(student.data_preprocessor,
        >>>                           teacher.data_preprocessor)
        >>> images = renormalize(images, [(480, 640), (512, 600)])
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        device: torch.device = torch.device('cpu'),
        in_channels: Optional[int] = None,
    ) -> None:
        self.in_channels = in_channels
        self.swap = _converts(student) != _converts(teacher)
        mean, std = _statistics(student)
        if self.swap:
            mean, std = mean.flip(0), std.flip(0)
        teacher_mean, teacher_std = _statistics(teacher)
        scale, shift = std / teacher_std, (mean - teacher_mean) / teacher_std
        self.pad_value = float(_one(getattr(teacher, 'pad_value', 0)))
        self.is_identity = (not self.swap and bool((scale == 1).all())
                            and bool((shift == 0).all()))
        # Moved once: doing so in each step would wait for the GPU.
        self.scale, self.shift = scale.to(device), shift.to(device)

    def __call__(
            self,
            images: Tensor,
            sizes: Optional[Sequence[Tuple[int, int]]] = None) -> Tensor:
        """Convert a batch (N, C, H, W). ``sizes``, if any, are height and
        width of the images without padding."""
        images = self.widen(images)
        if self.is_identity:
            return images
        if self.swap:
            images = images.flip(1)
        scale, shift = (x.to(images)[:, None, None]
                        for x in (self.scale, self.shift))
        images = torch.addcmul(shift, images, scale)
        for image, (height, width) in zip(images, sizes or ()):
            image[:, height:] = self.pad_value
            image[:, :, width:] = self.pad_value
        return images

    def widen(
        self, images: Union[Tensor, Sequence[Tensor]]
    ) -> Union[Tensor, List[Tensor]]:
        """Repeat the channel of grey images, (N, C, H, W) or (C, H, W) each,
        for a teacher that takes three."""
        if not isinstance(images, Tensor):
            return [self.widen(image) for image in images]
        if self.in_channels != 3 or images.shape[-3] != 1:
            return images
        return images.expand(*images.shape[:-3], 3, -1, -1)


def input_channels(model: nn.Module) -> Optional[int]:
    """Input channels of a network's first convolution; None without one."""
    return next((module.in_channels for module in model.modules()
                 if isinstance(module, nn.Conv2d)), None)


def _converts(preprocessor: nn.Module) -> bool:
    return bool(
        getattr(preprocessor, '_channel_conversion',
                getattr(preprocessor, 'to_rgb', False)))


def _statistics(preprocessor: nn.Module) -> Tuple[Tensor, Tensor]:
    if getattr(preprocessor, '_enable_normalize', False):
        # The student's are on the GPU already, a new teacher's are not yet.
        return tuple(
            x.detach().cpu().float().flatten()
            for x in (preprocessor.mean, preprocessor.std))
    # For any number of channels.
    return torch.zeros(1), torch.ones(1)


def _one(value) -> float:
    return value[0] if isinstance(value, (list, tuple)) else value
