# Copyright (c) sskd_mm authors. All rights reserved.
"""Check this machine and say how to fix problems.

sskd doctor [--json]

Exits with status 1 if there is a problem. Missing packages and unsupported
versions are reported first.
"""
import json
import sys

from sskd_mm_cli import ToolParser, run_tool


def main():
    parser = ToolParser(__doc__)
    parser.add_argument(
        '--json', action='store_true', help='print JSON instead of a table')
    args = parser.parse_args()
    from sskd_mm.doctor import examine, show
    findings = examine()
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings],
                         indent=2))
    else:
        show(findings)
    sys.exit(any(finding.status == 'problem' for finding in findings))


if __name__ == '__main__':
    run_tool(main)
