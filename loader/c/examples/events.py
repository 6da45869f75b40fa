#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Loads an object, prints what became of it and some of its events.

    events.py LIBRARY OBJECT NUMBER [MEMBER=VALUE]...
"""
import ctypes
import json
import sys

EVENT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char_p), ("plan", ctypes.c_char_p)]


class Failed(Exception):
    pass


def library(path):
    lib = ctypes.CDLL(path)
    for name, result in {
        "lcc_loader_new": ctypes.c_void_p,
        "lcc_loader_error": ctypes.POINTER(Error),
        "lcc_session_error": ctypes.POINTER(Error),
        "lcc_session_plan": ctypes.c_char_p,
        "lcc_loader_free": None,
        "lcc_session_free": None,
    }.items():
        getattr(lib, name).restype = result
    return lib


def check(code, error):
    if code != 0:
        error = error().contents
        plan = json.loads(error.plan)["outcome"] if error.plan else "none"
        raise Failed(f"error {error.code}: {error.message.decode()} (plan: {plan})")


def main(path, target, number, *settings):
    lib = library(path)
    loader, session = ctypes.c_void_p(lib.lcc_loader_new()), ctypes.c_void_p()
    of_loader = lambda: lib.lcc_loader_error(loader)
    of_session = lambda: lib.lcc_session_error(session)
    left = int(number)

    def on_event(_, stream, event, length):
        nonlocal left
        if left == 0:
            return
        left -= 1
        text = ctypes.c_char_p()
        check(lib.lcc_session_event_json(session, stream, ctypes.c_void_p(event), ctypes.c_size_t(length),
                                         ctypes.byref(text)), of_session)
        print(stream.decode(), json.loads(text.value))

    # ctypes does not keep it
    callback = EVENT(on_event)
    try:
        check(lib.lcc_loader_object_file(loader, target.encode()), of_loader)
        for setting in settings:
            member, value = setting.encode().split(b"=", 1)
            check(lib.lcc_loader_set(loader, member, value), of_loader)
        check(lib.lcc_loader_load(loader, ctypes.byref(session)), of_loader)
        for program in json.loads(lib.lcc_session_plan(session))["programs"]:
            print("on " if program["enabled"] else "off", program["name"])
        check(lib.lcc_session_listen(session, callback, None), of_session)
        while left > 0:
            check(lib.lcc_session_poll(session, 1000, None), of_session)
    finally:
        lib.lcc_session_free(session)
        lib.lcc_loader_free(loader)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        print(failed, file=sys.stderr)
        sys.exit(2)
