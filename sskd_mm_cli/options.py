# Copyright (c) sskd_mm authors. All rights reserved.
from argparse import Action, ArgumentError, ArgumentParser


class _CfgOptions(Action):
    """MMEngine's ``DictAction``, imported only if the option is used."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mmengine.config import DictAction
        for value in values:
            if '=' not in value:
                raise ArgumentError(self, f'{value!r} is not key=value')
        DictAction(self.option_strings, self.dest)(parser, namespace, values)


def add_cfg_options(parser: ArgumentParser) -> None:
    """Give a tool OpenMMLab's option ``--cfg-options KEY=VALUE ...``.

    Args:
        parser (ArgumentParser): The tool's parser. The parsed ``cfg_options``
            is a dict or None.

    Example:
        >>> add_cfg_options(parser)
        >>> args = parser.parse_args()
        >>> if args.cfg_options is not None:
        >>>     cfg.merge_from_dict(args.cfg_options)
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_CfgOptions,
        help='override settings of the config: key=value, nested keys with '
        'dots, lists as key="[a,b]"')


def add_device_option(parser: ArgumentParser) -> None:
    """Give a tool that runs networks the option ``--device``.

    Args:
        parser (ArgumentParser): The tool's parser. The parsed ``device`` is a
            device name for torch.

    Example:
        >>> add_device_option(parser)
        >>> model.to(parser.parse_args().device)
    """
    parser.add_argument(
        '--device',
        type=_device,
        default='auto',  # argparse converts it after parsing
        help='default: the GPU, if there is one')


def _device(name: str) -> str:
    if name != 'auto':
        return name
    import torch
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def add_pickle_option(parser: ArgumentParser) -> None:
    """Give a tool that reads checkpoints the option ``--allow-pickle FILE``.

    Args:
        parser (ArgumentParser): The tool's parser.

    Example:
        >>> add_pickle_option(parser)
        >>> args = parser.parse_args()
        >>> apply_pickle_option(args)  # of sskd_mm.compat
    """
    parser.add_argument(
        '--allow-pickle',
        nargs='+',
        action='extend',
        default=[],
        metavar='FILE',
        help='checkpoints that you trust to run code when loaded; only '
        'tensors and plain data are read from any other')
