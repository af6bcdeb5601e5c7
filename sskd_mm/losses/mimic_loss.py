# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Tuple, Union

import torch
from torch import Tensor, nn

#: What to do if a loss needs more than one position.
TAKE_OTHERS = ('Leave the tap out of `stages`. If it is an FPN, whose last '
               'levels have one position on small images, name its other '
               "levels, e.g. 'neck.fpn_convs.0'.")


class MimicLoss(nn.Module):
    """Base class of distances between a student's and a teacher's feature.

    It settles what all of them share: which shapes can be compared, in which
    precision, which axis holds the channels, and how a feature without a
    direction (all zeros) is treated.
    """

    @staticmethod
    def _prepare(student: Tensor, teacher: Tensor) -> Tuple[Tensor, Tensor]:
        """Check that the shapes agree, and promote."""
        if student.shape != teacher.shape:
            raise ValueError(
                f'The student\'s feature {tuple(student.shape)} and the '
                f'teacher\'s {tuple(teacher.shape)} differ in shape; they '
                'need an adapter.')
        return MimicLoss._promote(student, teacher)

    @staticmethod
    def _prepare_maps(student: Tensor, teacher: Tensor,
                      wanted: str) -> Tuple[Tensor, Tensor]:
        """Do the same for a loss whose features may differ in channels: check
        that there are several positions, the same in both, promote, and view
        as maps. ``wanted`` names what a single position lacks."""
        shapes = tuple(student.shape), tuple(teacher.shape)
        student, teacher = MimicLoss._promote(student, teacher)
        student, teacher = map(MimicLoss._as_map, (student, teacher))
        if student[:, :1].shape != teacher[:, :1].shape:
            raise ValueError(
                f'The student\'s feature {shapes[0]} and the teacher\'s '
                f'{shapes[1]} differ in more than channels; they need an '
                'adapter.')
        if student.shape[2:].numel() == 1:
            raise ValueError(
                f'Features of shape {shapes[0]} have a single position, so '
                f'they have no {wanted}. {TAKE_OTHERS}')
        return student, teacher

    @staticmethod
    def _promote(student: Tensor, teacher: Tensor) -> Tuple[Tensor, Tensor]:
        """Cast half precision to float32; leave float64 alone."""
        dtype = torch.promote_types(student.dtype, torch.float32)
        return student.to(dtype), teacher.to(dtype)

    @staticmethod
    def _as_map(feature: Tensor) -> Tensor:
        """View tokens (N, L, C) as a map (N, C, L, 1) and embeddings (N, C)
        as (N, C, 1, 1)."""
        if feature.dim() == 4:
            return feature
        if feature.dim() == 3:
            return feature.transpose(1, 2)[..., None]
        if feature.dim() == 2:
            return feature[..., None, None]
        raise ValueError(f'A feature of shape {tuple(feature.shape)} is '
                         'neither (N, C, H, W) nor (N, L, C) nor (N, C).')

    @staticmethod
    def _unit_length(feature: Tensor, dim: Union[int, tuple]) -> Tensor:
        """Divide by the L2 norm over ``dim``."""
        energy = feature.square().sum(dim, keepdim=True)
        # An all-zero vector has no direction: it stays zero and gets no
        # gradient. The usual epsilon in the denominator would multiply its
        # gradient by 1 / epsilon, which ruins a step and overflows under loss
        # scaling.
        silent = energy < 1e-24
        return feature * energy.masked_fill(silent, torch.inf).rsqrt()
