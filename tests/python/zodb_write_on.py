"""Works on a new FileStorage as a program does that has it open, until its input ends.

    python zodb_write_on.py FILE

Prints "open" after the first commits, then commits every few milliseconds: objects are added, changed and
unlinked, and now and then a commit is undone. A line "pack" on the input has it pack the file.
"""

import select
import sys
import time

import transaction
import ZODB
from BTrees.IOBTree import IOBTree
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileStorage


def main():
    """Works on the file that the first argument names."""
    database = ZODB.DB(FileStorage(sys.argv[1]))
    root = database.open().root()
    root["all"] = IOBTree()
    for key in range(2000):
        root["all"][key] = PersistentMapping(key=key, text="x" * 100)
    transaction.commit()
    print("open", flush=True)
    turn, packs = 0, 0
    while True:
        turn += 1
        added = root["all"][2000 + turn] = PersistentMapping(turn=turn)
        added["before"] = root["all"][turn % 2000]
        root["all"][turn % 2000]["turn"] = turn
        if turn > 20 and 2000 + turn - 20 in root["all"]:
            del root["all"][2000 + turn - 20]
        transaction.commit()
        if turn % 50 == 0:
            database.undo(database.undoInfo(0, 1)[0]["id"])
            transaction.commit()
        time.sleep(0.002)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                break
            database.pack()
            packs += 1
    database.close()
    print(turn, packs, flush=True)


if __name__ == "__main__":
    main()
