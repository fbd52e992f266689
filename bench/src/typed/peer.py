"""What `durum bench objects` does with typed objects, done with those of Durus and of ZODB.

Takes a JSON object that says what, and prints one with rows of workload, count and seconds.
"""

import json
import logging
import os
import random
import sys
import time

# Durus tells of each transaction that it finds in a file.
logging.disable(logging.CRITICAL)

SPEC = json.loads(sys.argv[1])
ROWS = []


def measured(workload, count, work):
    """Runs `work`, which does `count` of something, or returns how many it did."""
    begin = time.perf_counter()
    done = work()
    ROWS.append([workload, count or done, time.perf_counter() - begin])


def forget(path):
    """Lets the system drop what it has of the store's files in memory."""
    for name in os.listdir(os.path.dirname(path)):
        if name.startswith(os.path.basename(path)):
            fd = os.open(os.path.join(os.path.dirname(path), name), os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


class Durus:
    """A store of Durus's, or one behind its server."""

    def __init__(self):
        from durus.btree import BTree
        from durus.persistent import Persistent

        self.Persistent = Persistent
        self.new_tree = self.new_number_tree = BTree
        # Objects, not bytes. A node of a tree, of some 24 entries, takes about this much. Small objects all fit
        # in what is the default.
        is_tree = SPEC["shape"] == "tree"
        self.cache = max(100, SPEC["cache"] // 3000) if is_tree else 100_000
        self.open()

    def open(self):
        from durus.client_storage import ClientStorage
        from durus.connection import Connection
        from durus.file_storage2 import FileStorage2

        if SPEC["address"]:
            host, port = SPEC["address"].rsplit(":", 1)
            self.storage = ClientStorage(host=host, port=int(port))
        else:
            self.storage = FileStorage2(SPEC["path"])
        self.connection = Connection(self.storage, cache_size=self.cache)
        self.root = self.connection.get_root()
        self.commit = self.connection.commit
        # Objects beyond the cache's size leave it at the end of a transaction.
        self.abort = self.connection.abort

    def reopen(self):
        self.storage.close()
        if not SPEC["address"]:
            forget(SPEC["path"])
        self.open()

    def records(self):
        return sum(1 for _ in self.storage.gen_oid_record())

    def pack(self):
        self.connection.pack()

    def range(self, tree, low, high):
        return tree.items_range(low, high)

    def iterate(self, tree):
        return tree.items()


class Zodb:
    """A FileStorage of ZODB."""

    def __init__(self):
        from BTrees.LLBTree import LLBTree
        from BTrees.LOBTree import LOBTree
        from persistent import Persistent

        self.Persistent = Persistent
        self.new_tree = LOBTree
        self.new_number_tree = LLBTree
        self.open()

    def open(self):
        import transaction
        from ZODB import DB
        from ZODB.FileStorage import FileStorage

        self.db = DB(
            FileStorage(SPEC["path"]),
            cache_size=1_000_000_000,
            cache_size_bytes=SPEC["cache"],
        )
        self.connection = self.db.open()
        self.root = self.connection.root()
        self.commit = transaction.commit
        # Objects beyond the cache's size leave it at the end of a transaction.
        self.abort = transaction.abort

    def reopen(self):
        self.abort()
        self.db.close()
        forget(SPEC["path"])
        self.open()

    def records(self):
        return sum(1 for one in self.db.storage.iterator() for _ in one)

    def pack(self):
        self.db.pack()

    def range(self, tree, low, high):
        return tree.iteritems(low, high, excludemax=True)

    def iterate(self, tree):
        return tree.iteritems()


SYSTEM = {"durus": Durus, "zodb": Zodb}[SPEC["system"]]()
AT_ONCE = SPEC["at_once"]
DRAW = random.Random(SPEC["seed"])


class Record(SYSTEM.Persistent):
    def __init__(self, number, name, text):
        self.number = number
        self.name = name
        self.text = text


def chunks(numbers):
    for first in range(0, len(numbers), AT_ONCE):
        yield numbers[first : first + AT_ONCE]


def objects():
    """Objects below a tree, by their numbers."""
    count, text = SPEC["objects"], "t" * SPEC["text"]
    SYSTEM.root["tree"] = SYSTEM.new_tree()
    SYSTEM.commit()

    def store():
        tree = SYSTEM.root["tree"]
        for some in chunks(range(count)):
            for number in some:
                tree[number] = Record(number, "record %d" % number, text)
            SYSTEM.commit()

    def read():
        tree = SYSTEM.root["tree"]
        total = sum(record.number for _, record in SYSTEM.iterate(tree))
        assert total == count * (count - 1) // 2, total

    def change():
        tree = SYSTEM.root["tree"]
        for _ in range(SPEC["changes"]):
            for _ in range(10):
                tree[DRAW.randrange(count)].name = "changed %d" % DRAW.randrange(1 << 30)
            SYSTEM.commit()

    def delete():
        tree = SYSTEM.root["tree"]
        for some in chunks(range(0, count, 2)):
            for number in some:
                del tree[number]
            SYSTEM.commit()
        SYSTEM.pack()

    measured("store", count, store)
    SYSTEM.reopen()
    measured("read-cold", count, read)
    measured("change", SPEC["changes"], change)
    measured("records", None, SYSTEM.records)
    measured("delete-half", (count + 1) // 2, delete)


def tree():
    """A tree of numbers: keys are even, so that there is room between them."""
    count, lookups, inserts = SPEC["entries"], SPEC["lookups"], SPEC["inserts"]
    SYSTEM.root["tree"] = SYSTEM.new_number_tree()
    SYSTEM.commit()

    def build():
        tree = SYSTEM.root["tree"]
        for some in chunks(range(count)):
            for number in some:
                tree[number * 2] = number * 2
            SYSTEM.commit()

    def look_up():
        tree = SYSTEM.root["tree"]
        for some in chunks(range(lookups)):
            for _ in some:
                key = DRAW.randrange(count) * 2
                assert tree[key] == key
            SYSTEM.abort()

    def ranges():
        tree = SYSTEM.root["tree"]
        for number in range(lookups // 100):
            low = DRAW.randrange(max(1, count - 100)) * 2
            found = sum(1 for _ in SYSTEM.range(tree, low, low + 200))
            assert found == min(100, count), found
            if number % 10 == 0:
                SYSTEM.abort()

    def scan():
        found = 0
        for _ in SYSTEM.iterate(SYSTEM.root["tree"]):
            found += 1
            if found % AT_ONCE == 0:
                SYSTEM.abort()
        assert found == count, found

    def insert():
        tree = SYSTEM.root["tree"]
        for some in chunks(range(inserts)):
            for _ in some:
                key = DRAW.randrange(count) * 2 + 1
                tree[key] = key
            SYSTEM.commit()

    measured("tree-build", count, build)
    SYSTEM.reopen()
    measured("tree-lookup", lookups, look_up)
    measured("tree-range", lookups // 100 * 100, ranges)
    measured("tree-scan", count, scan)
    measured("tree-insert", inserts, insert)


{"objects": objects, "tree": tree}[SPEC["shape"]]()
print(json.dumps({"rows": ROWS}))
