# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional, Tuple

from mmengine.model import BaseModel
from torch import Tensor, nn


class HeadOnFeatures(BaseModel):
    """The head of an mmpretrain classifier, trained on cached features.

    It runs what the classifier runs after ``extract_feat``. Its parameters
    are the classifier's.

    Args:
        head (nn.Module): The head, e.g. a ``LinearClsHead``.

    Example:
        >>> model = HeadOnFeatures(classifier.head)
        >>> model((torch.rand(8, 512), ), torch.randint(10, (8, )))
        {'loss': tensor(2.31, grad_fn=<...>)}
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self,
                inputs: Tuple[Tensor, ...],
                labels: Tensor,
                scores: Optional[Tensor] = None,
                mode: str = 'loss') -> Dict[str, Tensor]:
        """The head's losses.

        Args:
            inputs (tuple[Tensor]): Outputs of ``extract_feat``, (N, ...).
            labels (Tensor): (N, ).
            scores (Tensor, optional): Class scores (N, classes) of mixed
                labels. Defaults to None.
            mode (str): ``'loss'``.

        Returns:
            dict[str, Tensor]: The losses.
        """
        from mmpretrain.structures import DataSample
        samples = [DataSample().set_gt_label(x) for x in labels.split(1)]
        for sample, score in zip(samples, () if scores is None else scores):
            sample.set_gt_score(score)
        return self.head.loss(inputs, samples)
