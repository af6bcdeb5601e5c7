# Copyright (c) sskd_mm authors. All rights reserved.
from itertools import islice
from pathlib import Path
from typing import Iterable, Union

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from ..stages import tokens_to_map


@torch.no_grad()
def draw_feature_maps(distiller, dataloader: Iterable, images: int,
                      file: Union[str, Path]) -> None:
    """Overlay a teacher's features, above its student's, on the images.

    Each image takes two rows; each level of a tap with positions (maps or
    tokens) takes a column. Drawn is the mean over channels, each map scaled
    from its minimum to its maximum.

    Args:
        distiller (StageByStageDistiller): A prepared distiller in eval mode.
            If several teachers teach a tap, the first is drawn.
        dataloader (Iterable): Yields batches for its data preprocessor; the
            first image of each is drawn.
        images (int): Number of images to draw.
        file (str or Path): The picture to write.
    """
    rows = []
    for batch in islice(dataloader, images):
        data = distiller.data_preprocessor(batch, False)
        inputs = data['inputs'][:1]
        pairs = distiller.compare(inputs, list(distiller.stages),
                                  (data.get('data_samples') or [])[:1])
        image = _restore(inputs[0], distiller.data_preprocessor)
        size = tuple(inputs.shape[-2:])
        columns = [('', image, image)]
        for name, levels in pairs.items():
            count = len(levels) // max(
                1, len([t for t in distiller.stages[name].teachers if t]))
            for number, pair in enumerate(levels[:count]):
                if pair.teacher.dim() == 2:
                    continue  # a vector has no positions
                title = name if count == 1 else f'{name}[{number}]'
                columns.append((title, *(_draw(x, image, size)
                                         for x in (pair.teacher,
                                                   pair.student))))
        rows.append(columns)
    figure = Figure(
        figsize=(1.8 * len(rows[0]), 3.6 * len(rows)), layout='constrained')
    axes = figure.subplots(2 * len(rows), len(rows[0]), squeeze=False)
    for number, columns in enumerate(rows):
        for column, (title, *pictures) in enumerate(columns):
            for role, picture in enumerate(pictures):
                ax = axes[2 * number + role, column]
                ax.imshow(picture)
                ax.set(xticks=[], yticks=[], title='' if role else title)
        for role, name in enumerate(('teacher', 'student')):
            axes[2 * number + role, 0].set_ylabel(name)
    figure.savefig(file, dpi=100)


def _restore(image: Tensor, data_preprocessor: nn.Module) -> np.ndarray:
    """Undo the normalisation of an image, giving (H, W, 3)."""
    mean, std = (getattr(data_preprocessor, key, None)
                 for key in ('mean', 'std'))
    if mean is not None and std is not None:
        image = image * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    # Expand a single channel, which is drawn in grey.
    return image.clamp(0, 255).byte().permute(1, 2, 0).expand(
        -1, -1, 3).cpu().numpy()


def _draw(feature: Tensor, image: np.ndarray, size) -> np.ndarray:
    if feature.dim() == 3:
        feature = tokens_to_map(feature, size)
    feature = F.interpolate(feature.float(), size=size, mode='bilinear')
    return Visualizer.draw_featmap(feature[0], image)
