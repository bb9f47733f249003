#!/usr/bin/env python3
"""live-test.py: the real program with a guest on /dev/kvm, driven by QMP.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios

from qmp import Machine, Qmp, Stream, check, main, same

ROOT_PORT = ["-device", "pcie-root-port,id=rp1,chassis=1,slot=1,addr=4.0"]
RP1 = 4 << 3                                           # its function on bus 0


# --- sessions and queries ---

def test_greeting():
    with Machine() as m:
        q = m.qmp
        version = q.greeting["QMP"]["version"]
        same(version["qemu"]["major"], 7)
        same(version["qemu"]["minor"], 2)
        check("Rhea" in version["package"], "package", version)
        q.fails("qmp_capabilities", "CommandNotFound")
        q.send('{"execute": "query-name", "id": {"a": [1, "x"]}}\r\n')
        same(q.reply(), {"return": {}, "id": {"a": [1, "x"]}})


def test_negotiation():
    with Machine("-name", "anna") as m:
        m.qmp.close()
        q = m.monitor(negotiate=False)
        q.fails("query-status", "CommandNotFound", "qmp_capabilities")
        q.fails("qmp_capabilities", enable=["foo"])
        same(q.cmd("qmp_capabilities"), {})
        same(q.cmd("query-name"), {"name": "anna"})
        m.qmp = q


def test_queries():
    with Machine("-smp", "2,cores=2", "-object", "iothread,id=io1") as m:
        q = m.qmp
        same(q.cmd("query-version")["qemu"]["major"], 7)
        status = q.cmd("query-status")
        same((status["status"], status["running"]), ("running", True))
        names = {c["name"] for c in q.cmd("query-commands")}
        for name in ("stop", "cont", "quit", "device_add", "query-qmp-schema"):
            check(name in names, "not in query-commands:", name)
        schema = q.cmd("query-qmp-schema")
        same({e["name"] for e in schema if e["meta-type"] == "command"}, names, "schema")
        chardevs = {c["label"]: c for c in q.cmd("query-chardev")}
        check(chardevs["ser"]["frontend-open"], "chardevs", chardevs)
        check("unix:" in chardevs["compat_monitor0"]["filename"], "chardevs", chardevs)
        cpus = q.cmd("query-cpus-fast")
        same([c["cpu-index"] for c in cpus], [0, 1])
        tasks = {int(t) for t in os.listdir("/proc/%d/task" % m.process.pid)}
        check({c["thread-id"] for c in cpus} <= tasks, "threads of vCPUs", cpus)
        same([i["id"] for i in q.cmd("query-iothreads")], ["io1"])
        same(q.cmd("query-kvm"), {"enabled": True, "present": True})


def test_several_monitors():
    with Machine("-chardev", "socket,id=c2,server=on,wait=off,path=@FOLDER/q2", "-mon",
                 "chardev=c2,mode=control,pretty=on") as m:
        other = m.connect(m.folder.name + "/q2")
        while not other.buffer.endswith(b"}\r\n"):
            other.more()
        check(b'{\n    "QMP": {\n' in other.buffer, "pretty", other.buffer)
        other.sock.sendall(b'{"execute": "qmp_capabilities"}{"execute": "stop"}')
        m.qmp.event("STOP")
        same(m.qmp.status(), "paused")
        m.qmp.cmd("cont")
        while b"RESUME" not in other.buffer:
            other.more()
        other.close()


def test_clients_come_and_go():
    with Machine() as m:
        m.qmp.close()
        for i in range(30):
            q = m.monitor()
            if i % 3 == 0:
                q.send('{"execute": "query-qmp-sch')   # leaves in the middle of a word
            elif i % 3 == 1:
                q.send('{"execute": "query-qmp-schema"}' * 20)   # and without reading
            q.close()
        m.qmp = m.monitor()
        same(m.qmp.status(), "running")


def test_passed_descriptor():
    listener = socket.socket(socket.AF_UNIX)
    with Machine("-S", qmp=False, serial=False) as probe:
        path = probe.folder.name + "/fd"
        listener.bind(path)
        listener.listen(1)
        n = listener.fileno()
        with Machine("-chardev", "socket,id=m,fd=%d,server=on,wait=off" % n, "-mon",
                     "chardev=m,mode=control", qmp=False, serial=False, fds=(n,)) as m:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            q = Qmp(sock)
            same(q.status(), "running")
            q.cmd("quit")
            same(q.rest(), ["SHUTDOWN"])
            m.ends()
    listener.close()


def test_bad_input_changes_nothing():
    with Machine("-S", serial=False) as m:
        q = m.qmp
        before = m.used()
        for _ in range(50):
            q.fails("no-such-command", "CommandNotFound")
            q.fails("query-statuss", "CommandNotFound", "query-status")
            q.fails("cont", now=True)
            q.fails("device_add", driver=7)
            q.fails("device_add")
            q.fails("device_del", id=None)
            q.fails("device_del", "DeviceNotFound", id="no-such")
            q.fails("object-add", id="x", **{"qom-type": "bomb"})
            q.fails("qmp_capabilities", "CommandNotFound")
            q.fails("system_wakeup")
            for text in ('{"execute": 5}', '{"arguments": {}}', '[1, 2]', '"cont"',
                         '{"execute": "cont", "x": 1}', '{"execute": "cont", "arguments": []}',
                         '{"execute": "stop"\x01}', '\xff\xfe', '{]'):
                q.send(text.encode("latin-1") + b"\n")
                check("error" in q.reply(), "no error for", text)
        same(q.status(), "prelaunch")
        after = m.used()
        same(after[:2], before[:2], "descriptors and threads")
        same(q.events, [], "events")


# --- run states ---

def test_stop_and_cont():
    with Machine() as m:
        q = m.qmp
        for _ in range(20):
            q.cmd("stop")
            same([e["event"] for e in q.events], ["STOP"], "before the reply")
            q.events.clear()
            same(q.status(), "paused")
            q.cmd("stop")
            same(q.status(), "paused")
            m.tell("e")                                # nobody takes it
            q.cmd("cont")
            same([e["event"] for e in q.events], ["RESUME"], "before the reply")
            q.events.clear()
            q.cmd("cont")
            same(m.guest.take(1), b".")
            m.guest.take(1)
        same(q.events, [])


def test_two_sessions_stop_at_once():
    with Machine("-chardev", "socket,id=c2,server=on,wait=off,path=@FOLDER/q2", "-mon",
                 "c2,mode=control") as m:
        a, b = m.qmp, Qmp(m.connect(m.folder.name + "/q2").sock)
        for _ in range(50):
            a.send('{"execute": "stop"}')
            b.send('{"execute": "stop"}{"execute": "cont"}')
            a.send('{"execute": "cont"}{"execute": "query-status"}')
            for q, n in ((a, 3), (b, 2)):
                for _ in range(n):
                    check("return" in q.reply(), "reply", q.log[-1])
        a.cmd("cont")
        same(a.status(), "running")
        same(m.ask("e", answer=1) >= 0, True)
        same([e["event"] for e in a.events].count("STOP"),
             [e["event"] for e in a.events].count("RESUME"), "STOPs and RESUMEs")
        b.close()


def test_reset():
    with Machine() as m:
        q = m.qmp
        for _ in range(5):
            q.cmd("system_reset")
            same(q.event("RESET"), {"guest": False, "reason": "host-qmp-system-reset"})
            m.started()
        same(q.status(), "running")
        q.send('{"execute": "system_reset"}' * 10 + '{"execute": "query-status"}')
        for _ in range(11):
            check("return" in q.reply(), "reply", q.log[-1])
        q.event("RESET")
        m.started()


def test_reset_when_stopped():
    with Machine() as m:
        q = m.qmp
        q.cmd("stop")
        q.cmd("system_reset")
        q.event("RESET")
        same(q.status(), "prelaunch")
        m.tell("e")
        q.cmd("cont")
        m.started()
        same(m.guest.take(2)[:1], b".")
        q.send('{"execute": "stop"}{"execute": "system_reset"}{"execute": "cont"}')
        for _ in range(3):
            check("return" in q.reply(), "reply", q.log[-1])
        m.started()
        same(q.status(), "running")


def test_powerdown():
    with Machine() as m:
        m.pm_base()
        m.outw(0x602, 0x100)                           # PWRBTN_EN
        same(m.inb(0x601) & 1, 0, "PWRBTN_STS")
        m.qmp.cmd("system_powerdown")
        m.qmp.event("POWERDOWN")
        same(m.qmp.status(), "running")
        same(m.inb(0x601) & 1, 1, "PWRBTN_STS")


def test_quit():
    for arguments in ([], ["-S"], ["-no-shutdown"]):
        with Machine(*arguments) as m:
            m.qmp.cmd("quit")
            message = m.qmp.message()
            same((message["event"], message["data"]),
                 ("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"}))
            same(m.qmp.rest(), [])
            m.ends()


def test_quit_is_heard():
    """A client that has read nothing yet still gets every reply, and SHUTDOWN."""
    with Machine() as m:
        q = m.qmp
        q.send('{"execute": "query-commands"}' * 3 + '{"execute": "stop"}{"execute": "quit"}'
               '{"execute": "cont"}{"execute": "device_add", "arguments": {"driver": "edu"}}')
        names = q.rest()
        same(names, ["return"] * 3 + ["STOP", "return", "return", "error", "error", "SHUTDOWN"])
        m.ends()


def test_quit_leaves_a_deaf_client_behind():
    with Machine("-chardev", "socket,id=c2,server=on,wait=off,path=@FOLDER/q2", "-mon",
                 "c2,mode=control") as m:
        deaf = Qmp(m.connect(m.folder.name + "/q2").sock)
        deaf.send('{"execute": "query-qmp-schema"}' * 60)
        m.qmp.cmd("quit")
        same(m.qmp.rest(), ["SHUTDOWN"])
        m.ends()
        deaf.close()


def test_signals():
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Machine("-no-shutdown") as m:
            m.process.send_signal(sig)
            same(m.qmp.event("SHUTDOWN"), {"guest": False, "reason": "host-signal"})
            m.ends()


def test_prelaunch():
    with Machine("-S") as m:
        same(m.qmp.status(), "prelaunch")
        m.qmp.cmd("stop")
        same(m.qmp.status(), "prelaunch")
        m.qmp.cmd("system_reset")
        m.qmp.event("RESET")
        same(m.qmp.status(), "prelaunch")
        m.qmp.cmd("cont")
        m.started()
        same(m.qmp.status(), "running")


# --- what the guest does ---

def test_guest_resets():
    for machine in ("q35", "pc"):
        with Machine(machine=machine) as m:
            for reset in (lambda: m.outb(0xcf9, 6, True),
                          lambda: m.outb(0x92, m_inb92 | 1, True),
                          lambda: m.outb(0x64, 0xfe, True),
                          lambda: m.tell("T")):
                m_inb92 = m.inb(0x92)
                m.count()
                reset()
                same(m.qmp.event("RESET"), {"guest": True, "reason": "guest-reset"})
                started_again(m)


def test_no_reboot():
    for how in ("guest", "host"):
        with Machine("-no-reboot") as m:
            if how == "guest":
                m.outb(0xcf9, 6, True)
            else:
                m.qmp.cmd("system_reset")
            same(m.qmp.event("SHUTDOWN")["reason"],
                 "guest-reset" if how == "guest" else "host-qmp-system-reset")
            m.ends()


def test_no_reboot_no_shutdown():
    with Machine("-no-reboot", "-no-shutdown") as m:
        m.outb(0xcf9, 6, True)
        same(m.qmp.event("SHUTDOWN"), {"guest": True, "reason": "guest-reset"})
        m.qmp.event("STOP")
        same(m.qmp.status(), "shutdown")


def test_power_off():
    for machine in ("q35", "pc"):
        with Machine(machine=machine) as m:
            m.pm_base()
            m.outw(0x604, 0x2000, True)
            same(m.qmp.event("SHUTDOWN"), {"guest": True, "reason": "guest-shutdown"})
            m.ends()


def test_no_shutdown():
    with Machine("-no-shutdown") as m:
        q = m.qmp
        for _ in range(3):
            m.pm_base()
            m.outw(0x604, 0x2000, True)
            q.event("SHUTDOWN")
            q.event("STOP")
            same(q.status(), "shutdown")
            q.fails("cont", text="Resetting the Virtual Machine is required")
            q.cmd("system_reset")
            q.event("RESET")
            q.cmd("cont")
            q.event("RESUME")
            started_again(m)
        q.cmd("quit")
        m.ends()


def sleep(m):
    m.pm_base()
    m.outw(0x604, 0x2400, True)
    m.qmp.event("SUSPEND")
    while m.qmp.status() != "suspended":
        pass


def started_again(m):
    while (byte := m.guest.take(1)) == b".":
        pass
    same(byte, b"S", "started again")


def test_suspend():
    for machine in ("q35", "pc"):
        with Machine(machine=machine) as m:
            q = m.qmp
            q.fails("system_wakeup", text="not in suspended state")
            m.count()
            before = m.count()
            sleep(m)
            q.cmd("cont")
            same(q.status(), "suspended")
            q.cmd("system_wakeup")
            q.event("WAKEUP")
            started_again(m)
            same(q.status(), "running")
            same(m.count(), before + 1, "RAM")
            check(m.inb(0x601) & 0x80, "WAK_STS is not set")
            sleep(m)
            q.cmd("system_reset")
            q.event("RESET")
            started_again(m)
            same(q.status(), "running")


def test_panic():
    rows = (("none", "run", "running", None), ("pause", "pause", "guest-panicked", None),
            ("shutdown", "poweroff", None, 0), ("exit-failure", "poweroff", None, 1))
    for action, told, state, status in rows:
        with Machine("-action", "panic=" + action, "-device", "pvpanic") as m:
            m.outb(0x505, 1, True)
            same(m.qmp.event("GUEST_PANICKED")["action"], told, action)
            if state == "guest-panicked":
                m.qmp.event("STOP")
            if state:
                same(m.qmp.status(), state)
            else:
                same(m.qmp.event("SHUTDOWN"), {"guest": True, "reason": "guest-panic"})
                m.ends(status)


def test_panic_no_shutdown():
    with Machine("-no-shutdown", "-device", "pvpanic") as m:
        m.outb(0x505, 1, True)
        same(m.qmp.event("GUEST_PANICKED")["action"], "pause")
        m.qmp.event("STOP")
        m.qmp.cmd("cont")                              # what it does after a panic is the guest's affair
        same(m.guest.take(1), b".", "the answer to the panic's write")
        same(m.inb(0x505), 3)
        m.outb(0x505, 1, True)
        m.qmp.event("STOP")
        m.qmp.cmd("system_reset")
        m.qmp.cmd("cont")
        started_again(m)


def test_crash_kernel_loaded():
    with Machine("-action", "panic=pause", "-device", "pvpanic", "-device",
                 "pvpanic,ioport=0x600,events=1") as m:
        m.outb(0x505, 2)
        same(m.qmp.event("GUEST_CRASHLOADED")["action"], "run")
        same(m.qmp.status(), "running")
        m.outb(0x600, 2)                               # an event that it does not have
        m.outb(0x505, 1, True)
        same(m.qmp.event("GUEST_PANICKED")["action"], "pause")
        check(not any(e["event"] == "GUEST_CRASHLOADED" for e in m.qmp.events), "told twice")


def test_debug_exit():
    with Machine("-device", "isa-debug-exit,iobase=0xf4,iosize=4") as m:
        m.outb(0xf4, 0x15, True)
        m.ends(0x2b)


# --- devices ---

def test_device_add_refusals():
    with Machine(*ROOT_PORT, "-device", "virtio-rng-pci,id=r0") as m:
        q = m.qmp
        q.fails("device_add", driver="virtio-rng-pc", id="a", text="virtio-rng-pci")
        q.fails("device_add", driver="virtio-rng-pci", id="a", text="does not support hotplugging")
        q.fails("device_add", driver="virtio-rng-pci", id="r0", bus="rp1", text="Duplicate")
        q.fails("device_add", driver="virtio-rng-pci", id="a", bus="zz", text="Bus 'zz' not found")
        q.fails("device_add", driver="virtio-rng-pci", id="a", bus="rp1", bogus=1)
        q.fails("device_add", driver="virtio-rng-pci", id="a", bus="rp1", addr="1.0")
        q.fails("device_add", driver="isa-debug-exit", id="a", text="not support hotplugging")
        q.fails("device_add", driver="virtio-rng-pci", id="1 2", bus="rp1")
        q.fails("device_del", "DeviceNotFound", "Device 'nope' not found", id="nope")
        q.fails("device_del", text="does not support hotplugging", id="r0")
        for driver, text in (("pci-device", "non-abstract device type"), ("ICH9-SMB", "pluggable device"),
                             ("vmcoreinfo", "pluggable device type"),
                             ("scsi-hd", "No 'SCSI' bus found for device 'scsi-hd'")):
            q.fails("device_add", driver=driver, text=text)
        q.fails("device_add", driver="nosuch", id="1", text="Parameter 'id' expects an identifier")
        for path in ("/machine", "/machine/peripheral"):
            q.fails("device_del", id=path, text=path + " is not a hotpluggable device")
        q.fails("device_del", id="/machine/q35/mch", text="Bus 'pcie.0' does not support hotplugging")
        q.cmd("device_add", driver="virtio-rng-pci", id="a", bus="rp1")
        q.fails("device_add", driver="virtio-rng-pci", id="b", bus="rp1")
        same(q.events, [])


def test_hotplug_root_port():
    with Machine("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off", *ROOT_PORT) as m:
        q = m.qmp
        m.pci_write(RP1, 0x18, 0x00010100)
        cap = m.pci_capability(RP1, 0x10)
        for _ in range(5):
            q.cmd("device_add", driver="virtio-rng-pci", id="a", bus="rp1")
            m.pci_write(RP1, cap + 0x18, 0x001f0100)   # power on, indicator on
            same(m.pci_read(0x100, 0) & 0xffff, 0x1af4, "the function's id")
            q.cmd("device_del", id="a")
            q.fails("device_add", driver="virtio-rng-pci", id="a", bus="rp1", text="Duplicate")
            check(m.pci_read(RP1, cap + 0x18) >> 16 & 1, "Attention Button Pressed is not set")
            m.pci_write(RP1, cap + 0x18, 0x001f0700)   # power off, indicator off: let go
            data = q.deleted()
            same((data["device"], data["path"]), ("a", "/machine/peripheral/a"))
            q.fails("device_del", "DeviceNotFound", id="a")


def test_hotplug_acpi():
    with Machine(machine="pc") as m:
        q = m.qmp
        for i in range(5):
            q.cmd("device_add", driver="virtio-rng-pci", id="a", addr="9")
            same(m.pci_read(9 << 3, 0) & 0xffff, 0x1af4, "the function's id")
            m.outl(0xae10, 0)
            same(m.inl(0xae00), 1 << 9, "slots with a new device")
            q.cmd("device_del", id="a")
            same(m.inl(0xae04), 1 << 9, "slots asked for")
            if i == 3:
                q.cmd("system_reset")                  # does what the guest did not
                started_again(m)
            else:
                m.outl(0xae08, 1 << 9)
            same(q.deleted()["device"], "a")
            same(m.pci_read(9 << 3, 0), 0xffffffff, "an empty slot")


def test_hotplug_acpi_bridges():
    """Behind bridges that were there at the start: the bus selector says which."""
    bridge = ["-device", "pci-bridge,id=rp1,chassis_nr=1,addr=4"]
    boards = (("q35", ROOT_PORT, 0xcc0, 0, 0), ("pc", bridge, 0xae00, 1, 7))
    for machine, args, base, selector, slot in boards:
        with Machine(*args, machine=machine) as m:
            q = m.qmp
            m.pci_write(RP1, 0x18, 0x00010100)
            m.outl(base + 0x10, selector)
            for i in range(5):
                q.cmd("device_add", driver="virtio-rng-pci", id="a", bus="rp1", addr=hex(slot))
                same(m.inl(base), 1 << slot, "slots with a new device")
                same(m.pci_read(0x100 | slot << 3, 0) & 0xffff, 0x1af4, "the function's id")
                q.cmd("device_del", id="a")
                q.fails("device_del", id="a", text="already in the process of unplug")
                same(m.inl(base + 4), 1 << slot, "slots asked for")
                if i == 3:
                    q.cmd("system_reset")
                    started_again(m)
                    m.pci_write(RP1, 0x18, 0x00010100)
                    m.outl(base + 0x10, selector)
                else:
                    m.outl(base + 8, 1 << slot)
                same(q.deleted()["device"], "a")
                same(m.pci_read(0x100 | slot << 3, 0), 0xffffffff, "an empty slot")
            m.outl(base + 0x10, 2)
            same([m.inl(base + at) for at in (0, 4, 0xc)], [0, 0, 0], "a bus that is not there")
            m.outl(base + 8, 0xffffffff)


def test_quit_in_the_middle():
    """The end comes while a device leaves, a reset is due, the guest asks for things."""
    for i in range(10):
        with Machine(*ROOT_PORT, "-S" if i % 2 else "-no-shutdown") as m:
            m.qmp.cmd("device_add", driver="virtio-rng-pci", id="a", bus="rp1")
            if i % 2 == 0:
                m.outb(0xcf9, 6, True)
            m.qmp.send('{"execute": "device_del", "arguments": {"id": "a"}}{"execute": "stop"}'
                       '{"execute": "system_reset"}{"execute": "quit"}')
            check("SHUTDOWN" in m.qmp.rest(), "no SHUTDOWN")
            m.ends()


def test_device_del_in_prelaunch():
    with Machine("-S", *ROOT_PORT) as m:
        q = m.qmp
        q.cmd("device_add", driver="virtio-rng-pci", id="a", bus="rp1")
        q.cmd("device_del", id="a")
        same(q.deleted()["device"], "a")
        q.cmd("cont")
        m.started()


def test_hotplug_leaks_nothing():
    with Machine(machine="pc") as m:
        q = m.qmp
        m.outl(0xae10, 0)
        for i in range(220):
            q.cmd("device_add", driver="virtio-rng-pci", id="a", addr="9")
            q.cmd("device_del", id="a")
            m.outl(0xae08, 1 << 9)
            q.deleted()
            if i == 19:
                before = m.used()
        after = m.settles(before)
        check(after[2] - before[2] < 1000, "KiB before and after 200 times", before[2], after[2])


def test_sessions_leak_nothing():
    with Machine() as m:
        m.qmp.close()
        for i in range(120):
            q = m.monitor()
            q.cmd("query-commands")
            q.close()
            if i == 19:
                before = m.used()
        q = m.monitor()
        q.cmd("query-status")
        after = m.settles(before, q, 1)
        check(after[2] - before[2] < 1000, "KiB before and after", before[2], after[2])
        m.qmp = q


# --- streams ---

def test_serial_ports():
    with Machine("-serial", "null", "-serial", "none", "-serial", "null") as m:
        # A 16550's scratch register keeps what it is given; where there is none, ones are read.
        for base, there in ((0x3f8, True), (0x2f8, True), (0x3e8, False), (0x2e8, True)):
            m.outb(base + 7, 0x5a)
            same(m.inb(base + 7), 0x5a if there else 0xff, "port %#x" % base)


class Terminal:
    """Rhea on a terminal of its own."""

    def __init__(self, *args):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        command = [Machine.program, "-M", "q35", "-accel", "kvm", "-m", "16", "-bios", Machine.rom]
        self.process = subprocess.Popen(
            command + list(args), stdin=self.slave, stdout=self.slave, stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def read_to(self, end):
        seen = b""
        while not seen.endswith(end):
            check(select.select([self.master], [], [], 30)[0], "silent; seen:", seen)
            seen += os.read(self.master, 1)
        return seen

    def flags(self):
        return termios.tcgetattr(self.slave)[3]

    def ends(self, status):
        same(self.process.wait(30), status, "exit status")
        same(termios.tcgetattr(self.slave), self.before, "the terminal")


def test_nographic():
    with Terminal("-nographic") as t:
        t.read_to(b"S")
        same(t.flags() & (termios.ICANON | termios.ECHO | termios.ISIG), 0, "raw")
        os.write(t.master, b"e")
        t.read_to(b".")
        os.write(t.master, b"\x03ab")                  # Ctrl-C is the guest's
        t.read_to(b"?")
        os.write(t.master, b"\x01\x01ab")              # twice the escape key is the key
        t.read_to(b"?")
        os.write(t.master, b"\x01h")
        t.read_to(b"C-a x")
        os.write(t.master, b"\x01x")
        t.ends(0)


def test_ctrl_c():
    with Terminal("-nodefaults", "-display", "none", "-serial", "stdio") as t:
        t.read_to(b"S")
        check(t.flags() & termios.ISIG, "signals are off")
        os.write(t.master, b"\x03")
        t.ends(0)


def test_killed_by_quit_on_terminal():
    with Machine(serial=False) as probe:
        with Terminal("-nodefaults", "-display", "none", "-serial", "mon:stdio", "-qmp",
                      "unix:%s/t,server=on,wait=off" % probe.folder.name) as t:
            t.read_to(b"S")
            q = Qmp(Stream.connect(probe.folder.name + "/t").sock)
            q.cmd("quit")
            t.ends(0)


def run(*args):
    got = subprocess.run([Machine.program, *args], stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=30, check=False)
    return got.returncode, got.stdout, got.stderr


def test_help_and_refusals():
    status, out, _ = run("-chardev", "help")
    same(status, 0)
    check(out.startswith("Available chardev backend types: \n"), "help", out)
    check("\n  socket\n" in out, "help", out)
    status, out, _ = run("-chardev", "socket,help")
    check(status == 0 and "server=on|off" in out, "help", out)
    base = ["-M", "q35", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none", "-bios",
            Machine.rom]
    for args, text in (
            (["-serial", "null"] * 5, "at most 4"),
            (["-chardev", "nul,id=a"], "did you mean 'null'"),
            (["-chardev", "socket,id=a,sever=on"], "did you mean 'server'"),
            (["-chardev", "null,id=a", "-chardev", "null,id=a"], "Duplicate ID 'a'"),
            (["-serial", "chardev:zz"], "'zz' not found"),
            (["-serial", "stdoi"], "did you mean 'stdio'"),
            (["-serial", "stdio", "-serial", "stdio"], "cannot use stdio"),
            (["-mon", "chardev=zz,mode=control"], "'zz' not found"),
            (["-chardev", "null,id=a", "-serial", "chardev:a", "-serial", "chardev:a"],
             "already in use"),
            (["-qmp", "unix:/nonexistent/x,server=on,wait=off"], "/nonexistent/x")):
        status, out, err = run(*base, *args)
        same((status, out), (1, ""), " ".join(args))
        check(err.count("\n") <= 2, "more than a line and its advice", err)
        check(text in err and [a for a in args if a[0] == "-" and a in err], text, err)


def test_nothing_is_left_behind():
    """A start that fails, and one that is interrupted while it waits for a client."""
    with Machine(serial=False) as probe:
        path = probe.folder.name + "/left"
        base = ["-M", "q35", "-accel", "kvm", "-nodefaults", "-display", "none", "-bios",
                Machine.rom, "-chardev", "socket,id=c,server=on,path=" + path]
        status, _, err = run(*base[:-1], base[-1] + ",wait=off", "-device", "nonesuch")
        same(status, 1)
        check("nonesuch" in err, "error", err)
        check(not os.path.exists(path), "the socket is still there")
        process = subprocess.Popen([Machine.program] + base, stderr=subprocess.PIPE)
        check(b"waiting for connection" in process.stderr.readline(), "waits")
        process.send_signal(signal.SIGTERM)
        same(process.wait(30), 1)
        check(b"interrupted" in process.stderr.read(), "says why")
        process.stderr.close()
        check(not os.path.exists(path), "the socket is still there")


def test_logfile():
    with Machine("-chardev", "null,id=l,logfile=@FOLDER/log", "-device",
                 "isa-debugcon,iobase=0xe9,chardev=l") as m:
        m.outb(0xe9, 0x48)
        m.outb(0xe9, 0x69)
        m.qmp.cmd("quit")
        m.ends()
        with open(m.folder.name + "/log", "rb") as log:
            same(log.read(), b"Hi", "the log")


def test_ringbuf():
    with Machine("-chardev", "ringbuf,id=r,size=4", "-debugcon", "chardev:r") as m:
        for byte in b"abcdef":
            m.outb(0xe9, byte)
        same(m.qmp.cmd("ringbuf-read", device="r", size=10), "cdef")
        same(m.qmp.cmd("ringbuf-read", device="r", size=10), "")
        m.qmp.fails("ringbuf-read", device="zz", size=10, text="not found")
        m.qmp.fails("ringbuf-read", device="ser", size=10, text="not a ringbuf")
        m.qmp.fails("ringbuf-read", device="r", size=-1)


def test_pretty_monitor():
    with Machine("-qmp-pretty", "unix:@FOLDER/pretty,server=on,wait=off") as m:
        other = m.connect(m.folder.name + "/pretty")
        while b"\n}\r\n" not in other.buffer:
            other.more()
        check(b'{\n    "QMP": {\n' in other.buffer, "pretty", other.buffer)
        other.close()


def test_chardev_change():
    """The guest's line goes on behind another back end."""
    with Machine() as m:
        old, unix = m.guest, {"type": "unix", "data": {"path": m.folder.name + "/line2"}}
        same(m.qmp.cmd("chardev-change", id="ser", backend={
            "type": "socket", "data": {"addr": unix, "server": True, "wait": False}}), {})
        check(not old.more(), "the old line has not ended")
        m.guest = m.connect(m.folder.name + "/line2")
        while m.serial_text().startswith("disconnected"):
            pass
        m.outb(0x80, 1)
        for _ in range(20):
            pty = m.qmp.cmd("chardev-change", id="ser", backend={"type": "pty", "data": {}})["pty"]
            check(pty.startswith("/dev/pts/"), "a terminal", pty)
        m.qmp.cmd("chardev-change", id="ser", backend={"type": "ringbuf", "data": {"size": 64}})
        m.guest.close()
        m.guest = None
        # A back end that cannot be made leaves the one that is there.
        m.qmp.fails("chardev-change", text="/nosuch/x", id="ser", backend={
            "type": "file", "data": {"out": "/nosuch/x"}})
        same(m.serial_text(), "ringbuf")
        same([c["frontend-open"] for c in m.qmp.cmd("query-chardev") if c["label"] == "ser"], [True])
        m.qmp.fails("chardev-remove", text="busy", id="ser")
        old.close()


def test_monitor_connects_out():
    """A monitor that is the client, and tries again."""
    with Machine("-S", qmp=False, serial=False) as probe:
        path = probe.folder.name + "/out"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        with Machine("-chardev", "socket,id=o,reconnect=1,path=" + path, "-mon", "o,mode=control",
                     qmp=False, serial=False) as m:
            for _ in range(2):
                listener.settimeout(30)
                q = Qmp(listener.accept()[0])
                same(q.status(), "running")
                q.close()
            q = Qmp(listener.accept()[0])
            q.cmd("quit")
            m.ends()
        listener.close()


def test_guest_never_waits():
    """A guest that does nothing but exits waits for no client: its vCPU's thread sleeps for none of the 2,000
    commands.  It may for the host's own reasons, a page it has to map; and if it is traced it always does."""
    commands = ("query-status", "query-cpus-fast", "query-chardev", "query-block", "query-blockstats",
                "query-pci", "query-named-block-nodes", "query-memory-devices", "query-iothreads")
    with Machine("-blockdev", "null-co,node-name=n", "-device", "virtio-blk-pci,drive=n") as m:
        thread = m.qmp.cmd("query-cpus-fast")[0]["thread-id"]

        def fact(name):
            with open("/proc/%d/task/%d/status" % (m.process.pid, thread)) as status:
                return next(int(line.split()[1]) for line in status if line.startswith(name))
        before = fact("voluntary")
        for i in range(2000):
            m.qmp.cmd(commands[i % len(commands)])
        waited = fact("voluntary") - before
        check(waited < 100 or fact("TracerPid") != 0, "times the vCPU waited:", waited)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
