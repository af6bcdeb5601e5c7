# Copyright (c) sskd_mm authors. All rights reserved.
"""Fault injection: kills training processes at random times.

python benchmarks/faults.py [--kills 25]

Runs the tests of tests/test_engine/test_kill_and_resume.py with more kills
than by default: a distillation of six phases gets a SIGKILL, SIGTERM or SIGINT
at a random time of two random phases, is resumed each time until it finishes,
and must end bit-identical to an uninterrupted run.
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
        '--kills', type=int, default=25, help='runs to kill twice each')
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
