# Copyright (c) sskd_mm authors. All rights reserved.
from typing import (Any, Callable, Dict, Iterator, List, NamedTuple, Optional,
                    Sequence, Tuple)

import torch
from torch import Tensor, nn

from ..stages import run_prefix
from .batch_identity import BatchIdentity
from .teacher import Teacher
from .teacher_cache import Key, TeacherCache


class TeacherFeatures(NamedTuple):
    """A teacher's features of a batch.

    Attributes:
        features (dict[str, tuple[Tensor]]): The features of each tap, by path.
        image_size (tuple[int]): Height and width of the teacher's input,
            which an ``input_transform`` may change.
    """

    features: Dict[str, Tuple[Tensor, ...]]
    image_size: Tuple[int, int]


class Teachers:
    """The teachers of a distillation, and the cache of their features.

    Copies of a distiller, as ``EMAHook`` makes them, share this object, so
    :meth:`release` frees the networks for all.

    Args:
        cfgs (Sequence[dict]): Arguments of each :class:`Teacher`.
        data_preprocessor (nn.Module): The student's.
        device (torch.device): Where they run.

    Attributes:
        cache (TeacherCache, optional): Holds features of recurring batches.
            Defaults to None.

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
        self._key: Optional[Key] = None
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
        """Free the networks and the cached features."""
        self._teachers = []
        self.end_batch()
        self.set_cache(None)

    def set_cache(self, cache: Optional[TeacherCache]) -> None:
        """Clear the current cache and use this one from now on."""
        if self.cache is not None:
            self.cache.clear()
        self.cache = cache

    # --- A batch ----------------------------------------------------------

    def begin_batch(self, key: Key, batch: Any) -> None:
        """Announce the next batch, so that its features are cached.

        Args:
            key (tuple[int]): Its pass and its number in it.
            batch (dict or tuple or list): From the dataloader.
        """
        if self.cache is not None:
            self._key, self._batch = key, BatchIdentity(batch)

    def identify(self, preprocessor: nn.Module, inputs: Tensor,
                 sizes: Optional[Sequence[Tuple[int, int]]]) -> None:
        """Complete the batch's identity with what the data preprocessor did,
        right after it has run; see :meth:`BatchIdentity.digest`."""
        if self._batch is not None:
            self._identity = self._batch.digest(preprocessor, inputs, sizes)

    def end_batch(self) -> None:
        """Cache nothing until the next :meth:`begin_batch`."""
        self._key = self._batch = self._identity = None

    @property
    def caches_batch(self) -> bool:
        """bool: Whether the features of this batch are cached."""
        return self._key is not None

    def recall(self, compute: Callable[[], Any], device: torch.device) -> Any:
        """Return the cached outputs for this batch, or compute them.

        Args:
            compute (Callable): Returns tensors in lists, tuples and dicts.
            device (torch.device): Where to put the result.
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
                image without padding.
            pre_activation (bool): As in :func:`run_prefix`.

        Returns:
            list[TeacherFeatures]: One per teacher.
        """

        @torch.no_grad()
        def run() -> List[Tuple[dict, Tuple[int, int]]]:
            found = []
            for teacher, paths in zip(self._teachers, taps):
                images = teacher.preprocess(inputs, sizes)
                features = run_prefix(teacher.model, paths, images,
                                      pre_activation) if paths else {}
                found.append((features, tuple(images.shape[-2:])))
            return found

        return [
            TeacherFeatures(*each) for each in self.recall(run, inputs.device)
        ]
