# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Sequence

from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement


@MODELS.register_module()
class MirroredEmbeddingTTA(BaseTTAModel):
    """Sums the embeddings of an image's views, such as the image and its
    mirror image.

    The protocols of LFW, CFP-FP, AgeDB-30 and IJB are usually run this way.
    The sum is not normalised; the metrics do that.

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
            data_samples_list (Sequence[Sequence[BaseDataElement]]): For each
                image, the predictions of its views.

        Returns:
            list[BaseDataElement]: One per image: that of its first view with
            the merged ``embedding``.
        """
        merged = []
        for views in data_samples_list:
            sample = views[0].new()
            sample.set_field(sum(view.embedding for view in views),
                             'embedding')
            merged.append(sample)
        return merged
