"""Makes debian.durus: a slice of Debian's package graph as a Durus database.

    apt-get update
    apt-cache dumpavail > packages.txt
    python make_debian_sample.py packages.txt debian.durus

Needs Durus 4.3 (`pip install Durus==4.3`). All classes are Durus's own, so that any Durus client can
load everything. The result depends on the input only (and on the release of zlib).

The slice is what a few well-known packages need, transitively. Of alternatives in a dependency
(`a | b`) the first that exists is taken in; the others are referenced if something else takes them in.

    root                    PersistentDict
      "about"               dict of strings: where this comes from
      "packages"            BTree: name -> package
      "maintainers"         BTree: name -> maintainer
      "sections"            PersistentDict: name -> section
      "systems"             PersistentDict: name -> system

    package                 PersistentDict
      "name", "version", "architecture", "summary", "homepage"    strings
      "installed_kib", "download_bytes"                           numbers
      "maintainer"          a maintainer
      "section"             a section
      "depends"             list of (relation as text, [packages that satisfy it])
      "recommends"          the same, as far as the slice reaches
      "needed_by"           PersistentList of packages whose "depends" lead here

    maintainer, section     PersistentDict: "name", "packages" (PersistentList of packages)

    system                  PersistentDict: "name", "purpose", "wanted" (list of installations),
                            "installed" (PersistentDict: name -> installation)
    installation            PersistentDict: "package", "needs" (list of installations),
                            "because" (PersistentList of the installations that need this one)

Installations of one system reference each other, many in cycles, and packages; nothing outside the
system references them. `del root["systems"]["web server"]` therefore makes a tangle of garbage.
"""

import re
import sys

from durus.btree import BTree
from durus.connection import Connection
from durus.file_storage import FileStorage
from durus.persistent_dict import PersistentDict
from durus.persistent_list import PersistentList

# What the slice is the closure of.
WANTED = """
    ansible apache2 bind9 blender build-essential cargo cmake curl default-jdk docker.io
    dovecot-imapd emacs-nox ffmpeg gdb gimp git gnupg golang graphviz imagemagick
    inkscape kde-plasma-desktop libreoffice-writer mariadb-server nginx nodejs octave openssh-server php
    postgresql python3-numpy python3-persistent python3-pip qemu-system-x86 r-base rsync ruby rustc
    samba sqlite3 texlive-latex-base valgrind vim vlc xfce4 xterm
""".split()

# Systems: purpose, and the packages that were asked for.
SYSTEMS = {
    "minimal": ("boots and installs packages", ["apt", "bash", "coreutils", "dpkg"]),
    "web server": ("serves pages over HTTPS", ["nginx", "openssh-server", "curl"]),
    "object database": ("keeps Python objects", ["python3-persistent", "sqlite3", "lmdb-utils"]),
}


def read_stanzas(path):
    """The packages of a file in the format of Debian's Packages files: {name: {field: text}}."""
    packages = {}
    with open(path, encoding="utf-8") as file:
        for stanza in file.read().split("\n\n"):
            fields = re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", stanza, re.MULTILINE)
            fields = dict(fields)
            if "Package" in fields:
                packages.setdefault(fields["Package"], fields)
    return packages


def relations(fields, *names):
    """The dependencies in some fields: [(text, [names of the alternatives])]."""
    text = ", ".join(fields[name] for name in names if fields.get(name))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [(part, re.findall(r"(?:^|\|)\s*([a-z0-9][a-z0-9+.-]*)", part)) for part in parts]


def providers(packages):
    """Who provides a virtual package: {virtual name: [names], in alphabetical order}."""
    found = {}
    for name in sorted(packages):
        for _, virtual in relations(packages[name], "Provides"):
            found.setdefault(virtual[0], []).append(name)
    return found


def satisfying(names, available, provided):
    """The packages among `available` that satisfy one of the alternatives, best first."""
    result = []
    for name in names:
        for candidate in [name, *provided.get(name, [])]:
            if candidate in available and candidate not in result:
                result.append(candidate)
    return result


def closure(wanted, packages, provided, within):
    """All that the wanted packages need, in the order in which it is found."""
    order, todo = [], list(wanted)
    while todo:
        name = todo.pop(0)
        if name in order or name not in packages:
            continue
        order.append(name)
        for _, names in relations(packages[name], "Pre-Depends", "Depends"):
            choice = satisfying(names, within, provided)
            if choice and not any(candidate in order for candidate in choice):
                todo.append(choice[0])
    return order


def collection(name):
    """A maintainer or section without packages so far."""
    return PersistentDict(name=name, packages=PersistentList())


def add_packages(root, packages, slice_names):
    """Makes the package objects, with all but what leads from package to package."""
    for name in slice_names:
        fields = packages[name]
        # The address is left out: the sample needs no way to write to people.
        maintainer = re.sub(r"\s*<.*", "", fields.get("Maintainer", "unknown")).strip('"')
        section = fields.get("Section", "unknown")
        package = PersistentDict(
            name=name,
            version=fields["Version"],
            architecture=fields.get("Architecture", ""),
            summary=fields.get("Description", ""),
            homepage=fields.get("Homepage", ""),
            installed_kib=int(fields.get("Installed-Size", 0)),
            download_bytes=int(fields.get("Size", 0)),
            needed_by=PersistentList(),
        )
        root["packages"][name] = package
        if maintainer not in root["maintainers"]:
            root["maintainers"][maintainer] = collection(maintainer)
        if section not in root["sections"]:
            root["sections"][section] = collection(section)
        package["maintainer"] = root["maintainers"][maintainer]
        package["section"] = root["sections"][section]
        package["maintainer"]["packages"].append(package)
        package["section"]["packages"].append(package)


def link_packages(root, packages, slice_names, provided):
    """Adds the references from package to package, both ways."""
    stored = {name: root["packages"][name] for name in slice_names}
    for name, package in stored.items():
        for key, fields in (("depends", ["Pre-Depends", "Depends"]), ("recommends", ["Recommends"])):
            links = []
            for text, names in relations(packages[name], *fields):
                targets = [stored[found] for found in satisfying(names, stored, provided)]
                if targets:
                    links.append((text, targets))
            package[key] = links
        for _, targets in package["depends"]:
            for target in targets:
                if package not in target["needed_by"]:
                    target["needed_by"].append(package)


def make_system(root, name, purpose, wanted, packages, provided):
    """A system with everything installed that the wanted packages need."""
    chosen = closure(wanted, packages, provided, set(root["packages"]))
    installed = {}
    for one in chosen:
        installed[one] = PersistentDict(
            package=root["packages"][one], needs=[], because=PersistentList()
        )
    for one in chosen:
        for _, names in relations(packages[one], "Pre-Depends", "Depends"):
            for target in satisfying(names, installed, provided):
                if installed[target] not in installed[one]["needs"]:
                    installed[one]["needs"].append(installed[target])
                    installed[target]["because"].append(installed[one])
    asked = [installed[one] for one in wanted]
    return PersistentDict(
        name=name, purpose=purpose, wanted=asked, installed=PersistentDict(installed)
    )


def main():
    """Reads the packages that the first argument names and writes the second."""
    source, destination = sys.argv[1:]
    packages = read_stanzas(source)
    provided = providers(packages)
    systems = [name for _, names in SYSTEMS.values() for name in names]
    missing = [name for name in WANTED + systems if name not in packages]
    if missing:
        raise SystemExit(f"{source} lacks {', '.join(missing)}")
    slice_names = sorted(closure(WANTED + systems, packages, provided, set(packages)))

    connection = Connection(FileStorage(destination), cache_size=10**9)
    root = connection.get_root()
    root["about"] = {
        "source": "Debian 12 (bookworm), main, amd64: the package lists",
        "made_by": "samples/make_debian_sample.py",
    }
    root["packages"] = BTree()
    root["maintainers"] = BTree()
    root["sections"] = PersistentDict()
    root["systems"] = PersistentDict()
    add_packages(root, packages, slice_names)
    link_packages(root, packages, slice_names, provided)
    connection.commit()
    for name, (purpose, wanted) in SYSTEMS.items():
        root["systems"][name] = make_system(root, name, purpose, wanted, packages, provided)
        connection.commit()
    # Leaves one transaction with the latest versions, and the first file as *.prepack.
    connection.pack()
    connection.storage.close()
    print(f"{len(slice_names)} packages")


if __name__ == "__main__":
    main()
