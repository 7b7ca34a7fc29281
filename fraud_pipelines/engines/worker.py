"""A process of `Processes`: takes steps from its standard input, one after the other, and answers on its output.

It ends when its input does, so that it never outlives the process that started it, whatever that one dies of.
"""

import os
import pickle
import queue
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import IO, Any, Final

from fraud_pipelines.engines.interface import HasFolder, timed
from fraud_pipelines.errors import FraudPipelinesError

_LENGTH: Final = struct.Struct("<Q")


def send(stream: IO[bytes], content: object) -> None:
    """Write one message."""
    data = pickle.dumps(content)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side has ended.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(_LENGTH.unpack(head)[0])
    return pickle.loads(data)


def main() -> None:
    """Answer until the input ends. What is no answer, such as a library's print, goes to the error output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    works: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=[works], daemon=True).start()
    try:
        while True:
            send(answers, _answer(*works.get()))
    finally:
        # An error in the code. The interpreter can't end by itself while the other thread waits for the input.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _answer(step: Callable[[Any], object], shard: int, work: HasFolder) -> object:
    """What `timed` gives, or the error that a person has to act on."""
    try:
        return timed(step, shard, work)
    except (FraudPipelinesError, OSError) as error:
        return error


def _listen(works: "queue.SimpleQueue[Any]") -> None:
    try:
        while True:
            works.put(receive(sys.stdin.buffer))
    except EOFError:
        os._exit(0)  # whatever the other thread is at: nobody waits for it any more


if __name__ == "__main__":
    main()
