# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Optional, Sequence, Union

from torch import Tensor, nn


def find_wrong_range(images: Union[Tensor, Sequence[Tensor]],
                     data_preprocessor: nn.Module) -> Optional[str]:
    """Check the value range of images against their mean and standard
    deviation.

    A mismatch raises no error: the network trains on images that are almost
    constant, or saturated.

    Args:
        images (Tensor or Sequence[Tensor]): Before preprocessing, (N, C, H,
            W), or (C, H, W) each.
        data_preprocessor (nn.Module): MMEngine's ``ImgDataPreprocessor`` or
            mmpretrain's ``ClsDataPreprocessor``.

    Returns:
        str or None: The problem and its remedy.

    Example:
        >>> # A pipeline with Normalize in it
        >>> find_wrong_range(batch['inputs'], model.data_preprocessor)
        'The images have values of up to 2.6 ...'
    """
    mean = getattr(data_preprocessor, 'mean', None)
    if not isinstance(mean, Tensor) or not len(images):
        return None
    mean = float(mean.max())
    largest = max(float(image.float().abs().max()) for image in images)
    floating = any(image.is_floating_point() for image in images)
    found = f'The images have values of up to {largest:.4g}, but '
    if mean > 10 and floating and 0 < largest <= 10:
        return (f'{found}data_preprocessor normalises them with a mean of '
                f'{mean:.4g}. Are they normalised already? Remove Normalize '
                'from each pipeline, or mean and std from '
                'data_preprocessor.')
    if 0 < mean <= 1 and largest > 10:
        return (f'{found}data_preprocessor has a mean of {mean:.4g}, which '
                'is for values from 0 to 1. Multiply its mean and std by '
                '255.')
    if 10 < mean < 256 and largest > 4 * 256:
        return (f'{found}data_preprocessor has a mean of {mean:.4g}, which '
                'is for 8-bit images. Set the mean and std of these images.')
    return None
