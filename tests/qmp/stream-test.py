#!/usr/bin/env python3
"""stream-test.py: descriptors handed over, and character devices that come and go.

The first argument is the program; words behind it choose tests by name.
"""
import os
import socket
import subprocess
import sys
import tempfile

from qmp import LIMIT, Machine, Qmp, check, main, same, still


def files_of(m):
    """What the program has open."""
    folder = "/proc/%d/fd/" % m.process.pid
    return sorted(os.readlink(folder + n) for n in os.listdir(folder))


def test_commands_from_a_pipe():
    """The input's end is not the output's: every answer comes, also of what is more than a pipe holds."""
    qmp = "".join('{"execute":"%s"}\n' % c for c in ("qmp_capabilities", "query-qmp-schema", "quit"))
    for option, text, last in (("-qmp", qmp, b'"host-qmp-quit"}}\r\n'),
                               ("-monitor", "help\n" * 20 + "quit\n", b"quit\r\n")):
        process = subprocess.Popen([Machine.program, "-machine", "none", "-nodefaults", "-display", "none",
                                    option, "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, _ = process.communicate(text.encode(), timeout=LIMIT)
        same(process.returncode, 0, "exit status")
        check(len(out) > 1 << 16, "a pipe holds all of it:", len(out))
        check(out.endswith(last), "the end is missing:", out[-200:])


def test_getfd():
    with still() as m, tempfile.TemporaryFile() as f:
        q = m.qmp
        before = files_of(m)
        same(q.execute_with([f.fileno()], "getfd", fdname="a"), {"return": {}})
        same(len(files_of(m)), len(before) + 1)
        same(q.execute_with([f.fileno()], "getfd", fdname="a"), {"return": {}}, "in its place")
        same(len(files_of(m)), len(before) + 1)
        q.cmd("closefd", fdname="a")
        same(files_of(m), before)
        q.fails("closefd", text="File descriptor named 'a' not found", fdname="a")
        q.fails("getfd", text="No file descriptor supplied via SCM_RIGHTS", fdname="b")
        got = q.execute_with([f.fileno()], "getfd", fdname="1b")
        check("not starting with a digit" in got["error"]["desc"], "a digit", got)
        same(files_of(m), before)
        # What nobody asked for is closed when the next comes, or the client goes.
        q.execute_with([f.fileno()] * 3, "query-status")
        same(q.execute_with([f.fileno()], "getfd", fdname="c"), {"return": {}})
        same(len(files_of(m)), len(before) + 1)
        q.execute_with([f.fileno()] * 3, "query-status")
        q.close()
        m.qmp = m.monitor()
        m.qmp.cmd("closefd", fdname="c")
        same(len(files_of(m)), len(before))


def test_fdsets():
    with still() as m, tempfile.NamedTemporaryFile() as f:
        q = m.qmp
        f.truncate(1 << 20)
        reader = os.open(f.name, os.O_RDONLY)
        writer = os.open(f.name, os.O_RDWR)
        one = q.execute_with([reader], "add-fd", opaque="ro")["return"]
        same(one["fdset-id"], 0)
        q.fails("blockdev-add", text="/dev/fdset/0", driver="file", filename="/dev/fdset/0",
                **{"node-name": "n"})
        two = q.execute_with([writer], "add-fd", **{"fdset-id": 0})["return"]
        same(q.execute_with([reader], "add-fd", **{"fdset-id": 7})["return"]["fdset-id"], 7)
        same(q.cmd("query-fdsets")[0], {"fdset-id": 0, "fds": [{"fd": one["fd"], "opaque": "ro"},
                                                               {"fd": two["fd"]}]})
        q.cmd("blockdev-add", driver="file", filename="/dev/fdset/0", **{"node-name": "n"})
        q.cmd("remove-fd", **{"fdset-id": 0, "fd": one["fd"]})
        q.cmd("remove-fd", **{"fdset-id": 0})
        same([s["fdset-id"] for s in q.cmd("query-fdsets")], [7])
        q.cmd("block_resize", **{"node-name": "n", "size": 2 << 20})
        same(os.stat(f.name).st_size, 2 << 20, "what was opened stays open")
        q.fails("remove-fd", text="'fdset-id:0' not found", **{"fdset-id": 0})
        q.fails("remove-fd", text="'fdset-id:7, fd:999' not found", **{"fdset-id": 7, "fd": 999})
        q.fails("add-fd", text="No file descriptor supplied")
        q.fails("add-fd", text="fdset-id", **{"fdset-id": -1})
        q.fails("blockdev-add", text="No such file", driver="file", filename="/dev/fdset/5",
                **{"node-name": "x"})
        os.close(reader)
        os.close(writer)


def test_add_fd_option():
    with tempfile.NamedTemporaryFile() as f, open(f.name, "wb") as out:
        fd = out.fileno()
        options = ["-add-fd", "fd=%d,set=3,opaque=log" % fd,
                   "-chardev", "file,id=c,path=/dev/fdset/3,append=on",
                   "-chardev", "null,id=n,logfile=/dev/fdset/3"]
        with still(*options, fds=[fd]) as m:
            m.qmp.fails("chardev-add", text="Permission denied", id="r",
                        backend={"type": "file", "data": {"out": "/nosuch", "in": "/dev/fdset/3"}})
            same(m.qmp.cmd("query-fdsets"), [{"fdset-id": 3, "fds": [{"fd": fd, "opaque": "log"}]}])
        for text, why in (("fd=0,set=1", "standard I/O"), ("fd=987,set=1", "Bad file descriptor"),
                          ("set=1", "fd"), ("fd=%d" % fd, "set")):
            ended = subprocess.run([Machine.program, "-machine", "none", "-add-fd", text], pass_fds=[fd],
                                   stderr=subprocess.PIPE, text=True, timeout=30, check=False)
            same(ended.returncode, 1)
            check(why in ended.stderr and "-add-fd" in ended.stderr, "stderr", ended.stderr)


def chardevs(q):
    return {c["label"]: c["filename"] for c in q.cmd("query-chardev")}


def test_chardev_add():
    with still() as m:
        q = m.qmp
        before, used = chardevs(q), m.used()
        path = m.folder.name
        unix = {"type": "unix", "data": {"path": path + "/sock"}}
        inet = {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}
        for kind, data, text in (
                ("null", {}, "null"), ("ringbuf", {"size": 4096}, "ringbuf"), ("file",
                                                                               {"out": path + "/f"}, "file"),
                ("socket", {"addr": unix}, "disconnected:unix:" + path + "/sock,server=on"),
                ("socket", {"addr": inet}, "disconnected:tcp:127.0.0.1:"),
                ("pty", {"logfile": path + "/log"}, "pty:/dev/pts/")):
            got = q.cmd("chardev-add", id="c", backend={"type": kind, "data": data})
            check(chardevs(q)["c"].startswith(text), "filename", chardevs(q)["c"])
            if kind == "pty":
                same("pty:" + got["pty"], chardevs(q)["c"])
            else:
                same(got, {})
            q.fails("chardev-add", text="Duplicate ID 'c'", id="c", backend={"type": "null", "data": {}})
            q.cmd("chardev-remove", id="c")
        same(chardevs(q), before)
        q.fails("chardev-remove", text="'c' not found", id="c")
        q.fails("chardev-remove", text="busy", id="compat_monitor0")
        q.fails("chardev-add", text="/nosuch/f", id="c", backend={"type": "file",
                                                                  "data": {"out": "/nosuch/f"}})
        q.fails("chardev-add", text="backend.data.addr", id="c", backend={"type": "socket", "data": {}})
        q.fails("chardev-add", text="backend.type", id="c", backend={"type": "vga", "data": {}})
        q.fails("chardev-add", text="identifier", id="3c", backend={"type": "null", "data": {}})
        same(chardevs(q), before)
        m.settles(used)
        check("socket" in {b["name"] for b in q.cmd("query-chardev-backends")}, "back ends")
        q.fails("chardev-send-break", text="'c' not found", id="c")
        q.cmd("chardev-send-break", id="compat_monitor0")


def test_chardev_change():
    null = {"type": "null", "data": {}}
    with still("-chardev", "null,id=free", "-chardev", "null,id=mux,mux=on", "-serial", "null", "-device",
               "virtio-serial-pci", "-chardev", "null,id=p", "-device", "virtserialport,chardev=p") as m:
        q = m.qmp
        used = m.used()
        for name in ("free", "serial0", "p"):
            check(q.cmd("chardev-change", id=name, backend={"type": "pty", "data": {}})["pty"]
                  .startswith("/dev/pts/"), "a terminal")
            same(q.cmd("chardev-change", id=name, backend={"type": "ringbuf", "data": {"size": 64}}), {})
            same(chardevs(q)[name], "ringbuf")
            q.fails("chardev-change", text="size", id=name, backend={"type": "ringbuf", "data": {"size": 5}})
            same(chardevs(q)[name], "ringbuf")
        m.settles(used)
        q.fails("chardev-change", text="Chardev 'nosuch' does not exist", id="nosuch", backend=null)
        q.fails("chardev-change", text="Chardev user does not support chardev hotswap",
                id="compat_monitor0", backend=null)
        q.fails("chardev-change", text="Mux device hotswap not supported yet", id="mux", backend=null)
        q.fails("chardev-change", text="Chardev user does not support", id="mux-base", backend=null)
        for line, text in (("free null", ""), ("nosuch null", "Error: Chardev 'nosuch' does not exist"),
                           ("free bogus", "Error: ")):
            got = q.cmd("human-monitor-command", **{"command-line": "chardev-change " + line})
            check(got.startswith(text) and bool(got) == bool(text), line, got)
        same(chardevs(q)["free"], "null")
        q.cmd("chardev-remove", id="free")


def test_chardev_on_a_socket_handed_over():
    """As libvirt attaches a channel: getfd, chardev-add, device_add; and a monitor made the same way."""
    with still("-device", "virtio-serial-pci,id=vs0") as m:
        q = m.qmp
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(m.folder.name + "/chan")
        listener.listen(1)
        same(q.execute_with([listener.fileno()], "getfd", fdname="chan"), {"return": {}})
        listener.close()
        backend = {"type": "socket", "data": {"server": True, "wait": False,
                                              "addr": {"type": "fd", "data": {"str": "chan"}}}}
        q.cmd("chardev-add", id="ch", backend=backend)
        q.fails("chardev-add", text="named 'chan' not found", id="ch2", backend=backend)
        q.cmd("device_add", driver="virtserialport", chardev="ch", id="port0", name="org.example.x")
        client = socket.socket(socket.AF_UNIX)
        client.connect(m.folder.name + "/chan")
        q.fails("chardev-remove", text="busy", id="ch")
        q.cmd("device_del", id="port0")
        q.event("DEVICE_DELETED")
        q.cmd("chardev-remove", id="ch")
        same(client.recv(1), b"", "the end")
        client.close()


def test_second_monitor():
    """Each session negotiates for itself; events go to all."""
    with still("-chardev", "socket,id=m2,server=on,wait=off,path=@FOLDER/m2", "-mon", "m2,mode=control") as m:
        other = Qmp(m.connect(m.folder.name + "/m2").sock)
        same(other.status(), "prelaunch" if m.qmp.status() == "prelaunch" else "running")
        m.qmp.cmd("stop")
        other.event("STOP")
        other.close()


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
