# Copyright (c) sskd_mm authors. All rights reserved.
"""Plot the losses of a distillation: mimic losses on the left, the task loss
on the right, together with that of a student trained from scratch.

python tools/analysis_tools/curves.py WORK_DIR [SCRATCH_WORK_DIR] -o losses.png
"""
from sskd_mm_cli import ToolParser, run_tool


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('distilled', help='work directory of a distillation')
    parser.add_argument(
        'scratch', nargs='?', help='of the student trained from scratch')
    parser.add_argument(
        '-o', '--out', required=True, help='the picture to write')
    args = parser.parse_args()
    from sskd_mm.analysis import plot_losses
    plot_losses(args.distilled, args.scratch, args.out)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    run_tool(main)
