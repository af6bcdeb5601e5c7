# Copyright (c) sskd_mm authors. All rights reserved.
import time
from itertools import islice
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor, nn

from ...datasets import SeededDataset
from ...distillers import HeadOnFeatures
from ...stages import Phase
from .load_batches import load_batches


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


class FeatureCache:
    """Lets a head phase train on features that are computed once.

    In the phase ``head`` all that lies before the head is frozen, so an
    image that is augmented alike has the same feature in each epoch. Here
    the frozen part runs in the first ``cached_passes`` epochs of the phase,
    over images that are augmented as these epochs augment them; further
    epochs use these passes again, in turn. The batches of an epoch are the
    ones of an ordinary epoch, drawn by the same sampler.

    Features are held in memory, on the CPU, in the precision in which they
    were computed. Of several processes each computes those of its share of
    the images and gets the others' from them. They are never saved: a
    resumed run computes them anew, with the same bits, for weights and
    randomness are the same.

    Args:
        loop (StageByStageTrainLoop): The loop.
        phase (Phase): The head phase.
    """

    def __init__(self, loop, phase: Phase) -> None:
        self._loop = loop
        self._phase = phase
        self._passes: Dict[int, Features] = {}
        #: What trains in place of the whole student.
        self.model: nn.Module = loop.runner.wrap_model(
            loop.runner.cfg.get('model_wrapper_cfg'),
            HeadOnFeatures(loop.distiller.student.head))

    def batches(self, epoch: int, begin: int) -> Iterator[dict]:
        """The batches of an epoch.

        Args:
            epoch (int): Counted from 0 over all phases.
            begin (int): The first batch to give.

        Yields:
            dict: What ``model`` takes.
        """
        number = (epoch - self._phase.begin) % self._phase.cached_passes
        if number not in self._passes:
            self._passes[number] = self._compute(self._phase.begin + number)
        inputs, labels, scores = self._passes[number]
        for indices in islice(self._loop.dataloader.batch_sampler, begin,
                              None):
            yield dict(
                inputs=tuple(x[indices] for x in inputs),
                labels=labels[indices],
                scores=None if scores is None else scores[indices])

    @torch.no_grad()
    def _compute(self, epoch: int) -> Features:
        """Run the frozen part over the training set, augmented as in this
        epoch."""
        loop, start = self._loop, time.time()
        dataset = loop.dataloader.dataset
        if isinstance(dataset, SeededDataset):
            dataset.set_epoch(epoch)
        rank, world = get_rank(), get_world_size()
        # As many for each process: some images at the beginning twice.
        share = -(-len(dataset) // world)
        indices = [i * world + rank for i in range(share)]
        indices = [i % len(dataset) for i in indices]
        size = loop.dataloader.batch_sampler.batch_size
        loader = load_batches(
            loop.dataloader,
            [indices[i:i + size] for i in range(0, share, size)])
        rows = []
        for idx, batch in enumerate(loader):
            loop.seed_with(epoch, idx)
            rows.append(self._extract(batch))
        features = Features(
            tuple(
                self._gather(x, len(dataset))
                for x in zip(*(row.inputs for row in rows))),
            self._gather([row.labels for row in rows], len(dataset)),
            None if rows[0].scores is None else self._gather(
                [row.scores for row in rows], len(dataset)))
        self._report(features, epoch, time.time() - start)
        return features

    def _extract(self, batch: dict) -> Features:
        """The features of a batch, on the CPU."""
        distiller = self._loop.distiller
        with self._loop.runner.optim_wrapper.optim_context(distiller):
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
    def _gather(parts: List[Tensor], number: int) -> Tensor:
        """The rows of all processes, in the order of the data set."""
        rows = torch.cat(parts)
        # As bytes, since not every backend knows of every precision.
        data = rows.reshape(len(rows), -1).contiguous().view(torch.uint8)
        data = torch.stack(all_gather(data), 1).flatten(0, 1)[:number]
        return data.contiguous().view(rows.dtype).reshape(
            number, *rows.shape[1:])

    def _report(self, features: Features, epoch: int, seconds: float) -> None:
        tensors = [x for x in (*features.inputs, features.scores)
                   if x is not None]
        size = sum(x.numel() * x.element_size() for x in tensors)
        shapes = ', '.join(f'{tuple(x.shape)} {str(x.dtype)[len("torch."):]}'
                           for x in tensors)
        self._loop.runner.logger.info(
            f'Pass {epoch - self._phase.begin + 1} of '
            f'{self._phase.cached_passes} over the training set, '
            f'{seconds:.1f} s: features {shapes} are held in memory, '
            f'{size / 2**20:.1f} MiB in each process.')
