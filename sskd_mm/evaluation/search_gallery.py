# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import torch
from torch import Tensor

from .search_result import SearchResult


@torch.no_grad()
def search_gallery(probes: Tensor,
                   probe_subjects: np.ndarray,
                   gallery: Tensor,
                   gallery_subjects: np.ndarray,
                   block_size: int = 4096) -> SearchResult:
    """Search a gallery for each probe (1:N).

    Similarities are computed block by block and reduced at once, never all
    held in memory. They are computed in float64 and rounded to float32, so
    that the result depends on neither the block size nor TF32.

    An all-zero embedding stands for a template without any embedded face. It
    matches nobody: such a probe is never found nor falsely identified, and
    such a gallery entry is never found.

    Args:
        probes (Tensor): Unit-length embeddings, shape (P, D).
        probe_subjects (np.ndarray): Subject of each probe, shape (P, ).
        gallery (Tensor): Unit-length embeddings, shape (G, D), on the same
            device.
        gallery_subjects (np.ndarray): Subject of each entry, shape (G, ). The
            best of a subject's entries counts.
        block_size (int): Number of probes and of entries per block. Defaults
            to 4096, which takes about 300 MB.

    Returns:
        SearchResult: One row per probe.

    Raises:
        ValueError: There is no probe, an empty gallery, or the lengths
            differ.

    Example:
        >>> gallery = torch.eye(3)
        >>> result = search_gallery(gallery[:2], ['ann', 'joe'],
        ...                         gallery, ['ann', 'bob', 'cid'])
        >>> result.mated
        array([ True, False])
    """
    for name, x, subjects in (('probes', probes, probe_subjects),
                              ('gallery', gallery, gallery_subjects)):
        if not len(x) == len(subjects) > 0:
            raise ValueError(f'{name}: {len(x)} embeddings of {len(subjects)} '
                             'labelled images; there must be as many, and at '
                             'least one.')
    device = probes.device
    subjects, entry = np.unique(gallery_subjects, return_inverse=True)
    order = np.argsort(entry, kind='stable')
    gallery = gallery[torch.as_tensor(order).to(device)]
    counts = np.bincount(entry)
    starts = np.append(0, counts.cumsum())
    own = np.searchsorted(subjects, probe_subjects)
    own[own == len(subjects)] = 0
    mated = subjects[own] == np.asarray(probe_subjects)
    own = torch.as_tensor(np.where(mated, own, -1)).to(device)

    mate, rank, other = [], [], []
    for begin in range(0, len(probes), block_size):
        block = slice(begin, begin + block_size)
        x, row = probes[block].double(), own[block]
        columns = torch.arange(len(x), device=device)
        lost = ~x.any(1)
        m = _mate_similarity(x, row, gallery, starts, block_size)
        above = torch.zeros(len(x), dtype=torch.int64, device=device)
        best_other = torch.full_like(m, -torch.inf)
        first = 0
        while first < len(subjects):
            # Whole subjects, at least one.
            last = max(
                first + 1,
                np.searchsorted(starts, starts[first] + block_size, 'right') -
                1)
            entries = gallery[starts[first]:starts[last]].double()
            best = (entries @ x.T).float()  # (entries, probes)
            best.masked_fill_(lost | ~entries.any(1, keepdim=True), -torch.inf)
            lengths = counts[first:last]
            if lengths.max() > 1:
                best = torch.segment_reduce(
                    best, 'max', lengths=torch.as_tensor(lengths).to(device))
            here = (row >= first) & (row < last)
            mask = torch.zeros_like(best, dtype=torch.bool)
            mask[(row - first).clamp(0, last - first - 1), columns] = here
            best.masked_fill_(mask, -torch.inf)
            above += (best >= m).sum(0)
            best_other = torch.maximum(best_other, best.amax(0))
            first = last
        mate.append(m)
        rank.append(above + 1)
        other.append(best_other)
    return SearchResult(
        mated=mated,
        rank=np.where(mated, torch.cat(rank).cpu().numpy(), 0),
        mate=np.where(mated, torch.cat(mate).cpu().numpy(), np.nan),
        other=torch.cat(other).cpu().numpy())


def _mate_similarity(probes: Tensor, own: Tensor, gallery: Tensor,
                     starts: np.ndarray, block_size: int) -> Tensor:
    """Get each probe's highest similarity to its own subject's entries,
    infinite if there are none."""
    own = own.cpu().numpy()
    counts = np.where(own < 0, 0, starts[own + 1] - starts[own])
    probe = np.repeat(np.arange(len(own)), counts)
    # For each pair, the index within its subject, then the gallery row.
    within = np.arange(len(probe)) - np.repeat(counts.cumsum() - counts,
                                               counts)
    row = starts[own[probe]] + within
    mate = torch.full((len(own), ), torch.inf, device=probes.device)
    mate[torch.as_tensor(own >= 0).to(probes.device)] = -torch.inf
    for begin in range(0, len(probe), block_size):
        p, r = (torch.as_tensor(x[begin:begin + block_size]).to(probes.device)
                for x in (probe, row))
        x, y = probes[p], gallery[r].double()
        similarity = (x * y).sum(1).float()
        similarity.masked_fill_(~(x.any(1) & y.any(1)), -torch.inf)
        mate.scatter_reduce_(0, p, similarity, 'amax')
    return mate
