# Copyright (c) sskd_mm authors. All rights reserved.
"""Evaluate a checkpoint.

python tools/test.py configs/sskd/faster_rcnn_r18_coco.py CHECKPOINT

The config is either the distiller's or the student's plain one.
"""
import os
import os.path as osp

from sskd_mm_cli import (ToolParser, add_cfg_options, add_pickle_option,
                         run_tool)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where to save logs and metrics')
    parser.add_argument(
        '--show-dir', help='save images with drawn predictions there')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="merge predictions of several views by the config's tta_model, "
        'or by the default of mmdet or mmpretrain; the views are those of its '
        'tta_pipeline, or each image and its mirror image')
    add_pickle_option(parser)
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main():
    args = parse_args()
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    from sskd_mm.analysis import draw_predictions, use_tta, watch_loading
    from sskd_mm.compat import apply_pickle_option, setup_cpu_distributed
    from sskd_mm.datasets import check_data_files
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
    report = watch_loading(runner.model, args.checkpoint)
    runner.test()
    report.close()


if __name__ == '__main__':
    run_tool(main)
