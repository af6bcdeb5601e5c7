# Copyright (c) sskd_mm authors. All rights reserved.
import random
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Iterator, Optional

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from .draw import Draw
from .transforms.annotations_on_demand import AnnotationsOnDemand


class SeededDataset(Dataset):
    """Makes augmentation depend on seed, epoch and index only, and for an
    index that is drawn repeatedly (:class:`Draw`), on the repetition.

    An image is then augmented identically whichever process or worker loads
    it and whatever was loaded before. So a resumed run sees the same images
    as an uninterrupted one, and several processes see those of one.

    A packed image's ``sample_idx`` becomes its index in the whole data set; a
    wrapped data set would only count its own images.

    A detector's annotations are loaded only on demand, see
    :class:`AnnotationsOnDemand`. Everything else is delegated to the wrapped
    data set.

    Args:
        dataset (Dataset): Any map-style data set, possibly wrapped.
        seed (int): The run's seed.
    """

    _own = ('dataset', '_seed', '_epoch', '_annotated')

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self._seed = seed
        # Shared, because persistent workers would keep an old value.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._annotated = torch.ones(1, dtype=torch.bool).share_memory_()
        AnnotationsOnDemand.put_into(dataset, self._annotated)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the images loaded next."""
        self._epoch.fill_(epoch)

    def set_annotated(self, annotated: bool) -> None:
        """Set whether annotations are loaded from now on."""
        self._annotated.fill_(annotated)

    def __getitem__(self, index: int) -> Any:
        with self._seeded_by(index):
            return _numbered(self.dataset[index], index)

    @property
    def __getitems__(self) -> Optional[Callable]:
        """Fetches a whole batch, if the data set can; its augmentation then
        depends on the indices of the batch."""
        get_batch = getattr(self.dataset, '__getitems__', None)
        if get_batch is None:
            return None

        def get_seeded(indices):
            with self._seeded_by(*indices):
                return [
                    _numbered(sample, index)
                    for sample, index in zip(get_batch(indices), indices)
                ]

        return get_seeded

    def _seeded_by(self, *indices: int) -> ContextManager:
        # A sampler may draw an index twice to augment it in two ways.
        repeats = [i.repeat for i in indices if isinstance(i, Draw)]
        entropy = (self._seed, int(self._epoch), *indices, *repeats)
        return _seeded(
            int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def __len__(self) -> int:
        return len(self.dataset)

    def __deepcopy__(self, memo: dict) -> 'SeededDataset':
        # The Runner copies a dataloader's config with any built objects in
        # it; workers would not see the epoch of a copy.
        return self

    def __getattr__(self, name: str) -> Any:
        if name in SeededDataset._own or name.startswith('__'):
            # Not set yet, e.g. while being unpickled in a worker.
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SeededDataset._own:
            super().__setattr__(name, value)
        else:
            # Hooks that switch a pipeline mean that of the wrapped data set.
            setattr(self.dataset, name, value)


def _numbered(sample: Any, index: int) -> Any:
    annotation = sample.get('data_samples') if isinstance(sample,
                                                          dict) else None
    if getattr(annotation, 'sample_idx', index) != index:
        annotation.set_metainfo(dict(sample_idx=index))
    return sample


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # A worker draws no other random numbers, and saving numpy's state takes a
    # quarter of the time of loading a small image.
    state = None
    if get_worker_info() is None:
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        if state is not None:
            random.setstate(state[0])
            np.random.set_state(state[1])
            torch.set_rng_state(state[2])
