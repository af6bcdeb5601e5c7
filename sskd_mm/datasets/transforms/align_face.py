# Copyright (c) sskd_mm authors. All rights reserved.
import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

#: Eyes, nose and mouth corners (x, y) in a 112 x 112 image, left in the image
#: first, as in ArcFace and later work.
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
            (41.5493, 92.3655), (70.7299, 92.2041))


@TRANSFORMS.register_module()
class AlignFace(BaseTransform):
    """Rotate, scale and shift a face to align its landmarks to a template.

    Required keys: ``img`` (H, W) or (H, W, C), ``landmarks`` (5, 2).
    Modified keys: ``img`` (size, size) or (size, size, C), ``img_shape``,
    ``landmarks``.

    Areas outside the image become black.

    Args:
        size (int): Height and width of the output. Defaults to 112.

    Example:
        >>> # Landmarks come with the annotations, e.g. in MMEngine's json:
        >>> # {"img_path": "a.jpg", "gt_label": 0, "landmarks": [[x, y], ...]}
        >>> pipeline = [
        >>>     dict(type='LoadImageFromFile'),
        >>>     dict(type='AlignFace'),
        >>>     dict(type='PackInputs')
        >>> ]
    """

    def __init__(self, size: int = 112) -> None:
        self.size = size
        self.template = np.array(TEMPLATE) * size / 112

    def transform(self, results: dict) -> dict:
        """Align one face.

        Args:
            results (dict): See above.

        Returns:
            dict: The same.

        Raises:
            ValueError: There are not five landmarks, or they all coincide.
        """
        landmarks = np.array(results.get('landmarks', ()), dtype=np.float64)
        if landmarks.shape != (5, 2) or not np.isfinite(landmarks).all():
            raise ValueError(
                f'AlignFace: {results.get("img_path", "an image")} has '
                f'landmarks of shape {landmarks.shape}; they must be five '
                'finite points (x, y): left eye, right eye, nose, left and '
                'right mouth corner.')
        matrix = similarity_transform(landmarks, self.template)
        results['img'] = cv2.warpAffine(results['img'], matrix,
                                        (self.size, self.size))
        results['img_shape'] = results['img'].shape[:2]
        results['landmarks'] = landmarks @ matrix[:, :2].T + matrix[:, 2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size})'


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the rotation, scale and shift that best map points onto others.

    Least squares in closed form (Umeyama, *Least-squares estimation of
    transformation parameters between two point patterns*, 1991, Eqs. 40 to
    42). It never mirrors.

    Args:
        source (np.ndarray): Points (N, 2).
        target (np.ndarray): Target of each point, (N, 2).

    Returns:
        np.ndarray: A matrix (2, 3) that maps a point p to
        ``matrix[:, :2] @ p + matrix[:, 2]``.

    Raises:
        ValueError: All points of ``source`` coincide.
    """
    means = source.mean(0), target.mean(0)
    source, target = source - means[0], target - means[1]
    variance = np.square(source).sum()
    if variance == 0:
        raise ValueError(f'All {len(source)} landmarks coincide at '
                         f'{means[0].tolist()}; no face can be aligned by '
                         'them.')
    left, sizes, right = np.linalg.svd(target.T @ source)
    signs = np.array([1., np.sign(np.linalg.det(left @ right)) or 1.])
    rotation = left * signs @ right
    rotation = rotation * (sizes * signs).sum() / variance
    return np.column_stack([rotation, means[1] - rotation @ means[0]])
