"""inside.py PID ATTEMPT...: has another process make system calls, as whoever took it over could.
inside.py --terminal PROGRAM ARGUMENT...: types into the terminal of a program that runs on one, from within.

An attempt is NUMBER:ARGUMENT,...; an argument is a number, or a text or hexadecimal bytes behind = or #, of
which the call gets the address. Prints the results as JSON. Only root can run it, on x86-64.
"""

import ctypes
import json
import os
import platform
import pty
import select
import signal
import struct
import sys
import time

ATTACH, DETACH, PEEK, POKE, STEP, GETREGS, SETREGS = 16, 17, 1, 4, 9, 12, 13
NAMES = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds"
    " es fs gs"
).split()
ARGUMENTS = ["rdi", "rsi", "rdx", "r10", "r8", "r9"]
MASK = (1 << 64) - 1
DEADLINE = 60
IOCTL, TIOCSTI = 16, 0x5412

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, pid, address=0, data=0):
    ctypes.set_errno(0)
    result = libc.ptrace(request, pid, address, data)
    if result == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace {request}: {os.strerror(ctypes.get_errno())}")
    return result


class Inside:
    """A process that stands still in a system call, whose instruction it makes once more."""

    def __init__(self, pid):
        self.pid = pid
        ptrace(ATTACH, pid)
        os.waitpid(pid, 0x40000000)
        self.saved = self.registers()
        instruction = ptrace(PEEK, pid, self.saved["rip"] - 2) & 0xFFFF
        self.waits = instruction == 0x050F

    def registers(self):
        buffer = (ctypes.c_ulong * len(NAMES))()
        ptrace(GETREGS, self.pid, 0, ctypes.addressof(buffer))
        return dict(zip(NAMES, buffer))

    def set(self, registers):
        buffer = (ctypes.c_ulong * len(NAMES))(*[registers[name] & MASK for name in NAMES])
        ptrace(SETREGS, self.pid, 0, ctypes.addressof(buffer))

    def call(self, number, arguments):
        # Far below what is on the stack.
        place = (self.saved["rsp"] - 65536) & ~15
        values = dict.fromkeys(ARGUMENTS, 0)
        for name, argument in zip(ARGUMENTS, arguments):
            if isinstance(argument, int):
                values[name] = argument
                continue
            padded = argument + bytes(16 - len(argument) % 8)
            for offset in range(0, len(padded), 8):
                ptrace(POKE, self.pid, place + offset, struct.unpack_from("<Q", padded, offset)[0])
            values[name] = place
            place += len(padded)
        # No system call is to be made anew behind this one.
        before = {**self.saved, **values, "rip": self.saved["rip"] - 2, "rax": number, "orig_rax": MASK}
        self.set(before)
        # A signal of the last call stops it before it does anything, and is dropped.
        while True:
            ptrace(STEP, self.pid)
            _, state = os.waitpid(self.pid, 0x40000000)
            if os.WSTOPSIG(state) == signal.SIGTRAP:
                break
        result = self.registers()["rax"]
        return result - (1 << 64) if result >> 63 else result

    def leave(self):
        self.set(self.saved)
        ptrace(DETACH, self.pid)


def parse(argument):
    if argument[:1] == "=":
        return argument[1:].encode() + b"\0"
    return bytes.fromhex(argument[1:]) if argument[:1] == "#" else int(argument, 0)


def waiting(pid, ready):
    """Returns the process when `ready` says so and it waits in a system call."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if ready():
            inside = Inside(pid)
            if inside.waits:
                return inside
            inside.leave()
        time.sleep(0.01)
    sys.exit(f"process {pid} never waits")


def status(pid, name):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return next(line.split(":", 1)[1].split() for line in lines if line.startswith(name + ":"))


def connects(pid):
    """Whether the process has a connection: then it has become whom it is to be."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if int(number) > 2 and os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                return True
        except FileNotFoundError:
            pass
    return False


def on_a_terminal(words):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    is_client = "twitcher" in words[0]
    inside = waiting(pid, (lambda: connects(pid)) if is_client else (lambda: status(pid, "State")[0] == "S"))
    typed = inside.call(IOCTL, [0, TIOCSTI, b"X"])
    found = {"uid": int(status(pid, "Uid")[1]), "typed": typed}
    # A terminal shows what is typed.
    ready, _, _ = select.select([terminal], [], [], 1)
    found["shown"] = bool(ready) and b"X" in os.read(terminal, 4096)
    inside.leave()
    os.kill(pid, 9)
    return found


if platform.machine() != "x86_64":
    sys.exit(f"this script knows the registers of x86-64, and not those of {platform.machine()}")
if sys.argv[1] == "--terminal":
    print(json.dumps(on_a_terminal(sys.argv[2:])))
else:
    inside = waiting(int(sys.argv[1]), lambda: True)
    results = []
    for attempt in sys.argv[2:]:
        number, _, arguments = attempt.partition(":")
        results.append(inside.call(int(number), [parse(each) for each in arguments.split(",") if each]))
    inside.leave()
    print(json.dumps(results))
