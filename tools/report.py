# Copyright (c) sskd_mm authors. All rights reserved.
"""Write an HTML report of training runs: one page that needs nothing else.

python tools/report.py WORK_DIR [WORK_DIR ...] [-o report.html]

For each distillation it shows what was distilled, phases and curves, features,
metrics, classes, detections, size and speed, and how to load the student. With
several work directories it begins with a comparison; runs that differ in
nothing but the seed are shown as mean and spread, and a plain training is the
student from scratch.
"""
from pathlib import Path

from sskd_mm_cli import (ToolParser, add_device_option, add_pickle_option,
                         run_tool)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', type=Path)
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        help='the page to write; default: report.html in the first WORK_DIR')
    parser.add_argument(
        '--images',
        type=int,
        default=256,
        help='of the test set, on which networks are run; default: '
        '%(default)s')
    add_device_option(parser)
    add_pickle_option(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    from sskd_mm.analysis import write_report
    out = args.out or args.work_dirs[0] / 'report.html'
    write_report(args.work_dirs, out, args.images, args.device,
                 args.allow_pickle)
    print(f'Written: {out}')


if __name__ == '__main__':
    run_tool(main)
