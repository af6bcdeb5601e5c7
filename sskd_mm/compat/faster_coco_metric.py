# Copyright (c) sskd_mm authors. All rights reserved.
"""``FasterCocoMetric`` for mmdet 3.3, which lacks it.

Not imported with the package, because it imports mmdet.
"""
from typing import Dict

from faster_coco_eval import COCOeval_faster
from mmdet.evaluation.metrics import CocoMetric, coco_metric
from mmdet.registry import METRICS


class FasterCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric``, computed by faster-coco-eval.

    The results are the same, but computed faster. If mmdet has a metric of
    this name (onedl-mmdetection), that one stays registered.

    Examples:
        >>> custom_imports = dict(
        ...     imports=['sskd_mm', 'sskd_mm.compat.faster_coco_metric'])
        >>> val_evaluator = dict(type='FasterCocoMetric')
    """

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics over all images.

        Args:
            results (list[tuple]): Annotations and predictions of each image.

        Returns:
            dict[str, float]: The metrics, as from ``CocoMetric``.
        """
        # CocoMetric only takes the evaluator from its own module.
        slow = coco_metric.COCOeval
        coco_metric.COCOeval = COCOeval_faster
        try:
            return super().compute_metrics(results)
        finally:
            coco_metric.COCOeval = slow


if FasterCocoMetric.__name__ not in METRICS.module_dict:
    METRICS.register_module(module=FasterCocoMetric)
