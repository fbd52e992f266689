"""Makes a small Durus file with everything that a reader has to cope with, by the original Durus.

    python make_sample.py FILE --format shelf|dfs20|sqlite [--pack] [--more]

Several commits; objects that are overwritten, some many times; objects that become garbage; an empty
state, a plain (not compressed) one, a large one; cycles and an object that references itself. --pack
packs the file afterwards, which leaves holes among the OIDs of a Shelf, and --more then commits once
more, which fills holes, updates packed objects and adds objects at the end.
"""

import argparse

import durus.serialize
from durus.btree import BTree
from durus.connection import Connection
from durus.persistent import Persistent
from durus.persistent_dict import PersistentDict
from durus.persistent_list import PersistentList
from durus.persistent_set import PersistentSet

from durus_common import STORAGES


def fill(connection):
    """The first commits."""
    root = connection.get_root()
    root["numbers"] = BTree()
    for key in range(300):
        root["numbers"][key] = PersistentDict(square=key * key, before=root["numbers"].get(key - 1))
    connection.commit()

    root["empty"] = Persistent()
    root["set"] = PersistentSet([1, "two", b"three"])
    root["large"] = PersistentList(["x" * 700 + str(n) for n in range(1000)])
    root["self"] = PersistentDict(text="refers to itself")
    root["self"]["self"] = root["self"]
    root["ring"] = [PersistentList() for _ in range(7)]
    for at, member in enumerate(root["ring"]):
        member.append(root["ring"][(at + 1) % 7])
    connection.commit()

    durus.serialize.WRITE_COMPRESSED_STATE_PICKLES = False
    root["plain"] = PersistentDict(text="not compressed")
    for turn in range(20):
        root["numbers"][7]["turn"] = turn
        root["counter"] = turn
        connection.commit()
    durus.serialize.WRITE_COMPRESSED_STATE_PICKLES = True

    for key in range(0, 300, 3):
        del root["numbers"][key]
    for key in range(1, 300):
        if key in root["numbers"]:
            root["numbers"][key]["before"] = None
    del root["large"], root["ring"]
    connection.commit()


def add_more(connection):
    """A commit on top of what is there."""
    root = connection.get_root()
    root["late"] = PersistentList(PersistentDict(late=n) for n in range(150))
    root["late"].append(root)
    root["numbers"][1]["late"] = root["late"]
    connection.commit()


def main():
    """Reads the arguments and makes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--format", choices=STORAGES, default="shelf")
    parser.add_argument("--pack", action="store_true")
    parser.add_argument("--more", action="store_true")
    arguments = parser.parse_args()

    connection = Connection(STORAGES[arguments.format](arguments.file))
    fill(connection)
    if arguments.pack:
        connection.pack()
    if arguments.more:
        add_more(connection)
    connection.storage.close()


if __name__ == "__main__":
    main()
