"""Changes a Durus file with the original Durus, as a user would who got it from somewhere else.

    python change.py FILE

Updates the root, adds 200 objects (which fills holes among a Shelf's OIDs first), updates one of them
in a second commit. Prints {"created": [OIDs], "objects": N} as JSON.
"""

import json
import sys

from durus.connection import Connection
from durus.persistent_dict import PersistentDict
from durus.persistent_list import PersistentList

from durus_common import number, objects, open_storage

storage = open_storage(sys.argv[1], readonly=False)
before = {oid for oid, _, _ in objects(storage)}
connection = Connection(storage)
root = connection.get_root()
added = PersistentList(PersistentDict(added=n, root=root) for n in range(199))
root["added"] = added
connection.commit()
added[5]["changed"] = True
connection.commit()

created = [number(member._p_oid) for member in [added, *added]]
assert len(set(created)) == 200, "OIDs are handed out once"
assert before.isdisjoint(created), "new objects replace none"
storage.close()
count = sum(1 for _ in objects(open_storage(sys.argv[1])))
print(json.dumps({"created": sorted(created), "objects": count}))
