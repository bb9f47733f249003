#!/usr/bin/env python3
"""life-test.py: the program as a process of its host, from its start to its end.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import os
import re
import select
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "qmp"))
from qmp import LIMIT, Machine, Qmp, Stream, check, main, same   # noqa: E402

BARE = ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-S", "-bios"]


def start(*args, machine=(), **options):
    """Runs the program to its end, or to the background; (status, what it wrote to either stream)."""
    done = subprocess.run([Machine.program, *(machine or [*BARE, Machine.rom]), *args], timeout=LIMIT,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    return done.returncode, done.stdout.decode()


def fails(pattern, *args, **options):
    status, text = start(*args, **options)
    same(status, 1, " ".join(args))
    check(re.fullmatch(r"rhea: (?:%s)\n" % pattern, text), "the message:", text)


def status_field(pid, name):
    with open("/proc/%d/status" % pid) as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(name + ":"))


class Daemon:
    """A daemon with a monitor at FOLDER/qmp and a pid file FOLDER/pid."""

    def __init__(self, *args):
        self.folder = tempfile.TemporaryDirectory(prefix="rhea-life-")
        self.args = [a.replace("@FOLDER", self.folder.name) for a in args]
        self.pid = None

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def __enter__(self):
        status, text = start("-daemonize", "-pidfile", "pid", "-qmp", "unix:qmp,server=on,wait=off",
                             *self.args, cwd=self.folder.name)
        same((status, text), (0, ""), "the start of a daemon")
        with open(self.path("pid")) as file:
            self.pid = int(file.read())
        return self

    def monitor(self):
        return Qmp(Stream.connect(self.path("qmp")).sock)

    def ends(self):
        """Waits for the end of a process that is nobody's child here."""
        fd = os.pidfd_open(self.pid)
        poll = select.poll()
        poll.register(fd)
        check(poll.poll(LIMIT * 1000), "the daemon does not end")
        os.close(fd)

    def __exit__(self, *exc):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.folder.cleanup()


# --- -daemonize, -pidfile ---

def test_daemon_is_ready_when_its_parent_ends():
    with Daemon() as d:
        q = d.monitor()                                        # accepts at once
        same(q.status(), "prelaunch")
        proc = "/proc/%d/" % d.pid
        same(os.readlink(proc + "cwd"), "/")
        same({os.readlink(proc + "fd/%d" % fd) for fd in range(3)}, {"/dev/null"})
        same(os.getsid(d.pid) != d.pid, True, "leads no session")
        same(status_field(d.pid, "Umask"), "0027")
        same(os.stat(d.path("pid")).st_mode & 0o777, 0o600)
        q.cmd("quit")
        same(q.rest(), ["SHUTDOWN"])
        d.ends()
        check(not os.path.exists(d.path("pid")), "the pid file is left")


def test_late_errors_of_a_daemon_are_told():
    with tempfile.TemporaryDirectory() as folder:
        pid = os.path.join(folder, "pid")
        fails("-device nosuch: 'nosuch' is not a valid device model name", "-daemonize", "-pidfile", pid,
              "-device", "nosuch")
        fails("-qmp unix:/nonexistent/s,server=on: .*No such file or directory", "-daemonize",
              "-pidfile", pid, "-qmp", "unix:/nonexistent/s,server=on")
        check(not os.path.exists(pid), "the pid file is left")


def test_daemon_has_no_terminal():
    fails("-nographic cannot be used with -daemonize", "-daemonize", "-nographic",
          machine=["-M", "pc", "-m", "16", "-S"])
    fails("-serial stdio: .*cannot use stdio with -daemonize", "-daemonize", "-serial", "stdio")
    fails("-chardev stdio,id=a: .*cannot use stdio with -daemonize", "-daemonize", "-chardev", "stdio,id=a")
    with Daemon("-nographic") as d:                            # with -nodefaults nothing wants it
        same(d.monitor().status(), "prelaunch")


def test_daemon_can_only_ask():
    status, text = start("-daemonize", "-accel", "help")
    same(status, 0)
    check("kvm" in text, "the listing", text)


def test_pidfile_is_held():
    with Daemon() as d:
        fails("-pidfile: cannot create PID file '.*': cannot lock it: Resource temporarily unavailable",
              "-pidfile", d.path("pid"))
        with open(d.path("pid")) as file:
            same(int(file.read()), d.pid, "the pid file's content")
        os.unlink(d.path("pid"))
        with open(d.path("pid"), "w") as file:                 # somebody else's by now
            file.write("1\n")
        os.kill(d.pid, signal.SIGTERM)
        d.ends()
        check(os.path.exists(d.path("pid")), "another's pid file was removed")


def test_pidfile_failures():
    fails("-pidfile: cannot create PID file '/nonexistent/x': No such file or directory",
          "-pidfile", "/nonexistent/x")
    fails("-pidfile: cannot create PID file '/': Is a directory", "-pidfile", "/")


# --- signals ---

def end_by(sig, *args):
    with Machine("-S", *args, serial=False) as m:
        m.process.send_signal(sig)
        same(m.qmp.event("SHUTDOWN"), {"guest": False, "reason": "host-signal"})
        m.ends(0)
        line = m.process.stderr.read().decode()
    told = r"rhea: terminating on signal %d from pid %d \(.+\)\n" % (sig, os.getpid())
    check(re.fullmatch(told, line), "told", line)


def test_signals_end_it():
    end_by(signal.SIGTERM)
    end_by(signal.SIGINT)
    end_by(signal.SIGHUP)
    end_by(signal.SIGTERM, "-no-shutdown")


def test_signal_ends_a_running_guest():
    with Machine() as m:
        m.process.send_signal(signal.SIGTERM)
        same(m.qmp.event("SHUTDOWN"), {"guest": False, "reason": "host-signal"})
        m.ends(0)
        m.process.stderr.read()


# --- names and messages ---

def thread_names(pid):
    names = set()
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, task)) as file:
            names.add(file.read().strip())
    return names


def test_names():
    with Machine("-S", "-name", "guest=a,,b,debug-threads=on,process=vm-a", serial=False) as m:
        same(m.qmp.cmd("query-name"), {"name": "a,b"})
        names = thread_names(m.process.pid)
        check({"vm-a", "CPU 0/KVM"} <= names, "threads", names)
    with Machine("-S", "-name", "a", serial=False) as m:
        same(thread_names(m.process.pid), {"rhea"})
    fails("-name guest=a,foo=b: Parameter 'foo' is unexpected", "-name", "guest=a,foo=b")


def test_messages_begin_with():
    wrong = ["-device", "nosuch"]
    text = "rhea: -device nosuch: 'nosuch' is not a valid device model name\n"
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z "
    for msg, name, want in (("timestamp=on", [], stamp), ("guest-name=on", ["-name", "anna"], "anna "),
                            ("guest-name=on", [], ""),
                            ("timestamp=off,guest-name=off", ["-name", "anna"], ""),
                            ("timestamp=on,guest-name=on", ["-name", "guest=anna"], stamp + "anna ")):
        status, got = start(*wrong, *name, "-msg", msg)
        same(status, 1)
        check(re.fullmatch(want + text, got), "-msg " + msg, got)
    fails("-msg timestamp=maybe: Parameter 'timestamp' expects 'on' or 'off'", "-msg", "timestamp=maybe")


if __name__ == "__main__":
    sys.exit(main([f for n, f in list(globals().items()) if n.startswith("test_")]))
