"""What the scripts here share: classes of the samples, and what a FileStorage of ZODB 6.4 holds."""

import io

from persistent import Persistent
from ZODB._compat import PersistentUnpickler
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import u64


class Node(Persistent):
    """Whatever attributes it is given."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class WithArguments(Persistent):
    """References to these are OIDs without a class."""

    def __new__(cls, name):
        self = super().__new__(cls)
        self.name = name
        return self

    def __getnewargs__(self):
        return (self.name,)


def objects(storage):
    """(OID, references, data) of every object, ascending.

    The references are sorted, unique and without the object itself.
    """
    for oid in storage._index.keys():
        try:
            data = storage.load(oid)[0]
        except POSKeyError:
            continue  # its creation was undone, or it was deleted
        refs = {u64(ref) for ref in referencesf(data)}
        yield u64(oid), sorted(refs - {u64(oid)}), data


def other_references(data):
    """The persistent ids in an object's data that `referencesf` passes over."""
    found = []
    unpickler = PersistentUnpickler(None, found.append, io.BytesIO(data))
    unpickler.noload()
    unpickler.noload()
    return [reference for reference in found if isinstance(reference, list)]


def open_storage(path):
    """Opens a file without changing it."""
    return FileStorage(path, read_only=True)
