# Copyright (c) sskd_mm authors. All rights reserved.
import math
import re
from typing import Dict, Optional

# mAP, bbox_mAP_50, AR@100, single-label/precision, mIoU; but not MAPE.
_SHARE = re.compile('(?<![A-Z])AP(?![A-Za-z])|(?<![A-Za-z])AR(?![A-Za-z])|'
                    'precision|recall|f1|IoU')


def check_teacher_metrics(metrics: Dict[str, float],
                          num_classes: Optional[int]) -> None:
    """Refuse a teacher that is hardly better than a random one.

    Only the main metric counts: ``accuracy/top1`` where there is one, else
    the first that ends in ``mAP``, else the ``AUC`` of a
    :class:`~sskd_mm.evaluation.FaceVerification`, which stands beside an
    ``EER``, else the first. It is as good as random where it is

    - NaN, or not there at all (a detector that finds nothing),
    - a top-1 accuracy, in percent, of at most 1.5 times chance; with few
      classes, where that is much, of at most a tenth of the way from chance
      to 100,
    - an AUC of faces, in percent, of at most a tenth of the way from 50 to
      100,
    - an average precision or recall, a precision, recall, F1 or IoU below
      0.01.

    What other metrics mean is not known here, so they pass.

    Args:
        metrics (dict[str, float]): The teacher's, on the validation set.
        num_classes (int, optional): What chance follows from. Without it an
            accuracy passes.

    Raises:
        ValueError: Says what the metric is, what chance would give, the usual
            causes and how to go on anyway.
    """
    name = next((n for end in ('accuracy/top1', 'mAP', 'AUC')
                 for n in metrics if n.endswith(end) and
                 (end != 'AUC' or n[:-3] + 'EER' in metrics)),
                next(iter(metrics), None))
    if name is None:
        found = 'has no metric at all, as when a detector finds nothing'
    elif math.isnan(metrics[name]):
        found = f'scores {name}: nan'
    elif name.endswith('accuracy/top1') and num_classes:
        chance = 100 / num_classes
        limit = min(1.5 * chance, chance + (100 - chance) / 10)
        if metrics[name] > limit:
            return
        found = (f'scores {name}: {metrics[name]:.4g} %, while guessing one '
                 f'of {num_classes} classes gives {chance:.4g} % and up to '
                 f'{limit:.4g} % may be luck')
    elif name.endswith('AUC') and name[:-3] + 'EER' in metrics:
        if metrics[name] > 55:
            return
        found = (f'scores {name}: {metrics[name]:.4g} %, while guessing '
                 'gives 50 % and up to 55 % may be luck')
    elif _SHARE.search(name) and metrics[name] < 0.01:
        found = (f'scores {name}: {metrics[name]:.4g}, while a random one '
                 'gives 0')
    else:
        return
    raise ValueError(
        f'The teacher {found} on the validation set. It would teach noise. '
        'The usual causes:\n'
        '  teacher.cfg is not the config that teacher.checkpoint was trained '
        'with, though the weights fit;\n'
        '  the images are prepared otherwise than for its training: mean, '
        'std, bgr_to_rgb of its data_preprocessor, or the size in '
        'val_dataloader.dataset.pipeline;\n'
        '  its classes are in another order than those of '
        'val_dataloader.dataset.metainfo;\n'
        '  val_dataloader.dataset.ann_file or val_evaluator.ann_file belongs '
        'to other images.\n'
        'To train with it nevertheless, set '
        'train_cfg.accept_weak_teacher=True.')
