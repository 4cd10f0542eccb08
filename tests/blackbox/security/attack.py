"""Tries everything that a hostile action might do to its daemon and to other actions.

Arguments: a JSON file with the targets, and a file for the report, which has for each attempt "done" or the
name of the error. An attempt that succeeds does no harm.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import resource
import signal
import socket
import sys
import termios
import time

libc = ctypes.CDLL(None, use_errno=True)
KEYCTL, PTRACE, PROCESS_VM_READV, TGKILL = {
    "x86_64": (250, 101, 310, 234),
    "aarch64": (219, 117, 270, 131),
}[platform.machine()]
PIDFD_GETFD = 438
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
KEYCTL_SEARCH, SESSION_KEYRING = 10, -3


def syscall(number, *arguments):
    arguments = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags | os.O_NOCTTY | os.O_CLOEXEC))


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def on_process(name, pid):
    """Attempts on a process. A process that does not wait for SIGURG ignores it."""
    proc, process, cpu = f"/proc/{pid}", os.PRIO_PROCESS, resource.RLIMIT_CPU
    yield f"{name}: signal", lambda: os.kill(pid, signal.SIGURG)
    for tid in os.listdir(f"{proc}/task"):
        yield f"{name}: signal a thread", lambda tid=tid: syscall(TGKILL, pid, int(tid), signal.SIGURG)
        yield f"{name}: memory of a thread", lambda tid=tid: opened(f"{proc}/task/{tid}/mem", os.O_RDWR)
    yield f"{name}: signal by pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGURG)
    yield f"{name}: a descriptor of it", lambda: syscall(PIDFD_GETFD, os.pidfd_open(pid), 0, 0)
    yield f"{name}: trace", lambda: trace(pid)
    yield f"{name}: read memory", lambda: memory(pid)
    yield f"{name}: change limits", lambda: resource.prlimit(pid, cpu, resource.prlimit(pid, cpu))
    yield f"{name}: change nice", lambda: os.setpriority(process, pid, os.getpriority(process, pid))
    yield f"{name}: change processors", lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid))
    for file in ["environ", "maps", "auxv", "io", "syscall", "pagemap"]:
        yield f"{name}: read {file}", lambda file=file: read(f"{proc}/{file}")
    for file in ["mem", "oom_score_adj", "coredump_filter", "comm", "autogroup"]:
        yield f"{name}: write {file}", lambda file=file: opened(f"{proc}/{file}", os.O_RDWR)
    for directory in ["fd", "fdinfo", "root", "cwd", "map_files"]:
        yield f"{name}: look into {directory}", lambda directory=directory: os.listdir(f"{proc}/{directory}/")
    yield f"{name}: program", lambda: os.readlink(f"{proc}/exe")
    yield f"{name}: its stdin", lambda: opened(f"{proc}/fd/0")


def trace(pid):
    syscall(PTRACE, PTRACE_SEIZE, pid, 0, 0)
    syscall(PTRACE, PTRACE_INTERRUPT, pid, 0, 0)
    os.waitpid(pid, WALL)
    syscall(PTRACE, PTRACE_DETACH, pid, 0, 0)


def memory(pid):
    # The kernel looks at the address only after it has allowed the access.
    text = (ctypes.c_char * 8)()
    local = (ctypes.c_size_t * 2)(ctypes.addressof(text), 8)
    remote = (ctypes.c_size_t * 2)(8, 8)
    try:
        syscall(PROCESS_VM_READV, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise


def evaluator_of(daemon):
    """Waits for a child of the daemon that evaluates configs."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{pid}/stat") as file:
                    parent = int(file.read().rpartition(") ")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == daemon and words[1:2] == [b"evaluate"]:
                return int(pid)
        time.sleep(0.01)
    raise SystemExit("no evaluator was seen")


# Root has just replaced the socket, and the daemon makes it again.
def ask(path):
    deadline = time.monotonic() + 60
    while True:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                return connection.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.01)


def push_into(terminal):
    descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, termios.TIOCSTI, b" ")


def on_files(places):
    for name in ["settings", "credential", "pid_file", "ledger", "log_file"]:
        yield f"read {name}", lambda name=name: read(places[name])
    for name in ["settings", "pid_file", "ledger", "log_file", "config"]:
        yield f"write {name}", lambda name=name: opened(places[name], os.O_WRONLY)
    yield "lock the pid file", lambda: opened(places["pid_file"])
    for name in ["state_dir", "config_dir"]:
        yield f"write into {name}", lambda name=name: created(os.path.join(places[name], ".intruder"))
    yield "list the state directory", lambda: os.listdir(places["state_dir"])
    yield "replace the control socket", lambda: moved_and_restored(places["socket"])
    yield "ask the daemon", lambda: ask(places["socket"])
    yield "write to the daemon's terminal", lambda: push_into(places["terminal"])
    yield "use the terminal of its own session", lambda: opened("/dev/tty", os.O_RDWR)
    key = ctypes.create_string_buffer(places["key"].encode())
    yield "find the daemon's key", lambda: syscall(KEYCTL, KEYCTL_SEARCH, SESSION_KEYRING, b"user", key, 0)


def moved_and_restored(path):
    os.rename(path, path + ".gone")
    os.rename(path + ".gone", path)


def created(path):
    opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.unlink(path)


def attempts(places):
    daemon = os.getppid()
    yield "daemon: signal its group", lambda: os.killpg(os.getpgid(daemon), signal.SIGURG)
    yield from on_process("daemon", daemon)
    yield from on_process("another's action", places["victim"])
    yield from on_files(places)


def tried(attempts):
    """The outcome of each attempt. If several have one name, as for threads, "done" wins."""
    outcomes = {}
    for name, attempt in attempts:
        try:
            attempt()
            outcomes[name] = "done"
        except OSError as error:
            outcomes.setdefault(name, errno.errorcode[error.errno])
    return outcomes


def tried_on_evaluator(daemon):
    """The outcomes for one evaluator. An evaluator that ends in between is replaced by the next one."""
    while True:
        try:
            outcomes = tried(on_process("evaluator", evaluator_of(daemon)))
        except FileNotFoundError:
            continue
        if not {"ESRCH", "ENOENT"} & set(outcomes.values()):
            return outcomes


def main(places, report):
    with open(places) as file:
        places = json.load(file)
    outcomes = {**tried(attempts(places)), **tried_on_evaluator(os.getppid())}
    with open(report + ".new", "w") as file:
        json.dump(outcomes, file)
    os.rename(report + ".new", report)


main(*sys.argv[1:])
