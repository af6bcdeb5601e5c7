# Copyright (c) sskd_mm authors. All rights reserved.
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Dict, Union

import numpy as np
from mmengine.evaluator import BaseMetric

from ..bootstrap_coco import bootstrap_coco


class CocoDetections:
    """Has a ``CocoMetric`` keep its detections in files, and resamples them.

    Args:
        metric (CocoMetric): mmdet's metric. Each evaluation writes its
            detections to ``FILE.bbox.json`` and, if there are masks,
            ``FILE.segm.json``.
        file (str or Path): Path of these files without their endings.

    Example:
        >>> detections = CocoDetections(metric, 'work_dirs/my_run/coco')
    """

    def __init__(self, metric: BaseMetric, file: Union[str, Path]) -> None:
        self._metric = metric
        metric.outfile_prefix = str(file)

    def bootstrap(self) -> Dict[str, np.ndarray]:
        """Resample the last evaluation, see :func:`bootstrap_coco`.

        Returns:
            dict[str, np.ndarray]: By metric, shape (1 + resamples, ); empty
            if nothing was detected or there are no annotations in COCO's
            format.
        """
        from pycocotools.cocoeval import COCOeval  # comes with mmdet
        metric, result = self._metric, {}
        api = getattr(metric, '_coco_api', None)
        for kind in metric.metrics:
            file = Path(f'{metric.outfile_prefix}.{kind}.json')
            found = json.loads(file.read_text()) if file.is_file() else []
            if kind not in ('bbox', 'segm') or api is None or not found:
                continue
            if kind == 'segm':
                # With a box its area would count, not the mask's.
                found = [{k: v
                          for k, v in each.items() if k != 'bbox'}
                         for each in found]
            with redirect_stdout(StringIO()):
                evaluation = COCOeval(api, api.loadRes(found), kind)
                # As the metric does.
                params = evaluation.params
                params.catIds = api.getCatIds(
                    catNms=metric.dataset_meta['classes'])
                params.maxDets = list(metric.proposal_nums)
                params.iouThrs = metric.iou_thrs
                evaluation.evaluate()
            for name, scores in bootstrap_coco(evaluation).items():
                result[f'{metric.prefix}/{name}'] = scores
        return result
