# Copyright (c) sskd_mm authors. All rights reserved.
"""The console command ``sskd``, and the shared code of the tools' parsers.

It is a separate package from ``sskd_mm``, whose import loads torch and
OpenMMLab and takes seconds; ``--help`` needs neither.
"""
from .config_parser import ConfigParser
from .convert import convert_from_command_line
from .options import add_cfg_options, add_device_option, add_pickle_option
from .run_tool import run_tool
from .tool_parser import ToolParser

__all__ = [
    'ConfigParser', 'ToolParser', 'add_cfg_options', 'add_device_option',
    'add_pickle_option', 'convert_from_command_line', 'run_tool'
]
