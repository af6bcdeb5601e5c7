# Copyright (c) sskd_mm authors. All rights reserved.
import functools
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional

from mmengine.structures import InstanceData
from torch import nn


@contextmanager
def fixed_proposals(*models: nn.Module) -> Iterator[None]:
    """Make two-stage detectors propose their maximum number of boxes.

    The number of boxes after NMS, and with it the cost of the second stage,
    depends on the weights: with random ones a student can look more expensive
    than its teacher. Within this context the RPN runs as usual, but proposes
    ``max_per_img`` boxes of one pixel in the corner of each image. In
    training, the configured number is then sampled, and the annotations
    decide which are positive.

    Args:
        *models (nn.Module): Detectors with ``rpn_head`` and ``roi_head``,
            also inside a larger module; other models are not changed.

    Example:
        >>> with fixed_proposals(detector), FlopCounterMode() as counter:
        >>>     detector(inputs, data_samples, mode='tensor')
    """
    heads = [
        head for model in models for part in model.modules()
        # Not hasattr: a distiller forwards attributes to its student.
        if part._modules.get('rpn_head') and part._modules.get('roi_head')
        for head in part.rpn_head.modules() if hasattr(head, 'predict_by_feat')
    ]
    for head in heads:
        head.predict_by_feat = functools.partial(_propose, head,
                                                 head.predict_by_feat)
    try:
        yield
    finally:
        for head in heads:
            # Restores the method of the class.
            vars(head).pop('predict_by_feat', None)


def _propose(head: nn.Module,
             predict_by_feat: Any,
             outs: Any,
             *args,
             batch_img_metas: Optional[List[dict]] = None,
             cfg: Optional[dict] = None,
             **kwargs) -> List[InstanceData]:
    cfg_of_head = getattr(head, 'test_cfg', None) or {}
    number = (cfg or cfg_of_head).get('max_per_img')
    if not number or not batch_img_metas:
        return predict_by_feat(
            outs, *args, batch_img_metas=batch_img_metas, cfg=cfg, **kwargs)
    scores = outs[0].new_ones(number)
    return [
        InstanceData(
            bboxes=scores.new_tensor([0, 0, 1, 1]).repeat(number, 1),
            scores=scores.clone(),
            labels=scores.new_zeros(number, dtype=int))
        for _ in batch_img_metas
    ]
