# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Dict, Sequence

import numpy as np
from mmengine.logging import print_log

from .search_result import SearchResult


class Identification:
    """1:N identification with one or several galleries.

    Each gallery is scored apart and the figures are then averaged, as IJB-B
    and IJB-C define it for their galleries G1 and G2. Probes whose subject a
    gallery lacks take no part in its ranks and give its false alarms.

    Args:
        results (Sequence[SearchResult]): Of the same probes, one a gallery.

    Example:
        >>> Identification([search_gallery(probes, who, *g) for g in (g1, g2)])
    """

    def __init__(self, results: Sequence[SearchResult]) -> None:
        self.results = list(results)

    def cmc(self, ranks: int) -> np.ndarray:
        """Mean of :meth:`SearchResult.cmc` over galleries."""
        return np.mean([result.cmc(ranks) for result in self.results], 0)

    def tpir_at_fpir(self, fpir: float, first: bool = False) -> float:
        """Mean of :meth:`SearchResult.tpir_at_fpir` over galleries."""
        return float(
            np.mean(
                [result.tpir_at_fpir(fpir, first) for result in self.results]))

    def summary(self, ranks: Sequence[int],
                fpirs: Sequence[float]) -> Dict[str, float]:
        """The figures that are reported, in percent.

        Args:
            ranks (Sequence[int]): For closed-set identification.
            fpirs (Sequence[float]): For open-set identification, from 0 to 1.
                One that is finer than the number of probes without a mate is
                warned of. They are left out where all probes have a mate.

        Returns:
            dict[str, float]: ``rank-k`` for each k, ``TPIR@FPIR=x`` and
            ``first_TPIR@FPIR=x``, in which the mate must also be first.
        """
        cmc = self.cmc(max(ranks))
        figures = {f'rank-{k}': cmc[k - 1] for k in ranks}
        strangers = min(int((~r.mated).sum()) for r in self.results)
        for first in (False, True) if strangers else ():
            for fpir in fpirs:
                if fpir * strangers < 1 and not first:
                    print_log(
                        f'TPIR@FPIR={fpir:g}: one in {strangers} probes '
                        'without a mate is more than that. What is given is '
                        'the TPIR with none of them accepted.',
                        logger='current',
                        level=logging.WARNING)
                name = ('first_' if first else '') + f'TPIR@FPIR={fpir:g}'
                figures[name] = self.tpir_at_fpir(fpir, first)
        return {name: 100 * float(value) for name, value in figures.items()}
