#!/usr/bin/env python3
"""replay-test.py: sessions as libvirt 9.0 has them, command by command, with what it reads of each reply.

A session is a .jsonl file beside this.  A line is a command with

    returns       what must be there: a value, "str", "int", "bool", "dict", "any", "/regex/", an object's
                  members, or [pattern], a list of which every element matches
    some, count   an element that must be in the list; how many there are
    names         properties that must be in the list
    or, error     the class of an error that is fine too; that must come
    if-command, if-type    only if query-commands, qom-list-types have it, as libvirt does
    keep          this part of the reply is $kept from now on
    bools         every bool in the list is read, and unavailable-features

or an event that must come, or {"reconnect": true}.

The first argument is the program; words behind it choose tests by name.
"""
import json
import os
import re
import sys

from qmp import HERE, Failed, Machine, Nothing, check, main, same

KINDS = {"str": str, "int": int, "bool": bool, "dict": dict, "any": object}
DOMAIN = ["-name", "guest=d,debug-threads=on", "-S", "-m", "16",
          "-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":16777216}',
          "-machine", "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram",
          "-overcommit", "mem-lock=off", "-smp", "2,sockets=2,cores=1,threads=1",
          "-object", '{"qom-type":"iothread","id":"iothread1"}', "-no-user-config",
          "-rtc", "base=utc,driftfix=slew", "-no-shutdown", "-global", "ICH9-LPC.disable_s3=1",
          # There is no guest that ACPI could ask.
          "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
          "-boot", "strict=on", "-msg", "timestamp=on",
          "-device", '{"driver":"pcie-root-port","port":8,"chassis":1,"id":"pci.1","bus":"pcie.0",'
                     '"multifunction":true,"addr":"0x1"}',
          "-device", '{"driver":"pcie-root-port","port":9,"chassis":2,"id":"pci.2","bus":"pcie.0",'
                     '"addr":"0x1.0x1"}',
          "-device", '{"driver":"pcie-root-port","port":10,"chassis":3,"id":"pci.3","bus":"pcie.0",'
                     '"addr":"0x1.0x2"}',
          "-device", '{"driver":"virtio-serial-pci","id":"virtio-serial0","bus":"pci.1","addr":"0x0"}',
          "-blockdev", '{"driver":"file","filename":"@FOLDER/a","node-name":"libvirt-1-storage",'
                       '"auto-read-only":true,"discard":"unmap"}',
          "-blockdev", '{"node-name":"libvirt-1-format","read-only":false,"driver":"raw",'
                       '"file":"libvirt-1-storage"}',
          "-device", '{"driver":"virtio-blk-pci","bus":"pci.3","addr":"0x0","drive":"libvirt-1-format",'
                     '"id":"virtio-disk0","bootindex":1,"iothread":"iothread1"}',
          "-chardev", "pty,id=charserial0",
          "-device", '{"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0}']


def fits(value, want, where):
    """Raises Failed unless @value has all that @want asks for."""
    if isinstance(want, dict):
        check(isinstance(value, dict), where + " is no object:", value)
        for key, more in want.items():
            check(key in value, "%s has no" % where, key)
            fits(value[key], more, "%s.%s" % (where, key))
    elif isinstance(want, list):
        check(isinstance(value, list), where + " is no list:", value)
        for i, item in enumerate(value if want else []):
            fits(item, want[0], "%s[%d]" % (where, i))
    elif isinstance(want, str) and want in KINDS:
        check(isinstance(value, KINDS[want]) and (want != "int" or not isinstance(value, bool)),
              "%s is no %s:" % (where, want), value)
    elif isinstance(want, str) and re.match("^/.*/$", want) and len(want) > 2:
        check(re.search(want[1:-1], value), "%s does not match %s:" % (where, want), value)
    else:
        same(value, want, where)


def has(value, want):
    try:
        fits(value, want, "")
        return True
    except Failed:
        return False


class Player:
    """Plays one session."""

    def __init__(self, m):
        self.m, self.q = m, None
        self.commands = self.types = None
        self.kept = None
        self.played = 0

    def connect(self):
        if self.q:
            self.q.close()
        self.q = self.m.monitor(negotiate=False)

    def close(self):
        self.q.close()

    def wanted(self, step):
        if step.get("if-command", "query-status") not in (self.commands or {"query-status"}):
            return False
        return "if-type" not in step or step["if-type"] in self.types

    def reply(self, step, got):
        """Checks a reply; what it returned."""
        where = step["execute"]
        if "error" in got:
            same(got["error"]["class"], step.get("error", step.get("or")), "%s %r" % (where, got))
            return None
        check("error" not in step, where + " should fail, returned", got)
        value = got["return"]
        fits(value, step["returns"], where)
        if "count" in step:
            same(len(value), step["count"], where)
        if "some" in step:
            check(any(has(v, step["some"]) for v in value), where + " lacks", step["some"])
        for name in step.get("names", []):
            check(any(v["name"] == name for v in value), where + " has no property", name)
        return value

    def read_bools(self, path, props):
        for p in props:
            if p["type"] == "bool":
                fits(self.q.cmd("qom-get", path=path, property=p["name"]), "bool", p["name"])
        if any(p["name"] == "unavailable-features" for p in props):
            fits(self.q.cmd("qom-get", path=path, property="unavailable-features"), ["str"], "unavailable")

    def command(self, step):
        text = json.dumps(step.get("arguments", {}))
        text = text.replace("@FOLDER", self.m.folder.name).replace("$kept", self.kept or "")
        value = self.reply(step, self.q.execute(step["execute"], **json.loads(text)))
        self.played += 1
        if step["execute"] == "query-commands":
            self.commands = {c["name"] for c in value}
        elif step["execute"] == "qom-list-types":
            self.types = {t["name"] for t in value}
        if "keep" in step:
            self.kept = value
            for part in step["keep"].split("."):
                self.kept = self.kept[int(part) if part.isdigit() else part]
        if step.get("bools"):
            self.read_bools(json.loads(text)["path"], value)

    def play(self, name):
        self.connect()
        with open(os.path.join(HERE, name + ".jsonl")) as lines:
            for line in lines:
                step = json.loads(line)
                if "reconnect" in step:
                    self.connect()
                elif "event" in step:
                    data = self.q.event(step["event"])
                    fits(data or {}, step.get("data", {}), step["event"])
                elif "execute" in step and self.wanted(step):
                    self.command(step)
        return self.played


def test_probe():
    with Nothing() as m:
        m.qmp.close()
        p = Player(m)
        check(p.play("libvirt-probe") > 20, "commands played", p.played)
        p.close()


def test_life():
    m = Machine(*DOMAIN, serial=False, accel="qtest")
    for name in "ab":
        with open(m.folder.name + "/" + name, "wb") as f:
            f.truncate(1 << 20)
    with m:
        m.qmp.close()
        p = Player(m)
        p.play("libvirt-life")
        p.close()


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
