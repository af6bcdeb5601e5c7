# Copyright (c) sskd_mm authors. All rights reserved.
import inspect

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS, MODELS, TRANSFORMS
from torch import nn

from ..compat import class_names, find_class
from ..datasets import innermost_configs
from ..distillers import LoadReport, StageByStageDistiller
from ..models import model_config


def _is_detector(cfg: Config) -> bool:
    """Tell whether the images are packed for mmdet."""
    for dataset in innermost_configs(cfg.test_dataloader.dataset):
        steps = dataset.get('pipeline') or []
        return any('PackDetInputs' in class_names(step['type'], TRANSFORMS)
                   for step in steps)
    return False


def use_tta(cfg: Config) -> None:
    """Test with several views of each image, as the tools of mmdet and
    mmpretrain do.

    Args:
        cfg (Config): Its ``model`` and the pipelines of its
            ``test_dataloader`` are replaced, by its ``tta_model`` and
            ``tta_pipeline`` if it has them.

    Example:
        >>> use_tta(cfg)
        >>> Runner.from_cfg(cfg).test()
    """
    detector = _is_detector(cfg)
    flip = 'mmdet.RandomFlip' if detector else 'RandomFlip'
    mirror = [dict(type=flip, prob=p) for p in (0., 1.)]
    for dataset in innermost_configs(cfg.test_dataloader.dataset):
        *steps, pack = dataset.pipeline
        if detector and 'meta_keys' in pack:
            # Needed to mirror boxes back.
            pack = dict(
                pack, meta_keys=(*pack.meta_keys, 'flip', 'flip_direction'))
        dataset.pipeline = cfg.get(
            'tta_pipeline',
            [*steps, dict(type='TestTimeAug', transforms=[mirror, [pack]])])
    tta_model = cfg.get('tta_model') or _default_tta(cfg, detector)
    print_log(f'Predictions are merged by {tta_model["type"]}.', 'current')
    cfg.model = dict(tta_model, module=cfg.model)


def _default_tta(cfg: Config, detector: bool) -> dict:
    """Get the model that merges the predictions of several views."""
    if detector:
        import mmdet.models  # noqa: F401  registers it
        return dict(
            type='DetTTAModel',
            tta_cfg=dict(
                nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
    head = model_config(cfg).get('head') or {}
    if 'EmbeddingHead' in class_names(head.get('type', ''), MODELS):
        return dict(type='MirroredEmbeddingTTA')
    return dict(type='mmpretrain.AverageClsScoreTTA')


def draw_predictions(cfg: Config, folder: str, tta: bool) -> None:
    """Save images with their predictions, by the config's hook and visualizer
    or, if it has none, by those of mmdet or mmpretrain.

    Args:
        cfg (Config): Its ``default_hooks`` and ``visualizer`` are filled.
        folder (str): Folder for the images.
        tta (bool): Whether :func:`use_tta` follows.

    Raises:
        ValueError: ``tta`` is set; merged predictions have no image.

    Example:
        >>> draw_predictions(cfg, 'pictures', tta=False)
        >>> Runner.from_cfg(cfg).test()
    """
    if _is_detector(cfg):
        hook, visualizer = ('mmdet.DetVisualizationHook',
                            'mmdet.DetLocalVisualizer')
    elif tta:
        raise ValueError('--show-dir draws predictions of single images, but '
                         '--tta merges those of several views, which have no '
                         'image. Leave one of them out.')
    else:
        hook, visualizer = ('mmpretrain.VisualizationHook',
                            'mmpretrain.UniversalVisualizer')
    if not cfg.get('default_hooks'):
        cfg.default_hooks = {}
    hooks = cfg.default_hooks
    if not hooks.get('visualization'):
        hooks.visualization = dict(type=hook)
    # Each has names of its own for the same.
    known = inspect.signature(find_class(hooks.visualization.type,
                                         HOOKS)).parameters
    hooks.visualization.update({
        key: value
        for key, value in dict(
            draw=True,
            enable=True,
            test_out_dir=folder,
            out_dir=folder,
            interval=1).items() if key in known
    })
    if not cfg.get('visualizer'):
        cfg.visualizer = dict(
            type=visualizer, vis_backends=[dict(type='LocalVisBackend')])


def watch_loading(model: nn.Module, checkpoint: str) -> LoadReport:
    """Check that a checkpoint belongs to this network.

    Args:
        model (nn.Module): The Runner's model, possibly wrapped.
        checkpoint (str): The checkpoint to be loaded, for messages.

    Returns:
        LoadReport: The report; close it after loading.

    Example:
        >>> report = watch_loading(runner.model, 'epoch_12.pth')
        >>> runner.test()
        >>> report.close()
    """
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    if isinstance(model, StageByStageDistiller):
        return LoadReport(model.student, 'student', checkpoint)
    return LoadReport(model, 'The model', checkpoint)
