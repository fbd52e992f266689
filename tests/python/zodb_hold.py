"""Opens a FileStorage as a program that works on it does, says so, and holds it until its input ends.

    python zodb_hold.py FILE

Prints "open", or "locked" and ends where somebody else holds it.
"""

import sys

from zc.lockfile import LockError
from ZODB.FileStorage import FileStorage

try:
    storage = FileStorage(sys.argv[1])
except LockError:
    print("locked", flush=True)
else:
    print("open", flush=True)
    sys.stdin.read()
    storage.close()
