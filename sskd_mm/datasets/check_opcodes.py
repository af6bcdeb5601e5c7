# Copyright (c) sskd_mm authors. All rights reserved.
import pickle
import pickletools
from typing import Dict, FrozenSet, List

#: Limits that no file of images and labels reaches.
_DEEPEST_TUPLE = 100
_LARGEST_INTEGER = 1 << 256


def check_opcodes(data: bytes, allowed: FrozenSet[str]) -> None:
    """Check that a pickle is complete and safe to unpickle.

    A few bytes can make an unpickler allocate gigabytes (it allocates as many
    objects as a number in the file says) or crash the process (hashing a
    tuple recurses without limit). This only scans the opcodes, in memory
    proportional to the file, and runs nothing.

    Args:
        data (bytes): The whole pickle.
        allowed (frozenset[str]): Allowed opcodes, by their ``pickletools``
            names.

    Raises:
        pickle.UnpicklingError: It has another opcode, exceeds a limit, is
            truncated, or is not a pickle; the message says which.
    """
    try:
        _check(data, allowed)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # pickletools raises nearly anything
        raise pickle.UnpicklingError(
            f'it is truncated or not a pickle: {error}') from error


def _check(data: bytes, allowed: FrozenSet[str]) -> None:
    # Mirrors the unpickler's stack, marks and memo, but keeps only the tuple
    # nesting depth of each object: a pickle hashes no other nested objects.
    stack: List[int] = []
    marks: List[int] = []
    memo: Dict[int, int] = {}
    for opcode, argument, position in pickletools.genops(data):
        name = opcode.name
        if name not in allowed:
            raise pickle.UnpicklingError(
                f'it holds more than plain data ({name} at byte '
                f'{position})')
        if isinstance(argument, int) and abs(argument) > _LARGEST_INTEGER:
            raise pickle.UnpicklingError(
                f'it has an integer of {argument.bit_length()} bits at byte '
                f'{position}; no such file needs more than 256')
        if name == 'MARK':
            marks.append(len(stack))
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            if argument > len(data):
                # The unpickler would allocate that many objects.
                raise pickle.UnpicklingError(
                    f'it uses object number {argument} at byte {position}, '
                    f'but {len(data)} bytes hold at most {len(data)} objects')
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
    """Pop an opcode's arguments off the stack."""
    number = len(before)
    if pickletools.markobject in before:
        # Everything above the mark, and some objects below it.
        number = len(stack) - marks.pop() + before.index(
            pickletools.markobject)
    if number > len(stack):
        raise pickle.UnpicklingError('an opcode pops an empty stack')
    items = stack[len(stack) - number:]
    del stack[len(stack) - number:]
    return items
