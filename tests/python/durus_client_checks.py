"""Runs Durus's own checks of clients against another server.

Arguments: the directory of Durus's sources, the program to test, and the URL of a store; a number is appended
to the URL for each server, which begins with an empty store. Prints a line for each check.

The checks are written for `sancho.utest`, which exists for Python 2 only: what they use of it is below.
"""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import traceback
import types

SOURCE, PROGRAM, URL = sys.argv[1:]
CLASSES = [
    ("utest_client_storage", "ClientTest"),
    ("utest_client_storage", "UnixDomainSocketTest"),
    ("utest_connection", "TestConnectionClientStorage"),
]
LEFT_OUT = {
    "check_oid_reuse": "it demands that OIDs of packed objects are handed out again, and they never are",
}


class UTest:
    """Instantiated in the original to run its checks; here that is done one by one."""


def raises(expected, function, *arguments):
    try:
        function(*arguments)
    except expected:
        return True
    raise AssertionError(f"{function} does not raise {expected}")


def stand_in():
    utest = types.ModuleType("sancho.utest")
    utest.UTest, utest.raises = UTest, raises
    sancho = types.ModuleType("sancho")
    sancho.utest = utest
    sys.modules.update({"sancho": sancho, "sancho.utest": utest})


def load(name):
    path = os.path.join(SOURCE, "test", name + ".py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


class Server:
    """Our server, on an empty store, where the checks expect Durus's."""

    count = 0
    home = tempfile.mkdtemp()

    def __init__(self, address):
        Server.count += 1
        listen = f"localhost:{address[1]}" if isinstance(address, tuple) else f"unix:{address}"
        url = f"{URL}{Server.count}"
        command = [PROGRAM, "serve", url, "--listen", listen, "--allow-quit", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        # It listens when it says so.
        if not self.process.stdout.readline():
            raise SystemExit(f"{command} ended with {self.process.wait()}")

    def stop(self, address):
        # As Durus does, which then sleeps for a second.
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        with socket.socket(family) as client:
            client.connect(address)
            client.sendall(b"Q")
        code = self.process.wait(timeout=30)
        assert code == 0, f"the server ended with {code}"


def prepare(test):
    """Gives a class of checks our server and an address that nobody else uses."""
    if isinstance(test.address, tuple):
        test.address = ("localhost", free_port())
        test.port = test.address[1]
    else:
        test.address = os.path.join(Server.home, "socket")

    def start(self):
        self.server = Server(test.address)

    def stop(self):
        self.server.stop(test.address)

    test._pre, test._post = start, stop


def run(test, name):
    instance = test()
    instance._pre()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            getattr(instance, name)()
    finally:
        instance._post()


def main():
    stand_in()
    failed = False
    for module, name in CLASSES:
        test = getattr(load(module), name)
        prepare(test)
        for check in sorted(name for name in dir(test) if not name.startswith("_")):
            if not callable(getattr(test, check)):
                continue
            full = f"{name}.{check}"
            if check in LEFT_OUT:
                print(f"{full}: left out, {LEFT_OUT[check]}")
                continue
            try:
                run(test, check)
                print(f"{full}: ok")
            except Exception:
                failed = True
                print(f"{full}: failed")
                traceback.print_exc()
    sys.exit(failed)


main()
