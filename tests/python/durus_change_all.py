"""Changes every node of a graph that `make_graph.py` has made, as another client of its server; or its root
alone.

    python durus_change_all.py PORT [root]
"""

import sys

from durus.client_storage import ClientStorage
from durus.connection import Connection
from durus.persistent_dict import PersistentDict

connection = Connection(ClientStorage(host="127.0.0.1", port=int(sys.argv[1])), cache_size=10**9)
root = connection.get_root()
if sys.argv[2:] == ["root"]:
    root["changed"] = PersistentDict(by="another")
else:
    for node in (node for nodes in root["lists"] for node in nodes):
        node["changed"] = True
connection.commit()
