#!/usr/bin/env python3
"""input-test.py: keys and pointers of QMP and of the human monitor, as the guest sees them at its i8042.

The first argument is the program; words behind it choose tests by name.
"""
import sys
import time

from qmp import LIMIT, Failed, Machine, Nothing, check, main, same, still

# What some keys send in set 1.
CODES = {"a": "1e 9e", "ret": "1c 9c", "up": "e0 48 e0 c8", "alt_r": "e0 38 e0 b8", "less": "56 d6",
         "pause": "e1 1d 45 e1 9d c5", "print": "e0 2a e0 37 e0 b7 e0 aa", "sysrq": "e0 2a e0 37 e0 b7 e0 aa",
         "kp_enter": "e0 1c e0 9c", "audiomute": "e0 20 e0 a0", "ro": "73 f3", "computer": "e0 6b e0 eb"}


def qcodes(*names):
    return [{"type": "qcode", "data": name} for name in names]


def number(n):
    return [{"type": "number", "data": n}]


class Console:
    """The guest's end of the i8042: translated codes, no interrupts."""

    def __init__(self, m):
        self.m = m
        m.outb(0x64, 0x60)
        m.outb(0x60, 0x40)
        self.left()

    def left(self):
        got = []
        while self.m.inb(0x64) & 1:
            got.append(self.m.inb(0x60))
        return got

    def gets(self, text):
        """Waits for those bytes, and nothing behind them."""
        want, got, end = list(bytes.fromhex(text)), [], time.monotonic() + LIMIT
        while len(got) < len(want):
            if time.monotonic() > end:
                raise Failed("the guest got %s, not %s" % (bytes(got).hex(" "), text))
            got += self.left()
        same(bytes(got).hex(" "), bytes(want).hex(" "), "what the guest got")


def human(m, line):
    return m.qmp.cmd("human-monitor-command", **{"command-line": line}).replace("\r\n", "\n")


def test_keys():
    with Machine() as m:
        c = Console(m)
        for name, codes in CODES.items():
            m.qmp.cmd("send-key", keys=qcodes(name), **{"hold-time": 0})
            c.gets(codes)
        for n, codes in ((0x1e, "1e 9e"), (0xc8, "e0 48 e0 c8"), (0x54, "e0 2a e0 37 e0 b7 e0 aa")):
            m.qmp.cmd("send-key", keys=number(n), **{"hold-time": 0})
            c.gets(codes)
        for keys in ([], qcodes("unmapped", "menu"), number(0), number(-1), number(0x9e), number(1 << 40)):
            m.qmp.cmd("send-key", keys=keys, **{"hold-time": 0})
        m.qmp.cmd("send-key", keys=qcodes("ctrl", "alt", "delete"), **{"hold-time": 1})
        m.qmp.cmd("send-key", keys=qcodes("b"), **{"hold-time": 1})
        c.gets("1d 38 e0 53 e0 d3 b8 9d 30 b0")


def test_keys_are_held():
    """Another key waits for its turn, also while the guest is stopped."""
    with Machine() as m:
        c = Console(m)
        start = time.monotonic()
        m.qmp.cmd("send-key", keys=qcodes("a"), **{"hold-time": 300})
        m.qmp.cmd("send-key", keys=qcodes("b"), **{"hold-time": 0})
        c.gets("1e 9e 30 b0")
        check(time.monotonic() - start >= 0.6, "held for", time.monotonic() - start)
        m.qmp.cmd("send-key", keys=qcodes("x"), **{"hold-time": 60000})
        c.gets("2d")
        m.qmp.cmd("stop")
        m.qmp.cmd("send-key", keys=qcodes("lang1"))
        m.qmp.cmd("cont")
        # 1023 of 1024 events are those of keys that wait; a stopped guest's are lost.
        m.qmp.cmd("send-key", keys=qcodes(*["y"] * 511), **{"hold-time": 0})
        m.qmp.fails("send-key", text="too many keys: 1023 events wait", keys=qcodes("z"))
        same(c.left(), [], "while x is held")


def test_refused_keys():
    with still() as m:
        q = m.qmp
        q.fails("send-key", text="Parameter 'keys' is missing")
        q.fails("send-key", text="Parameter 'keys[0].data' does not accept value 'bogus'",
                keys=qcodes("bogus"))
        q.fails("send-key", text="keys[0].type", keys=[{"type": "name", "data": "a"}])
        q.fails("send-key", text="keys[0].data", keys=number("a"))
        for hold in (-1, 3600001):
            q.fails("send-key", text="hold-time", keys=qcodes("a"), **{"hold-time": hold})
        q.fails("send-key", text="unexpected", keys=[], device="x")


def test_sendkey():
    with Machine() as m:
        c = Console(m)
        for line, codes in (("ctrl-alt-f1 1", "1d 38 3b bb b8 9d"), ("0x1e 1", "1e 9e"),
                            ("< 1", "56 d6"),
                            ("shift-< 1", "2a 56 d6 aa"), ("minus 1", "0c 8c"),
                            ("alt-sysrq 1", "38 54 d4 b8"),
                            ("ctrl-pause 1", "1d e0 46 e0 c6 9d"), ("0x100 1", "")):
            same(human(m, "sendkey " + line), "")
            c.gets(codes)
        for line, bad in (("bogus", "bogus"), ("a-bogus", "bogus"), ("30", "30"), ("a--", ""), ("-", ""),
                          ("ctrl--a", ""), ("0xzz", "0xzz"), ("0x", "0x"), ("0x100000000", "0x100000000")):
            same(human(m, "sendkey " + line), "invalid parameter: %s\n" % bad, line)
        check("string expected" in human(m, "sendkey"), "no key")
        check("hold-time" in human(m, "sendkey a -5"), "a negative time")


def test_pointer():
    with Machine() as m:
        c = Console(m)

        def mouse(*commands):
            for command in commands:
                m.outb(0x64, 0xd4)
                m.outb(0x60, command)
                c.gets("fa")

        m.outb(0x64, 0xa8)
        mouse(0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf4)
        m.qmp.cmd("input-send-event", events=[
            {"type": "rel", "data": {"axis": "x", "value": 5}},
            {"type": "rel", "data": {"axis": "y", "value": 4}},
            {"type": "btn", "data": {"button": "left", "down": True}},
            {"type": "key", "data": {"down": True, "key": {"type": "qcode", "data": "x"}}}])
        same(sorted(sum((c.left() for _ in range(9)), [])), sorted(bytes.fromhex("2905fc002d")))
        for line, codes in (("mouse_button 0", "08 00 00 00"), ("mouse_button 3", "0b 00 00 00"),
                            ("mouse_button 6", "0e 00 00 00"), ("mouse_button 0", "08 00 00 00"),
                            ("mouse_move 3 4", "28 03 fc 00"), ("mouse_move -3 -4", "18 fd 04 00"),
                            ("mouse_move 0 0 1", "08 00 00 ff"), ("mouse_move 0 0 -1", "08 00 00 01")):
            same(human(m, line), "", line)
            c.gets(codes)
        for words in ("a 1", "1 0x", "1 1 9999999999"):
            check(" is not a number" in human(m, "mouse_move " + words), "mouse_move " + words)
        check("end of expression" in human(m, "mouse_button"), "mouse_button")
        m.qmp.fails("input-send-event", text="Input handler not found for event type abs",
                    events=[{"type": "abs", "data": {"axis": "x", "value": 5}}])
        m.qmp.fails("input-send-event", text="'events[0].data.button' does not accept value 'sixth'",
                    events=[{"type": "btn", "data": {"button": "sixth", "down": True}}])
        m.qmp.fails("input-send-event", text="unexpected", events=[], device="foo")
        m.qmp.cmd("stop")
        m.qmp.fails("input-send-event", text="VM not running", events=[])


def test_mice():
    with still() as m:
        same(m.qmp.cmd("query-mice"), [{"name": "QEMU PS/2 Mouse", "index": 2, "current": True,
                                        "absolute": False}])
        same(human(m, "info mice"), "* Mouse #2: QEMU PS/2 Mouse\n")
        same(human(m, "mouse_set 2"), "")
        same(human(m, "mouse_set 1"), "Input device 'QEMU PS/2 Keyboard' is not a mouse\n")
        same(human(m, "mouse_set 5"), "Mouse at index '5' not found\n")
    with Nothing() as m:
        same(m.qmp.cmd("query-mice"), [])
        same(human(m, "info mice"), "No mouse devices connected\n")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
