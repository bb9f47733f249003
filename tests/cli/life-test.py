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
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "qmp"))
from qmp import LIMIT, Machine, Qmp, Stream, check, main, same   # noqa: E402

BARE = ["-M", "pc", "-cpu", "host", "-m", "16", "-nodefaults", "-display", "none", "-S", "-bios"]


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


def test_daemon_before_its_machine():
    with Daemon("-preconfig") as d:
        q = d.monitor()
        same(q.status(), "prelaunch")
        proc = "/proc/%d/" % d.pid
        same({os.readlink(proc + "fd/%d" % fd) for fd in range(3)}, {"/dev/null"})
        same(os.readlink(proc + "cwd"), d.folder.name)         # the machine's files are still to be opened
        q.cmd("x-exit-preconfig")
        same(os.readlink(proc + "cwd"), "/")
        same({os.readlink(proc + "fd/%d" % fd) for fd in range(3)}, {"/dev/null"})
        q.cmd("quit")
        d.ends()


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
    with Machine("-S", "-cpu", "host", *args, serial=False) as m:
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
    with Machine("-S", "-name", "a,debug-threads=off", serial=False) as m:
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


# --- options that edit options ---

def test_readconfig_and_set():
    with tempfile.TemporaryDirectory() as folder:
        path, log = os.path.join(folder, "a.cfg"), os.path.join(folder, "b,c")
        with open(path, "w") as file:
            file.write('# the whole machine\n[smp-opts]\n  cpus = "2"\n\n[object "io1"]\n'
                       '  qom-type = "iothread"\n[name]\n guest = "a=b,c"\n'
                       '[chardev "c0"]\n backend = "file"\n path = "/nonexistent/x"\n'
                       '[chardev "q2"]\n backend = "socket"\n path = "%s/q2"\n server = "on"\n'
                       ' wait = "off"\n[mon]\n chardev = "q2"\n mode = "control"\n' % folder)
        with Machine("-S", "-readconfig", path, "-set", "chardev.c0.path=" + log, serial=False) as m:
            same(m.qmp.cmd("query-name"), {"name": "a=b,c"})
            same(len(m.qmp.cmd("query-cpus-fast")), 2)
            same([i["id"] for i in m.qmp.cmd("query-iothreads")], ["io1"])
            check(os.path.exists(log), "-set did not set the path")
            same(m.connect(folder + "/q2").more(), True)


# --- what guest actions do ---

def test_set_action():
    with Machine() as m:
        q = m.qmp
        q.fails("set-action", text="reboot", reboot="foo")
        q.fails("set-action", text="nosuch", nosuch="foo")
        q.fails("watchdog-set-action", text="action", action="foo")
        same(q.cmd("watchdog-set-action", action="inject-nmi"), {})
        same(q.cmd("set-action", reboot="shutdown", shutdown="pause", panic="pause", watchdog="none"), {})
        m.outb(0xcf9, 6, silent=True)
        same(q.event("SHUTDOWN"), {"guest": True, "reason": "guest-reset"})
        q.event("STOP")
        same(q.status(), "shutdown")
        q.cmd("set-action", reboot="reset")
        q.cmd("system_reset")
        q.event("RESET")
        same(q.status(), "prelaunch")


def test_actions():
    for option in (["-action", "reboot=shutdown"], ["-no-reboot"],
                   ["-action", "reboot=shutdown,shutdown=poweroff"]):
        with Machine(*option) as m:
            m.outb(0xcf9, 6, silent=True)
            same(m.qmp.event("SHUTDOWN"), {"guest": True, "reason": "guest-reset"})
            m.ends(0)


# --- memory ---

def test_memory_lock():
    with Machine("-S", "-overcommit", "mem-lock=on", serial=False) as m:
        check(int(status_field(m.process.pid, "VmLck").split()[0]) >= 16 << 10, "not locked")
    with Machine("-S", "-overcommit", "mem-lock=off", serial=False) as m:
        same(status_field(m.process.pid, "VmLck"), "0 kB")


def test_memory_path_and_prealloc():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ram")
        with Machine("-S", "-mem-path", path, "-mem-prealloc", serial=False) as m:
            same(os.stat(path).st_size, 16 << 20)
            with open("/proc/%d/smaps" % m.process.pid) as maps:
                mapped = re.search(re.escape(path) + r"\n(?:\w+: .*\n)*?Rss: +(\d+) kB", maps.read())
            same(int(mapped.group(1)), 16 << 10)       # a private mapping: its pages, not the file's blocks


def test_waiting_is_the_guests():
    with Machine("-overcommit", "cpu-pm=on", serial=False) as m:
        same(m.qmp.status(), "running")


def test_floppy_signature():
    for option, want in (([], 0), (["-no-fd-bootchk"], 1)):
        with Machine(*option) as m:
            m.outb(0x70, 0x38)
            same(m.inb(0x71) & 1, want)


# --- another user, another root ---

def test_another_user():
    if os.geteuid() != 0:
        return
    for option in (["-runas", "nobody"], ["-run-with", "user=nobody"], ["-runas", "65534:65534"]):
        with Machine("-S", *option, serial=False) as m:
            m.qmp.status()
            same(status_field(m.process.pid, "Uid").split(), ["65534"] * 4)
            same(status_field(m.process.pid, "Gid").split(), ["65534"] * 4)
            same(status_field(m.process.pid, "Groups"), "65534")
            same(int(status_field(m.process.pid, "CapEff"), 16), 0)


def test_another_root():
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with Machine("-S", "-chroot", folder, "-runas", "nobody", "-pidfile", folder + "/pid",
                     serial=False) as m:
            m.qmp.status()
            same(os.readlink("/proc/%d/root" % m.process.pid), folder)
            same(os.readlink("/proc/%d/cwd" % m.process.pid), folder)
            same(status_field(m.process.pid, "Uid").split(), ["65534"] * 4)
        with Machine("-S", "-run-with", "chroot=" + folder, "-pidfile", folder + "/pid2", serial=False) as m:
            m.qmp.cmd("quit")
            m.ends(0)
            check(not os.path.exists(folder + "/pid2"), "the pid file is left")


def helpers_of(pid):
    """Children of a process, with their memory's size."""
    found = {}
    for child in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(status_field(int(child), "PPid")) == pid:
                found[int(child)] = status_field(int(child), "Name")
        except (OSError, StopIteration):
            pass
    return found


def test_async_teardown():
    for option in (["-run-with", "async-teardown=on"], ["-async-teardown"]):
        with Machine("-S", *option, serial=False) as m:
            m.qmp.status()
            helpers = helpers_of(m.process.pid)
            same(len(helpers), 1)
            pid = list(helpers)[0]
            helper, end = os.pidfd_open(pid), time.monotonic() + LIMIT
            while status_field(pid, "Seccomp") != "2":                 # nobody waits for it but this
                check(time.monotonic() < end, "the helper has no filter")
                select.select([], [], [], 0.005)
            same(status_field(pid, "Name"), "cleanup/%d" % m.process.pid)
            same(len(os.listdir("/proc/%d/fd" % pid)), 0, "descriptors of the helper")
            m.process.kill()
            m.process.wait()
            poll = select.poll()
            poll.register(helper, select.POLLIN)
            check(poll.poll(LIMIT * 1000), "the helper stays")
            os.close(helper)
    with Machine("-S", serial=False) as m:
        m.qmp.status()
        same(helpers_of(m.process.pid), {})


if __name__ == "__main__":
    sys.exit(main([f for n, f in list(globals().items()) if n.startswith("test_")]))
