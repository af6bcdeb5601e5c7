# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Optional

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from .embedding_store import EmbeddingStore


@torch.no_grad()
def extract_embeddings(model: nn.Module,
                       dataset: Dataset,
                       batch_size: int = 64,
                       num_workers: int = 2,
                       mirror: bool = True,
                       file: Optional[str] = None,
                       key: Optional[Dict[str, str]] = None) -> np.ndarray:
    """Compute the embeddings of all images of a data set.

    Args:
        model (nn.Module): An mmpretrain classifier, or any model with a
            ``data_preprocessor`` and an ``extract_feat`` whose last feature
            is the embedding. It is left in eval mode.
        dataset (Dataset): A data set as in mmpretrain.
        batch_size (int): Batch size. Defaults to 64.
        num_workers (int): Processes that load images. Defaults to 2.
        mirror (bool): Whether to add the embedding of the mirrored image, as
            usual in the protocols of LFW, CFP-FP and AgeDB-30. Defaults to
            True.
        file (str, optional): An ``.npy`` file to write them to as they are
            computed, so that an interrupted run can continue, see
            :class:`EmbeddingStore`. Defaults to None: keep them in memory.
        key (dict[str, str], optional): What the embeddings in ``file`` depend
            on. Required with ``file``.

    Returns:
        np.ndarray: Shape (N, D), float32, not normalised; mapped from
        ``file`` if given.

    Raises:
        ValueError: The data set is empty, its images differ in size, the
            feature is not an embedding, or ``file`` holds something else.
    """
    if not len(dataset):
        raise ValueError('The data set has no images.')
    model.eval()
    width = _embed(model, pseudo_collate([dataset[0]]), False).shape[1]
    store = None
    if file is not None:
        store = EmbeddingStore(file, len(dataset), width,
                               dict(key, mirror=mirror))
        rows = store.missing()
    else:
        embeddings = np.empty((len(dataset), width), np.float32)
        rows = np.arange(len(dataset))
    loader = DataLoader(
        Subset(dataset, rows.tolist()),
        batch_size,
        num_workers=num_workers,
        collate_fn=pseudo_collate)
    for number, batch in enumerate(loader):
        part = rows[number * batch_size:(number + 1) * batch_size]
        x = _embed(model, batch, mirror).cpu().numpy()
        if store is not None:
            store.write(part, x)
        else:
            embeddings[part] = x
    return embeddings if store is None else store.read()


def _embed(model: nn.Module, batch: dict, mirror: bool) -> Tensor:
    sizes = {tuple(image.shape[-2:]) for image in batch['inputs']}
    if len(sizes) > 1:
        raise ValueError(
            'Images differ in size: '
            f'{", ".join(f"{h} x {w}" for h, w in sorted(sizes)[:3])}. Resize '
            "them in the test pipeline: dict(type='Resize', scale=(112, 112))."
        )
    inputs = model.data_preprocessor(batch, False)['inputs']
    x = _last(model.extract_feat(inputs))
    if mirror:
        x = x + _last(model.extract_feat(inputs.flip(-1)))
    return x


def _last(features) -> Tensor:
    x = features[-1] if isinstance(features, (tuple, list)) else features
    if x.dim() != 2:
        raise ValueError(
            f'The last feature of the model has shape {tuple(x.shape)}, which '
            'is not an embedding (N, D). Give the model a neck: '
            "neck=dict(type='GlobalAveragePooling').")
    return x.float()
