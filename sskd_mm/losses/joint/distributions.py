# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...compat import is_a
from ..mimic_loss import MimicLoss
from ..objects import Objects
from .joint_loss import JointLoss
from .knowledge import Knowledge


def check_distributions(loss: JointLoss, student: Knowledge,
                        teacher: Knowledge) -> None:
    """Check that both heads predict box sides as distributions.

    Args:
        loss (JointLoss): The loss that needs them.
        student (Knowledge): The student's outputs in a dry run.
        teacher (Knowledge): The teacher's outputs in the same dry run.

    Raises:
        ValueError: One does not, or their shapes differ.
    """
    name = type(loss).__name__
    for role, each in (('student', student), ('teacher', teacher)):
        if not is_a(each.head, 'GFLHead'):
            raise ValueError(
                f'{name} compares distributions of distances, but the '
                f'{role}\'s head ({type(each.head).__name__}) has none. Use '
                'GFL, or another detector whose head is a GFLHead.')
    shapes = [[tuple(x.shape[1:]) for kind in each.outputs for x in kind]
              for each in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f'{name} compares the heads anchor by anchor, but the student\'s '
            f'outputs have the shapes {shapes[0]} and the teacher\'s '
            f'{shapes[1]}. Give both heads the same classes, strides and '
            'reg_max.')


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""KL divergence of distributions, averaged over the sides of a box.

    Args:
        student (Tensor): Output of the student's head, (N, 4 (n + 1), H, W).
        teacher (Tensor): Output of the teacher's head, of the same shape.
        temperature (float): Softens both.

    Returns:
        Tensor: :math:`\sum_j p_j \log (p_j / q_j)` at each anchor, (N, H W).
    """
    log_q, log_p = (
        F.log_softmax(
            x.flatten(2).unflatten(1, (4, -1)) / temperature, dim=2)
        for x in MimicLoss._promote(student, teacher))
    return F.kl_div(
        log_q, log_p, reduction='none', log_target=True).sum(2).mean(1)


@torch.no_grad()
def assigned_anchors(student: Knowledge, objects: Objects) -> List[Tensor]:
    """Mark the anchors that the student's head assigns to an object.

    This repeats the assignment of the head's own loss, whose result is not
    accessible. Like mmdet's, it synchronises the device.

    Args:
        student (Knowledge): The student's head and outputs.
        objects (Objects): The ground truth.

    Returns:
        list[Tensor]: Per level, (N, H W), bool.
    """
    from mmdet.models.utils import unpack_gt_instances
    head = student.head
    scores: Sequence[Tensor] = student.outputs[0]
    instances, ignored, metas = unpack_gt_instances(objects.samples)
    anchors, flags = head.get_anchors([x.shape[-2:] for x in scores], metas,
                                      scores[0].device)
    classes = head.get_targets(
        anchors, flags, instances, metas, batch_gt_instances_ignore=ignored)[1]
    return [(x >= 0) & (x < head.num_classes) for x in classes]
