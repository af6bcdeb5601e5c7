# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Dict, Sequence

import numpy as np
from mmengine.logging import print_log

from .search_result import SearchResult


class Identification:
    """1:N identification with one or several galleries.

    Each gallery is scored separately and the metrics are averaged, as IJB-B
    and IJB-C define for their galleries G1 and G2. Probes whose subject is not
    in a gallery are excluded from its ranks and determine its false alarms.

    Args:
        results (Sequence[SearchResult]): One result per gallery, for the same
            probes.

    Example:
        >>> Identification([search_gallery(probes, who, *g) for g in (g1, g2)])
    """

    def __init__(self, results: Sequence[SearchResult]) -> None:
        self.results = list(results)

    def cmc(self, ranks: int) -> np.ndarray:
        """Average :meth:`SearchResult.cmc` over galleries."""
        return np.mean([result.cmc(ranks) for result in self.results], 0)

    def tpir_at_fpir(self, fpir: float, first: bool = False) -> float:
        """Average :meth:`SearchResult.tpir_at_fpir` over galleries."""
        return float(
            np.mean(
                [result.tpir_at_fpir(fpir, first) for result in self.results]))

    def summary(self, ranks: Sequence[int],
                fpirs: Sequence[float]) -> Dict[str, float]:
        """Compute the metrics to report, in percent.

        Args:
            ranks (Sequence[int]): Ranks for closed-set identification.
            fpirs (Sequence[float]): FPIRs for open-set identification, from 0
                to 1. There is a warning if there are too few probes without a
                mate to measure one. Skipped if all probes have a mate.

        Returns:
            dict[str, float]: ``rank-k`` for each k, ``TPIR@FPIR=x`` and
            ``first_TPIR@FPIR=x``, for which the mate must also rank first.
        """
        cmc = self.cmc(max(ranks))
        figures = {f'rank-{k}': cmc[k - 1] for k in ranks}
        strangers = min(int((~r.mated).sum()) for r in self.results)
        for first in (False, True) if strangers else ():
            for fpir in fpirs:
                if fpir * strangers < 1 and not first:
                    print_log(
                        f'TPIR@FPIR={fpir:g}: {strangers} probes without a '
                        'mate are too few to measure this. The value is the '
                        'TPIR with none of them accepted.',
                        logger='current',
                        level=logging.WARNING)
                name = ('first_' if first else '') + f'TPIR@FPIR={fpir:g}'
                figures[name] = self.tpir_at_fpir(fpir, first)
        return {name: 100 * float(value) for name, value in figures.items()}
