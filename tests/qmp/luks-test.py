#!/usr/bin/env python3
"""luks-test.py: encrypted images that jobs make and change, on machines without a guest; what they make is
opened by Debian's tools.

The first argument is the program; words behind it choose tests by name.
"""
import subprocess
import sys

from disks import DISK, Disks
from qmp import Failed, check, main, same

SECRETS = [("s0", "hello"), ("s1", "second"), ("bad", "hallo")]
OBJECTS = [word for id_, data in SECRETS for word in ("-object", "secret,id=%s,data=%s" % (id_, data))]


def until(m, job, status):
    while True:
        e = m.qmp.event("JOB_STATUS_CHANGE")
        if (e["id"], e["status"]) == (job, status):
            return


def ended(m, command, **arguments):
    """Runs the job to its end; its error, or None."""
    m.qmp.cmd(command, **{"job-id": "c"}, **arguments)
    until(m, "c", "concluded")
    job = [j for j in m.qmp.cmd("query-jobs") if j["id"] == "c"][0]
    same(job["type"], "amend" if "amend" in command else "create")
    same(m.qmp.cmd("query-block-jobs"), [])
    m.qmp.fails("block-job-pause", kind="DeviceNotActive", text="Block job 'c' not found",
                device="c")
    m.qmp.cmd("job-dismiss", id="c")
    return job.get("error")


def create(m, **options):
    return ended(m, "blockdev-create", options={k.replace("_", "-"): v for k, v in options.items()})


def amend(m, node, force=False, **options):
    options = {k.replace("_", "-"): v for k, v in options.items()}
    return ended(m, "x-blockdev-amend", **{"node-name": node}, force=force, options=options)


def empty(m, name):
    path = m.folder.name + "/" + name
    same(create(m, driver="file", filename=path, size=0), None)
    m.qmp.cmd("blockdev-add", driver="file", filename=path, **{"node-name": name})
    return path


def theirs(image, *commands):
    """Debian's qemu-io on @image; its words."""
    words = [word for c in commands for word in ("-c", c)]
    objects = [word for id_, data in SECRETS for word in ("--object", "secret,id=%s,data=%s" % (id_, data))]
    done = subprocess.run(["qemu-io", *objects, "--image-opts", *words, image], check=False, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode()
    if done.returncode != 0 or "failed" in text:
        raise Failed("%s: %s" % (image, text))
    return text


def test_create_luks():
    with Disks(*DISK, *OBJECTS) as m:
        path = empty(m, "l")
        luks = {"driver": "luks", "file": "l", "size": 1 << 20}
        good = dict(luks, key_secret="s0", iter_time=1)
        same(create(m, **luks), "Parameter 'key-secret' is required for cipher")
        same(create(m, **dict(good, key_secret="no")), "No secret with id 'no'")
        same(create(m, **dict(good, size=(1 << 63) - 1)), "The requested file size is too large")
        same(create(m, **dict(good, iter_time=0)), "Parameter 'iter-time' must be at least 1")
        check("cannot be used in mode xts" in create(m, **dict(good, cipher_alg="cast5-128")), "cast5 in xts")
        same(create(m, **dict(good, cipher_alg="des")), "Parameter 'cipher-alg' does not accept value 'des'")
        check("already used" in create(m, **dict(good, file="f")), "a disk in use was formatted")
        # In one step with its file, and by each option.
        for options in ({"preallocation": "full"}, {"preallocation": "falloc", "cipher_alg": "serpent-128"},
                        {"preallocation": "metadata", "cipher_mode": "cbc", "ivgen_alg": "essiv",
                         "ivgen_hash_alg": "sha256", "hash_alg": "sha512"},
                        {"file": {"driver": "file", "filename": path}, "size": 3 << 20}):
            if isinstance(options.get("file"), dict):
                m.qmp.cmd("blockdev-del", **{"node-name": "l"})
            same(create(m, **dict(good, **options)), None)
            size = options.get("size", 1 << 20)
            words = theirs("driver=luks,key-secret=s0,file.filename=" + path, "write -P 3 0 1M", "length")
            check("\n%d MiB\n" % (size >> 20) in words, words)


def test_create_qcow2():
    with Disks(*DISK, *OBJECTS) as m:
        path = empty(m, "q")
        qcow2 = {"driver": "qcow2", "file": "q", "size": 1 << 20}
        luks = {"format": "luks", "key-secret": "s0", "iter-time": 1}
        old = create(m, **qcow2, encrypt={"format": "qcow", "key-secret": "s0"})
        check("no longer supported" in old, old)
        same(create(m, **qcow2, encrypt={"format": "luks"}),
             "Parameter 'encrypt.key-secret' is required for cipher")
        same(create(m, **qcow2, encrypt=luks), None)
        opened = {"format": "luks", "key-secret": "s0"}
        m.qmp.fails("blockdev-add", driver="qcow2", file="q", text="Invalid password",
                    encrypt=dict(opened, **{"key-secret": "bad"}), **{"node-name": "img"})
        m.qmp.cmd("blockdev-add", driver="qcow2", file="q", encrypt=opened, **{"node-name": "img"})
        m.qmp.cmd("blockdev-del", **{"node-name": "img"})
        m.qmp.cmd("blockdev-del", **{"node-name": "q"})
        theirs("driver=qcow2,encrypt.key-secret=s0,file.filename=" + path, "read -P 0 0 1M",
               "write -P 7 0 1M")


def test_amend():
    with Disks(*DISK, *OBJECTS, "-device", "pcie-root-port,id=port", "-object",
               "throttle-group,id=slow") as m:
        path = empty(m, "l")
        same(create(m, driver="luks", file="l", size=1 << 20, key_secret="s0", iter_time=1), None)
        m.qmp.cmd("blockdev-add", driver="luks",
                  file={"driver": "throttle", "throttle-group": "slow", "file": "l"},
                  **{"node-name": "img", "key-secret": "s0"})
        fails = [({"state": "active"}, "'new-secret' is required to activate a keyslot"),
                 ({"state": "active", "new_secret": "no"}, "No secret with id 'no'"),
                 ({"state": "active", "new_secret": "s1", "secret": "bad"},
                  "Invalid password, cannot unlock any keyslot"),
                 ({"state": "active", "new_secret": "s1", "old_secret": "s0"},
                  "'old-secret' must not be given when activating keyslots"),
                 ({"state": "active", "new_secret": "s1", "keyslot": 8},
                  "Invalid keyslot 8 specified, must be between 0 and 7"),
                 ({"state": "active", "new_secret": "s1", "keyslot": -1},
                  "Invalid keyslot 4294967295 specified, must be between 0 and 7"),
                 ({"state": "active", "new_secret": "s1", "keyslot": 0},
                  "Refusing to overwrite active keyslot 0 - please erase it first"),
                 ({"state": "inactive", "old_secret": "s1"},
                  "No keyslots match given (old) password for erase operation"),
                 ({"state": "inactive", "keyslot": 3}, "Given keyslot 3 is already erased (inactive)"),
                 ({"state": "inactive", "keyslot": 0, "old_secret": "s1"},
                  "Given keyslot 0 doesn't contain the given old password for erase operation")]
        for options, text in fails:
            same(amend(m, "img", driver="luks", **options), text)
        last = amend(m, "img", driver="luks", state="inactive", keyslot=0)
        check("refusing operation" in last, last)
        m.qmp.fails("x-blockdev-amend", text="Invalid job ID '1'",
                    options={"driver": "luks", "state": "active"}, **{"job-id": "1", "node-name": "img"})
        for node, driver, text in (("no", "luks", "node-name='no'"),
                                   ("r", "luks", "doesn't support changing the block driver"),
                                   ("img", "raw", "'options.driver' does not accept value 'raw'")):
            m.qmp.fails("x-blockdev-amend", text=text, options={"driver": driver, "state": "active"},
                        **{"job-id": "c", "node-name": node})
        m.qmp.fails("x-blockdev-amend", text="'options.state' is missing", options={"driver": "luks"},
                    **{"job-id": "c", "node-name": "img"})
        # With the disk in use, and while one is under way no other.
        m.qmp.cmd("device_add", driver="virtio-blk-pci", id="vd1", drive="img", bus="port")
        same(amend(m, "img", driver="luks", state="active", new_secret="s1", iter_time=1, keyslot=5), None)
        m.qmp.cmd("qom-set", path="/objects/slow", property="limits", value={"iops-total": 1})
        m.qmp.cmd("x-blockdev-amend", options={"driver": "luks", "state": "active", "new-secret": "s0",
                                               "iter-time": 1}, **{"job-id": "slow", "node-name": "img"})
        same(amend(m, "img", driver="luks", state="inactive", old_secret="s1"),
             "Key slots of block node 'img' are being changed")
        m.qmp.fails("blockdev-del", text="job 'slow'", **{"node-name": "img"})
        m.qmp.cmd("qom-set", path="/objects/slow", property="limits", value={"iops-total": 0})
        until(m, "slow", "concluded")
        same(m.qmp.cmd("query-jobs")[0].get("error"), None)
        slots = m.qmp.cmd("query-named-block-nodes")
        slots = [n for n in slots if n["node-name"] == "img"][0]["image"]["format-specific"]["data"]["slots"]
        same([s["active"] for s in slots], [True, True, False, False, False, True, False, False])
        same(amend(m, "img", driver="luks", state="inactive", old_secret="s0"), None)
        theirs("driver=luks,key-secret=s1,file.locking=off,file.filename=" + path, "read 0 1M")


def test_amend_qcow2():
    with Disks(*DISK, *OBJECTS) as m:
        path = empty(m, "q")
        luks = {"format": "luks", "key-secret": "s0", "iter-time": 1}
        same(create(m, driver="qcow2", file="q", size=1 << 20, encrypt=luks), None)
        opened = {"format": "luks", "key-secret": "s0"}
        m.qmp.cmd("blockdev-add", driver="qcow2", file="q", encrypt=opened, **{"node-name": "img"})
        same(amend(m, "img", driver="qcow2"), None)
        same(amend(m, "img", driver="qcow2", encrypt={"format": "luks", "state": "active", "new-secret": "s1",
                                                      "iter-time": 1}), None)
        same(amend(m, "img", driver="qcow2", encrypt={"format": "luks", "state": "inactive",
                                                      "old-secret": "s0"}), None)
        m.qmp.cmd("blockdev-del", **{"node-name": "img"})
        m.qmp.cmd("blockdev-add", driver="qcow2", file="q", encrypt=dict(opened, **{"key-secret": "s1"}),
                  **{"node-name": "img", "read-only": True})
        error = amend(m, "img", driver="qcow2",
                      encrypt={"format": "luks", "state": "active", "new-secret": "s0"})
        check("read-only" in error, error)
        m.qmp.cmd("blockdev-del", **{"node-name": "img"})
        m.qmp.cmd("blockdev-del", **{"node-name": "q"})
        theirs("driver=qcow2,encrypt.key-secret=s1,file.filename=" + path, "read -P 0 0 1M")
        empty(m, "plain")
        same(create(m, driver="qcow2", file="plain", size=1 << 20), None)
        m.qmp.cmd("blockdev-add", driver="qcow2", file="plain", **{"node-name": "p"})
        same(amend(m, "p", driver="qcow2", encrypt={"format": "luks", "state": "active", "new-secret": "s0"}),
             "image is not encrypted, can't amend")


def test_aes_refused():
    with Disks(*DISK, *OBJECTS) as m:
        path = m.folder.name + "/old"
        subprocess.run(["qemu-img", "create", "-q", "--object", "secret,id=s0,data=hello", "-f", "qcow2",
                        "-o", "encrypt.format=aes,encrypt.key-secret=s0", path, "1M"], check=True)
        m.qmp.fails("blockdev-add", text="AES-CBC encrypted qcow2 images is no longer supported",
                    driver="qcow2", encrypt={"format": "aes", "key-secret": "s0"}, **{"node-name": "old"},
                    file={"driver": "file", "filename": path})


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS, kvm=False))
