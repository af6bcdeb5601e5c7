# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor

from ..evaluation import (IJB, IJBA, Verification, all_pairs, identify,
                          normalize_embeddings)

FARS = (0.1, 0.01, 0.001)


class FaceProtocol(NamedTuple):
    """A face recognition protocol.

    Attributes:
        dataset (dict): Config of its N images.
        cut (str, optional): The transform that crops a face.
        score (callable): Takes embeddings (N, D) and returns verification and
            identification (or None) by the name of each part, and the
            metrics.
    """

    dataset: dict
    cut: Optional[str]
    score: Callable[[Tensor], Tuple[Dict[str, tuple], dict]]


def face_protocol(name: str,
                  data: str,
                  image_root: str = '',
                  gallery: int = 1,
                  quality_weights: bool = False) -> FaceProtocol:
    """Read the lists of a protocol.

    Args:
        name (str): ``'bin'`` (insightface's pickles of pairs), ``'pairs'``
            (lists of pairs), ``'folder'`` (one folder per person),
            ``'ijba'``, ``'ijbb'`` or ``'ijbc'``.
        data (str): The file or folder.
        image_root (str): Folder of the images of a list.
        gallery (int): Images per person in the gallery, for ``'folder'``.
            Defaults to 1.
        quality_weights (bool): Whether to weight faces in a template by the
            length of their embeddings and, for IJB-B and IJB-C, the face
            detector's score. Defaults to False.

    Returns:
        FaceProtocol: The images and the function that scores them.

    Example:
        >>> protocol = face_protocol('bin', 'lfw.bin')
        >>> parts, figures = protocol.score(embeddings)
    """
    if name == 'bin':
        return _pairs(dict(type='FaceBin', ann_file=data), data)
    if name == 'pairs':
        return _pairs(
            dict(
                type='FacePairs',
                ann_file=data,
                data_prefix=dict(img_path=image_root)), data)
    if name == 'folder':
        return _folder(data, gallery)
    if name == 'ijba':
        return _ijba(data, image_root, quality_weights)
    return _ijb(data, name, quality_weights)


def _pairs(dataset: dict, data: str) -> FaceProtocol:
    listed = DATASETS.build(dict(dataset, pipeline=[])).metainfo['pairs']

    def score(x):
        result = Verification(x, *listed, folds=10)
        name = osp.splitext(osp.basename(data))[0]
        return {name: (result, None)}, result.summary(FARS)

    return FaceProtocol(dataset, None, score)


def _folder(data: str, gallery: int) -> FaceProtocol:
    dataset = dict(type='mmpretrain.CustomDataset', data_prefix=data)
    listed = DATASETS.build(dict(dataset, pipeline=[]))
    labels = np.array(
        [listed.get_data_info(i)['gt_label'] for i in range(len(listed))])
    pairs = all_pairs(labels)

    def score(x):
        verification = Verification(x, *pairs)
        closed = identify(x, labels, gallery)
        figures = {
            **verification.summary(FARS),
            **closed.summary((1, 5), ())
        }
        if labels.max() > 0:
            opened = identify(x, labels, gallery, open_set=True)
            figures.update((k, v)
                           for k, v in opened.summary((1, ), FARS[:2]).items()
                           if 'TPIR' in k)
        return {osp.basename(osp.abspath(data)): (verification, closed)
                }, figures

    return FaceProtocol(dataset, None, score)


def _ijb(data: str, name: str, quality_weights: bool) -> FaceProtocol:
    protocol = IJB.read(data, name)

    def score(x):
        if quality_weights:
            x = x * torch.as_tensor(protocol.scores[:, None]).to(x)
        else:
            x = normalize_embeddings(x, allow_failures=True)
        parts = protocol.score(x)
        return {name: parts}, protocol.summary(*parts)

    images = [
        dict(img_path=file, landmarks=points)
        for file, points in zip(protocol.images, protocol.landmarks)
    ]
    return FaceProtocol(
        dict(type='ListedImages', images=images), 'AlignFace', score)


def _ijba(data: str, image_root: str,
          quality_weights: bool) -> FaceProtocol:
    protocol = IJBA.read(data)

    def score(x):
        if not quality_weights:
            x = normalize_embeddings(x, allow_failures=True)
        splits = protocol.score(x)
        return {
            f'split {k}': parts
            for k, parts in enumerate(splits, 1)
        }, protocol.summary(splits)

    images = [
        dict(img_path=osp.join(image_root, file), box=box)
        for file, *box in protocol.faces
    ]
    return FaceProtocol(
        dict(type='ListedImages', images=images), 'CropFace', score)
