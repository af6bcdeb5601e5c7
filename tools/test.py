# Copyright (c) sskd_mm authors. All rights reserved.
"""Evaluate a checkpoint.

python tools/test.py configs/sskd/faster_rcnn_r18_coco.py CHECKPOINT

The config may be the distiller's or the student's plain one.
"""
import argparse
import inspect
import os
import os.path as osp

from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS, MODELS, TRANSFORMS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from sskd_mm.compat import (add_pickle_option, apply_pickle_option,
                            class_names, find_class, setup_cpu_distributed)
from sskd_mm.datasets import check_data_files, innermost_configs
from sskd_mm.distillers import LoadReport, StageByStageDistiller
from sskd_mm.models import model_config


def parse_args():
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint')
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where to save logs and metrics')
    parser.add_argument(
        '--show-dir', help='save images with the predictions drawn in there')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="merge predictions of several views by the config's tta_model, "
        'or as mmdet and mmpretrain do without one; the views are those of '
        'its tta_pipeline, or each image and the mirrored one')
    add_pickle_option(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value, nested keys with '
        'dots, lists as key="[a,b]"')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def is_detector(cfg: Config) -> bool:
    """Whether the images are packed for mmdet."""
    for dataset in innermost_configs(cfg.test_dataloader.dataset):
        steps = dataset.get('pipeline') or []
        return any('PackDetInputs' in class_names(step['type'], TRANSFORMS)
                   for step in steps)
    return False


def use_tta(cfg: Config) -> None:
    """Test with several views of each image, as the tools of mmdet and
    mmpretrain do."""
    detector = is_detector(cfg)
    flip = 'mmdet.RandomFlip' if detector else 'RandomFlip'
    mirror = [dict(type=flip, prob=p) for p in (0., 1.)]
    for dataset in innermost_configs(cfg.test_dataloader.dataset):
        *steps, pack = dataset.pipeline
        if detector and 'meta_keys' in pack:
            # Boxes are to be mirrored back.
            pack = dict(
                pack, meta_keys=(*pack.meta_keys, 'flip', 'flip_direction'))
        dataset.pipeline = cfg.get(
            'tta_pipeline',
            [*steps, dict(type='TestTimeAug', transforms=[mirror, [pack]])])
    tta_model = cfg.get('tta_model') or default_tta(cfg, detector)
    print_log(f'Predictions are merged by {tta_model["type"]}.', 'current')
    cfg.model = dict(tta_model, module=cfg.model)


def default_tta(cfg: Config, detector: bool) -> dict:
    """What merges the predictions of several views."""
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
    """Save the images with what was predicted, by the config's hook and
    visualizer or, where it has none, by those of mmdet or mmpretrain."""
    if is_detector(cfg):
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


def watch(model: nn.Module, checkpoint: str) -> LoadReport:
    """See that it is this network's checkpoint."""
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    if isinstance(model, StageByStageDistiller):
        return LoadReport(model.student, 'student', checkpoint)
    return LoadReport(model, 'The model', checkpoint)


def main():
    args = parse_args()
    if not osp.isfile(args.checkpoint):
        raise FileNotFoundError(f'The checkpoint {args.checkpoint!r} is not '
                                'there.')
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    name = osp.splitext(osp.basename(args.config))[0]
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', name)
    cfg.load_from = args.checkpoint
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        if args.show_dir is not None:
            draw_predictions(cfg, args.show_dir, args.tta)
        if args.tta:
            use_tta(cfg)
    check_data_files(cfg, built=['test_dataloader'])
    apply_pickle_option(args, cfg)
    setup_cpu_distributed(cfg)
    runner = Runner.from_cfg(cfg)
    report = watch(runner.model, args.checkpoint)
    runner.test()
    report.close()


if __name__ == '__main__':
    main()
