"""Serves a Durus file by Durus's own storage server, until it is killed or its input ends.

    python durus_serve.py FILE [--unix PATH]

Prints the port, or the path, when it is ready.
"""

import argparse
import logging
import os
import sys
import threading

from durus.storage_server import HostPortAddress, StorageServer, UnixDomainSocketAddress

from durus_common import open_storage


class AnyPort(HostPortAddress):
    """A port that the system chooses."""

    def get_listening_socket(self):
        listening = super().get_listening_socket()
        print(listening.getsockname()[1], flush=True)
        return listening


class Path(UnixDomainSocketAddress):
    """A socket in the file system."""

    def get_listening_socket(self):
        listening = super().get_listening_socket()
        print(self.filename, flush=True)
        return listening


def end_with_input():
    """Nobody is left who could stop the server."""
    sys.stdin.read()
    os._exit(0)


def main():
    """Serves the file that the first argument names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--unix")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    address = Path(arguments.unix) if arguments.unix else AnyPort(host="127.0.0.1", port=0)
    threading.Thread(target=end_with_input, daemon=True).start()
    StorageServer(open_storage(arguments.file, readonly=False), address=address).serve()


if __name__ == "__main__":
    main()
