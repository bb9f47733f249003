#!/usr/bin/env python3
"""commands-test.py: every command has a test that it works and tests of how it fails.

1. What query-qmp-schema says of arguments is tried out: for each member of each command a value of the wrong
   type, each mandatory member left out, and one that no command has.  The error names the member; nothing
   changes.
2. FAILS has what a well-typed command is refused for: the class and the whole text.
3. Every command has evidence of both: q.cmd("it") and q.fails("it", text=...) in a suite, a row here, or the
   name of the test that runs it under another name.

The first argument is the program; words behind it choose tests by name.
"""
import ast
import glob
import sys

from disks import Disks
from qmp import HERE, Machine, check, main, same, still

DEPTH = 3                               # of members within members that are tried

# (command, arguments, class, the whole text), in a machine without a guest and without devices
FAILS = [
    ("balloon", {"value": 1}, "DeviceNotActive", "No balloon device has been activated"),
    ("block-dirty-bitmap-disable", {"node": "x", "name": "b"}, "GenericError",
     "Cannot find device='x' nor node-name='x'"),
    ("block-dirty-bitmap-enable", {"node": "x", "name": "b"}, "GenericError",
     "Cannot find device='x' nor node-name='x'"),
    ("block-dirty-bitmap-remove", {"node": "x", "name": "b"}, "GenericError",
     "Cannot find device='x' nor node-name='x'"),
    ("block-job-dismiss", {"id": "x"}, "DeviceNotActive", "Block job 'x' not found"),
    ("blockdev-close-tray", {"id": "x"}, "DeviceNotFound", "Device 'x' not found"),
    ("blockdev-open-tray", {"id": "x"}, "DeviceNotFound", "Device 'x' not found"),
    ("blockdev-snapshot-delete-internal-sync", {"device": "x", "name": "s"}, "GenericError",
     "Cannot find device='x' nor node-name='x'"),
    ("blockdev-snapshot-internal-sync", {"device": "x", "name": "s"}, "GenericError",
     "Cannot find device='x' nor node-name='x'"),
    ("dump-guest-memory", {"paging": False, "protocol": "x"}, "GenericError", "Invalid parameter 'protocol'"),
    ("dump-guest-memory", {"paging": False, "protocol": "file:x", "begin": 0}, "GenericError",
     "Parameter 'length' is missing"),
    ("dump-guest-memory", {"paging": False, "protocol": "fd:x"}, "GenericError",
     "File descriptor named 'x' has not been found"),
    ("eject", {}, "GenericError", "Need exactly one of 'device' and 'id'"),
    ("eject", {"id": "x"}, "DeviceNotFound", "Device 'x' not found"),
    ("job-cancel", {"id": "x"}, "GenericError", "Job not found"),
    ("job-complete", {"id": "x"}, "GenericError", "Job not found"),
    ("job-pause", {"id": "x"}, "GenericError", "Job not found"),
    ("job-resume", {"id": "x"}, "GenericError", "Job not found"),
    ("qmp_capabilities", {"enable": ["oob"]}, "CommandNotFound",
     "Capabilities negotiation is already complete, command ignored"),
    ("qom-list-properties", {"typename": "x"}, "GenericError", "Class 'x' not found"),
    ("query-balloon", {}, "DeviceNotActive", "No balloon device has been activated"),
    ("query-command-line-options", {"option": "x"}, "GenericError", "invalid option name: x"),
    ("ringbuf-write", {"device": "x", "data": "y"}, "GenericError", "Device 'x' not found"),
]
ANY_ARGUMENT = ("device_add",)          # its other arguments are properties, the device's to refuse
# What cannot be refused but for the form of its arguments, and why.
CANNOT_FAIL = {
    "migrate-set-capabilities": "what there is not is refused by its type",
}
# Tests that run a command under the name of a variable: "file.py function", below tests/.
RUN_BY = {
    "add-fd": "qmp/stream-test.py test_fdsets",
    "blockdev-snapshot-delete-internal-sync": "qmp/bitmap-test.py test_internal_snapshot",
    "blockdev-snapshot-internal-sync": "qmp/bitmap-test.py test_internal_snapshot",
    "drive-backup": "qmp/job-test.py test_opened_targets",
    "getfd": "qmp/stream-test.py test_getfd",
}


def test_works_without_devices():
    with Machine("-S") as m:
        q, core = m.qmp, m.folder.name + "/core"
        check(any(o["option"] == "device" for o in q.cmd("query-command-line-options")), "no option device")
        same([o["option"] for o in q.cmd("query-command-line-options", option="drive")], ["drive"])
        q.cmd("chardev-add", id="ring", backend={"type": "ringbuf", "data": {}})
        same(q.cmd("ringbuf-write", device="ring", data="text"), {})
        same(q.cmd("ringbuf-read", device="ring", size=9), "text")
        same(q.cmd("inject-nmi"), {})
        same(q.cmd("dump-guest-memory", paging=False, protocol="file:" + core), {})
        with open(core, "rb") as file:
            same(file.read(4), b"\x7fELF")


def test_works_on_disks():
    with Disks(added="a") as m:
        q, folder = m.qmp, m.folder.name
        q.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": folder + "/nbd"}})
        q.cmd("nbd-server-add", device="a")
        same(q.cmd("nbd-server-remove", name="a"), {})
        same(q.cmd("query-block-exports"), [])
        q.cmd("blockdev-add", driver="null-co", size=1 << 20, **{"node-name": "null"})
        q.cmd("blockdev-mirror", device="a", target="null", sync="full",
              **{"job-id": "j", "auto-finalize": False, "auto-dismiss": False})
        while q.event("JOB_STATUS_CHANGE")["status"] != "ready":
            pass
        same(q.cmd("block-job-pause", device="j"), {})
        while q.event("JOB_STATUS_CHANGE")["status"] != "standby":
            pass
        same(q.cmd("block-job-resume", device="j"), {})
        while q.event("JOB_STATUS_CHANGE")["status"] != "ready":
            pass
        q.cmd("block-job-complete", device="j")
        while q.event("JOB_STATUS_CHANGE")["status"] != "pending":
            pass
        same(q.cmd("block-job-finalize", id="j"), {})
        while q.event("JOB_STATUS_CHANGE")["status"] != "concluded":
            pass
        q.cmd("job-dismiss", id="j")


def test_fails():
    with still("-S") as m:
        for name, arguments, kind, text in FAILS:
            same(m.qmp.execute(name, **arguments).get("error"), {"class": kind, "desc": text}, name)


class Schema:
    """What query-qmp-schema says, and values made to it."""

    def __init__(self, rows):
        self.named = {row["name"]: row for row in rows}
        self.commands = [row for row in rows if row["meta-type"] == "command"]

    def good(self, kind):
        """A value of a type, with the members that must be there."""
        row = self.named[kind]
        meta = row["meta-type"]
        if meta == "builtin":
            values = {"string": "x", "int": 16, "number": 0, "boolean": False, "value": 0}
            return values[row["json-type"]]
        if meta == "enum":
            return row["members"][0]["name"]
        if meta == "array":
            return []
        if meta == "alternate":
            return self.good(row["members"][0]["type"])
        made = {m["name"]: self.good(m["type"]) for m in row["members"] if "default" not in m}
        for variant in row.get("variants", []):
            if variant["case"] == made[row["tag"]]:
                made.update(self.good(variant["type"]))
        return made

    def bad(self, kind):
        """A value of the wrong type and what the error says is expected; None: every value is right."""
        row = self.named[kind]
        if row["meta-type"] == "builtin":
            expected = {"string": "string", "int": "integer", "number": "number", "boolean": "boolean"}
            return ({}, expected[row["json-type"]]) if row["json-type"] in expected else None
        return {"enum": ({}, "string"), "array": ({}, "array"), "object": ([], "object"),
                "alternate": ([], None)}[row["meta-type"]]

    def wrong(self, kind, path="", depth=DEPTH):
        """(value, text of the error) for what can be wrong in a value of an object's type."""
        row, good = self.named[kind], self.good(kind)
        names = [m["name"] for m in row["members"]]
        for member in row["members"]:
            name, where = member["name"], path + member["name"]
            if "default" not in member:
                yield {k: v for k, v in good.items() if k != name}, "Parameter '%s' is missing" % where
            inner = self.bad(member["type"])
            if inner:
                yield dict(good, **{name: inner[0]}), "Invalid parameter type for '%s', expected: %s" % (
                    where, inner[1] or "")
            if depth == 0:
                continue
            of = self.named[member["type"]]
            if of["meta-type"] == "object":
                for value, text in self.wrong(of["name"], where + ".", depth - 1):
                    yield dict(good, **{name: value}), text
            elif of["meta-type"] == "array" and self.named[of["element-type"]]["meta-type"] == "object":
                for value, text in self.wrong(of["element-type"], where + "[0].", depth - 1):
                    yield dict(good, **{name: [value]}), text
        for variant in row.get("variants", []):
            chosen = dict({k: v for k, v in good.items() if k in names}, **{row["tag"]: variant["case"]})
            for value, text in self.wrong(variant["type"], path, depth):
                yield dict(chosen, **value), text
        yield dict(good, **{"no such": 1}), "Parameter '%sno such' is unexpected" % path


def state(q):
    return [q.cmd(c) for c in ("query-status", "query-chardev", "query-named-block-nodes", "query-jobs",
                               "query-pci", "query-fdsets", "query-iothreads")]


def test_wrong_arguments():
    with Disks("-S") as m:
        q, tried = m.qmp, 0
        schema, before = Schema(q.cmd("query-qmp-schema")), state(q)
        for command in schema.commands:
            for arguments, text in schema.wrong(command["arg-type"]):
                if "no such" in text and command["name"] in ANY_ARGUMENT:
                    continue
                got = q.execute(command["name"], **arguments)
                check("error" in got, "%s %r should fail, returned" % (command["name"], arguments), got)
                same(got["error"]["class"], "GenericError", command["name"])
                check(got["error"]["desc"].startswith(text), "%s %r should say %s:" % (
                    command["name"], arguments, text), got["error"]["desc"])
                tried += 1
        same(state(q), before, "the state")
        check(tried > 1000, "so few were tried:", tried)
        print("    %d wrong arguments" % tried)


def evidence():
    """Names of commands that suites see work, and fail with a text."""
    works, fails = set(), {row[0] for row in FAILS}
    for path in glob.glob(HERE + "/../*/*-test.py"):
        with open(path) as file:
            tree = ast.parse(file.read())
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or \
                    not call.args or not isinstance(call.args[0], ast.Constant):
                continue
            if call.func.attr == "cmd":
                works.add(call.args[0].value)
            elif call.func.attr == "fails" and any(k.arg == "text" for k in call.keywords):
                fails.add(call.args[0].value)
    for name, where in RUN_BY.items():
        path, function = where.split()
        with open(HERE + "/../" + path) as file:
            source = file.read()
        bodies = [ast.get_source_segment(source, f) for f in ast.walk(ast.parse(source))
                  if isinstance(f, ast.FunctionDef) and f.name == function]
        check(bodies and '"%s"' % name in bodies[0], "not in " + where, name)
        works.add(name)
    return works, fails


def test_every_command_is_tested():
    works, fails = evidence()
    with still() as m:
        schema = Schema(m.qmp.cmd("query-qmp-schema"))
    names = [c["name"] for c in schema.commands]
    takes_some = {c["name"] for c in schema.commands if schema.named[c["arg-type"]]["members"]}
    same([n for n in names if n not in works], [], "commands that no suite sees work")
    same([n for n in names if n in takes_some and n not in fails and n not in CANNOT_FAIL], [],
         "commands that no suite sees refuse a value")
    named = [*RUN_BY, *CANNOT_FAIL, *ANY_ARGUMENT, *(row[0] for row in FAILS)]
    same([n for n in named if n not in names], [], "no commands")


sys.exit(main([test_fails, test_wrong_arguments, test_works_without_devices, test_works_on_disks,
               test_every_command_is_tested]))
