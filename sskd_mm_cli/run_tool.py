# Copyright (c) sskd_mm authors. All rights reserved.
import sys
from opcode import opmap
from pathlib import Path
from traceback import walk_tb
from typing import Callable, NoReturn

#: The directory of our own code: the repository or site-packages.
ROOT = Path(__file__).resolve().parent.parent
OURS = (ROOT / 'sskd_mm', ROOT / 'tools', ROOT / 'sskd_mm_cli')

#: Types of user errors. Damaged and untrusted files raise subclasses.
USAGE = (ValueError, TypeError, KeyError, FileNotFoundError, FileExistsError,
         SyntaxError, NameError)

#: Modules and functions that are running during training or evaluation.
LOOPS = (('mmengine.runner.loops', 'run'),
         ('sskd_mm.engine.loops.stage_by_stage_train_loop', 'enter_phase'),
         ('sskd_mm.engine.loops.stage_by_stage_train_loop', 'run_phase'))


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool and report errors as messages.

    An error raised in ``sskd_mm`` or in a tool is written for the user, so
    only its message is shown. Any other error is shown with its type and
    location during setup, and with its traceback in a training or evaluation
    loop, which may have run for hours. ``--debug`` shows every traceback.

    Args:
        main (callable): The tool's main function.

    Raises:
        SystemExit: With status 2 if the arguments or the config are wrong,
            and 1 after any other error.

    Example:
        >>> if __name__ == '__main__':
        >>>     run_tool(main)
    """
    try:
        main()
    except Exception as error:
        ours = _is_ours(error)
        if '--debug' in sys.argv or not ours and _is_from_loop(error):
            raise
        _report(error, ours)


def _is_ours(error: Exception) -> bool:
    """Tell whether a ``raise`` statement of ours raised the error."""
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    path = Path(code.co_filename).resolve()
    return (any(folder in path.parents for folder in OURS)
            and code.co_code[traceback.tb_lasti] == opmap['RAISE_VARARGS']
            # Assertions are not written for the user.
            and not isinstance(error, AssertionError))


def _is_from_loop(error: Exception) -> bool:
    return any((frame.f_globals.get('__name__'), frame.f_code.co_name) in LOOPS
               for frame, _ in walk_tb(error.__traceback__))


def _report(error: Exception, ours: bool) -> NoReturn:
    # The text of a KeyError is its argument's repr.
    text = str(error.args[0] if isinstance(error, KeyError) else error)
    if not ours:
        *_, (frame, line) = walk_tb(error.__traceback__)
        text = (f'{type(error).__name__}: {text}\n(from '
                f'{frame.f_code.co_filename}, line {line}; --debug shows the '
                'traceback)')
    print(f'{Path(sys.argv[0]).name}: error: {text}', file=sys.stderr)
    sys.exit(2 if type(error) in USAGE else 1)
