# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Dict, Sequence, Union

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

#: Side of the space that an image gets, in inches, and pixels per inch.
PANEL, DPI = 3., 128
#: As shares of the image: a label's width and height, and from where on it
#: ends at its box's right edge, to stay within the panel.
LABEL, NEAR_RIGHT = (.4, .1), .65


@torch.no_grad()
def draw_detections(dataset,
                    models: Dict[str, nn.Module],
                    indices: Sequence[int],
                    file: Union[str, Path],
                    score_thr: float = 0.5) -> None:
    """Draw what detectors find, beside the ground truth.

    Each column is an image, titled with its file name. The first row is the
    ground truth, the others are the models, titled with their names. Images
    may differ in size.

    Args:
        dataset (Dataset): A detection set in test mode, whose pipeline loads
            the annotations.
        models (dict[str, nn.Module]): Detectors by name, in the order of
            their rows.
        indices (Sequence[int]): Which images of the set.
        file (str or Path): The picture to write; its suffix decides the
            format, as for Matplotlib's ``savefig``.
        score_thr (float): Detections with lower scores are not drawn.
            Defaults to 0.5.
    """
    samples = [dataset[i] for i in indices]
    rows = {
        'ground truth': [s['data_samples'].gt_instances for s in samples],
        **{
            name: [_detect(model, s, score_thr) for s in samples]
            for name, model in models.items()
        }
    }
    with matplotlib.rc_context({'axes.titlesize': 13, 'axes.labelsize': 15}):
        figure = Figure((PANEL * len(samples), PANEL * len(rows)),
                        DPI,
                        layout='constrained')
        panels = figure.subplots(len(rows), len(samples), squeeze=False)
        for panel, sample in zip(panels[0], samples):
            panel.set_title(Path(sample['data_samples'].img_path).name)
        for row, (name, found) in zip(panels, rows.items()):
            row[0].set_ylabel(name)
            for panel, sample, instances in zip(row, samples, found):
                _draw(panel, sample['inputs'], instances,
                      dataset.metainfo['classes'])
        figure.savefig(file)


def _detect(model: nn.Module, sample: dict, score_thr: float):
    """Detections in the coordinates of the model's input."""
    model.eval()
    output = model.val_step({key: [value] for key, value in sample.items()})[0]
    found = output.pred_instances
    found = found[found.scores >= score_thr].cpu()
    # Predictions are in the size of the file, not of the input.
    found.bboxes = found.bboxes * torch.tensor(output.scale_factor).repeat(2)
    return found


def _draw(panel: Axes, image: Tensor, instances,
          classes: Sequence[str]) -> None:
    # The pipeline's images are BGR, as OpenCV reads them.
    panel.imshow(image.flip(0).permute(1, 2, 0).to(torch.uint8).numpy())
    panel.set(xticks=[], yticks=[])
    height, width = image.shape[1:]
    scores = instances.get('scores')
    colour = 'lime' if scores is None else 'yellow'
    taken = []
    for i, box in enumerate(_tensor(instances.bboxes).tolist()):
        x1, y1, x2, y2 = (value - .5 for value in box)
        panel.add_patch(
            Rectangle((x1, y1),
                      x2 - x1,
                      y2 - y1,
                      fill=False,
                      edgecolor=colour,
                      linewidth=1.5))
        label = classes[instances.labels[i]]
        if scores is not None:
            label += f' {scores[i]:.2f}'
        # Two boxes of one object have their labels above and below it.
        below = y1 < LABEL[1] * height or any(
            abs(x1 - x) < LABEL[0] * width and abs(y1 - y) < LABEL[1] * height
            for x, y in taken)
        taken.append((x1, y1))
        room = y2 < (1 - LABEL[1]) * height
        right = x1 > NEAR_RIGHT * width
        panel.text(
            x2 if right else x1,
            y2 if below and room else y1,
            label,
            size=9,
            color='black',
            horizontalalignment='right' if right else 'left',
            verticalalignment='top' if below else 'bottom',
            bbox=dict(facecolor=colour, edgecolor='none', pad=1, alpha=.85))


def _tensor(boxes) -> Tensor:
    return boxes.tensor if hasattr(boxes, 'tensor') else boxes
