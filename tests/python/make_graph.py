"""Makes a Durus database of a given number of objects, with the original Durus.

    python make_graph.py FILE --objects 100000 --format shelf|dfs20 --seed N [--commit-every 10000]

All classes are Durus's own, so that any client can load everything. The root holds "size", "seed",
"lists", a list of lists of nodes, and "rest", a list of nodes, through which every node can be reached;
"index", a BTree, leads from some numbers to nodes. A node is a dictionary with its number, a string of
0 to a few thousand bytes, and up to four further references to any nodes: cycles, shared nodes and long
chains abound. With the same arguments the graph is the same. A commit every so many objects updates the
root and earlier nodes, so that the file holds superseded versions too, until it is packed (--pack,
which leaves the unpacked file as FILE.prepack).
"""

import argparse
import random

from durus.btree import BTree
from durus.connection import Connection
from durus.persistent_dict import PersistentDict
from durus.persistent_list import PersistentList

from durus_common import STORAGES

PER_LIST = 500
PER_INDEXED = 20
# A little under what the BTree needs for keys that come in order: about 15 a node.
PER_BNODE = 14 * PER_INDEXED


def make_node(draw, nodes, at):
    """A node with references to earlier nodes, some of which get a reference back."""
    size = min(4000, int(draw.expovariate(1 / 80)))
    node = PersistentDict(number=at, text=draw.randbytes(size // 2).hex())
    for key in ("a", "b", "c")[: draw.randrange(4)]:
        if nodes:
            node[key] = draw.choice(nodes)
    if nodes and draw.random() < 0.3:
        draw.choice(nodes)["back"] = node
    return node


def main():
    """Reads the arguments and makes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--objects", type=int, default=100_000, help="how many objects, 20 at the least")
    parser.add_argument("--format", choices=STORAGES, default="shelf")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commit-every", type=int, default=10_000)
    parser.add_argument("--pack", action="store_true", help="pack the file in the end")
    arguments = parser.parse_args()

    draw = random.Random(arguments.seed)
    connection = Connection(STORAGES[arguments.format](arguments.file), cache_size=10**9)
    root = connection.get_root()
    root["seed"] = arguments.seed
    root["index"] = BTree()
    root["lists"] = PersistentList()
    count = max(0, int((arguments.objects - 10) / (1 + 1 / PER_LIST + 1 / PER_BNODE)))
    nodes = []
    for at in range(count):
        if at % PER_LIST == 0:
            root["lists"].append(PersistentList())
        node = make_node(draw, nodes, at)
        nodes.append(node)
        root["lists"][-1].append(node)
        if at % PER_INDEXED == 0:
            root["index"][at] = node
        if at % arguments.commit_every == arguments.commit_every - 1:
            root["size"] = at + 1
            connection.commit()
    # Root, BTree and list of lists; the list of the rest; and the rest, to reach the number asked for.
    used = 4 + root["index"].get_node_count() + len(root["lists"]) + count
    rest = range(count, count + arguments.objects - used)
    root["rest"] = PersistentList(make_node(draw, nodes, at) for at in rest)
    root["size"] = count + len(rest)
    connection.commit()
    if arguments.pack:
        connection.pack()
    connection.storage.close()


if __name__ == "__main__":
    main()
