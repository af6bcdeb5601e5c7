# Copyright (c) sskd_mm authors. All rights reserved.
"""Run a script of another project with sskd_mm imported first, or an sskd
command.

python -m sskd_mm SCRIPT [ARGUMENT ...]
python -m sskd_mm COMMAND [ARGUMENT ...]

Without mmcv's compiled operators, mmdet's own ``tools/test.py`` fails before
it reads the ``custom_imports`` of a config. Run like this, it finds sskd_mm's
stand-in operators.
"""
import runpy
import sys

import sskd_mm  # noqa: F401
import sskd_mm_cli.main


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] in ('-h', '--help'):
        print(__doc__)
    if sys.argv[1] in ('-h', '--help', *sskd_mm_cli.main.COMMANDS):
        sskd_mm_cli.main.main()
    else:
        del sys.argv[0]
        runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    main()
