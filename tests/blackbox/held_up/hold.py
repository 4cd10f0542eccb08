"""Holds up a daemon, until a file appears.

    hold.py traced GATE [OPTIONS]   is traced by a child of its own, which takes no notice of anything, and
                                    ends; with OPTIONS (of PTRACE_SEIZE), it stays until it is killed
    hold.py traces GATE PID         traces a process, which therefore does not go when it is killed
    hold.py lease GATE FILE         holds a write lease on FILE, and does not give it back
    hold.py writes GATE FILE        has FILE open to write to it

All but the first say `ready` when they have begun.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

SEIZE, TRACE_EXIT, SET_TRACER, ANY_TRACER = 0x4206, 0x40, 0x59616D61, ctypes.c_ulong(-1)
libc = ctypes.CDLL(None, use_errno=True)

what, gate, *arguments = sys.argv[1:]


def wait():
    # A test that fails may never open the gate; then its directory goes.
    while not os.path.exists(gate) and os.path.exists(os.path.dirname(gate)):
        time.sleep(0.05)


def seize(process, options):
    arguments = ctypes.c_long(process), ctypes.c_ulong(0), ctypes.c_ulong(options)
    return libc.ptrace(ctypes.c_long(SEIZE), *arguments) == 0


if what == "traced":
    read, write = os.pipe()
    traced = os.getpid()
    if os.fork() == 0:
        os.setsid()
        if seize(traced, int(arguments[0]) if arguments else 0):
            os.write(write, b"x")
        for descriptor in 0, 1, 2, write:
            os.close(descriptor)
        wait()
        os._exit(0)
    libc.prctl(SET_TRACER, ANY_TRACER, 0, 0, 0)
    os.close(write)
    assert os.read(read, 1), "it is not traced"
    if arguments:
        time.sleep(1000)
    sys.exit(0)

if what == "traces":
    assert seize(int(arguments[0]), TRACE_EXIT), "it cannot be traced"
else:
    descriptor = os.open(arguments[0], os.O_RDWR)
if what == "lease":
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
wait()
