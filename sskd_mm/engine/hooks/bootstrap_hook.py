# Copyright (c) sskd_mm authors. All rights reserved.
from io import BytesIO
from pathlib import Path

import numpy as np
from mmengine.dist import master_only
from mmengine.fileio import put
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...compat import is_a
from ...evaluation import CocoDetections, ImageScores


@HOOKS.register_module()
class BootstrapHook(Hook):
    """Keeps what the last validation made of each image, and resamples it.

    Each validation rewrites the files in ``val_images/`` in the work
    directory: the detections of ``CocoMetric``, the correctness of each image
    for ``Accuracy``. After training, ``bootstrap.npz`` has ``names``, the
    metrics that can be resampled by images, and ``scores``, shape (metrics,
    1 + resamples): the metric itself, and then that of each resample, see
    :func:`draw_images`. Other metrics, such as those of pairs of faces, are
    not in it. No metric changes.

    A study adds it to each of its students' configs.

    Example:
        >>> default_hooks = dict(bootstrap=dict(type='BootstrapHook'))
    """

    def before_train(self, runner) -> None:
        """Have the evaluator's metrics keep their results.

        Built metrics look the same however a config writes them.
        """
        self._kept = []
        if runner.val_loop is None:
            return
        metrics = runner.val_evaluator.metrics
        folder = Path(runner.work_dir, 'val_images')
        for number, metric in enumerate(list(metrics)):
            file = folder / f'{number}_{type(metric).__name__}'
            if is_a(metric, 'CocoMetric'):
                self._kept.append(CocoDetections(metric, file))
            elif is_a(metric, 'Accuracy'):
                scores = ImageScores(metric, f'{file}.npz')
                metrics.append(scores)
                self._kept.append(scores)

    @master_only
    def after_train(self, runner) -> None:
        """Write ``bootstrap.npz``."""
        scores = {}
        for kept in self._kept:
            scores.update(kept.bootstrap())
        content = BytesIO()
        np.savez_compressed(
            content,
            names=np.array(list(scores), dtype=str),
            scores=np.array(list(scores.values())))
        put(content.getvalue(), Path(runner.work_dir, 'bootstrap.npz'))
