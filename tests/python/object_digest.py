"""The digest of a store's contents, apart from any storage."""

import hashlib
import struct


def object_hash(oid, refs, data):
    """One object's part of the digest, as a number."""
    head = struct.pack(f">QI{len(refs)}Q", oid, len(refs), *refs)
    return int.from_bytes(hashlib.sha256(head + data).digest(), "big")
