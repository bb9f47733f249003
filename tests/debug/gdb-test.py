#!/usr/bin/env python3
"""gdb-test.py: the real GDB, and packets by hand, against the program with guests on /dev/kvm.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm, or no
gdb.  A guest's INT3 and data watchpoints need a real processor: they are tested in the lab.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "qmp"))
sys.path.insert(0, HERE)

import payload                                         # pylint: disable=wrong-import-position
from qmp import LIMIT, Machine, check, main, same      # pylint: disable=wrong-import-position
from rsp import Rsp                                    # pylint: disable=wrong-import-position

GDB_OPTION = ["-gdb", "unix:@FOLDER/gdb,server=on,wait=off"]


def rsp(m):
    return Rsp(m.connect(m.folder.name + "/gdb").sock)


def gdb(m, *commands, symbols=True):
    """What GDB prints for these commands."""
    lines = ["set pagination off", "set confirm off", "set width 0", "set remotetimeout %d" % LIMIT,
             "target remote " + m.folder.name + "/gdb"] + list(commands)
    command = ["gdb", "-nx", "-batch"] + ([payload.KERNEL] if symbols else [])
    for line in lines:
        command += ["-ex", line]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LIMIT, check=False,
                          stdin=subprocess.DEVNULL)
    print("    | " + (done.stdout + done.stderr).strip().replace("\n", "\n    | "))
    return done.stdout + done.stderr


def machine(*args):
    """The payload, before its first instruction."""
    return payload.machine(*GDB_OPTION, *args)


# --- the real GDB ---

def test_real_mode():
    """SeaBIOS from the reset vector: steps, and breakpoints in ROM."""
    m = Machine("-S", *GDB_OPTION, serial=False)
    at = m.command.index("-bios")
    del m.command[at:at + 2]
    with m:
        text = gdb(m, "info registers rip cs", "x/1i 0xffff0", "stepi", "info registers rip", "stepi",
                   "stepi", "hbreak *0xfe05b", "break *0xfd000", "delete", "info threads", symbols=False)
        check(re.search(r"rip\s+0xfff0\b", text), "reset vector")
        check(re.search(r"cs\s+0xf000\b", text), "cs")
        check(re.search(r"rip\s+0xe05b\b", text), "the jump to SeaBIOS' entry was not stepped over")
        check("CPU#0 [running]" in text, "threads")
        same(m.qmp.status(), "running", "GDB's end of a batch detaches")


def test_symbols():
    """A 32-bit kernel: breakpoints, steps, frames, variables, registers."""
    with machine() as m:
        text = gdb(m, "break work", "continue", "info args", "bt 2", "finish", "print counter", "up 0",
                   "set var counter = 100", "continue", "finish", "print counter", "x/4dw table",
                   "set var table[2] = 77", "print table", "print $eip == (unsigned)$pc",
                   "info registers cr0 eflags", "set var $ecx = 0x1234", "print/x $ecx", "tbreak add",
                   "continue", "next", "info locals",
                   "set var $xmm3.v4_int32[1] = 5", "print $xmm3.v4_int32", "print $st0", "stepi", "nexti")
        check("Breakpoint 1, work (step=1)" in text, "breakpoint")
        check("in kernel ()" in text, "backtrace")
        check("$2 = 1\n" in text and "$4 = 101\n" in text, "counter")
        check("11\t22\t33\t44" in text and "{11, 22, 77, 44}" in text, "table")
        check("= 0x1234" in text, "ecx")
        check("{0, 5, 0, 0}" in text, "xmm3")
        check("sum = " in text, "locals")
        check(re.search(r"cr0\s+0x11\b", text), "cr0")


def test_watch_in_software():
    with machine() as m:
        text = gdb(m, "set can-use-hw-watchpoints 0", "break work", "continue", "watch counter", "delete 1",
                   "continue")
        check("Old value = 0" in text and "New value = 1" in text, "watchpoint")


def test_threads():
    with machine("-smp", "2") as m:
        text = gdb(m, "info threads", "break work2", "continue", "info threads", "thread 1", "bt 1",
                   "thread 2", "bt 1", "finish", "set scheduler-locking on", "print counter", "stepi",
                   "stepi",
                   "print counter", "thread 1", "stepi")
        check("CPU#1 [halted ]" in text, "before it was started")
        check("hit Breakpoint 1, work2 (step=2)" in text, "the second processor's breakpoint")
        values = re.findall(r"\$\d+ = (\d+)\n", text)
        check(len(values) >= 2, "counter twice", values)
        same(values[-2], values[-1], "the first processor ran while only the second was stepped")


def test_many_breakpoints():
    """More than four: the rest are INT3s, and memory reads as it was."""
    with machine() as m:
        before = gdb(m, "hbreak work", "continue", "x/8xb work")
        bytes_before = re.search(r"<work>:\t(.*)", before).group(1)
        with_them = gdb(m, *["break *(work + %d)" % i for i in (1, 2, 3, 4, 5, 6, 7)], "hbreak kernel",
                        "set breakpoint always-inserted on", "x/8xb work", "delete")
        same(re.search(r"<work>:\t(.*)", with_them).group(1), bytes_before)


# --- by hand ---

def test_start_and_end():
    with machine() as m:
        r = rsp(m)
        same(r.ask("?"), "T05thread:01;")
        same(r.ask("qSupported:xmlRegisters=i386").split(";")[0], "PacketSize=4000")
        same(m.qmp.status(), "prelaunch")
        r.put("c")
        same(m.qmp.event("RESUME"), None)
        r.sock.sendall(b"\x03")
        same(r.packet(), "T02thread:01;")
        same(m.qmp.status(), "paused")
        same(r.ask("D"), "OK")
        m.qmp.event("RESUME")
        same(m.qmp.status(), "running")
        r.close()
        r = rsp(m)
        same(r.ask("qAttached"), "1")
        same(m.qmp.status(), "paused")
        r.put("k")
        m.ends(0)


def test_others_stop_and_start():
    with machine() as m:
        r = rsp(m)
        same(r.ask("QStartNoAckMode"), "OK")
        r.ack = False
        r.sock.sendall(b"+")
        r.put("c")
        m.qmp.event("RESUME")
        m.qmp.cmd("stop")
        same(r.packet(), "T02thread:01;")
        m.qmp.cmd("cont")
        m.qmp.event("STOP")
        same(m.qmp.status(), "running")
        r.put("?")
        m.qmp.event("STOP")
        same(r.packet(), "T05thread:01;")
        r.put("c")
        m.qmp.event("RESUME")
        m.qmp.cmd("quit")
        same(r.packet(), "W00")
        m.ends(0)


def break_work(r, m):
    """Arms a breakpoint at work() and meets it."""
    at = int(re.search(r"([0-9a-f]+) T work\n", payload.NAMES).group(1), 16)
    same(r.ask("Z1,%x,1" % at), "OK")
    r.put("vCont;c")
    check(r.packet().startswith("T05thread:01;"), "stop reply")
    m.qmp.event("STOP")
    same(m.qmp.status(), "debug")
    return at


def test_client_leaves_while_running():
    with machine() as m:
        r = rsp(m)
        at = break_work(r, m)
        same(r.ask("z1,%x,1" % at), "OK")
        same(r.ask("Z1,%x,1" % 0x123456), "OK")        # a place nobody comes by
        r.put("c")
        m.qmp.event("RESUME")
        r.close()
        r = rsp(m)
        r.ask("?")
        same(m.qmp.status(), "paused")
        same(r.ask("z1,%x,1" % 0x123456), "E22", "the first client's breakpoint is still there")


def test_client_leaves_while_stopped():
    with machine() as m:
        r = rsp(m)
        break_work(r, m)
        r.close()
        same(m.qmp.status(), "debug")
        m.qmp.cmd("cont")
        m.qmp.event("RESUME")
        r = rsp(m)
        r.ask("?")
        r.ask("p8")
        same(m.qmp.status(), "paused", "stopped by the new client, not by the old breakpoint")


def test_reset_keeps_breakpoints():
    with machine() as m:
        r = rsp(m)
        break_work(r, m)
        r.put("R00")
        m.qmp.event("RESET")
        r.put("c")
        same(r.packet(), "T05thread:01;")
        # hwbreak: is for clients that asked for it.
        check("hwbreak:;" not in r.ask("?"), "stop reason")
        r.ask("qSupported:hwbreak+;multiprocess+")
        same(r.ask("?"), "T05thread:p01.01;hwbreak:;")


def test_bad_packets():
    with machine() as m:
        r = rsp(m)
        r.sock.sendall(b"$?#00")
        same(r.take(1), b"-")
        r.sock.sendall(b"garbage+++$$$?#3f")
        same(r.take(1), b"+")
        same(r.packet(), "T05thread:01;")
        r.sock.sendall(b"-")
        same(r.packet(), "T05thread:01;", "resent")
        same(r.ask("m" + "0" * 20000), "E22")
        for text in ("p", "P", "P1", "P1=", "P1=0011223344", "G00", "m", "m1", "m1,", "m,1", "m1,1x",
                     "M0,4:00", "M0,2:zzzz", "X0,5:abc", "Z", "Z0", "Z1,", "Z1,x,1", "Z2,100,3",
                     "Z2,101,2", "Z4,100,99",
                     "z0,100,1", "H", "Hq1", "Hg9", "Hgp2.1", "Hg-", "T", "T0", "T9", "D;9", "D;x",
                     "vCont;c:9",
                     "vCont;t:1", "vCont;", "vCont;c:", "vAttach;2", "qThreadExtraInfo,9",
                     "Qqemu.sstep=x", "Qqemu.sstep=ff", "Qqemu.PhyMemMode:", "qXfer:features:read:x.xml:0,10",
                     "qXfer:features:read:target.xml:0", "qXfer:features:read:target.xml:fffff,1", "qRcmd,1",
                     "qRcmd,zz", "Z3,0,4", "Z9,0,1", "vMustReplyEmpty", "qOffsets", "i", "%", "", "\x80"):
            got = r.ask(text.encode("latin1"))
            check(got == "" or re.fullmatch(r"E\d\d", got), "answer to %r:" % text, got)
        same(m.qmp.status(), "prelaunch")
        same(r.ask("?"), "T05thread:01;")


def test_registers_and_memory():
    with machine() as m:
        r = rsp(m)
        xml, at = "", 0
        while True:
            piece = r.ask("qXfer:features:read:target.xml:%x,64" % at)
            xml, at = xml + piece[1:], at + len(piece) - 1
            if piece[0] == "l":
                break
        check(xml.endswith("</target>\n") and "<architecture>i386<" in xml, "description", xml[-100:])
        all_regs = r.ask("g")
        same(r.ask("G" + all_regs), "OK")
        same(r.ask("g"), all_regs)
        same(r.ask("P0=78563412"), "OK")
        same(r.ask("p0"), "78563412")
        check(r.ask("p%x" % 1000).startswith("E"), "no such register")
        same(r.ask("P%x=08000000" % 10), "E22", "a selector in protected mode")
        same(r.ask("M200000,4:00112233"), "OK")
        same(r.ask("m200002,2"), "2233")
        r.ask(b"X200000,3:}\x03}\x04}]")               # '#', '$' and '}' are escaped
        same(r.ask("m200000,4"), "23247d33")
        same(r.ask("m90000000,10"), "E14")
        same(r.ask("mfffffe,10"), "%04x" % 0, "up to the end of RAM")
        same(r.ask("qqemu.PhyMemMode"), "0")
        same(r.ask("Qqemu.PhyMemMode:1"), "OK")
        same(r.ask("m200001,1"), "24")
        same(r.ask("Mc0000000000,1:00"), "E14")


def test_rom():
    with Machine("-S", *GDB_OPTION, serial=False) as m:
        r = rsp(m)
        same(r.ask("Mfffffff0,1:5a"), "E14", "ROM")
        same(r.ask("mfffffff0,1"), "ea")
        for i in range(4):
            same(r.ask("Z0,%x,1" % (0xffff0 + i)), "OK")
        same(r.ask("Z0,ffff4,1"), "E28", "a fifth in ROM")
        same(r.ask("Z1,7c00,1"), "E28")
        same(r.ask("Z0,7c00,1"), "OK", "in RAM")
        same(r.ask("z0,ffff0,1"), "OK")
        same(r.ask("Z2,7c00,4"), "OK")
        same(r.ask("mffffffff,2"), r.ask("mffffffff,1") + r.ask("m0,1"), "the address space wraps")
        check("<architecture>i386:x86-64<" in r.ask("qXfer:features:read:target.xml:0,400"),
              "real mode's description")
        same(len(r.ask("p10")), 16)
        same(r.ask("P12=00100000"), "OK")              # cs, which moves its base in real mode
        same(r.ask("p12"), "00100000")
        same(r.ask("P12=00000100"), "E22")


def test_refused():
    with Machine("-S", serial=False) as m:
        command = [a for a in m.command if not a.startswith("unix:") and a != "-qmp"]
    for args, text in ((["-gdb", "bogus"], "-gdb bogus: could not connect to character backend 'bogus': "),
                       (["-gdb", "chardev:nope"], "-gdb chardev:nope: "),
                       (["-s", "-gdb", "null"], "-gdb: given 2 times"),
                       (["-gdb", "unix:/nonexistent/x,server=on,wait=off"], "-gdb unix:/nonexistent/x")):
        done = subprocess.run(command + args, capture_output=True, text=True, timeout=LIMIT, check=False)
        same(done.returncode, 1, args)
        check(text in done.stderr, "message:", done.stderr)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    if not shutil.which("gdb"):
        print("no gdb")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="rhea-gdb-") as work:
        payload.build(work)
        STATUS = main(TESTS)
    sys.exit(STATUS)
