"""deny.py NUMBER:ERROR,... PROGRAM ARGUMENT...: executes the program without some system calls.

Each of them fails with its error, as with an older kernel or in a container.
"""

import ctypes
import os
import struct
import sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
FAIL, ALLOW = 0x00050000, 0x7FFF0000
PR_SET_SECCOMP, FILTER = 22, 2

rules = [(int(number), int(error)) for number, error in (pair.split(":") for pair in sys.argv[1].split(","))]
code = [(LOAD, 0, 0, 0)]
for number, error in rules:
    code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | error)]
code.append((RETURN, 0, 0, ALLOW))
program = b"".join(struct.pack("HBBI", *line) for line in code)
buffer = ctypes.create_string_buffer(program)
header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.create_string_buffer(header), 0, 0) != 0:
    sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
