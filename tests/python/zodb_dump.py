"""Prints what ZODB finds in a FileStorage.

    python zodb_dump.py FILE

First a line for each object, [OID, [references], "data in hexadecimal digits"], ascending by OID. Then
{"objects": N, "iterated": N, "digest": "...", "weak": N, "cross_database": N}: the objects as counted,
and as `record_iternext` gives them (null where that fails, as it does once an object has ceased to
exist); the digest, as `durus_digest.py` tells it; the references that are none to objects of this
database.
"""

import collections
import json
import sys

from ZODB.POSException import POSKeyError

from object_digest import object_hash
from zodb_common import objects, open_storage, other_references


def iterated(storage):
    """How many objects ZODB iterates over."""
    count, following = 0, None
    while True:
        try:
            _oid, _tid, _data, following = storage.record_iternext(following)
        except POSKeyError:
            return None
        count += 1
        if following is None:
            return count


def main():
    """Prints the objects of the file that the first argument names."""
    storage = open_storage(sys.argv[1])
    count = total = 0
    kinds = collections.Counter()
    for oid, refs, data in objects(storage):
        print(json.dumps([oid, refs, data.hex()]))
        count += 1
        total = (total + object_hash(oid, refs, data)) % 2**256
        for reference in other_references(data):
            # A list of one OID is a weak reference of old.
            weak = len(reference) == 1 or reference[0] == "w"
            kinds["weak" if weak else "cross_database"] += 1
    summary = {"objects": count, "iterated": iterated(storage), "digest": f"{total:064x}"}
    summary.update((kind, kinds[kind]) for kind in ("weak", "cross_database"))
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
