# Copyright (c) sskd_mm authors. All rights reserved.
"""Evaluate a checkpoint.

python tools/test.py configs/sskd/faster_rcnn_r18_coco.py CHECKPOINT

The config may be the distiller's or the student's plain one.
"""
import argparse
import os
import os.path as osp

from mmengine.config import Config, DictAction
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from sskd_mm.compat import allow_pickle, setup_cpu_distributed
from sskd_mm.datasets import check_data_files
from sskd_mm.distillers import LoadReport, StageByStageDistiller


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
        help="with the config's tta_model, on the views that its tta_pipeline "
        'makes, or without one on each image and the mirrored one')
    parser.add_argument(
        '--allow-pickle',
        nargs='+',
        metavar='FILE',
        help='checkpoints that you trust to run code when they are read; '
        'of any other only tensors and plain data are')
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


def use_tta(cfg: Config) -> None:
    """Test with several views of each image, as mmpretrain's tool does."""
    if 'tta_model' not in cfg:
        raise ValueError(
            f'{cfg.filename} does not say how predictions of several views '
            'are merged. Write e.g. tta_model = dict(type='
            "'MirroredEmbeddingTTA') for faces, 'mmpretrain."
            "AverageClsScoreTTA' for a classifier.")
    dataset = cfg.test_dataloader.dataset
    *steps, pack = dataset.pipeline
    mirror = [dict(type='RandomFlip', prob=p) for p in (0., 1.)]
    dataset.pipeline = cfg.get(
        'tta_pipeline',
        [*steps, dict(type='TestTimeAug', transforms=[mirror, [pack]])])
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def watch(model: nn.Module, checkpoint: str) -> LoadReport:
    """See that it is this network's checkpoint."""
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    if isinstance(model, StageByStageDistiller):
        return LoadReport(model.student, 'student', checkpoint, 'student.')
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
    if args.allow_pickle is not None:
        cfg.allow_pickle = args.allow_pickle
    name = osp.splitext(osp.basename(args.config))[0]
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', name)
    if args.show_dir is not None:
        cfg.default_hooks.visualization.update(
            draw=True, test_out_dir=args.show_dir)
    cfg.load_from = args.checkpoint
    if args.tta:
        use_tta(cfg)
    check_data_files(cfg, built=['test_dataloader'])
    allow_pickle(cfg.get('allow_pickle', []))
    setup_cpu_distributed(cfg)
    runner = Runner.from_cfg(cfg)
    report = watch(runner.model, args.checkpoint)
    runner.test()
    report.close()


if __name__ == '__main__':
    main()
