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
    """A data set whose augmentation follows from seed, epoch and index alone,
    and of an index that is drawn again (:class:`Draw`) from how often it was.

    An image is then augmented the same whichever process or worker loads it
    and whatever was loaded before. So a resumed run sees the images of the
    run that was not stopped, and several processes see those of one.

    An image's ``sample_idx``, where it is packed, is its place in the whole
    data set: a data set in a wrapper counts its own images alone.

    A detector's annotations are loaded only while they are wanted, see
    :class:`AnnotationsOnDemand`. It passes everything else on to the data set
    in it.

    Args:
        dataset (Dataset): Any map-style data set, wrappers included.
        seed (int): The run's seed.
    """

    _own = ('dataset', '_seed', '_epoch', '_annotated')

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self._seed = seed
        # Shared, for persistent workers would keep an old one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._annotated = torch.ones(1, dtype=torch.bool).share_memory_()
        AnnotationsOnDemand.put_into(dataset, self._annotated)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next images are loaded for."""
        self._epoch.fill_(epoch)

    def set_annotated(self, annotated: bool) -> None:
        """Set whether annotations are wanted from now on."""
        self._annotated.fill_(annotated)

    def __getitem__(self, index: int) -> Any:
        with self._seeded_by(index):
            return _numbered(self.dataset[index], index)

    @property
    def __getitems__(self) -> Optional[Callable]:
        """A batch at once, where the data set has a way to; what it draws
        then follows from the indices of the batch."""
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
        # A sampler may draw an index twice, to have it augmented twice.
        repeats = [i.repeat for i in indices if isinstance(i, Draw)]
        entropy = (self._seed, int(self._epoch), *indices, *repeats)
        return _seeded(
            int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def __len__(self) -> int:
        return len(self.dataset)

    def __deepcopy__(self, memo: dict) -> 'SeededDataset':
        # The Runner copies a dataloader's config with what is built in it; a
        # copy's epoch would not be the one that workers see.
        return self

    def __getattr__(self, name: str) -> Any:
        if name in SeededDataset._own or name.startswith('__'):
            # Not there yet, as while it is unpickled in a worker.
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SeededDataset._own:
            super().__setattr__(name, value)
        else:
            # Hooks that switch a pipeline mean the data set's.
            setattr(self.dataset, name, value)


def _numbered(sample: Any, index: int) -> Any:
    annotation = sample.get('data_samples') if isinstance(sample,
                                                          dict) else None
    if getattr(annotation, 'sample_idx', index) != index:
        annotation.set_metainfo(dict(sample_idx=index))
    return sample


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # A worker draws nothing else, and to keep numpy's state takes a quarter of
    # the time that a small image does.
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
