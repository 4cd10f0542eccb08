"""allow.py DROP-IN PROGRAM ARGUMENT...: executes the program with the system calls that a drop-in allows.

All others fail with EPERM, as `SystemCallFilter=` and `SystemCallErrorNumber=EPERM` have it.
"""

import ctypes
import os
import re
import struct
import subprocess
import sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
FAIL, ALLOW = 0x00050000 | 1, 0x7FFF0000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2

groups, group = {}, ""


def output(*command, given=""):
    return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


said = output("systemd-analyze", "syscall-filter")
for line in said.splitlines():
    if not line.startswith("    "):
        group = line
    elif line[4] != "#":
        groups.setdefault(group, []).append(line.strip())


def expand(name):
    return {name} if name not in groups else {call for member in groups[name] for call in expand(member)}


lines = [line.strip() for line in open(sys.argv[1])]
names = [line.split("=", 1)[1].split() for line in lines if line.startswith("SystemCallFilter=")]
allowed = {call for line in names for name in line for call in expand(name)}
defined = output("cc", "-E", "-dM", "-", given="#include <sys/syscall.h>\n")
numbers = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", defined)}
known = sorted(numbers[name] for name in allowed if name in numbers)
if len(known) < 200:
    sys.exit(f"only {len(known)} system calls")

code = [(LOAD, 0, 0, 0)]
for number in known:
    code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
code.append((RETURN, 0, 0, FAIL))
program = b"".join(struct.pack("HBBI", *line) for line in code)
buffer = ctypes.create_string_buffer(program)
header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.create_string_buffer(header), 0, 0) != 0:
    sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
