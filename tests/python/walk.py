"""Opens a Durus file with the original Durus and walks everything that the root reaches.

    python walk.py FILE

Every object is loaded through a Connection, its class imported and its state unpickled, and its
references are followed as the state holds them, not as the record lists them; the two have to agree.
Prints {"objects": N, "references": N, "classes": {name: N}} as JSON.
"""

import collections
import json
import sys

from durus.connection import Connection
from durus.persistent import PersistentBase
from durus.serialize import split_oids, unpack_record

from durus_common import open_storage


def persistent_in(value):
    """The persistent objects directly in a state."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, PersistentBase):
            yield value
        elif isinstance(value, dict):
            todo.extend(value.keys())
            todo.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo.extend(value)


def main():
    """Walks the file that the first argument names."""
    storage = open_storage(sys.argv[1])
    connection = Connection(storage, cache_size=10**9)
    classes = collections.Counter()
    references = 0
    root = connection.get_root()
    seen, todo = {root._p_oid}, [root]
    while todo:
        current = todo.pop()
        classes[type(current).__name__] += 1
        current._p_load_state() if current._p_is_ghost() else None
        found = {target._p_oid: target for target in persistent_in(current.__getstate__())}
        found.pop(current._p_oid, None)
        listed = set(split_oids(unpack_record(storage.load(current._p_oid))[2]))
        assert set(found) == listed, (current._p_oid, sorted(found), sorted(listed))
        references += len(found)
        todo.extend(target for oid, target in found.items() if oid not in seen)
        seen.update(found)
    counts = {"objects": len(seen), "references": references, "classes": classes}
    print(json.dumps(counts, sort_keys=True))


if __name__ == "__main__":
    main()
