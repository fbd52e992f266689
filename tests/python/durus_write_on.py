"""Works on a new Durus file as a program does that has it open, until its input ends.

    python durus_write_on.py FILE --format shelf|dfs20

Prints "open" after the first commits, then commits every few milliseconds: objects are added, changed and
unlinked. A line "pack" on the input has it pack the file.
"""

import argparse
import logging
import select
import sys
import time

from durus.btree import BTree
from durus.connection import Connection
from durus.persistent_dict import PersistentDict

from durus_common import STORAGES


def main():
    """Works on the file that the first argument names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--format", choices=["shelf", "dfs20"], required=True)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)  # a line for each transaction
    connection = Connection(STORAGES[arguments.format](arguments.file))
    root = connection.get_root()
    root["all"] = BTree()
    for key in range(2000):
        root["all"][key] = PersistentDict(key=key, text="x" * 100)
    connection.commit()
    print("open", flush=True)
    turn, packs = 0, 0
    while True:
        turn += 1
        added = root["all"][2000 + turn] = PersistentDict(turn=turn)
        added["before"] = root["all"][turn % 2000]
        root["all"][turn % 2000]["turn"] = turn
        if turn > 20:
            del root["all"][2000 + turn - 20]
        connection.commit()
        time.sleep(0.002)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                break
            connection.pack()
            packs += 1
    connection.storage.close()
    print(turn, packs, flush=True)


if __name__ == "__main__":
    main()
