"""Prints random objects' data as ZODB would store it, with the references that went into it.

    python zodb_pickles.py SEED COUNT

A line is ["data in hexadecimal digits", [references], weak, cross_database], where the references are
sorted and unique, and the other two are numbers. The pickles are those of Python's picklers, of zodbpickle
for protocols 0 to 3 and of the standard library for 0 to 5; the references are known from writing
them, not from reading them back.
"""

import collections
import datetime
import decimal
import fractions
import io
import json
import pickle
import random
import sys

import zodbpickle
import zodbpickle.pickle


class Plain:
    """An object that is pickled within another."""


class Target:
    """Stands for something that is referred to; `form` is its persistent id."""

    def __init__(self, form):
        self.form = form


def target(draw, protocol, binary):
    """A reference of some form."""
    number = draw.choice([draw.randrange(300), draw.getrandbits(63)])
    if protocol == 0 or draw.random() < 0.1:
        # Only text goes into a line. A text stands for an OID where all its bytes are ASCII.
        text = "".join(chr(draw.randrange(33, 127)) for _ in range(8))
        oid = text if protocol == 0 or draw.random() < 0.5 else binary(text.encode())
    else:
        oid = binary(number.to_bytes(8, "big"))
    if protocol == 0:
        return Target(oid)
    forms = [oid, (oid, Plain), (oid, Plain), ["w", (oid,)], ["w", (oid, "other")], [oid]]
    forms += [["m", ("other", oid, Plain)], ["n", ("other", oid)]]
    return Target(draw.choice(forms))


def value(draw, targets, depth):
    """A value of any type, with references in it."""
    if targets and draw.random() < 0.3:
        return draw.choice(targets)
    if depth == 0 or draw.random() < 0.3:
        return draw.choice([
            None, True, False, draw.getrandbits(draw.choice([3, 8, 16, 31, 40, 3000])),
            -draw.getrandbits(20), draw.random(), "w", "", "eight ch", "\u00e9\n\\u0041" * draw.randrange(60),
            b"", b"w", draw.randbytes(8), draw.randbytes(draw.randrange(400)), bytearray(b"eight by"),
            Plain, datetime.datetime(2024, 2, 3), decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1j,
        ])
    inner = [value(draw, targets, depth - 1) for _ in range(draw.choice([0, 1, 2, 3, 4, 20, 1200 // 9**depth]))]
    kind = draw.randrange(9)
    if kind < 2:
        inner.append(inner if kind else None)
        return inner
    if kind < 4:
        return tuple(inner)
    if kind < 6:
        return dict(enumerate(inner))
    if kind == 6:
        return {repr(one) for one in inner} if draw.random() < 0.5 else frozenset(map(repr, inner))
    if kind == 7:
        return collections.OrderedDict(enumerate(inner))
    plain = Plain()
    plain.inner = inner
    return plain


def data(draw):
    """One object's data, and what it refers to."""
    module = draw.choice([pickle, zodbpickle.pickle])
    protocol = draw.randrange(6 if module is pickle else 4)
    binary = bytes if module is pickle else zodbpickle.binary
    if protocol in (1, 2) and module is pickle:
        protocol = 3  # bytes are the result of a call there, which nobody reads as an OID
    if protocol < 3 and module is not pickle:
        protocol = 3 if protocol else 0
    targets = [target(draw, protocol, binary) for _ in range(draw.randrange(6))]
    refs, others = set(), collections.Counter()

    def persistent_id(obj):
        if not isinstance(obj, Target):
            return None
        if isinstance(obj.form, list):
            kind = obj.form[0]
            others["cross_database" if kind in ("m", "n") else "weak"] += 1
        else:
            oid = obj.form[0] if isinstance(obj.form, tuple) else obj.form
            oid = oid.encode() if isinstance(oid, str) else bytes(oid)
            refs.add(int.from_bytes(oid, "big"))
        return obj.form

    out = io.BytesIO()
    make = draw.choice([module.Pickler, getattr(module, "_Pickler", module.Pickler)])
    pickler = make(out, protocol)
    pickler.persistent_id = persistent_id
    if make is pickle.Pickler:
        pickler = type("Pickler", (make,), {"persistent_id": staticmethod(persistent_id)})(out, protocol)
    pickler.dump(draw.choice([Plain, (Plain, (1, "w")), (("module", "name"), None)]))
    pickler.dump(value(draw, targets, draw.randrange(4)))
    return out.getvalue(), sorted(refs), others["weak"], others["cross_database"]


def main():
    """Prints as many as the second argument says."""
    draw = random.Random(int(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        pickled, *found = data(draw)
        print(json.dumps([pickled.hex(), *found]))


if __name__ == "__main__":
    main()
