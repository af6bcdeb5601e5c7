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
    """See that both heads output distributions of where a box's sides are.

    Args:
        loss (JointLoss): Which needs them.
        student (Knowledge): The student's, of a dry run.
        teacher (Knowledge): The teacher's, of the same.

    Raises:
        ValueError: They do not, or not of the same shape.
    """
    name = type(loss).__name__
    for role, each in (('student', student), ('teacher', teacher)):
        if not is_a(each.head, 'GFLHead'):
            raise ValueError(
                f'{name} compares distributions of distances, but the '
                f'{role}\'s head ({type(each.head).__name__}) has none. Give '
                'a GFL, or another detector whose head is a GFLHead.')
    shapes = [[tuple(x.shape[1:]) for kind in each.outputs for x in kind]
              for each in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f'{name} compares anchor with anchor, but the student\'s outputs '
            f'have the shapes {shapes[0]} and the teacher\'s {shapes[1]}. '
            'Give both heads the same classes, strides and reg_max.')


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""Divergence of distributions, averaged over the four sides of a box.

    Args:
        student (Tensor): A head's output, (N, 4 (n + 1), H, W).
        teacher (Tensor): Another's.
        temperature (float): By which both are softened.

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
    """Which anchors of each level the student's head assigns to an object.

    It is as much work as in the head's own loss, where it is out of reach,
    and reads values from the device as mmdet does there.

    Args:
        student (Knowledge): With its head and outputs.
        objects (Objects): The ground truth.

    Returns:
        list[Tensor]: (N, H W), bool.
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
