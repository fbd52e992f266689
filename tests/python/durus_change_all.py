"""Changes every node of a graph that `make_graph.py` has made, as another client of its server.

    python durus_change_all.py PORT
"""

import sys

from durus.client_storage import ClientStorage
from durus.connection import Connection

connection = Connection(ClientStorage(host="127.0.0.1", port=int(sys.argv[1])), cache_size=10**9)
for nodes in connection.get_root()["lists"]:
    for node in nodes:
        node["changed"] = True
connection.commit()
