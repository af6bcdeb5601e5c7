# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Dict, Sequence, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.utils import draw_bounding_boxes, make_grid, save_image

#: Images are enlarged to at least this height, so that labels can be read.
MIN_HEIGHT = 384


@torch.no_grad()
def draw_detections(dataset,
                    models: Dict[str, nn.Module],
                    indices: Sequence[int],
                    file: Union[str, Path],
                    score_thr: float = 0.5) -> None:
    """Draw what detectors find, beside the truth.

    A column an image; the first row is the truth, then a row a model, in the
    order given.

    Args:
        dataset (Dataset): A detection set in test mode, whose pipeline loads
            the annotations.
        models (dict[str, nn.Module]): Detectors by name.
        indices (Sequence[int]): Which images of the set.
        file (str or Path): The picture to write.
        score_thr (float): What scores less is not drawn. Defaults to 0.5.
    """
    classes = dataset.metainfo['classes']
    samples = [dataset[i] for i in indices]
    rows = [[
        _draw(s['inputs'], s['data_samples'].gt_instances, classes, 'lime')
        for s in samples
    ]]
    for model in models.values():
        model.eval()
        row = []
        for sample in samples:
            output = model.val_step({
                key: [value]
                for key, value in sample.items()
            })[0]
            found = output.pred_instances
            found = found[found.scores >= score_thr].cpu()
            # Predictions are in the size of the file, not of the input.
            scale = torch.tensor(output.scale_factor).repeat(2)
            found.bboxes = found.bboxes * scale
            row.append(_draw(sample['inputs'], found, classes, 'yellow'))
        rows.append(row)
    images = [image for row in rows for image in row]
    save_image(
        make_grid(images, nrow=len(samples), padding=6, pad_value=1), file)


def _draw(image: Tensor, instances, classes: Sequence[str],
          colour: str) -> Tensor:
    factor = max(1., MIN_HEIGHT / image.shape[1])
    image = F.interpolate(
        image[None].float(), scale_factor=factor, mode='nearest')[0]
    labels = [classes[i] for i in instances.labels.tolist()]
    if 'scores' in instances:
        labels = [
            f'{label} {score:.2f}'
            for label, score in zip(labels, instances.scores.tolist())
        ]
    # The pipeline's images are BGR, as OpenCV reads them.
    return draw_bounding_boxes(
        image.flip(0).to(torch.uint8),
        _tensor(instances.bboxes) * factor,
        labels,
        colors=colour,
        width=2) / 255


def _tensor(boxes) -> Tensor:
    return boxes.tensor if hasattr(boxes, 'tensor') else boxes
