#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tells where functions and fields (STRUCT.FIELD) are.

    offsets.py LIBRARY DATABASE FILE NAME...
"""
import ctypes
import sys

OK = 0


def main(path, database, file, *names):
    lib = ctypes.CDLL(path)
    lib.lcc_offsets_new.restype = ctypes.c_void_p
    lib.lcc_offsets_explanation.restype = ctypes.c_char_p
    offsets = ctypes.c_void_p(lib.lcc_offsets_new())
    words = lambda: lib.lcc_offsets_explanation(offsets).decode()
    result = 0
    try:
        if lib.lcc_offsets_database(offsets, database.encode()) != OK:
            sys.exit(words())
        for name in names:
            offset, size = ctypes.c_uint64(), ctypes.c_uint64()
            to = ctypes.byref(offset)
            if lib.lcc_offsets_function(offsets, file.encode(), name.encode(), to) == OK:
                print(f"{name}: {offset.value:#x}: {words()}")
            elif "." in name and lib.lcc_offsets_field(offsets, file.encode(), name.encode(), to,
                                                       ctypes.byref(size)) == OK:
                print(f"{name}: byte {offset.value // 8}, {size.value // 8} bytes: {words()}")
            else:
                print(f"{name}: {words()}", file=sys.stderr)
                result = 1
    finally:
        lib.lcc_offsets_free(offsets)
    return result


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
