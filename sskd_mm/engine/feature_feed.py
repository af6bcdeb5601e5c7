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
    """What one pass over the training set gives, in the set's order.

    Attributes:
        inputs (tuple[Tensor]): What the head reads, (images, ...) each.
        labels (Tensor): (images, ).
        scores (Tensor, optional): Of each class, (images, classes), where
            the data preprocessor gives them.
    """

    inputs: Tuple[Tensor, ...]
    labels: Tensor
    scores: Optional[Tensor]


class FeatureFeed:
    """The batches of a head phase whose features are computed once.

    In the phase ``head`` all that lies before the head is frozen, so an
    image that is augmented alike has the same feature in each epoch. Here
    the frozen part runs in the first ``cached_passes`` passes of the phase,
    over images that are augmented as these passes augment them; further
    ones use their features again, in turn. The batches of a pass are those of
    an ordinary one, drawn by the same sampler.

    Features are held in memory, on the CPU, in the precision in which they
    were computed. Of several processes each computes those of its share of
    the images and gets the others' from them. They are never saved: a
    resumed run computes them anew, with the same bits, for weights and
    randomness are the same.

    Args:
        data (DataFeed): Where the images come from.
        phase (Phase): The head phase.
        distiller (StageByStageDistiller): In this phase.
        runner (Runner): The runner, with the optimizer of the phase.

    Attributes:
        model (nn.Module): What trains in place of the whole student.
        loader (DataLoader): That of the images.
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
        """Give these batches of the phase.

        Args:
            begin (int): The first one, counted from the phase's beginning.
            end (int): The one after the last.

        Yields:
            tuple: The key of a batch, and what ``model`` takes.
        """
        for position in range(begin, end):
            number, idx = divmod(position, len(self._data))
            kept = number % self._phase.cached_passes
            if kept not in self._passes:
                self._passes[kept] = self._compute(kept)
            inputs, labels, scores = self._passes[kept]
            number += self._phase.begin_pass
            indices = self._data.draw(number)[idx]
            yield (number, idx), dict(
                inputs=tuple(x[indices] for x in inputs),
                labels=labels[indices],
                scores=None if scores is None else scores[indices])

    @torch.no_grad()
    def _compute(self, kept: int) -> Features:
        """Run the frozen part over the training set, augmented as in this
        pass of the phase."""
        start = time.time()
        seed, number = self._runner.seed, self._phase.begin_pass + kept
        size = len(self._data.dataset)
        # In no order: what mixes the images of a batch (Mixup) is to find
        # those of several classes in it.
        order = np.random.default_rng((seed, number)).permutation(size)
        rank, world = get_rank(), get_world_size()
        # As many for each process: some images at the beginning twice.
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
        self._report(features, kept, time.time() - start)
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
        """The rows of all processes, from this order to the data set's."""
        rows = torch.cat(parts)
        # As bytes, since not every backend knows of every precision.
        data = rows.reshape(len(rows), -1).contiguous().view(torch.uint8)
        data = torch.stack(all_gather(data), 1).flatten(0, 1)[:len(order)]
        data = data[torch.from_numpy(np.argsort(order))]
        return data.view(rows.dtype).reshape(len(order), *rows.shape[1:])

    def _report(self, features: Features, kept: int, seconds: float) -> None:
        tensors = [x for x in (*features.inputs, features.scores)
                   if x is not None]
        size = sum(x.numel() * x.element_size() for x in tensors)
        shapes = ', '.join(f'{tuple(x.shape)} {str(x.dtype)[len("torch."):]}'
                           for x in tensors)
        self._runner.logger.info(
            f'Pass {kept + 1} of '
            f'{self._phase.cached_passes} over the training set, '
            f'{seconds:.1f} s: features {shapes} are held in memory, '
            f'{size / 2**20:.1f} MiB in each process.')
