# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, List, NamedTuple, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor


class Faces(NamedTuple):
    """All images of a set.

    Attributes:
        embeddings (Tensor): Shape (N, D), float32, on the CPU.
        labels (np.ndarray): Who each shows, shape (N, ), -1 where the set
            does not say.
    """
    embeddings: Tensor
    labels: np.ndarray


class FaceMetric(BaseMetric):
    """Base of the metrics that need the embeddings of a whole set.

    The data samples that a model predicts must have ``embedding``, shape
    (D, ), and ``sample_idx``, which MMEngine's data sets give and
    mmpretrain's ``PackInputs`` passes on.

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
            # By value: a view would keep the batch, and the GPU's memory.
            self.results.append(
                (int(sample['sample_idx']), sample['embedding'].detach().to(
                    'cpu', torch.float32, copy=True),
                 -1 if label is None else int(label)))

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Put the set in order and score it."""
        # Several processes repeat a few images to have equally many.
        found = {index: rest for index, *rest in results}
        if sorted(found) != list(range(len(found))):
            raise ValueError(
                f'{len(found)} embeddings of images numbered up to '
                f'{max(found)}: some of the set are missing.')
        return self.score(
            Faces(
                torch.stack([found[i][0] for i in range(len(found))]),
                np.array([found[i][1] for i in range(len(found))])))

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
