"""What the scripts here share: opening a file of any format with the original Durus 4.3."""

import struct

from durus.file_storage import FileStorage
from durus.file_storage2 import FileStorage2
from durus.serialize import split_oids, unpack_record
from durus.sqlite_storage import SqliteStorage

STORAGES = {"shelf": FileStorage, "dfs20": FileStorage2, "sqlite": SqliteStorage}


def storage_class(path):
    """The storage class for the file's format; the file has to exist."""
    with open(path, "rb") as file:
        start = file.read(16)
    if start.startswith(b"DFS20\0"):
        return FileStorage2
    if start == b"SQLite format 3\0":
        return SqliteStorage
    if start.startswith(b"SHELF-1\n"):
        return FileStorage
    raise SystemExit(f"{path}: not a Durus file, it begins with {start!r}")


def open_storage(path, readonly=True):
    """Opens a file of any format, by default without changing it."""
    if storage_class(path) is SqliteStorage:
        return SqliteStorage(path)  # it has no other way
    return storage_class(path)(path, readonly=readonly)


def number(oid):
    """An OID as a number."""
    return struct.unpack(">Q", oid)[0]


def records(storage):
    """(OID, record) of every object, garbage included."""
    if isinstance(storage, SqliteStorage):
        # Its own `gen_oid_record` fails but for what the root reaches.
        return ((oid, storage.load(oid)) for oid in storage._list_all_oids())
    return storage.gen_oid_record()


def objects(storage):
    """(OID, references, data) of every object, garbage included, in no order.

    The references are sorted, unique and without the object itself.
    """
    for oid, record in records(storage):
        record_oid, data, refs = unpack_record(record)
        assert bytes(record_oid) == bytes(oid), (record_oid, oid)
        oid = number(bytes(oid))
        refs = {number(ref) for ref in split_oids(refs)}
        yield oid, sorted(refs - {oid}), bytes(data)
