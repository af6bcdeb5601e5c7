# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List

import numpy as np
from mmengine.registry import DATASETS

from .decode_image import ImageError, decode_image
from .paired_faces import PairedFaces
from .read_face_bin import FaceBinError, read_face_bin


@DATASETS.register_module()
class FaceBin(PairedFaces):
    """The images of insightface's ``.bin`` files, for verification.

    An item is an image; the pairs are in ``metainfo['pairs']``: first image,
    second image and whether they show the same person, each an array of shape
    (P, ). See :func:`read_face_bin` and :class:`PairedFaces`. Put several
    files into a ``ConcatDataset``; ``FaceVerification`` scores each
    separately.

    Args:
        ann_file (str): ``lfw.bin``, ``cfp_fp.bin``, ``agedb_30.bin``, ...
        pipeline (list[dict]): Needs no ``LoadImageFromFile``: it gets decoded
            images, in BGR as in OpenCV.
        **kwargs: Other arguments of MMEngine's ``BaseDataset``.

    Raises:
        FaceBinError: See :func:`read_face_bin`; or an image cannot be
            decoded, and the message names it.

    Example:
        >>> dict(type='FaceBin', ann_file='data/faces/lfw.bin',
        ...      pipeline=[dict(type='PackInputs')])
    """

    def load_data_list(self) -> List[dict]:
        """Read the file.

        Returns:
            list[dict]: One per image, with its ``number`` in the file.
        """
        # Not in the list, which is copied: an image can be in many pairs.
        self._images, same = read_face_bin(self.ann_file)
        first = np.arange(0, len(self._images), 2)
        self.set_pairs(first, first + 1, same)
        return [
            dict(number=number, img_path=f'{self.ann_file}#{number}')
            for number in range(len(self._images))
        ]

    def get_data_info(self, idx: int) -> dict:
        """Decode an image.

        Args:
            idx (int): Index of the image.

        Returns:
            dict: ``img`` (H, W, 3), ``img_shape``, ``ori_shape``,
            ``img_path`` and ``sample_idx``.
        """
        info = super().get_data_info(idx)
        try:
            image = decode_image(self._images[info['number']])
        except ImageError as error:
            raise FaceBinError(f'{info["img_path"]!r}: the image {error}. '
                               'Copy the file again.') from error
        info.update(
            img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return info
