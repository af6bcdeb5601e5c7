# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, List, Sequence, Union

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import put

from ..bootstrap import bootstrap_mean


class ImageScores(BaseMetric):
    """Writes what another metric makes of each image alone.

    It stands beside that metric in an evaluator, collects the same results
    from all processes, and adds nothing to what the evaluator returns. It is
    for metrics that are a mean over images, such as mmpretrain's
    ``Accuracy``: each image then scores 0 or 100.

    Args:
        metric (BaseMetric): The other metric.
        file (str or Path): The ``.npz`` file, which is rewritten by each
            evaluation: an array of the scores in the order of the data set
            for each name that the metric returns, with its prefix.

    Example:
        >>> accuracy = Accuracy(topk=(1, 5))
        >>> scores = ImageScores(accuracy, 'accuracy.npz')
        >>> evaluator = Evaluator([accuracy, scores])
    """

    def __init__(self, metric: BaseMetric, file: Union[str, Path]) -> None:
        super().__init__(metric.collect_device, metric.prefix)
        self.file = Path(file)
        # Works on this metric's results.
        self._metric = copy.copy(metric)
        self._metric.results = self.results

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Process a batch as the other metric does."""
        self._metric.process(data_batch, data_samples)

    def compute_metrics(self, results: List[Any]) -> Dict[str, float]:
        """Write the file.

        Args:
            results (list): The results of the whole data set, one an image.

        Returns:
            dict: Nothing.
        """
        each = [self._metric.compute_metrics([result]) for result in results]
        content = BytesIO()
        np.savez_compressed(
            content, **{
                f'{self.prefix}/{name}' if self.prefix else name: np.array(
                    [scores[name] for scores in each])
                for name in each[0]
            })
        put(content.getvalue(), self.file)
        return {}

    def bootstrap(self) -> Dict[str, np.ndarray]:
        """Resample the last evaluation, see :func:`bootstrap_mean`.

        Returns:
            dict[str, np.ndarray]: By metric, shape (1 + resamples, ); empty
            if there was no evaluation.
        """
        if not self.file.is_file():
            return {}
        with np.load(self.file) as scores:
            return {name: bootstrap_mean(scores[name]) for name in scores}
