"""Prints the digest of a Durus file as the original Durus reads it: {"objects": N, "digest": "..."}.

    python durus_digest.py FILE

The digest is the sum modulo 2^256 of the SHA-256, taken as big-endian numbers, of (OID: 8 bytes;
number of references: 4 bytes; references, sorted, unique, without the object itself: 8 bytes each;
data), over all objects in the file, garbage included; numbers are big-endian.
"""

import json
import sys

from durus_common import objects, open_storage
from object_digest import object_hash


def digest(path):
    """The number of objects and the digest in hexadecimal digits."""
    count = total = 0
    for item in objects(open_storage(path)):
        count += 1
        total = (total + object_hash(*item)) % 2**256
    return count, f"{total:064x}"


if __name__ == "__main__":
    count, total = digest(sys.argv[1])
    print(json.dumps({"objects": count, "digest": total}))
