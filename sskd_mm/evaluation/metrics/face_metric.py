# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

#: Two embeddings of one image may differ by so much of their length, as in
#: batches of different sizes and half precision.
_ROUNDING = 0.1


class Face(NamedTuple):
    """One image.

    Attributes:
        index (int): In its data set, ``sample_idx``.
        path (str, optional): ``img_path``.
        embedding (Tensor): Shape (D, ), float32, on the CPU.
        label (int): Who it shows, -1 where the set does not say.
        pairs (dict, optional): Those that it is in, see
            :class:`~sskd_mm.datasets.PairedFaces`.
    """
    index: int
    path: Optional[str]
    embedding: Tensor
    label: int
    pairs: Optional[dict]

    @property
    def identity(self) -> tuple:
        """tuple: What tells the image apart from all others, also of other
        data sets, each of which has an image with the index 0."""
        if self.pairs is not None:
            return self.pairs['set'], self.pairs['image']
        return self.path, self.index

    def same_as(self, other: 'Face') -> bool:
        """Whether another prediction may be of this image."""
        x, y = self.embedding, other.embedding
        differ = (x - y).norm() > _ROUNDING * x.norm()  # False where NaN
        return self.label == other.label and not differ


class Faces(NamedTuple):
    """All images of a set.

    Attributes:
        embeddings (Tensor): Shape (N, D), float32, on the CPU.
        labels (np.ndarray): Who each shows, shape (N, ), -1 where the set
            does not say.
        pairs (list[dict, None]): Of each, see :class:`Face`.
    """
    embeddings: Tensor
    labels: np.ndarray
    pairs: List[Optional[dict]]


class FaceMetric(BaseMetric):
    """Base of the metrics that need the embeddings of a whole set.

    The data samples that a model predicts must have ``embedding``, shape
    (D, ), and ``sample_idx``, which MMEngine's data sets give and
    mmpretrain's ``PackInputs`` passes on. Of several data sets in a
    ``ConcatDataset`` they must have ``img_path``, too, which it passes on as
    well; images that a wrapper repeats count once.

    Args:
        collect_device (str): Where results of several processes are
            collected, ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Before the names of figures. Defaults to
            ``'face'``.
    """

    default_prefix = 'face'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the embeddings of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): What the model predicted.

        Raises:
            KeyError: A data sample has no embedding or no number.
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
                    # By value: a view would keep the batch, and the GPU's
                    # memory.
                    sample['embedding'].detach().to(
                        'cpu', torch.float32, copy=True),
                    -1 if label is None else int(label),
                    sample.get('face_pairs')))

    def evaluate(self, size: int) -> Dict[str, float]:
        """Score all that was processed.

        Args:
            size (int): Number of images of the data set.

        Returns:
            dict[str, float]: See :meth:`score`.

        Raises:
            ValueError: An image is missing, or two different ones cannot be
                told apart.
        """
        self._size = size
        return super().evaluate(size)

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Put the set in order and score it."""
        faces: Dict[Any, Face] = {}
        for face in (Face(*result) for result in results):
            # Several processes repeat a few images to have equally many.
            if not faces.setdefault(face.identity, face).same_as(face):
                raise ValueError(
                    f'{type(self).__name__} got different embeddings or '
                    f'labels of one image, number {face.index} '
                    f'({face.path or "without img_path"}). Images of several '
                    'data sets are told apart by their paths: pack them, '
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
        # Of several data sets they are in the order in which they came.
        return self.score(
            Faces(
                torch.stack([face.embedding for face in found]),
                np.array([face.label for face in found]),
                [face.pairs for face in found]))

    def score(self, faces: Faces) -> Dict[str, float]:
        """The metric's figures.

        Args:
            faces (Faces): All images, in the order of the data set.

        Returns:
            dict[str, float]: By name, in percent.
        """
        raise NotImplementedError

    def _labels(self, faces: Faces) -> np.ndarray:
        if (faces.labels < 0).any():
            raise ValueError(
                f'{type(self).__name__} needs to know who is on each image: a '
                "data set with labels ('gt_label'), or for verification one "
                "with pairs ('pairs' in its metainfo), as FaceBin.")
        return faces.labels
