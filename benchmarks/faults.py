# Copyright (c) sskd_mm authors. All rights reserved.
"""Fault injection: training processes are killed at random instants.

python benchmarks/faults.py [--kills 25]

Runs the tests of tests/test_engine/test_kill_and_resume.py with more kills
than they do by default: a distillation of six phases gets a SIGKILL, SIGTERM
or SIGINT at a random instant of two random phases, is resumed each time until
it is done, and must end with the bits of one that nothing has happened to.
"""
import argparse
import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent / 'tests'


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--kills', type=int, default=25, help='trainings to kill twice each')
    args = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    sys.exit(
        pytest.main([
            str(TESTS / 'test_engine/test_kill_and_resume.py'), '-v', '-k',
            'test_killed_and_resumed', '--kills',
            str(args.kills)
        ]))


if __name__ == '__main__':
    main()
