"""Durus's own stress test, against any server.

Arguments: the directory of Durus's sources, then those of the stress test; or `--verify`, to look at all
objects once.
"""

import importlib.util
import os
import sys
import types

source = sys.argv.pop(1)
# It imports itself under this name, so that pickles find its class.
sys.modules["durus.test"] = types.ModuleType("durus.test")
spec = importlib.util.spec_from_file_location(
    "durus.test.stress", os.path.join(source, "test", "stress.py")
)
stress = importlib.util.module_from_spec(spec)
sys.modules["durus.test.stress"] = stress
spec.loader.exec_module(stress)

if "--verify" in sys.argv:
    from durus.client_storage import ClientStorage
    from durus.connection import Connection

    port = int(sys.argv[sys.argv.index("--port") + 1])
    connection = Connection(ClientStorage(port=port))
    stress.verify_db(connection, all=True)
else:
    stress.main()
