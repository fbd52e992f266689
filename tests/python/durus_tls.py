"""Works with a server through TLS, by the client of Durus as it is.

Arguments: the server's port, the authority, the client's certificate and key, and `write` or `read`. A writer adds
one to the root's count and keeps a large object; a reader prints both the count and the object's size, and what a
commit of its own ends with.
"""

import ssl
import sys

from durus.client_storage import ClientStorage
from durus.connection import Connection
from durus.persistent_dict import PersistentDict
from durus.storage_server import HostPortAddress

PORT, AUTHORITY, CERTIFICATE, KEY, WHAT = sys.argv[1:]


class TlsAddress(HostPortAddress):
    def get_connected_socket(self):
        context = ssl.create_default_context(cafile=AUTHORITY)
        context.load_cert_chain(CERTIFICATE, KEY)
        plain = super().get_connected_socket()
        return context.wrap_socket(plain, server_hostname=self.host)


def connect():
    storage = ClientStorage(address=TlsAddress("localhost", int(PORT)))
    assert storage.s.version() == "TLSv1.3", storage.s.version()
    return Connection(storage)


connection = connect()
root = connection.get_root()
if WHAT == "write":
    root["count"] = root.get("count", 0) + 1
    root["large"] = PersistentDict(text="x" * 1_000_000)
    connection.commit()
    assert connect().get_root()["count"] == root["count"]
else:
    print(root["count"], len(root["large"]["text"]))
    root["count"] = -1
    try:
        connection.commit()
        print("committed")
    except OSError:
        print("cut off")
