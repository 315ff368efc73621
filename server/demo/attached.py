"""`lethe` for as long as the process that started it lives: it ends when its standard input does.

`python -m server.demo.attached model --port 8001` is `lethe model --port 8001`.  Whoever starts it holds the
other end of its standard input, and gives it a session of its own: Ctrl-C of a terminal then reaches the
parent alone, and whatever this one has started ends with it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Run the command line of these arguments, and end with the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The rest takes seconds to import, and is not to outlive the parent meanwhile.
    from server.cli import main as lethe

    lethe(sys.argv[1:])


if __name__ == "__main__":
    main()
