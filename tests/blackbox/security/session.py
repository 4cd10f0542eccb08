"""Runs a command as in an administrator's session: on a terminal of its own, with a key in its keyring.

Arguments: a file for the terminal's name, the key's name, and the command.
"""

import ctypes
import fcntl
import os
import platform
import sys
import termios

ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
JOIN_SESSION_KEYRING, SESSION_KEYRING = 1, -3

terminal, key, *command = sys.argv[1:]

os.setsid()
master, slave = os.openpty()
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
os.close(os.open("/dev/tty", os.O_RDWR))
with open(terminal, "w") as file:
    file.write(os.ttyname(slave))
# The terminal exists as long as its other end is open.
os.set_inheritable(master, True)

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(KEYCTL, JOIN_SESSION_KEYRING, None)
libc.syscall(ADD_KEY, b"user", key.encode(), b"secret", ctypes.c_size_t(6), SESSION_KEYRING)

os.execvp(command[0], command)
