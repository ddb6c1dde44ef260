"""Where the `isthmus` program begins: the interpreter is kept from searching for garbage while it starts and ends.

What is imported stays until the process ends, which frees all of it at once: on a command that finds nothing to
do, those searches were a sixth of its time. Not here: what is run (`main`); a command searches as usual
(`command`).
"""

import gc


def main() -> None:
    """Run the command line and exit with its status."""
    gc.disable()
    from isthmus.cli.main import main as command_line

    try:
        command_line()
    finally:
        gc.freeze()
