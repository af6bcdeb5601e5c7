# Copyright (c) sskd_mm authors. All rights reserved.
"""Distil or train an mmdet or mmpretrain model.

python tools/train.py configs/sskd/faster_rcnn_r18_coco.py
python tools/train.py CONFIG --method configs/_base_/methods/kd.py
"""
import contextlib
import json
import os
import os.path as osp
import sys

from sskd_mm_cli import (ToolParser, add_cfg_options, add_pickle_option,
                         run_tool)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', help='config file path')
    parser.add_argument(
        '--method',
        help='distil the networks of the config by this method instead, e.g. '
        'configs/_base_/methods/kd.py')
    parser.add_argument('--work-dir', help='where to save logs and models')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from the given checkpoint, or from the newest one in the '
        'work directory')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size')
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='print the plan and exit: phases, taps and their shapes, '
        'adapters, what trains and what is frozen, parameters and FLOPs')
    parser.add_argument(
        '--json', action='store_true', help='print the --dry-run as JSON')
    add_pickle_option(parser)
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    if args.json and not args.dry_run:
        parser.error('--json needs --dry-run.')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args):
    """Load the config and apply the command line."""
    from mmengine.config import Config

    from sskd_mm.distillers import lay_method_over
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    if args.method is not None:
        lay_method_over(cfg, args.method, args.cfg_options)
        name += f'_{osp.splitext(osp.basename(args.method))[0]}'
    elif args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', name)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(
                f'--auto-scale-lr needs auto_scale_lr.base_batch_size in '
                f'{args.config}, the batch size that its learning rate is '
                'meant for.')
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    return cfg


def main():
    args = parse_args()
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from sskd_mm.analysis import dry_run, print_plan
    from sskd_mm.compat import apply_pickle_option, setup_cpu_distributed
    from sskd_mm.datasets import check_data_files
    from sskd_mm.engine import check_plain_training
    cfg = load_config(args)
    check_data_files(cfg)
    apply_pickle_option(args, cfg)
    if args.dry_run:
        # Libraries print while they build.
        with contextlib.redirect_stdout(sys.stderr):
            plan = dry_run(cfg)
        if args.json:
            print(json.dumps(plan, indent=2))
        else:
            print_plan(plan)
        return
    setup_cpu_distributed(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(
        cfg)
    check_plain_training(runner)
    runner.train()


if __name__ == '__main__':
    run_tool(main)
