# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Sequence

from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement


@MODELS.register_module()
class MirroredEmbeddingTTA(BaseTTAModel):
    """Adds up the embeddings of an image's views, as of the image and the
    mirrored one.

    This is how the protocols of LFW, CFP-FP, AgeDB-30 and IJB are usually
    run. The sum is taken as it is; metrics normalise it.

    Args:
        module (dict or nn.Module): The model, whose predictions have
            ``embedding``, shape (D, ).
        data_preprocessor (dict, optional): Not needed: the model's is used.

    Example:
        >>> # python tools/test.py CONFIG CHECKPOINT --tta
        >>> tta_model = dict(type='MirroredEmbeddingTTA')
        >>> tta_pipeline = [
        >>>     dict(type='LoadImageFromFile'),
        >>>     dict(
        >>>         type='TestTimeAug',
        >>>         transforms=[[
        >>>             dict(type='RandomFlip', prob=0.),
        >>>             dict(type='RandomFlip', prob=1.)
        >>>         ], [dict(type='PackInputs')]])
        >>> ]
    """

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[BaseDataElement]]
    ) -> List[BaseDataElement]:
        """Merge the predictions of each image's views.

        Args:
            data_samples_list (Sequence[Sequence[BaseDataElement]]): Of each
                image those of its views.

        Returns:
            list[BaseDataElement]: One an image, as of its first view but for
            the ``embedding``.
        """
        merged = []
        for views in data_samples_list:
            sample = views[0].new()
            sample.set_field(sum(view.embedding for view in views),
                             'embedding')
            merged.append(sample)
        return merged
