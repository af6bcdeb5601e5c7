# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

#: Tolerated relative difference between two embeddings of the same image,
#: e.g. from different batch sizes in half precision.
_ROUNDING = 0.1


class Face(NamedTuple):
    """One image.

    Attributes:
        index (int): Index in its data set, ``sample_idx``.
        path (str, optional): ``img_path``.
        embedding (Tensor): Shape (D, ), float32, on the CPU.
        label (int): The person, -1 if unknown.
        pairs (dict, optional): The pairs of the image, see
            :class:`~sskd_mm.datasets.PairedFaces`.
    """
    index: int
    path: Optional[str]
    embedding: Tensor
    label: int
    pairs: Optional[dict]

    @property
    def identity(self) -> tuple:
        """tuple: Identifies the image, also across data sets, each of which
        has an image with index 0."""
        if self.pairs is not None:
            return self.pairs['set'], self.pairs['image']
        return self.path, self.index

    def same_as(self, other: 'Face') -> bool:
        """Tell whether another prediction can be of this image."""
        x, y = self.embedding, other.embedding
        differ = (x - y).norm() > _ROUNDING * x.norm()  # False where NaN
        return self.label == other.label and not differ


class Faces(NamedTuple):
    """All images of a data set.

    Attributes:
        embeddings (Tensor): Shape (N, D), float32, on the CPU.
        labels (np.ndarray): The person in each image, shape (N, ), -1 if
            unknown.
        pairs (list[dict, None]): The pairs of each image, see :class:`Face`.
    """
    embeddings: Tensor
    labels: np.ndarray
    pairs: List[Optional[dict]]


class FaceMetric(BaseMetric):
    """Base class of metrics that need the embeddings of a whole data set.

    The data samples predicted by the model must have ``embedding``, shape
    (D, ), and ``sample_idx``, which MMEngine's data sets provide and
    mmpretrain's ``PackInputs`` packs. With several data sets in a
    ``ConcatDataset`` they must also have ``img_path``, which it packs as
    well. Images that a wrapper repeats count once.

    Args:
        collect_device (str): Device on which results of several processes are
            collected, ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Prefix of the metric names. Defaults to
            ``'face'``.
    """

    default_prefix = 'face'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the embeddings of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): The model's predictions.

        Raises:
            KeyError: A data sample has no embedding or no index.
        """
        for sample in data_samples:
            for name, remedy in (
                ('embedding', 'the model must put one into what it predicts'),
                ('sample_idx', "pack it: dict(type='PackInputs', meta_keys="
                 "(..., 'sample_idx'))")):
                if name not in sample:
                    raise KeyError(
                        f'{type(self).__name__} needs {name!r} in each data '
                        f'sample: {remedy}. There are {sorted(sample)}.')
            label = sample.get('gt_label')
            self.results.append(
                Face(
                    int(sample['sample_idx']),
                    sample.get('img_path'),
                    # Copied: a view would keep the batch in GPU memory.
                    sample['embedding'].detach().to(
                        'cpu', torch.float32, copy=True),
                    -1 if label is None else int(label),
                    sample.get('face_pairs')))

    def evaluate(self, size: int) -> Dict[str, float]:
        """Score everything processed so far.

        Args:
            size (int): Number of images in the data set.

        Returns:
            dict[str, float]: See :meth:`score`.

        Raises:
            ValueError: An image is missing, or two images have the same
                identity.
        """
        self._size = size
        return super().evaluate(size)

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Sort the images and score them."""
        faces: Dict[Any, Face] = {}
        for face in (Face(*result) for result in results):
            # Several processes repeat a few images to get equal numbers.
            if not faces.setdefault(face.identity, face).same_as(face):
                raise ValueError(
                    f'{type(self).__name__} got different embeddings or '
                    f'labels of one image, number {face.index} '
                    f'({face.path or "without img_path"}). Images of several '
                    'data sets are identified by their paths: pack them, '
                    "dict(type='PackInputs', meta_keys=(..., 'sample_idx', "
                    "'img_path')). Otherwise the test pipeline must not be "
                    'random.')
        indices = {face.index for face in faces.values()}
        if len(results) < self._size or indices != set(range(len(indices))):
            raise ValueError(
                f'{len(results)} embeddings of images numbered up to '
                f'{max(indices)}, for a data set of {self._size}: some of the '
                'set are missing. The dataloader must not drop any '
                '(drop_last).')
        found = list(faces.values())
        if len(indices) == len(found):
            found.sort(key=lambda face: face.index)
        # With several data sets, images stay in the order of arrival.
        return self.score(
            Faces(
                torch.stack([face.embedding for face in found]),
                np.array([face.label for face in found]),
                [face.pairs for face in found]))

    def score(self, faces: Faces) -> Dict[str, float]:
        """Compute the metrics.

        Args:
            faces (Faces): All images, in the order of the data set.

        Returns:
            dict[str, float]: Metrics by name, in percent.
        """
        raise NotImplementedError

    def _labels(self, faces: Faces) -> np.ndarray:
        if (faces.labels < 0).any():
            raise ValueError(
                f'{type(self).__name__} needs to know who is in each image: a '
                "data set with labels ('gt_label'), or for verification one "
                "with pairs ('pairs' in its metainfo), such as FaceBin.")
        return faces.labels
