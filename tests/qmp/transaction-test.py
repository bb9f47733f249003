#!/usr/bin/env python3
"""transaction-test.py: several changes of disks at one moment, or none, on machines without a guest.

The first argument is the program; words behind it choose tests by name.
"""
import json
import sys

from disks import DISK, Disks, disk_node
from qmp import check, main, same


def act(kind, **data):
    return {"type": kind, "data": {k.replace("_", "-"): v for k, v in data.items()}}


def bitmap(kind, name, **data):
    return act("block-dirty-bitmap-" + kind, node="r", name=name, **data)


def bitmaps(m):
    """Names of the bitmaps of the disk, those that record with a plus."""
    for n in m.qmp.cmd("query-named-block-nodes"):
        if n["node-name"] == "r":
            return [b["name"] + "+" * b["recording"] for b in n.get("dirty-bitmaps", [])]


def backup(job, target, **data):
    return act("blockdev-backup", job_id=job, device="r", target=target, sync="full", **data)


def steps(m, last, count=1):
    """What jobs say they do, up to the @count-th of @last."""
    got = []
    while got.count(last) < count:
        e = m.qmp.event("JOB_STATUS_CHANGE")
        got.append("%s %s" % (e["id"], e["status"]))
    return got


def refused(m, text, *actions, **more):
    m.qmp.fails("transaction", text=text, actions=list(actions), **more)


GROUPED = {"properties": {"completion-mode": "grouped"}}


def test_nothing_of_it():
    """Each action is undone when a later one fails."""
    with Disks(*DISK, added="abc") as m:
        q = m.qmp
        q.cmd("block-dirty-bitmap-add", node="r", name="old")
        q.cmd("block-dirty-bitmap-add", node="r", name="off", disabled=True)
        before = bitmaps(m)
        no = act("abort")
        for action in (bitmap("add", "new"), bitmap("remove", "old"), bitmap("clear", "old"),
                       bitmap("disable", "old"), bitmap("enable", "off"),
                       act("block-dirty-bitmap-merge", node="r", target="off", bitmaps=["old"]),
                       act("blockdev-snapshot", node="r", overlay="a"),
                       act("blockdev-snapshot-internal-sync", device="b", name="s0")):
            refused(m, "Transaction aborted using Abort action", action, no)
            same(bitmaps(m), before)
            same(disk_node(m), "r")
        same([i for i in q.cmd("query-named-block-nodes") if i["image"].get("snapshots")], [])
        refused(m, "Transaction aborted using Abort action", backup("j", "a"), no)
        same(steps(m, "j null"), ["j created", "j aborting", "j concluded", "j null"])
        refused(m, "Bitmap already exists: n", bitmap("add", "n"), backup("j", "a"), bitmap("add", "n"))
        steps(m, "j null")
        same(bitmaps(m), before)
        same(q.cmd("query-jobs"), [])
        # What was in use is free again.
        q.cmd("blockdev-del", **{"node-name": "a"})


def test_what_is_refused():
    with Disks(*DISK, added="ab") as m:
        refused(m, "Cannot find device='x' nor node-name='x'", act("block-dirty-bitmap-add", node="x",
                name="b"))
        refused(m, "Dirty bitmap 'b' not found", bitmap("clear", "b"))
        refused(m, "Dirty bitmap 'b' not found", bitmap("remove", "b"))
        refused(m, "Dirty bitmap 'b' not found", act("block-dirty-bitmap-merge", node="r", target="b",
                bitmaps=[]))
        refused(m, "Cannot find device='x' nor node-name='x'", backup("j", "x"))
        refused(m, "Granularity must be at least 512", bitmap("add", "b", granularity=0))
        for action in (bitmap("clear", "b"), act("blockdev-snapshot", node="r", overlay="a")):
            refused(m, "Action '%s' does not support Transaction" % action["type"], action, **GROUPED)
        m.qmp.cmd("transaction", actions=[])


def test_a_name_that_grows():
    """Written out, such a name is twice as long as it came: more than a message may be."""
    name, secret = chr(0x4e2d) * 2700000, {"qom-type": "secret", "id": "s"}
    with Disks(*DISK) as m:
        for message in ({"execute": "transaction", "arguments": {"actions": [bitmap("add", name)]}},
                        {"execute": "object-add", "arguments": {**secret, "data": name}}):
            m.qmp.send(json.dumps(message, ensure_ascii=False) + "\n")
            error = m.qmp.reply()["error"]
            same(error["class"], "GenericError")
            check("JSON message size limit exceeded" in error["desc"], "desc", error["desc"])
        same(m.qmp.cmd("qom-list", path="/objects"), [{"name": "type", "type": "string"}])


def test_all_of_it():
    """A checkpoint and the backup up to it, as libvirt asks for them."""
    with Disks(*DISK, added="ab") as m:
        q = m.qmp
        q.cmd("transaction", actions=[
            bitmap("add", "first"), bitmap("add", "temp", disabled=True),
            act("block-dirty-bitmap-merge", node="r", target="temp", bitmaps=["first", {"node": "r",
                "name": "first"}]),
            bitmap("add", "second"), bitmap("disable", "first"),
            act("blockdev-backup", job_id="j", device="r", target="a", sync="incremental", bitmap="temp")])
        same(q.event("BLOCK_JOB_COMPLETED")["len"], 0)
        steps(m, "j null")
        same(bitmaps(m), ["first", "temp", "second+"])
        q.cmd("transaction", actions=[bitmap("remove", "temp"), bitmap("enable", "first"),
                                      act("blockdev-snapshot-internal-sync", device="b", name="s0"),
                                      act("drive-backup", job_id="k", device="r",
                                          target=m.folder.name + "/n",
                                          sync="full", format="qcow2")])
        steps(m, "k null")
        same(bitmaps(m), ["first+", "second+"])


def test_groups():
    with Disks(*DISK, added="abc") as m:
        q = m.qmp
        q.cmd("transaction", actions=[backup("j", "a"), backup("k", "b")], **GROUPED)
        got = steps(m, "k pending") + steps(m, "j null")
        for job in "jk":               # nothing is concluded before both are done
            same(got.index(job + " concluded") > max(got.index("j pending"), got.index("k pending")), True)
        # One waits for the other, and is given up with it.
        q.cmd("transaction", actions=[backup("j", "a", speed=1), backup("k", "b")], **GROUPED)
        steps(m, "k waiting")
        q.cmd("job-cancel", id="j")
        same(q.event("BLOCK_JOB_CANCELLED")["device"], "k")
        same(q.event("BLOCK_JOB_CANCELLED")["device"], "j")
        same(q.event("JOB_STATUS_CHANGE")["status"], "concluded")
        same(q.event("JOB_STATUS_CHANGE")["status"], "null")
        # Both are finalized when one is.
        q.cmd("transaction", actions=[backup("j", "a", auto_finalize=False), backup("k", "b")], **GROUPED)
        same(q.event("BLOCK_JOB_PENDING"), {"type": "backup", "id": "j"})
        same([j["status"] for j in q.cmd("query-jobs")], ["pending", "pending"])
        q.cmd("job-finalize", id="k")
        q.event("BLOCK_JOB_COMPLETED")
        q.event("BLOCK_JOB_COMPLETED")
        # Each for itself.
        q.cmd("transaction", actions=[backup("l", "c"), backup("j", "a", speed=1)])
        steps(m, "l null")
        q.cmd("job-cancel", id="j")
        q.event("BLOCK_JOB_CANCELLED")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
