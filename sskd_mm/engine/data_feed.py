# Copyright (c) sskd_mm authors. All rights reserved.
import copy
from itertools import chain, islice
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..datasets import SeededDataset, build_dataset, mark_repeats
from ..stages import Phase
from .planned_batches import PlannedBatches
from .seeding import seed_everything

#: The pass and number of a batch.
Key = Tuple[int, int]


class DataFeed:
    """The batches of a training set, pass after pass.

    A pass goes once over the set, in its sampler's order; with an endless
    sampler (``InfiniteSampler``) it has as many images as the set. Seed, pass
    and number determine a batch and its augmentation, so a feed can begin
    anywhere.

    With ``cached_passes``, a phase replays its first passes: the same
    batches, augmented alike, in another order.

    Args:
        dataloader (dict or DataLoader): Config of the dataloader, or a
            DataLoader whose data set is used as it is.
        seed (int): The run's seed.
        diff_rank_seed (bool): As in MMEngine's ``randomness``. Defaults
            to False.

    Attributes:
        loader (DataLoader): Loads the batches; its length is an epoch of the
            phase.
        dataset (Dataset): The data set.
        model (nn.Module, optional): What trains in an iteration, if not the
            runner's model. None here.

    Example:
        >>> feed = DataFeed(cfg.train_dataloader, seed=0)
        >>> feed.enter(phase)
        >>> for key, batch in feed.batches(0, phase.max_iters):
        >>>     ...
    """

    model: Optional[torch.nn.Module] = None

    def __init__(self,
                 dataloader: Union[dict, DataLoader],
                 seed: int,
                 diff_rank_seed: bool = False) -> None:
        self._seed = seed
        self._seeded: Optional[SeededDataset] = None
        if isinstance(dataloader, dict):
            dataset = dataloader['dataset']
            if isinstance(dataset, dict):
                dataset = build_dataset(dataset)
            # Kept, as a wrapper may hide it.
            self._seeded = SeededDataset(dataset, seed)
            dataloader = Runner.build_dataloader(
                dict(dataloader, dataset=self._seeded),
                seed=seed,
                diff_rank_seed=diff_rank_seed)
        self._batch_sampler = dataloader.batch_sampler
        if self._batch_sampler is None:
            raise ValueError(
                'train_dataloader has no batch sampler, so its batches cannot '
                'be reproduced, and a run could not be resumed. Use a '
                'map-style data set and a batch_size.')
        self._plan = PlannedBatches(self._batch_sampler)
        self.loader = _with_batch_sampler(dataloader, self._plan)
        self.dataset = self.loader.dataset
        self._stream: Optional[Iterator[List[int]]] = None
        self._length = self._measure()
        self._drawn = 0
        self._plans: Dict[int, List[List[int]]] = {}
        self._phase: Optional[Phase] = None

    def __len__(self) -> int:
        """The batches per pass."""
        return self._length

    def enter(self, phase: Phase, annotated: bool = True) -> None:
        """Serve this phase from now on."""
        self._phase = phase
        self._plan.length = phase.epoch_length
        self._plans = {
            k: v
            for k, v in self._plans.items() if k >= phase.cache_begin
        }
        self.set_annotated(annotated)

    def set_annotated(self, annotated: bool) -> None:
        """Set whether to load annotations."""
        if self._seeded is not None:
            self._seeded.set_annotated(annotated)

    def sample(self) -> Any:
        """The first image, twice, as a batch: batch norm cannot train on a
        single value per channel."""
        sample = self.dataset[0]
        batch = self.loader.collate_fn([sample, copy.deepcopy(sample)])
        if isinstance(batch, dict) and 'inputs' not in batch:
            raise ValueError(
                "train_dataloader: the data set returns "
                f'{", ".join(map(repr, batch))}, but networks read '
                "'inputs' and 'data_samples'. End its pipeline with "
                "dict(type='PackDetInputs') for a detector or "
                "dict(type='PackInputs') for a classifier, instead of "
                'ImageToTensor, ToTensor, DefaultFormatBundle and Collect.')
        return batch

    def batches(self, begin: int, end: int) -> Iterator[Tuple[Key, Any]]:
        """Load the batches ``begin`` to ``end - 1`` of the phase.

        Yields:
            tuple: The :data:`Key` of a batch, which replayed batches share,
            and the batch.
        """
        while begin < end:
            number, first = divmod(begin, self._length)
            last = min(self._length, first + end - begin)
            yield from self._load_pass(self._phase.begin_pass + number, first,
                                       last)
            begin += last - first

    def _load_pass(self, number: int, first: int,
                   last: int) -> Iterator[Tuple[Key, Any]]:
        source = self._source(number)
        order = np.arange(self._length)
        if source != number:
            # The same batches in another order.
            np.random.default_rng((self._seed, number)).shuffle(order)
        order = order[first:last].tolist()
        batches = self.draw(source)
        for idx, batch in zip(
                order, self.load(source, [batches[i] for i in order])):
            yield (source, idx), batch

    def _source(self, number: int) -> int:
        """The pass whose batches this pass has: itself, or a replayed one."""
        phase = self._phase
        if not phase.caches_teachers:
            return number
        begin = phase.cache_begin
        return begin + (number - begin) % phase.cached_passes

    def load(self, number: int,
             batches: Sequence[Sequence[int]]) -> Iterator[Any]:
        """Load batches of these indices, augmented as in this pass."""
        if self._seeded is not None:
            self._seeded.set_epoch(number)
        seed_everything(self._seed, number)
        self._plan.plan = list(batches)
        try:
            return iter(self.loader)
        finally:
            self._plan.plan = None

    def draw(self, number: int) -> List[List[int]]:
        """The indices of each batch of a pass, on this process."""
        if number not in self._plans:
            replayed = self._phase is not None and self._phase.caches_teachers
            if replayed and self._stream is not None:
                # A stream cannot go back for a later replay.
                for earlier in range(
                        max(self._drawn, self._phase.cache_begin), number):
                    self.draw(earlier)
            batches = self._draw(number)
            before: List[int] = []
            if get_world_size() > 1:
                others = all_gather_object(batches)[:get_rank()]
                before = list(chain(*chain(*others)))
            if not replayed:
                self._plans.clear()
            self._plans[number] = mark_repeats(batches, before)
        return self._plans[number]

    def _draw(self, number: int) -> List[List[int]]:
        if self._stream is not None:
            skipped = (number - self._drawn) * self._length
            self._drawn = number + 1
            batches = list(
                islice(self._stream, skipped, skipped + self._length))
            if len(batches) < self._length:
                raise ValueError(
                    f'{type(self._batch_sampler).__name__} returned more '
                    'batches than its length and then ended. Its __len__ '
                    'must be that of a pass, or it must be endless.')
            return batches
        sampler = getattr(self._batch_sampler, 'sampler', None)
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(number)
        return list(self._batch_sampler)

    def _measure(self) -> int:
        """The batches per pass. An endless sampler becomes a stream."""
        length = len(self._batch_sampler)
        if not length:
            raise ValueError(
                'train_dataloader gives no batch: its data set has '
                f'{len(self.dataset)} images, and drop_last=True drops an '
                f'incomplete batch of {self._batch_sampler.batch_size}. '
                'Lower batch_size, or remove drop_last.')
        with torch.random.fork_rng(devices=[]):
            stream = iter(self._batch_sampler)
            head = list(islice(stream, length + 1))
        if len(head) <= length:
            return length
        self._stream = chain(head, stream)
        # Its length is the whole set's, not this process's share.
        return -(-length // get_world_size())


def _with_batch_sampler(loader: DataLoader, batch_sampler) -> DataLoader:
    return DataLoader(
        loader.dataset,
        batch_sampler=batch_sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers)
