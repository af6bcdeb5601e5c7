# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List, Sequence

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS


@DATASETS.register_module()
class ListedImages(BaseDataset):
    """Images listed by a program rather than a file.

    Args:
        images (Sequence[dict]): Input of the pipeline for each image:
            ``img_path`` and, for instance, ``landmarks``.
        **kwargs: Other arguments of MMEngine's ``BaseDataset``.

    Example:
        >>> ListedImages([dict(img_path='a.jpg'), dict(img_path='b.jpg')],
        ...              pipeline=[dict(type='LoadImageFromFile')])
    """

    def __init__(self, images: Sequence[dict], **kwargs) -> None:
        self.images = images
        super().__init__(**kwargs)
        del self.images

    def load_data_list(self) -> List[dict]:
        """Return the given images."""
        return list(self.images)
