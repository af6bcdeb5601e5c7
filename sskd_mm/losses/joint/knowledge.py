# Copyright (c) sskd_mm authors. All rights reserved.
from typing import NamedTuple, Optional, Tuple

from torch import Tensor, nn


class Knowledge(NamedTuple):
    """What joint losses read of a network's forward pass over a batch.

    Attributes:
        features (tuple[Tensor]): Features of the taps, from the first stage
            to the last: maps (N, C, H, W), one per level of an FPN.
        embedding (Tensor, optional): Input of a classifier's linear layer,
            (N, C).
        logits (Tensor, optional): Output of that layer, (N, classes).
        names (tuple[str]): Names of the taps, if known.
        outputs (tuple[Sequence[Tensor]]): Outputs of a detector's dense head,
            if a loss reads them: for each kind (scores, boxes, ...) one map
            per level.
        head (nn.Module, optional): The dense head, if a loss reads its
            outputs.
        hidden (tuple): Intermediate features of the student's head, if a loss
            reads them: for the score and the box branch, for each
            convolution, one map per level.
    """

    features: Tuple[Tensor, ...]
    embedding: Optional[Tensor] = None
    logits: Optional[Tensor] = None
    names: Tuple[str, ...] = ()
    outputs: tuple = ()
    head: Optional[nn.Module] = None
    hidden: tuple = ()
