# Copyright (c) sskd_mm authors. All rights reserved.
import pickle
import pickletools
from typing import Dict, FrozenSet, List

#: Bounds that no file of images and labels reaches.
_DEEPEST_TUPLE = 100
_LARGEST_INTEGER = 1 << 256


def check_opcodes(data: bytes, allowed: FrozenSet[str]) -> None:
    """Check that a pickle is whole and harmless to unpickle.

    A few bytes can make an unpickler allocate gigabytes (it makes room for
    as many objects as a number in the file says) or crash the process
    (hashing a tuple recurses without a limit). This looks at the opcodes
    alone, in memory in proportion to the file, and runs nothing.

    Args:
        data (bytes): The whole pickle.
        allowed (frozenset[str]): Opcodes that it may have, as ``pickletools``
            names them.

    Raises:
        pickle.UnpicklingError: It has another opcode or exceeds a bound,
            which is stated, or it is cut off or no pickle.
    """
    try:
        _check(data, allowed)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # pickletools raises nearly anything
        raise pickle.UnpicklingError(
            f'it is cut off or no pickle: {error}') from error


def _check(data: bytes, allowed: FrozenSet[str]) -> None:
    # The unpickler's stack, marks and memo, but of each object only how deep
    # tuples are nested in it: nothing else that a pickle nests is hashed.
    stack: List[int] = []
    marks: List[int] = []
    memo: Dict[int, int] = {}
    for opcode, argument, position in pickletools.genops(data):
        name = opcode.name
        if name not in allowed:
            raise pickle.UnpicklingError(
                f'it holds objects that are no plain data ({name} at byte '
                f'{position})')
        if isinstance(argument, int) and abs(argument) > _LARGEST_INTEGER:
            raise pickle.UnpicklingError(
                f'it has an integer of {argument.bit_length()} bits at byte '
                f'{position}; no such file needs more than 256')
        if name == 'MARK':
            marks.append(len(stack))
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            if argument > len(data):
                # Room is made for as many objects as the number says.
                raise pickle.UnpicklingError(
                    f'it numbers an object {argument} at byte {position}, '
                    f'but {len(data)} bytes hold no more than {len(data)}')
            memo[argument] = stack[-1]
        elif name == 'MEMOIZE':
            memo[len(memo)] = stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memo[argument])
        elif name == 'POP' and marks and marks[-1] == len(stack):
            marks.pop()
        else:
            items = _take(stack, marks, opcode.stack_before)
            depth = 0
            if name.startswith('TUPLE'):
                depth = 1 + max(items, default=0)
                if depth > _DEEPEST_TUPLE:
                    raise pickle.UnpicklingError(
                        f'it nests tuples more than {_DEEPEST_TUPLE} deep at '
                        f'byte {position}')
            stack += [depth] * len(opcode.stack_after)


def _take(stack: List[int], marks: List[int], before: list) -> List[int]:
    """What an opcode takes off the stack."""
    number = len(before)
    if pickletools.markobject in before:
        # All above the mark, and some objects below it.
        number = len(stack) - marks.pop() + before.index(
            pickletools.markobject)
    if number > len(stack):
        raise pickle.UnpicklingError('an opcode takes more than there is')
    items = stack[len(stack) - number:]
    del stack[len(stack) - number:]
    return items
