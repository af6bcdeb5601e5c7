# Copyright (c) sskd_mm authors. All rights reserved.
import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CropFace(BaseTransform):
    """Crop a face by its box, for data sets without landmarks such as IJB-A.

    The crop is a square centred on the box, with the box's longer side. Areas
    outside the image become black. A network trained on aligned faces does
    better with ``AlignFace``.

    Required keys: ``img`` (H, W) or (H, W, C), ``box`` (left, top, width,
    height).
    Modified keys: ``img`` (size, size) or (size, size, C), ``img_shape``.

    Args:
        size (int): Height and width of the output. Defaults to 112.

    Raises:
        ValueError: The box is empty.
    """

    def __init__(self, size: int = 112) -> None:
        self.size = size

    def transform(self, results: dict) -> dict:
        """Crop one face.

        Args:
            results (dict): See above.

        Returns:
            dict: The same.
        """
        left, top, width, height = results['box']
        if width <= 0 or height <= 0:
            raise ValueError(f'CropFace: the box {results["box"]} of '
                             f'{results.get("img_path")} is empty.')
        scale = self.size / max(width, height)
        corner = np.array([left + width / 2, top + height / 2
                           ]) - max(width, height) / 2
        # Pixel centres are at half-integers, in OpenCV at integers.
        shift = scale * (0.5 - corner) - 0.5
        results['img'] = cv2.warpAffine(
            results['img'],
            np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]),
            (self.size, self.size))
        results['img_shape'] = results['img'].shape[:2]
        return results
