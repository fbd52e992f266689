"""Prints every object of a Durus file as the original Durus reads it, one JSON array a line.

    python dump_objects.py FILE

A line is [OID, [references], "data in hexadecimal digits"]; the lines ascend by OID.
"""

import json
import sys

from durus_common import objects, open_storage

for oid, refs, data in sorted(objects(open_storage(sys.argv[1]))):
    print(json.dumps([oid, refs, data.hex()]))
