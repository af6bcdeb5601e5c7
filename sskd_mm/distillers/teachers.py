# Copyright (c) sskd_mm authors. All rights reserved.
from typing import (Any, Callable, Dict, Iterator, List, NamedTuple, Optional,
                    Sequence, Tuple)

import torch
from torch import Tensor, nn

from .batch_identity import BatchIdentity
from .teacher import Teacher
from .teacher_cache import TeacherCache


class TeacherFeatures(NamedTuple):
    """A teacher's features of a batch.

    Attributes:
        features (dict[str, tuple[Tensor]]): Those of each tap, by its path.
        image_size (tuple[int]): Height and width of the images that they were
            computed from, which a teacher's ``input_transform`` may change.
    """

    features: Dict[str, Tuple[Tensor, ...]]
    image_size: Tuple[int, int]


class Teachers:
    """The teachers of a distillation, and the cache of their features.

    Copies of a distiller (``EMAHook`` makes one) share it, so that with
    :meth:`release` the networks are gone.

    Args:
        cfgs (Sequence[dict]): Arguments of each :class:`Teacher`.
        data_preprocessor (nn.Module): The student's.
        device (torch.device): Where they run.

    Attributes:
        cache (TeacherCache, optional): Where features of batches that come
            again are kept. Defaults to none.

    Example:
        >>> teachers = Teachers([dict(cfg=..., checkpoint=...)],
        >>>                     student.data_preprocessor, device)
        >>> found, = teachers.teach(inputs, [['backbone.layer4']])
        >>> found.features['backbone.layer4'][0].shape
        torch.Size([2, 2048, 7, 7])
    """

    def __init__(self,
                 cfgs: Sequence[dict] = (),
                 data_preprocessor: Optional[nn.Module] = None,
                 device: torch.device = torch.device('cpu')) -> None:
        self._teachers = [
            Teacher(**cfg, data_preprocessor=data_preprocessor, device=device)
            for cfg in cfgs
        ]
        self.cache: Optional[TeacherCache] = None
        self._key: Optional[Tuple[int, ...]] = None
        self._batch: Optional[BatchIdentity] = None
        self._identity: Optional[int] = None

    def __deepcopy__(self, memo: dict) -> 'Teachers':
        return self

    def __len__(self) -> int:
        return len(self._teachers)

    def __iter__(self) -> Iterator[Teacher]:
        return iter(self._teachers)

    def __getitem__(self, index: int) -> Teacher:
        return self._teachers[index]

    def release(self) -> None:
        """Free the networks and what is kept of their features."""
        self._teachers = []
        self.end_batch()
        self.set_cache(None)

    def set_cache(self, cache: Optional[TeacherCache]) -> None:
        """Keep features there from now on, and forget those kept before."""
        if self.cache is not None:
            self.cache.clear()
        self.cache = cache

    # --- A batch ----------------------------------------------------------

    def begin_batch(self, key: Tuple[int, ...], batch: Any) -> None:
        """Say which batch comes next, so that its features are kept.

        Args:
            key (tuple[int]): Its pass and its number in it.
            batch (dict or tuple or list): As the dataloader gave it.
        """
        if self.cache is not None:
            self._key, self._batch = key, BatchIdentity(batch)

    def identify(self, preprocessor: nn.Module, inputs: Tensor,
                 sizes: Optional[Sequence[Tuple[int, int]]]) -> None:
        """Note what the data preprocessor made of the batch, right after it
        has run, see :meth:`BatchIdentity.digest`."""
        if self._batch is not None:
            self._identity = self._batch.digest(preprocessor, inputs, sizes)

    def end_batch(self) -> None:
        """Keep nothing of what is computed from now on."""
        self._key = self._batch = self._identity = None

    @property
    def keeps_batch(self) -> bool:
        """bool: Whether the features of this batch are kept."""
        return self._key is not None

    def recall(self, compute: Callable[[], Any], device: torch.device) -> Any:
        """What is kept of this batch, or else what is computed now.

        Args:
            compute (Callable): Runs the teachers: tensors in lists, tuples
                and dicts.
            device (torch.device): Where the result is wanted.
        """
        if self._identity is None:
            return compute()
        return self.cache.recall(self._key, self._identity, compute, device)

    def teach(self,
              inputs: Tensor,
              taps: Sequence[Sequence[str]],
              sizes: Optional[Sequence[Tuple[int, int]]] = None,
              pre_activation: bool = False) -> List[TeacherFeatures]:
        """Each teacher's features of a batch.

        Args:
            inputs (Tensor): Images preprocessed for the student, (N, C, H,
                W).
            taps (Sequence[Sequence[str]]): Module paths, for each teacher.
            sizes (list[tuple[int]], optional): Height and width of each
                image without its padding.
            pre_activation (bool): As :func:`run_prefix` has it.

        Returns:
            list[TeacherFeatures]: For each teacher.
        """

        def run() -> List[Tuple[dict, Tuple[int, int]]]:
            found = []
            for teacher, paths in zip(self._teachers, taps):
                images = teacher.preprocess(inputs, sizes)
                features = teacher.run(images, paths,
                                       pre_activation) if paths else {}
                found.append((features, tuple(images.shape[-2:])))
            return found

        return [
            TeacherFeatures(*each) for each in self.recall(run, inputs.device)
        ]
