# Copyright (c) sskd_mm authors. All rights reserved.
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor, nn

from ..distillers import HeadOnFeatures
from ..stages import Phase
from .data_feed import DataFeed, Key
from .seeding import seed_everything


class Features(NamedTuple):
    """The cached outputs of one pass, in the order of the data set.

    Attributes:
        inputs (tuple[Tensor]): Inputs of the head, (images, ...) each.
        labels (Tensor): (images, ).
        scores (Tensor, optional): Class scores, (images, classes), if the
            data preprocessor returns them.
    """

    inputs: Tuple[Tensor, ...]
    labels: Tensor
    scores: Optional[Tensor]


class FeatureFeed:
    """The batches of a head phase that trains on cached features.

    In the phase ``head`` all layers before the head are frozen, so an image
    augmented alike has the same feature in each epoch. They run in the first
    ``cached_passes`` passes of the phase only; later passes reuse these
    features in turn. The sampler draws the batches as usual.

    Features are held in memory, on the CPU, in the precision in which they
    were computed. Each process computes its share of the images, then all
    exchange them. They are never saved: a resumed run recomputes them, bit by
    bit.

    Attributes:
        model (nn.Module): What trains in place of the whole student.
        loader (DataLoader): Loads the images.
    """

    def __init__(self, data: DataFeed, phase: Phase, distiller,
                 runner) -> None:
        self._data = data
        self._phase = phase
        self._distiller = distiller
        self._runner = runner
        self._passes: Dict[int, Features] = {}
        self.loader = data.loader
        self.model: nn.Module = runner.wrap_model(
            runner.cfg.get('model_wrapper_cfg'),
            HeadOnFeatures(distiller.student.head))

    def batches(self, begin: int, end: int) -> Iterator[Tuple[Key, dict]]:
        """Yield keys and batches ``begin`` to ``end - 1`` of the phase, for
        ``model``."""
        for position in range(begin, end):
            number, idx = divmod(position, len(self._data))
            source = number % self._phase.cached_passes
            if source not in self._passes:
                self._passes[source] = self._compute(source)
            inputs, labels, scores = self._passes[source]
            number += self._phase.begin_pass
            indices = self._data.draw(number)[idx]
            yield (number, idx), dict(
                inputs=tuple(x[indices] for x in inputs),
                labels=labels[indices],
                scores=None if scores is None else scores[indices])

    @torch.no_grad()
    def _compute(self, source: int) -> Features:
        """Run the frozen layers over the training set, augmented as in this
        pass of the phase."""
        start = time.time()
        seed, number = self._runner.seed, self._phase.begin_pass + source
        size = len(self._data.dataset)
        # Shuffled, so that Mixup finds several classes in a batch.
        order = np.random.default_rng((seed, number)).permutation(size)
        rank, world = get_rank(), get_world_size()
        # Equal shares: some images are computed twice.
        share = np.resize(order, -(-size // world) * world)[rank::world]
        step = self.loader.batch_sampler.batch_size
        batches = [
            share[i:i + step].tolist() for i in range(0, len(share), step)
        ]
        rows = []
        for idx, batch in enumerate(self._data.load(number, batches)):
            seed_everything(seed, number, idx)
            rows.append(self._extract(batch))
        features = Features(
            tuple(
                self._gather(x, order)
                for x in zip(*(row.inputs for row in rows))),
            self._gather([row.labels for row in rows], order),
            None if rows[0].scores is None else self._gather(
                [row.scores for row in rows], order))
        self._report(features, source, time.time() - start)
        return features

    def _extract(self, batch: dict) -> Features:
        """The features of a batch, on the CPU."""
        distiller = self._distiller
        with self._runner.optim_wrapper.optim_context(distiller):
            data = distiller.data_preprocessor(batch, True)
            inputs = distiller.student.extract_feat(data['inputs'])
        samples = data['data_samples']
        scores = None
        if 'gt_score' in samples[0]:
            scores = torch.stack([s.gt_score for s in samples]).cpu()
        return Features(
            tuple(x.cpu() for x in inputs),
            torch.cat([s.gt_label for s in samples]).cpu(), scores)

    @staticmethod
    def _gather(parts: List[Tensor], order: np.ndarray) -> Tensor:
        """The rows of all processes, sorted from this order to the set's."""
        rows = torch.cat(parts)
        # As bytes, since not every backend supports every dtype.
        data = rows.reshape(len(rows), -1).contiguous().view(torch.uint8)
        data = torch.stack(all_gather(data), 1).flatten(0, 1)[:len(order)]
        data = data[torch.from_numpy(np.argsort(order))]
        return data.view(rows.dtype).reshape(len(order), *rows.shape[1:])

    def _report(self, features: Features, source: int, seconds: float) -> None:
        tensors = [x for x in (*features.inputs, features.scores)
                   if x is not None]
        size = sum(x.numel() * x.element_size() for x in tensors)
        shapes = ', '.join(f'{tuple(x.shape)} {str(x.dtype)[len("torch."):]}'
                           for x in tensors)
        self._runner.logger.info(
            f'Cached pass {source + 1} of {self._phase.cached_passes} over '
            f'the training set in {seconds:.1f} s: features {shapes}, '
            f'{size / 2**20:.1f} MiB of memory per process.')
