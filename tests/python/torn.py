"""Ends in the middle of a commit, as the original Durus killed there would.

    python torn.py FILE --format shelf|dfs20 --writes N

Commits once, copies the file to FILE.before, then begins a second commit and stops for good halfway
through its N-th write.
"""

import argparse
import os
import shutil

from durus.connection import Connection
from durus.file import File
from durus.persistent_dict import PersistentDict

from durus_common import STORAGES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("file")
parser.add_argument("--format", choices=STORAGES, default="shelf")
parser.add_argument("--writes", type=int, default=5)
arguments = parser.parse_args()

connection = Connection(STORAGES[arguments.format](arguments.file))
root = connection.get_root()
for key in range(30):
    root[key] = PersistentDict(key=key, root=root)
connection.commit()
shutil.copy(arguments.file, arguments.file + ".before")

left = arguments.writes
write = File.write


def failing_write(self, data):
    """Writes, until the time has come."""
    global left
    left -= 1
    if left == 0:
        write(self, data[: len(data) // 2])
        os._exit(0)
    write(self, data)


File.write = failing_write
for key in range(20, 40):
    root[key] = PersistentDict(again=key, other=root[key - 10])
connection.commit()
raise SystemExit("the commit needed fewer writes")
