# Copyright (c) sskd_mm authors. All rights reserved.
import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmengine.registry import MODELS
from torch import Tensor

from ..arc_margin import arc_margin
from ..mimic_loss import MimicLoss
from .joint_loss import JointLoss
from .knowledge import Knowledge


@MODELS.register_module()
class AdaDistillLoss(JointLoss):
    r"""ArcFace loss with class centres that follow the teacher (AdaDistill).

    In AdaDistill (arXiv 2407.01332, Section 3.2) the class centres of a
    margin head are not parameters but moving averages of the teacher's
    embeddings :math:`t_i`. For each sample, of class :math:`y`,

    .. math::
        \alpha = \cos(s_i, t_i) \cos(w_y, t_i)
        \qquad
        w_y \leftarrow \alpha w_y + (1 - \alpha) \frac{t_i}{\|t_i\|}

    with :math:`\alpha` clamped to [0, 1]. A student far from its teacher is
    pulled towards the sample's own embedding, one close to it towards the
    class centre; samples that are hard for the teacher move the centre most.
    The student's embeddings then get the ArcFace loss with the new centres,

    .. math::
        L = -\frac{1}{N} \sum_i \log \frac{e^{s \cos(\theta_y + m)}}
        {e^{s \cos(\theta_y + m)} + \sum_{j \ne y} e^{s \cos\theta_j}}

    If a batch has several samples of a class, a case the paper leaves open,
    the centre becomes the mean of their individual updates. The centre of a
    class not seen yet is zero. In distributed training the samples of all
    processes move the centres, which are saved for resuming.

    In the paper it is the only loss: set ``task_weight=0``.

    Args:
        weight (float): Loss weight. Defaults to 1.
        margin (float): The :math:`m`. Defaults to 0.5.
        scale (float): The :math:`s`. Defaults to 64.

    Example:
        >>> model = dict(
        >>>     type='JointDistiller',
        >>>     task_weight=0,
        >>>     losses=[dict(type='AdaDistillLoss')])
    """

    needs = ('embedding', 'logits')

    def __init__(self,
                 weight: float = 1,
                 margin: float = 0.5,
                 scale: float = 64.) -> None:
        super().__init__(weight)
        self.margin = margin
        self.scale = scale

    def prepare(self, student: Knowledge, teacher: Knowledge,
                num_samples: int) -> None:
        """Allocate the centres.

        Raises:
            ValueError: The embeddings differ in size.
        """
        sizes = student.embedding.shape[1], teacher.embedding.shape[1]
        if sizes[0] != sizes[1]:
            raise ValueError(
                'AdaDistillLoss needs embeddings of the same size, but the '
                f'student\'s have size {sizes[0]} and the teacher\'s '
                f'{sizes[1]}. Set the student\'s to the teacher\'s, e.g. '
                f'student.backbone.embedding={sizes[1]}.')
        self.register_buffer(
            'centres', torch.zeros(student.logits.shape[1], sizes[1]))

    def forward(self, student: Knowledge, teacher: Knowledge, labels: Tensor,
                indices: Tensor) -> Tensor:
        """Move the centres and compute the unweighted loss.

        Args:
            student (Knowledge): The student's outputs, with gradients.
            teacher (Knowledge): The teacher's outputs, without gradients.
            labels (Tensor): Classes, (N, ).
            indices (Tensor): Not used.

        Returns:
            Tensor: The loss, a scalar, in float32.
        """
        source, target = (
            MimicLoss._unit_length(x, 1) for x in MimicLoss._promote(
                student.embedding, teacher.embedding))
        self._move(source.detach(), target, labels)
        # Autocast would run this product in half precision.
        with torch.autocast(source.device.type, enabled=False):
            centres = MimicLoss._unit_length(self.centres, 1)
            cosines = source @ centres.to(source.dtype).T
        own = labels[:, None]
        shifted = arc_margin(cosines.gather(1, own), self.margin)
        logits = self.scale * cosines.scatter(1, own, shifted)
        return F.cross_entropy(logits, labels)

    @torch.no_grad()
    def _move(self, source: Tensor, target: Tensor, labels: Tensor) -> None:
        """Update the centres with the teacher's embeddings."""
        nearness = (source * target).sum(1)
        nearness, target, labels = (
            torch.cat(all_gather(x)) for x in (nearness, target, labels))
        centres = self.centres[labels].to(target.dtype)
        typical = (MimicLoss._unit_length(centres, 1) * target).sum(1)
        alpha = (nearness * typical).clamp(0, 1)[:, None]
        moved = alpha * centres + (1 - alpha) * target
        counts = torch.zeros_like(self.centres[:, 0]).index_add(
            0, labels, torch.ones_like(moved[:, 0], dtype=self.centres.dtype))
        sums = torch.zeros_like(self.centres).index_add(
            0, labels, moved.to(self.centres.dtype))
        self.centres.copy_(
            torch.where(counts[:, None] > 0,
                        sums / counts[:, None].clamp_min(1), self.centres))
