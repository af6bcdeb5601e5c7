# Copyright (c) sskd_mm authors. All rights reserved.
import math

import torch
from mmengine.registry import MODELS
from torch import Tensor

from .mimic_loss import MimicLoss


@MODELS.register_module()
class ContrastiveMimicLoss(MimicLoss):
    r"""InfoNCE between a student's and a teacher's vectors.

    Each student vector has to pick out the teacher's vector of the same
    sample, or of the same position, among all of the teacher's vectors in the
    batch (InfoNCE: arXiv 1807.03748, Eq. 4). With :math:`P` vectors, all
    normalised to unit length,

    .. math::
        L = -\frac{1}{P} \sum_i \log
            \frac{\exp(\langle s_i, t_i \rangle / \tau)}
                 {\sum_j \exp(\langle s_i, t_j \rangle / \tau)}

    The loss is one-sided: student vectors are never negatives of each other.
    It is :math:`\log P` for a student that cannot tell the vectors apart, and
    not 0 for a perfect copy. Scaling either feature does not change it. An
    all-zero vector stays zero and gets no gradient. With a single vector (one
    sample per device and ``over='samples'``) the loss is 0.

    Args:
        temperature (float): The :math:`\tau`. Defaults to 0.1.
        over (str): ``'samples'`` compares features averaged over positions,
            ``'positions'`` the channel vectors at the positions of all
            samples. Defaults to ``'samples'``.
        max_positions (int): With ``over='positions'``, the maximum number of
            vectors to compare; memory grows with its square (4 MiB per matrix
            for 1024). If there are more positions, every k-th of the batch is
            taken in the order (N, H, W), where k is the smallest sufficient
            number without a common factor with the positions of a sample, so
            that they do not all lie in the same few columns. The number of
            vectors may thus be smaller. Defaults to 1024.

    Raises:
        ValueError: ``temperature`` is not positive, ``over`` is neither of
            the two, or ``max_positions`` is less than 2.

    Example:
        >>> mimic_loss = dict(type='ContrastiveMimicLoss', over='positions')
    """

    def __init__(self,
                 temperature: float = 0.1,
                 over: str = 'samples',
                 max_positions: int = 1024) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(
                f'temperature is {temperature}; it must be positive.')
        if over not in ('samples', 'positions'):
            raise ValueError(
                f"over is {over!r}; it must be 'samples' or 'positions'.")
        if max_positions < 2:
            raise ValueError(f'max_positions is {max_positions}; it must be '
                             'at least 2.')
        self.temperature = temperature
        self.over = over
        self.max_positions = max_positions

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss, in float32 for half-precision features.

        Args:
            student (Tensor): Feature map (N, C, H, W), tokens (N, L, C) or
                embeddings (N, C).
            teacher (Tensor): Feature of the same shape.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: The shapes differ or are none of the above.
        """
        student, teacher = self._prepare(student, teacher)
        student = self._unit_length(self._vectors(student), dim=1)
        teacher = self._unit_length(self._vectors(teacher), dim=1)
        # Autocast would run this product in half precision.
        with torch.autocast(student.device.type, enabled=False):
            logits = student @ teacher.T / self.temperature
        return (logits.logsumexp(1) - logits.diagonal()).mean()

    def _vectors(self, feature: Tensor) -> Tensor:
        """Return the vectors to compare, (P, C)."""
        feature = self._as_map(feature)
        if self.over == 'samples':
            return feature.mean((2, 3))
        num_positions = feature.shape[2:].numel()
        vectors = feature.movedim(1, 3).flatten(0, 2)
        step = math.ceil(len(vectors) / self.max_positions)
        while math.gcd(step, num_positions) > 1:
            step += 1
        return vectors[::step]
