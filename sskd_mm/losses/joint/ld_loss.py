# Copyright (c) sskd_mm authors. All rights reserved.
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from ..mimic_loss import MimicLoss
from ..objects import Objects
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class LDLoss(JointLoss):
    r"""Divergence between the distributions of where a box's sides are (LD).

    LD (*Localization Distillation for Dense Object Detection*, arXiv
    2102.12252, Section 3) takes the distributions over :math:`n + 1`
    distances, which GFL has for each side of a box, for what knowledge
    distillation takes the logits of classes for: softened by a temperature
    :math:`T`, at the anchors :math:`i` that are assigned to an object,

    .. math::
        L = \frac{T^2}{4 (n + 1)} \sum_i w_i \sum_{e} \sum_j
            p_{iej} \log \frac{p_{iej}}{q_{iej}}

    with :math:`e` the four sides, :math:`p` the teacher's and :math:`q` the
    student's distribution, and :math:`w_i` the student's highest score there,
    without a gradient. Assignment and reduction are those of mmdet's
    ``LDHead``, so the student's head stays a plain ``GFLHead``; the anchors
    are assigned a second time in each step for it.

    Args:
        weight (float): What the loss is multiplied with. Defaults to 0.25, as
            in mmdet's configs.
        temperature (float): :math:`T`. Defaults to 10, as there.

    Example:
        >>> losses = [dict(type='LDLoss', weight=0.25, temperature=10)]
    """

    needs = ('outputs', 'boxes')

    def __init__(self, weight: float = 0.25, temperature: float = 10) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """See that both have such distributions, of the same shape.

        Raises:
            ValueError: They do not.
        """
        for role, each in (('student', student), ('teacher', teacher)):
            # By name, for mmdet need not be there.
            if 'GFLHead' not in [x.__name__ for x in type(each.head).__mro__]:
                raise ValueError(
                    f'LDLoss compares distributions of distances, but the '
                    f'{role}\'s head ({type(each.head).__name__}) has none. '
                    'Give a GFL, or another detector whose head is a '
                    'GFLHead.')
        shapes = [[tuple(x.shape[1:]) for x in each.outputs[1]]
                  for each in (student, teacher)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                'LDLoss compares anchor with anchor, but the student\'s '
                f'outputs have the shapes {shapes[0]} and the teacher\'s '
                f'{shapes[1]}. Give both heads the same strides and reg_max.')

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Objects,
                indices: None) -> Tensor:
        """Compute the loss, without its weight, from the heads' outputs."""
        total = 0.
        levels = zip(*student.outputs, teacher.outputs[1],
                     self._assigned(student, labels))
        for scores, ours, theirs, assigned in levels:
            # (N, C, H, W) to (N, anchors, C).
            scores, ours, theirs = (
                x.flatten(2).transpose(1, 2)
                for x in (scores, *MimicLoss._promote(ours, theirs)))
            log_q, log_p = (
                F.log_softmax(
                    x.unflatten(2, (4, -1)) / self.temperature, dim=3)
                for x in (ours, theirs))
            divergence = F.kl_div(
                log_q, log_p, reduction='none', log_target=True)
            weights = scores.detach().float().sigmoid().amax(2) * assigned
            total = total + (divergence.mean((2, 3)) * weights).sum()
        return total * self.temperature**2

    @staticmethod
    @torch.no_grad()
    def _assigned(student: Knowledge, objects: Objects) -> list:
        """Which anchors of each level are assigned to an object, (N, P)."""
        from mmdet.models.utils import unpack_gt_instances
        head = student.head
        instances, ignored, metas = unpack_gt_instances(objects.samples)
        scores = student.outputs[0]
        anchors, flags = head.get_anchors([x.shape[-2:] for x in scores],
                                          metas, scores[0].device)
        classes = head.get_targets(
            anchors, flags, instances, metas,
            batch_gt_instances_ignore=ignored)[1]
        return [(x >= 0) & (x < head.num_classes) for x in classes]
