"""Makes a small FileStorage with everything that a reader has to cope with, by ZODB itself.

    python zodb_sample.py FILE [--small] [--pack] [--more] [--unfinished]

Several commits; cycles, BTrees, persistent mappings and lists, weak references, references into another
database, a blob, objects whose class takes arguments, a large value; records as Python 2 wrote them;
changes and creations that were undone, an object that was deleted. --pack packs the file afterwards and
--more then commits and undoes once more. --small makes a few objects only. --unfinished leaves a transaction that was voted for and never
finished.
"""

import argparse
import os
import struct
import time

import transaction
import ZODB
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree, OOTreeSet
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import PersistentWeakKeyDictionary, WeakRef
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import p64, z64

from zodb_common import Node, WithArguments

# ZODB under Python 3 reads OIDs of Python 2 where all bytes are ASCII, and no others.
OLD_OID = 0x1310


def commit(note):
    """Commits under a note, which makes heads of different sizes."""
    transaction.get().setUser("tester")
    transaction.get().note(note)
    transaction.commit()


def fill(connection):
    """The first commits."""
    root = connection.root()
    root["tree"] = OOBTree()
    for key in range(200):
        root["tree"][f"key {key}"] = PersistentMapping(square=key * key)
    root["numbers"] = IOBTree({key: PersistentList([key]) for key in range(100)})
    root["set"] = OOTreeSet(range(80))
    commit("trees")

    ring = [Node(number=number) for number in range(7)]
    for at, node in enumerate(ring):
        node.next, node.me = ring[(at + 1) % 7], node
    root["ring"] = ring[0]
    root["named"] = [WithArguments("one"), WithArguments("two")]
    root["named"].append(root["named"][0])
    root["large"] = Node(value=os.urandom(300_000), text="x" * 100_000)
    commit("a ring")

    root["weak"] = Node(one=WeakRef(ring[1]), two=[WeakRef(ring[2]), WeakRef(ring[1])])
    root["keys"] = PersistentWeakKeyDictionary([(ring[3], 1), (ring[4], 2)])
    root["blob"] = Blob(b"contents")
    root["garbage"] = Node(kept=Node())
    root["old"] = Node()
    commit("weak references")

    other = connection.get_connection("other").root()
    other["node"] = Node()
    other["named"] = WithArguments("elsewhere")
    transaction.commit()
    root["elsewhere"] = [other["node"], other["named"], WeakRef(other["node"])]
    commit("references into another database")

    for turn in range(10):
        root["turn"] = turn
        root["tree"]["key 7"]["turn"] = turn
        commit("")
    del root["garbage"]
    for key in range(0, 200, 3):
        del root["tree"][f"key {key}"]
    commit("deletions")


def fill_small(db, connection):
    """A few commits of a few objects."""
    root = connection.root()
    root["node"] = Node(me=root, next=Node())
    commit("a node")
    root["node"].next.weak = WeakRef(root["node"])
    commit("a weak reference")
    root["node"].next = WithArguments("one")
    commit("to be undone")
    undo(db)


def undo(db):
    """Undoes the last transaction."""
    db.undo(db.undoInfo(0, 1)[0]["id"])
    commit("undo")


def change_and_undo(db, connection):
    """Undoes a change, a creation, and the first undo; all leave pointers in place of data."""
    root = connection.root()
    root["ring"].number = "changed"
    root["undone"] = Node(text="does not last")
    commit("to be undone")
    undo(db)
    root["numbers"][5].append("changed")
    commit("to be undone, and not undone")
    undo(db)
    undo(db)
    connection.sync()


def store_raw(storage, records):
    """Stores records past the pickler; empty data deletes an object."""
    change = TransactionMetaData()
    storage.tpc_begin(change)
    for oid, data in records:
        serial = z64
        if oid in storage._index:
            serial = storage._read_data_header(storage._index[oid]).tid
        if data:
            storage.store(oid, serial, data, "", change)
        else:
            storage.deleteObject(oid, serial, change)
    storage.tpc_vote(change)
    storage.tpc_finish(change)


def python2_records(first):
    """Records as ZODB 3 wrote them under Python 2, which Python 3 has no pickler for.

    That of the OID `first` refers to the others, directly or not.
    """
    oids = [p64(OLD_OID + n) for n in range(4)]
    short = [b"U\x08" + oid for oid in oids]
    state1 = b"}q\x02(U\x01aq\x03(" + short[1] + b"q\x04csample\nNode\nq\x05tq\x06Q"
    state1 += b"U\x01bq\x07" + short[2] + b"q\x08Q"
    state1 += b"U\x01cq\x09]q\x0aU\x01wq\x0bah\x04\x85aQ" + b"U\x01d]" + short[3] + b"aQu."
    text = repr(oids[0])[1:].encode()
    state0 = b"(dp1\nS'next'\np2\n(S" + text + b"\np3\ncsample\nNode\ntp4\nQs."
    with_name = b"((U\x06sampleU\x04NodetNt." + b"T" + struct.pack("<i", 8) + oids[1] + b"Q."
    return [
        (first, b"csample\nNode\nq\x01." + short[0] + b"q\x02Q."),
        (oids[0], b"csample\nNode\nq\x01." + state1),
        (oids[1], b"csample\nNode\np0\n." + state0),
        (oids[2], with_name),
        (oids[3], b"(csample\nNode\nq\x00Nt." + b"N."),
    ]


def leave_unfinished(storage):
    """Votes for a transaction, and leaves it at that."""
    change = TransactionMetaData()
    storage.tpc_begin(change)
    storage.store(p64(9000), z64, b"cunfinished\nNode\n.N.", "", change)
    storage.tpc_vote(change)


def main():
    """Reads the arguments and makes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    for option in ("--small", "--pack", "--more", "--unfinished"):
        parser.add_argument(option, action="store_true")
    arguments = parser.parse_args()

    storage = FileStorage(arguments.file, blob_dir=arguments.file + ".blobs")
    databases = {}
    db = ZODB.DB(storage, databases=databases, database_name="main", xrefs=True)
    ZODB.DB(MappingStorage(), databases=databases, database_name="other")
    connection = db.open()
    if arguments.small:
        fill_small(db, connection)
        db.close()
        return
    fill(connection)
    store_raw(storage, python2_records(connection.root()["old"]._p_oid))
    store_raw(storage, [(p64(7000), b"cgone\nNode\n.N."), (p64(7001), b"cgone\nNode\n.N.")])
    store_raw(storage, [(p64(7000), b""), (p64(7001), b"")])
    store_raw(storage, [(p64(7001), b"cback\nNode\n.N.")])
    change_and_undo(db, connection)
    if arguments.pack:
        db.pack(time.time())
    if arguments.more:
        connection.root()["late"] = Node(ring=connection.root()["ring"])
        commit("more")
        change_and_undo(db, connection)
    if arguments.unfinished:
        leave_unfinished(storage)
        os._exit(0)
    db.close()


if __name__ == "__main__":
    main()
