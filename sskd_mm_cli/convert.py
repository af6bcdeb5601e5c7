# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Callable

from .options import add_pickle_option
from .tool_parser import ToolParser


def convert_from_command_line(description: str, rename: Callable) -> None:
    """Run a converter of ``tools/model_converters``.

    Args:
        description (str): What it converts.
        rename (callable): See ``convert_checkpoint`` of ``sskd_mm.models``.
    """
    parser = ToolParser(description)
    parser.add_argument('config', help='plain config of the network')
    parser.add_argument('src', help='path or URL of the public weights')
    parser.add_argument('dst', help='checkpoint to write')
    add_pickle_option(parser)
    args = parser.parse_args()
    from sskd_mm.compat import apply_pickle_option
    from sskd_mm.models import convert_checkpoint
    apply_pickle_option(args)
    convert_checkpoint(args.config, args.src, args.dst, rename)
    print(f'{args.dst} loads in {args.config}.')
