"""Counts on real Durus through whichever of several servers serves, until its input ends.

    python durus_count.py set-up PORT --raw NAME... --durus NAME...
    python durus_count.py count NAME PORT...
    python durus_count.py show PORT NAME...
    python durus_count.py watch PORT NAME...

`set-up` makes an object for each name, and what those with names behind `--durus` share, and prints the OIDs of
the others: what these hold is the business of other clients. `count` counts up its own object in each commit, with
a new object that says the count once more, and the shared one in every fourth. It prints a line for each: "commit
BEGAN COUNT", or "found BEGAN COUNT" where the answer was lost with the server, but the commit was made; "lost BEGAN
COUNT" where it was not. BEGAN is the time, in nanoseconds, when the commit was begun, or it was looked for. `show`
prints the counts of the names and the shared one; `watch` does so for each transaction in which it has read them, which
only ever grow, until its input ends.
"""

import argparse
import logging
import random
import sys
import threading
import time

from durus.client_storage import ClientStorage
from durus.connection import Connection
from durus.error import ConflictError, ProtocolError
from durus.persistent_dict import PersistentDict
from durus.utils import ShortRead

from durus_common import number

# What Durus raises when a server is gone. Where nobody listens that is an assertion of its own.
GONE = (OSError, ShortRead, ProtocolError)
SHARED = "shared"
# One commit of so many counts up what is shared.
SHARED_EVERY = 4


def connect(ports):
    """A connection to the first that serves; `None` where nobody does."""
    for port in ports:
        try:
            return Connection(ClientStorage(host="127.0.0.1", port=port))
        except GONE + (AssertionError,):
            pass
    return None


class Counter:
    """Counts up, across connections."""

    def __init__(self, name):
        self.name = name
        self.acknowledged = 0
        self.unanswered = False

    def say(self, what, began):
        print(what, began, self.acknowledged, flush=True)

    def resolve(self, connection):
        """Whether the commit was made that was not answered. Nothing else may have changed."""
        began = time.time_ns()
        root = connection.get_root()
        found, item = root[self.name]["count"], root[self.name]["item"]
        if item is not None:
            assert item["count"] == found, (self.name, item["count"], found)
        committed = self.unanswered and found == self.acknowledged + 1
        if committed:
            self.acknowledged += 1
        assert found == self.acknowledged, (self.name, found, self.acknowledged)
        if self.unanswered:
            self.say("found" if committed else "lost", began)
        self.unanswered = False

    def commit(self, connection):
        """Counts up once, or not at all where another client was faster."""
        began = time.time_ns()
        try:
            root = connection.get_root()
            mine = root[self.name]
            mine["count"] = self.acknowledged + 1
            mine["item"] = PersistentDict(count=self.acknowledged + 1)
            if mine["count"] % SHARED_EVERY == 0:
                root[SHARED]["count"] += 1
            self.unanswered = True
            connection.commit()
        except ConflictError:
            self.unanswered = False
            connection.abort()
            # Who has just committed would be faster again and again.
            time.sleep(random.uniform(0, 0.02))
            return
        self.unanswered = False
        self.acknowledged += 1
        self.say("commit", began)


def input_ended():
    """An event that is set when the input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    return ended


def count(name, ports):
    """Counts until the input ends."""
    ended = input_ended()
    counter = Counter(name)
    while not ended.is_set() or counter.unanswered:
        connection = connect(ports)
        if connection is None:
            time.sleep(0.01)
            continue
        try:
            counter.resolve(connection)
            while not ended.is_set():
                counter.commit(connection)
        except GONE as error:
            print(f"{time.time():.3f} {error!r}", file=sys.stderr, flush=True)
            time.sleep(0.01)


def set_up(port, raw, durus):
    """Makes the objects."""
    connection = connect([port])
    root = connection.get_root()
    for name in raw:
        root[name] = PersistentDict()
    for name in durus:
        root[name] = PersistentDict(count=0, item=None)
    root[SHARED] = PersistentDict(count=0)
    connection.commit()
    print(*(number(root[name]._p_oid) for name in raw))


def show(port, names):
    """Prints the counts."""
    root = connect([port]).get_root()
    print(*(root[name]["count"] for name in [*names, SHARED]))


def watch(port, names):
    """Reads the counts until the input ends."""
    ended = input_ended()
    before = [0] * (len(names) + 1)
    while not ended.is_set():
        connection = connect([port])
        if connection is None:
            time.sleep(0.01)
            continue
        try:
            while not ended.is_set():
                connection.abort()
                now = read(connection.get_root(), names)
                if now is None:
                    continue
                assert all(b <= n for b, n in zip(before, now)), (before, now)
                before = now
                print(*now, flush=True)
                time.sleep(0.001)
        except GONE as error:
            print(f"{time.time():.3f} {error!r}", file=sys.stderr, flush=True)
            time.sleep(0.01)


def read(root, names):
    """The counts of one transaction; none where others have written what it was still to read."""
    try:
        for name in names:
            found, item = root[name]["count"], root[name]["item"]
            assert item is None or item["count"] == found, (name, item["count"], found)
        return [root[name]["count"] for name in [*names, SHARED]]
    except ConflictError:
        return None


def main():
    """Does what the first argument says."""
    logging.disable(logging.INFO)  # a line for each transaction
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    setting_up = commands.add_parser("set-up")
    setting_up.add_argument("port", type=int)
    setting_up.add_argument("--raw", nargs="*", default=[])
    setting_up.add_argument("--durus", nargs="*", default=[])
    counting = commands.add_parser("count")
    counting.add_argument("name")
    counting.add_argument("ports", type=int, nargs="+")
    for command in ["show", "watch"]:
        reading = commands.add_parser(command)
        reading.add_argument("port", type=int)
        reading.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "count":
        count(arguments.name, arguments.ports)
    elif arguments.command == "set-up":
        set_up(arguments.port, arguments.raw, arguments.durus)
    elif arguments.command == "watch":
        watch(arguments.port, arguments.names)
    else:
        show(arguments.port, arguments.names)


if __name__ == "__main__":
    main()
