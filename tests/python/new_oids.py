"""Prints the OIDs that the original Durus hands out on a file, 200 of them, sorted, as JSON.

    python new_oids.py FILE
"""

import json
import sys

from durus_common import number, open_storage

storage = open_storage(sys.argv[1], readonly=False)
print(json.dumps(sorted(number(storage.new_oid()) for _ in range(200))))
