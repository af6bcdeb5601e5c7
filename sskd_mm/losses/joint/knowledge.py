# Copyright (c) sskd_mm authors. All rights reserved.
from typing import NamedTuple, Optional, Tuple

from torch import Tensor, nn


class Knowledge(NamedTuple):
    """What a network computes for a batch, as far as others learn from it.

    Attributes:
        features (tuple[Tensor]): The features of its taps, from the first
            stage to the last: maps (N, C, H, W); of an FPN each level.
        embedding (Tensor, optional): What a classifier's linear layer reads,
            (N, C).
        logits (Tensor, optional): Its output, (N, classes).
        names (tuple[str]): Names of the taps, where known.
        outputs (tuple[Sequence[Tensor]]): What a detector's dense head
            outputs, if a loss reads it: of each kind (scores, boxes, ...) a
            map for each level.
        head (nn.Module, optional): The dense head itself, then.
        hidden (tuple): Of a student, if a loss reads it, what the head's
            convolutions output: of those of scores and of boxes, for each
            convolution, a map for each level.
    """

    features: Tuple[Tensor, ...]
    embedding: Optional[Tensor] = None
    logits: Optional[Tensor] = None
    names: Tuple[str, ...] = ()
    outputs: tuple = ()
    head: Optional[nn.Module] = None
    hidden: tuple = ()
