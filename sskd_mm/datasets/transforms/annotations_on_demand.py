# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Callable

from mmengine.dataset import Compose
from torch import Tensor

#: Transforms whose image does not depend on annotations.
_INDIFFERENT = {
    'LoadImageFromFile', 'Resize', 'RandomResize', 'RandomChoiceResize',
    'RandomFlip', 'PhotoMetricDistortion', 'Pad', 'PackDetInputs'
}


class AnnotationsOnDemand:
    """Skips mmdet's ``LoadAnnotations`` while annotations are not needed.

    A mimic phase only uses images, and decoding the polygons of an image
    takes several times as long as the image itself.

    Args:
        load (Callable): The transform.
        wanted (Tensor): Whether annotations are needed; in shared memory, so
            that workers see it change.
    """

    def __init__(self, load: Callable[[dict], dict], wanted: Tensor) -> None:
        self.load = load
        self.wanted = wanted

    def __call__(self, results: dict) -> dict:
        return self.load(results) if self.wanted else results

    def __repr__(self) -> str:
        return repr(self.load)

    @classmethod
    def put_into(cls, dataset: Any, wanted: Tensor) -> None:
        """Make a data set load annotations on demand.

        Nothing changes if a transform is unknown or may treat images without
        annotations differently (crops around boxes, mosaics), or if images
        of several data sets are mixed.

        Args:
            dataset (Any): A data set.
            wanted (Tensor): As above.
        """
        pipeline = getattr(dataset, 'pipeline', None)
        if not isinstance(pipeline, Compose) or hasattr(dataset, 'dataset'):
            return
        names = [
            type(step).__name__ if type(step).__module__.startswith(
                ('mmdet.', 'mmcv.')) else '' for step in pipeline.transforms
        ]
        if set(names) - {'LoadAnnotations'} <= _INDIFFERENT:
            pipeline.transforms = [
                cls(step, wanted) if name == 'LoadAnnotations' else step
                for name, step in zip(names, pipeline.transforms)
            ]
