# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, List, Tuple, Union

from mmengine.config import ConfigDict
from torch.utils.data import DataLoader

from ..datasets import check_annotations, check_data_files
from .data_feed import DataFeed


class Feeds:
    """The feeds of a run, one per training set.

    Attributes:
        base (DataFeed): The feed of the config's training data.
    """

    def __init__(self, runner, dataloader: Union[dict, DataLoader],
                 accept_other_classes: bool) -> None:
        self._runner = runner
        self._accept_other_classes = accept_other_classes
        self._built: List[Tuple[Any, DataFeed]] = []
        self.base = self._build(dataloader)

    def of(self, dataloader: Union[dict, DataLoader]) -> DataFeed:
        """The feed of this training data; equal configs share one.

        Raises:
            FileNotFoundError: Its files do not exist.
            ValueError: Its annotations lack the config's classes.
        """
        for known, feed in self._built:
            if known is dataloader or (isinstance(known, dict)
                                       and known == dataloader):
                return feed
        # The config's own was checked by the loop.
        own = dict(train_dataloader=dataloader)
        check_data_files(own, built=['train_dataloader'])
        check_annotations(
            ConfigDict(
                own, default_scope=self._runner.cfg.get('default_scope')),
            built=['train_dataloader'],
            accept_other_classes=self._accept_other_classes)
        return self._build(dataloader)

    def _build(self, dataloader: Union[dict, DataLoader]) -> DataFeed:
        runner = self._runner
        feed = DataFeed(dataloader, runner.seed,
                        runner._randomness_cfg.get('diff_rank_seed', False))
        self._built.append((dataloader, feed))
        return feed
