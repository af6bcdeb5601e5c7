# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch.nn.functional as F
from mmengine.logging import MMLogger
from torch import Tensor, nn

from ..adapters import build_adapter
from ..stages import (Stage, from_canonical, pair_levels, to_canonical,
                      tokens_to_map)
from .teachers import TeacherFeatures


class Pair(NamedTuple):
    """A student's and a teacher's feature at one level of a tap: maps
    (N, C, H, W), tokens (N, L, C) or embeddings (N, C). ``adapted`` is the
    student's in the shape of the teacher's."""

    student: Tensor
    adapted: Tensor
    teacher: Tensor


class Comparison:
    """Pairs a student's features with the teachers' and adapts them.

    Args:
        stages (Sequence[Stage]): Where to compare.
        adapter (dict): Config of the adapters.
        image_size (tuple[int]): Height and width of the student's images in
            the dry run, from which levels are paired.
        layouts (Sequence[dict]): From :func:`find_layouts`, of the student,
            then of each teacher.

    Attributes:
        adapters (nn.ModuleDict): For each stage, for each of its teachers,
            one per level.
        feeders (nn.ModuleDict): The same from the teacher's features to the
            student's, for ``blockwise``.
        tap_shapes (dict[str, list[tuple]]): For each stage the shapes of each
            pair of features, student's and teacher's, without the batch.
    """

    def __init__(self, stages: Sequence[Stage], adapter: dict,
                 image_size: Tuple[int, int],
                 layouts: Sequence[Dict[str, Tuple[str, ...]]]) -> None:
        self.adapters = nn.ModuleDict()
        self.feeders = nn.ModuleDict()
        self.tap_shapes: Dict[str, List[Tuple[tuple, tuple]]] = {}
        self._adapter_cfg = adapter
        self._image_size = image_size
        self.layouts = layouts
        self._whole: Dict[str, bool] = {}
        # Found once: small images do not reveal all strides.
        self._levels: Dict[str, List[List[Tuple[int, int]]]] = {}

    def find_levels(self, stage: Stage, features: Sequence[Tensor],
                    targets: Sequence[TeacherFeatures]) -> List[int]:
        """Pair a tap's levels with those of each teacher, and return the
        student's levels that have a counterpart."""
        found: List[List[Tuple[int, int]]] = []
        features = self._student_forms(stage, features, self._image_size)
        for path, each, others in self._teacher_forms(stage, targets):
            if path is None:
                found.append([])
                continue
            try:
                levels = pair_levels(features, others, self._image_size,
                                     each.image_size)
            except ValueError as error:
                raise ValueError(f'Stage {stage.name!r}: {error}') from None
            found.append(levels)
            if not len(features) == len(others) == len(levels):
                MMLogger.get_current_instance().info(
                    f'Stage {stage.name!r}: of the student\'s '
                    f'{len(features)} levels and the teacher\'s '
                    f'{len(others)}, the {len(levels)} of equal strides are '
                    'compared. Weights that none of these depends on train '
                    'with the head.')
        self._levels[stage.name] = found
        return sorted({i for levels in found for i, _ in levels})

    def build_adapters(self, stage: Stage, features: Sequence[Tensor],
                       targets: Sequence[TeacherFeatures]) -> None:
        """Build the adapters of a tap for features of these shapes, after
        :meth:`find_levels`."""
        pairs = self.pair(stage, features, targets, self._image_size)
        self.tap_shapes[stage.name] = [(tuple(s.shape[1:]), tuple(t.shape[1:]))
                                       for s, t in pairs]
        forms = self._student_forms(stage, features, self._image_size)
        self._whole[stage.name] = [tuple(x.shape[1:]) for x in forms] == [
            shape for shape, _ in self.tap_shapes[stage.name]
        ]
        self.adapters[_key(stage.name)] = nn.ModuleList(
            build_adapter(self._adapter_cfg, s.shape, t.shape)
            for s, t in pairs)

    def build_feeders(self, stage: str) -> None:
        """Build the maps from the teacher's features to the student's."""
        self.feeders[_key(stage)] = nn.ModuleList(
            build_adapter(self._adapter_cfg, (1, *t), (1, *s))
            for s, t in self.tap_shapes[stage])

    def compares_whole(self, stage: str) -> bool:
        """Whether all that the student outputs at a tap is compared, in its
        own shape."""
        return self._whole[stage]

    def adapters_of(self, stage: str) -> nn.ModuleList:
        """The adapters of a stage, in the order of :meth:`pair`."""
        return self.adapters[_key(stage)]

    def set_trainable(self, taps: Sequence[str], feeds: bool) -> None:
        """Unfreeze the adapters of these taps, and their feeders if the phase
        feeds its stages; freeze all others."""
        names = [_key(name) for name in taps]
        for modules, trains in ((self.adapters, True), (self.feeders, feeds)):
            for name, module in modules.items():
                module.requires_grad_(trains and name in names)
                module.zero_grad(set_to_none=True)

    # --- A step -------------------------------------------------------------

    def pair(self, stage: Stage, features: Sequence[Tensor],
             targets: Sequence[TeacherFeatures],
             image_size: Tuple[int, int]) -> List[Tuple[Tensor, Tensor]]:
        """A student's features with each teacher's, level by level. Tokens
        stay tokens if both sides have as many; otherwise they become maps."""
        pairs = []
        features = self._student_forms(stage, features, image_size)
        for levels, (_, each, others) in zip(
                self._levels[stage.name], self._teacher_forms(stage, targets)):
            for i, j in levels:
                s, t = features[i], others[j]
                if not s.dim() == t.dim() or (s.dim() == 3
                                              and s.shape[1] != t.shape[1]):
                    s, t = (
                        tokens_to_map(x, size) if x.dim() == 3 else x
                        for x, size in ((s, image_size), (t,
                                                          each.image_size)))
                pairs.append((s, t))
        return pairs

    def _student_forms(self, stage: Stage, features: Sequence[Tensor],
                       image_size: Tuple[int, int]) -> List[Tensor]:
        return to_canonical(features, self.layouts[0][stage.student],
                            image_size)

    def _teacher_forms(
        self, stage: Stage, targets: Sequence[TeacherFeatures]
    ) -> Iterator[Tuple[Optional[str], TeacherFeatures, List[Tensor]]]:
        """Each teacher's tap, its output and its features."""
        for path, each, layouts in zip(stage.teachers, targets,
                                       self.layouts[1:]):
            yield path, each, [] if path is None else to_canonical(
                each.features[path], layouts[path], each.image_size)

    def adapt(self, stage: Stage, features: Sequence[Tensor],
              targets: Sequence[TeacherFeatures],
              image_size: Tuple[int, int]) -> List[Pair]:
        """As :meth:`pair`, with the adapted features."""
        pairs = self.pair(stage, features, targets, image_size)
        return [
            Pair(s, adapter(s, t.shape), t)
            for adapter, (s, t) in zip(self.adapters_of(stage.name), pairs)
        ]

    def feed(self,
             stage: Stage,
             features: Sequence[Tensor],
             targets: Sequence[TeacherFeatures],
             image_size: Tuple[int, int],
             losses: Optional[Dict[str, Tensor]] = None) -> List[Tensor]:
        """The teacher's features of a tap in the shape and layout of the
        student's output, for the next stage. If the map between the two
        trains, ``loss_feed_<stage>`` is added to ``losses``."""
        fed, errors = [], []
        pairs = self.pair(stage, features, targets, image_size)
        for feeder, (s, t) in zip(self.feeders[_key(stage.name)], pairs):
            mapped = feeder(t, s.shape)
            if mapped.requires_grad:
                # Fitted to the student's feature alone: the next stage must
                # not influence its own input.
                aim = s.detach().float()
                errors.append(
                    F.mse_loss(mapped.float(), aim) /
                    aim.square().mean().clamp_min(1e-12))
            fed.append(mapped.detach().clone())
        if errors:
            losses[f'loss_feed_{stage.name}'] = sum(errors)
        return from_canonical(fed, self.layouts[0][stage.student],
                              features)


def _key(name: str) -> str:
    # Module names must not contain dots.
    return name.replace('.', '_')
