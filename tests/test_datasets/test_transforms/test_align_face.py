# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from skimage.transform import SimilarityTransform, warp

from sskd_mm.datasets.transforms import similarity_transform
from sskd_mm.datasets.transforms.align_face import TEMPLATE


def _theirs(source, target):
    if hasattr(SimilarityTransform, 'from_estimate'):
        return SimilarityTransform.from_estimate(source, target)
    transform = SimilarityTransform()
    assert transform.estimate(source, target)
    return transform


@pytest.mark.parametrize('seed', range(10))
def test_equals_scikit_image(seed):
    """Also of mirrored points, on a line, and of two alone."""
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 200, (5, 2))
    target = np.array(TEMPLATE)
    if seed == 7:
        source = target * [-1, 1]
    if seed == 8:
        source[:, 1] = 2 * source[:, 0]
    if seed == 9:
        source, target = source[:2], target[:2]
    matrix = similarity_transform(source, target)
    np.testing.assert_allclose(
        matrix, _theirs(source, target).params[:2], atol=1e-8)
    # It turns and scales, but never mirrors.
    assert np.linalg.det(matrix[:, :2]) > 0
    assert matrix[0, 0] == pytest.approx(matrix[1, 1])
    assert matrix[0, 1] == pytest.approx(-matrix[1, 0])


def test_undoes_a_similarity():
    """A face that was turned, scaled and shifted comes back."""
    angle, scale = 0.4, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)],
                             [np.sin(angle), np.cos(angle)]])
    landmarks = np.array(TEMPLATE) @ turn.T + [30, -10]
    matrix = similarity_transform(landmarks, np.array(TEMPLATE))
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-12)


@pytest.mark.parametrize('size', [112, 56])
def test_image(size):
    """As scikit-image warps it, but for the rounding of pixels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:150, :130] / 20
    image = np.stack([
        127 + 100 * np.sin(x + phase) * np.cos(y - phase)
        for phase in range(3)
    ], -1).astype(np.uint8)
    landmarks = np.array(TEMPLATE) * 0.8 + rng.uniform(-4, 4, (5, 2)) + 20
    transform = TRANSFORMS.build(dict(type='AlignFace', size=size))
    results = transform(
        dict(img=image, landmarks=landmarks.tolist(), img_shape=(150, 130)))
    theirs = _theirs(landmarks, np.array(TEMPLATE) * size / 112)
    expected = warp(
        image, theirs.inverse, output_shape=(size, size), order=1,
        preserve_range=True)
    assert results['img'].shape == (size, size, 3)
    assert results['img'].dtype == np.uint8
    assert results['img_shape'] == (size, size)
    assert np.abs(results['img'] - expected).mean() < 1
    np.testing.assert_allclose(results['landmarks'], theirs(landmarks))
    grey = transform(dict(img=image[..., 0], landmarks=landmarks))['img']
    assert np.array_equal(grey, results['img'][..., 0])


@pytest.mark.parametrize('results', [
    dict(),
    dict(landmarks=[[1, 2]] * 4),
    dict(landmarks=[[1, 2]] * 4 + [[np.nan, 0]])
])
def test_no_landmarks(results):
    transform = TRANSFORMS.build(dict(type='AlignFace'))
    with pytest.raises(ValueError, match='a.jpg has landmarks'):
        transform(dict(results, img=np.zeros((9, 9)), img_path='a.jpg'))


def test_one_point():
    transform = TRANSFORMS.build(dict(type='AlignFace'))
    with pytest.raises(ValueError, match=r'coincide at \[1.0, 2.0\]'):
        transform(dict(img=np.zeros((9, 9)), landmarks=[[1, 2]] * 5))
