/* virtio-blk-test.c: disks on a raw file: reads, writes, merging, ranges, errors, resize, reset. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "block/front.h"
#include "tests/device/bench-virtio.h"
#include "util/fault.h"

#define V1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define ALL (V1 | 0xffffff | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define DISK (1 << 20)

extern const DeviceType virtio_blk_pci;

static void *find_node(const char *id, Error **errp)
{
    BlkNode *n = blk_find(id);

    if (!n) {
        error_set(errp, "no node '%s'", id);
    }
    return n;
}

static const char *node_name(void *n)
{
    return blk_name(n);
}

static const LinkClass blockdev = { .name = "blockdev", .find = find_node, .id_of = node_name };

typedef struct Disk {
    Bench *b;
    BlkNode *node;
    Vd *vd;
    char path[32];
    unsigned next;
} Disk;

static Disk *disk_new(bool read_only, const char *prop, const char *value)
{
    static bool registered;
    Disk *k = g_new0(Disk, 1);

    k->b = bench_new();
    if (!registered) {
        link_class_register(&blockdev);
        registered = true;
    }
    strcpy(k->path, "/tmp/virtio-blk-XXXXXX");
    int fd = mkstemp(k->path);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < DISK / 512; i++) {
        char sector[512];
        memset(sector, (char)i, sizeof(sector));
        assert_int_equal(write(fd, sector, 512), 512);
    }
    close(fd);
    BlkOptions o = { .driver = "file", .node_name = "d0", .filename = k->path, .read_only = read_only,
                     .discard_unmap = true };
    Error *e = NULL;
    k->node = blk_open(&o, &e);
    if (!k->node) {
        fail_msg("%s", error_text(e));
    }
    k->b->m->cfg.smp.cpus = 2;
    k->vd = vd_new(k->b, bench_device(k->b, &virtio_blk_pci, "disk", "drive", "d0", "serial", "S-123",
                                      "packed", "on", "in_order", "on", prop, value, NULL));
    return k;
}

static void disk_free(Disk *k)
{
    Loop *worker = k->vd->v->worker->loop;

    vd_free(k->vd);
    bench_free(k->b);
    blk_forget_loop(worker);
    assert_true(blk_close(k->node, NULL));
    unlink(k->path);
    g_free(k);
}

/* Puts a request into the ring; its status byte is at the address returned. */
static Gpa put(Disk *k, unsigned n, uint32_t type, uint64_t sector, Gpa data, uint32_t len, bool in)
{
    Gpa head = vd_buf(k->vd, n, 8) + 32 * (k->next++ % 64);
    uint8_t *h = bench_ram(k->b, head, 32);
    VdSeg segs[] = { { head, 16, false }, { data, len, in }, { head + 16, 1, true } };

    st32(h, type);
    st64(h + 8, sector);
    h[16] = 0xee;
    if (len == 0) {
        segs[1] = segs[2];
    }
    vd_add(k->vd, n, segs, len ? 3 : 2, false);
    return head + 16;
}

static uint8_t request(Disk *k, uint32_t type, uint64_t sector, Gpa data, uint32_t len, bool in)
{
    Gpa status = put(k, 0, type, sector, data, len, in);

    vd_kick(k->vd, 0);
    vd_wait(k->vd, 0, NULL);
    return *bench_ram(k->b, status, 1);
}

static void test_read_write(void **state)
{
    Disk *k = disk_new(false, "num-queues", "1");
    uint8_t *buf;

    vd_start(k->vd, ALL, 1);
    Gpa at = vd_buf(k->vd, 0, 0);
    buf = bench_ram(k->b, at, 4096);
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 3, at, 1024, true), VIRTIO_BLK_S_OK);
    assert_int_equal(buf[0], 3);
    assert_int_equal(buf[1023], 4);
    memset(buf, 0x5a, 512);
    assert_int_equal(request(k, VIRTIO_BLK_T_OUT, 7, at, 512, false), VIRTIO_BLK_S_OK);
    assert_int_equal(request(k, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
    memset(buf, 0, 512);
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 7, at, 512, true), VIRTIO_BLK_S_OK);
    assert_int_equal(buf[511], 0x5a);
    assert_int_equal(request(k, VIRTIO_BLK_T_GET_ID, 0, at, 20, true), VIRTIO_BLK_S_OK);
    assert_string_equal((char *)buf, "S-123");
    /* Past the end, odd lengths, unknown commands. */
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, DISK / 512 - 1, at, 1024, true), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, UINT64_MAX - 1, at, 1024, true), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(k, VIRTIO_BLK_T_OUT, 0, at, 100, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(k, 77, 0, at, 512, true), VIRTIO_BLK_S_UNSUPP);
    /* Data where there is no memory: refused, and only that. */
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 0, UINT64_C(1) << 45, 512, true), VIRTIO_BLK_S_IOERR);
    assert_false(k->vd->v->broken);
    disk_free(k);
}

static void test_merge(void **state)
{
    Disk *k = disk_new(false, "num-queues", "1");
    Gpa status[3];
    BlkStats before, after;

    vd_start(k->vd, ALL, 1);
    blk_stats(k->node, &before);
    for (unsigned i = 0; i < 3; i++) {
        status[i] = put(k, 0, VIRTIO_BLK_T_IN, 10 + 2 * i, vd_buf(k->vd, 0, i), 1024, true);
    }
    vd_kick(k->vd, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(vd_wait(k->vd, 0, NULL), 1025);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(*bench_ram(k->b, status[i], 1), VIRTIO_BLK_S_OK);
        assert_int_equal(*bench_ram(k->b, vd_buf(k->vd, 0, i), 1), 10 + 2 * i);
        assert_int_equal(*bench_ram(k->b, vd_buf(k->vd, 0, i) + 1023, 1), 11 + 2 * i);
    }
    blk_stats(k->node, &after);
    assert_int_equal(after.ops[BLK_READ] - before.ops[BLK_READ], 1);
    assert_int_equal(after.bytes[BLK_READ] - before.bytes[BLK_READ], 3072);
    disk_free(k);
}

static void test_ranges(void **state)
{
    Disk *k = disk_new(false, "num-queues", "1");

    vd_start(k->vd, ALL, 1);
    Gpa at = vd_buf(k->vd, 0, 0), seg = vd_buf(k->vd, 0, 1);
    uint8_t *s = bench_ram(k->b, seg, 16), *buf = bench_ram(k->b, at, 4096);
    st64(s, 16);
    st32(s + 8, 2);
    st32(s + 12, 1);
    assert_int_equal(request(k, VIRTIO_BLK_T_WRITE_ZEROES, 0, seg, 16, false), VIRTIO_BLK_S_OK);
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 16, at, 1024, true), VIRTIO_BLK_S_OK);
    assert_int_equal(buf[0] | buf[1023], 0);
    /* The flag is not for discards; a range past the end is refused. */
    assert_int_equal(request(k, VIRTIO_BLK_T_DISCARD, 0, seg, 16, false), VIRTIO_BLK_S_UNSUPP);
    st32(s + 12, 0);
    assert_int_equal(request(k, VIRTIO_BLK_T_DISCARD, 0, seg, 16, false), VIRTIO_BLK_S_OK);
    st64(s, UINT64_MAX);
    assert_int_equal(request(k, VIRTIO_BLK_T_DISCARD, 0, seg, 16, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(k, VIRTIO_BLK_T_DISCARD, 0, seg, 15, false), VIRTIO_BLK_S_IOERR);
    disk_free(k);
}

static void test_config(void **state)
{
    Disk *k = disk_new(false, "queue-size", "64");
    Gpa c = k->vd->bar + 0x2000;

    vd_start(k->vd, ALL, 2);
    assert_int_equal(bench_read64(k->b, c), DISK / 512);
    assert_int_equal(bench_read32(k->b, c + 12), 62);
    assert_int_equal(bench_read32(k->b, c + 20), 512);
    assert_int_equal(bench_read16(k->b, c + 34), 2);
    assert_int_equal(bench_read8(k->b, c + 32), 1);
    bench_write8(k->b, c + 32, 0);
    assert_int_equal(bench_read8(k->b, c + 32), 0);
    /* A resize interrupts and changes the generation. */
    uint8_t gen = (uint8_t)vd_common(k->vd, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
    bench_msi_clear(k->b);
    assert_true(blk_truncate(k->node, 2 * DISK, NULL));
    bench_run(k->b);
    assert_int_equal(bench_read64(k->b, c), 2 * DISK / 512);
    assert_int_not_equal(vd_common(k->vd, VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
    assert_int_equal(bench_msi(k->b, 0)->data, 0x40);
    bench_save_load(k->b, k->vd->d);
    assert_int_equal(bench_read8(k->b, c + 32), 0);
    disk_free(k);
}

static void test_read_only(void **state)
{
    Disk *k = disk_new(true, "num-queues", "1");

    vd_start(k->vd, ALL, 1);
    assert_true(k->vd->agreed >> VIRTIO_BLK_F_RO & 1);
    assert_int_equal(request(k, VIRTIO_BLK_T_OUT, 0, vd_buf(k->vd, 0, 0), 512, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 0, vd_buf(k->vd, 0, 0), 512, true), VIRTIO_BLK_S_OK);
    disk_free(k);
}

static void test_hostile(void **state)
{
    Disk *k = disk_new(false, "num-queues", "1");
    VdSeg short_head[] = { { 0, 8, false }, { 0, 1, true } }, no_status[] = { { 0, 16, false } };

    for (unsigned i = 0; i < 2; i++) {
        vd_start(k->vd, ALL, 1);
        short_head[0].addr = short_head[1].addr = no_status[0].addr = vd_buf(k->vd, 0, 0);
        vd_add(k->vd, 0, i ? no_status : short_head, i ? 1 : 2, false);
        vd_kick(k->vd, 0);
        while (!__atomic_load_n(&k->vd->v->broken, __ATOMIC_SEQ_CST)) {
            vd_sync(k->vd);
        }
    }
    vd_start(k->vd, ALL, 1);
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 0, vd_buf(k->vd, 0, 0), 512, true), VIRTIO_BLK_S_OK);
    disk_free(k);
}

/* Reset, quiesce and removal with requests in flight. */
static void test_in_flight(void **state)
{
    Disk *k = disk_new(false, "num-queues", "2");

    for (unsigned round = 0; round < 8; round++) {
        vd_start(k->vd, ALL | (round & 1 ? 0 : UINT64_C(1) << VIRTIO_F_RING_RESET), 2);
        for (unsigned i = 0; i < 8; i++) {
            put(k, i & 1, VIRTIO_BLK_T_OUT, i * 8, vd_buf(k->vd, i & 1, i), 4096, false);
        }
        vd_kick(k->vd, 0);
        vd_kick(k->vd, 1);
        if (round % 4 == 1) {
            bench_quiesce(k->b);
            bench_resume(k->b);
            vd_wait(k->vd, 0, NULL);
            vd_wait(k->vd, 1, NULL);
        }
        if (round % 4 == 2) {
            vd_set_common(k->vd, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
            vd_set_common(k->vd, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
            while (vd_common(k->vd, VIRTIO_PCI_COMMON_Q_RESET, 2)) {
                vd_sync(k->vd);
            }
            vd_wait(k->vd, 0, NULL);
        }
        vd_reset(k->vd);
    }
    vd_start(k->vd, ALL, 2);
    put(k, 0, VIRTIO_BLK_T_OUT, 0, vd_buf(k->vd, 0, 0), 4096, false);
    vd_kick(k->vd, 0);
    bench_remove(k->b, k->vd->d);
    Loop *worker = iothread_default()->loop;
    vd_free(k->vd);
    bench_free(k->b);
    blk_forget_loop(worker);
    assert_true(blk_close(k->node, NULL));
    unlink(k->path);
    g_free(k);
}

/* --- errors --- */

static unsigned told;                          /* atomic: errors the listener heard of */
static BlkErrorAction told_action;
static int told_err;

static void listener(const BlkFront *f, const BlkNode *node, bool read, BlkErrorAction action, int err)
{
    told_action = action;
    told_err = err;
    __atomic_add_fetch(&told, 1, __ATOMIC_SEQ_CST);
}

static bool asked_to_stop(void *arg)
{
    Disk *k = arg;

    return k->b->requests[REQUEST_IO_ERROR] != 0;
}

/* A write that fails by @fault under werror=@policy: its status, 0xff when it is kept. */
static uint8_t failing_write(const char *policy, const char *fault, BlkErrorAction action, int err)
{
    Disk *k = disk_new(false, "werror", policy);
    uint8_t ret = 0xff;

    vd_start(k->vd, ALL & ~(UINT64_C(1) << VIRTIO_BLK_F_FLUSH), 1);    /* past the page cache's short cut */
    blk_set_error_listener(listener);
    __atomic_store_n(&told, 0, __ATOMIC_SEQ_CST);
    fault_arm(fault, 1);
    Gpa status = put(k, 0, VIRTIO_BLK_T_OUT, 8, vd_buf(k->vd, 0, 0), 512, false);
    vd_kick(k->vd, 0);
    if (action == BLK_ERROR_STOP) {
        bench_until(k->b, asked_to_stop, k);
        assert_false(vd_used(k->vd, 0));
        assert_int_equal(blk_front_io_status(blk_front_find("disk")),
                         err == -ENOSPC ? BLK_IO_NOSPACE : BLK_IO_FAILED);
    } else {
        vd_wait(k->vd, 0, NULL);
        ret = *bench_ram(k->b, status, 1);
        assert_int_equal(bench_requests(k->b, REQUEST_IO_ERROR), 0);
    }
    assert_true(fault_disarm());
    assert_int_equal(__atomic_load_n(&told, __ATOMIC_SEQ_CST), 1);
    assert_int_equal(told_action, action);
    assert_int_equal(told_err, err);
    blk_set_error_listener(NULL);
    disk_free(k);
    return ret;
}

static void test_error_policies(void **state)
{
    assert_int_equal(failing_write("report", "file-full", BLK_ERROR_REPORT, -ENOSPC), VIRTIO_BLK_S_IOERR);
    assert_int_equal(failing_write("ignore", "file-full", BLK_ERROR_IGNORE, -ENOSPC), VIRTIO_BLK_S_OK);
    assert_int_equal(failing_write("enospc", "file-write", BLK_ERROR_REPORT, -EIO), VIRTIO_BLK_S_IOERR);
    failing_write("enospc", "file-full", BLK_ERROR_STOP, -ENOSPC);
    failing_write("auto", "file-full", BLK_ERROR_STOP, -ENOSPC);
    failing_write("stop", "file-write", BLK_ERROR_STOP, -EIO);
}

/* A request is kept, another one ends meanwhile; saved, loaded, and made again. */
static void keep_and_retry(uint64_t features, bool loaded)
{
    Disk *k = disk_new(false, "werror", "stop");
    bool in_order = features >> VIRTIO_F_IN_ORDER & 1;
    uint8_t sector[512];
    Gpa status[2];
    uint16_t id[2];

    vd_start(k->vd, (ALL & ~(UINT64_C(1) << VIRTIO_BLK_F_FLUSH)) | features, 1);
    assert_int_equal(k->vd->agreed & features, features);
    memset(bench_ram(k->b, vd_buf(k->vd, 0, 0), 512), 0xa1, 512);
    memset(bench_ram(k->b, vd_buf(k->vd, 0, 1), 512), 0xb2, 512);
    fault_arm("file-write", 1);
    status[0] = put(k, 0, VIRTIO_BLK_T_OUT, 40, vd_buf(k->vd, 0, 0), 512, false);
    vd_kick(k->vd, 0);
    bench_until(k->b, asked_to_stop, k);
    assert_true(fault_disarm());
    status[1] = put(k, 0, VIRTIO_BLK_T_OUT, 50, vd_buf(k->vd, 0, 1), 512, false);
    vd_kick(k->vd, 0);
    while (*bench_ram(k->b, status[1], 1) == 0xee) {
        vd_sync(k->vd);
    }
    if (!in_order) {
        vd_wait(k->vd, 0, &id[1]);
    } else {
        assert_false(vd_used(k->vd, 0));
    }
    assert_int_equal(*bench_ram(k->b, status[0], 1), 0xee);
    if (loaded) {
        bench_save_load(k->b, k->vd->d);
    } else {
        bench_quiesce(k->b);
        bench_resume(k->b);
    }
    vd_wait(k->vd, 0, &id[0]);
    if (in_order) {
        vd_wait(k->vd, 0, &id[1]);
    }
    assert_int_not_equal(id[0], id[1]);
    assert_int_equal(*bench_ram(k->b, status[0], 1), VIRTIO_BLK_S_OK);
    assert_int_equal(*bench_ram(k->b, status[1], 1), VIRTIO_BLK_S_OK);
    assert_int_equal(blk_pread(k->node, 40 * 512, sector, 512), 0);
    assert_int_equal(sector[511], 0xa1);
    assert_int_equal(blk_pread(k->node, 50 * 512, sector, 512), 0);
    assert_int_equal(sector[0], 0xb2);
    /* And nothing is left over. */
    assert_int_equal(request(k, VIRTIO_BLK_T_IN, 40, vd_buf(k->vd, 0, 2), 512, true), VIRTIO_BLK_S_OK);
    disk_free(k);
}

static void test_stop_and_retry(void **state)
{
    for (unsigned i = 0; i < 8; i++) {
        keep_and_retry((i & 1 ? UINT64_C(1) << VIRTIO_F_RING_PACKED : 0) |
                       (i & 2 ? UINT64_C(1) << VIRTIO_F_IN_ORDER : 0), i & 4);
    }
}

/* The driver resets the device, or a ring of it, while a request is kept: it is forgotten. */
static void test_reset_of_kept(void **state)
{
    for (unsigned ring = 0; ring < 2; ring++) {
        Disk *k = disk_new(false, "werror", "stop");

        vd_start(k->vd, (ALL & ~(UINT64_C(1) << VIRTIO_BLK_F_FLUSH)) | UINT64_C(1) << VIRTIO_F_RING_RESET, 1);
        fault_arm("file-write", 1);
        put(k, 0, VIRTIO_BLK_T_OUT, 40, vd_buf(k->vd, 0, 0), 512, false);
        vd_kick(k->vd, 0);
        bench_until(k->b, asked_to_stop, k);
        assert_true(fault_disarm());
        if (ring) {
            vd_set_common(k->vd, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
            vd_set_common(k->vd, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
            while (vd_common(k->vd, VIRTIO_PCI_COMMON_Q_RESET, 2)) {
                vd_sync(k->vd);
            }
        } else {
            vd_reset(k->vd);
        }
        assert_int_equal(k->vd->v->queues[0].parked.length, 0);
        disk_free(k);
    }
}

static void test_bad_props(void **state)
{
    Bench *b = bench_new();
    BlkOptions o = { .driver = "null-co", .node_name = "n0" };
    BlkNode *n = blk_open(&o, NULL);
    Error *e = NULL;
    static const struct { const char *prop, *value, *text; } bad[] = {
        { "num-queues", "0", "num-queues property must be larger than 0 and at most 1024" },
        { "queue-size", "100", "invalid queue-size property (100), must be a power of 2 (max 1024)" },
        { "logical_block_size", "513", "logical_block_size must be a power of two from 512 B to 2 MiB" },
        { "scsi", "on", "scsi=on is not supported: SCSI commands ended with legacy virtio" },
    };

    assert_null(bench_try_device(b, &virtio_blk_pci, "x", &e, NULL));
    assert_string_equal(error_text(e), "drive property not set");
    g_clear_pointer(&e, error_free);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(bench_try_device(b, &virtio_blk_pci, "x", &e, "drive", "n0", bad[i].prop, bad[i].value,
                                     NULL));
        assert_string_equal(error_text(e), bad[i].text);
        g_clear_pointer(&e, error_free);
    }
    bench_device(b, &virtio_blk_pci, "y", "drive", "n0", NULL);
    assert_null(bench_try_device(b, &virtio_blk_pci, "z", &e, "drive", "n0", NULL));
    assert_non_null(e);
    error_free(e);
    bench_free(b);
    assert_true(blk_close(n, NULL));
}

static void refused_mappings(Bench *b)
{
    static const struct { const char *value, *text; } bad[] = {
        { "[{\"iothread\":\"io0\"}", "a list of objects with 'iothread', and perhaps 'vqs', is expected" },
        { "[]", "a list of objects with 'iothread', and perhaps 'vqs', is expected" },
        { "[{\"iothread\":\"nix\"}]", "there is no iothread 'nix'" },
        { "[{\"vqs\":[0]}]", "each entry is an object with the string 'iothread'" },
        { "[{\"iothread\":\"io0\",\"x\":1}]", "'x' is unexpected" },
        { "[{\"iothread\":\"io0\"},{\"iothread\":\"io0\"}]", "iothread 'io0' is there twice" },
        { "[{\"iothread\":\"io0\",\"vqs\":[0,1]},{\"iothread\":\"io1\"}]",
          "either all entries have 'vqs' or none has" },
        { "[{\"iothread\":\"io0\",\"vqs\":[0,2]}]", "'vqs' of iothread 'io0' are numbers from 0 to 1" },
        { "[{\"iothread\":\"io0\",\"vqs\":[0]}]", "queue 1 is given to no iothread" },
        { "[{\"iothread\":\"io0\",\"vqs\":[0,0,1]}]", "queue 0 is given to 'io0' and to 'io0'" },
    };
    BlkOptions o = { .driver = "null-co", .node_name = "n1", .has_size = true, .size = DISK };
    BlkNode *n1 = blk_open(&o, NULL);
    Error *e = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autofree char *want = g_strdup_printf("iothread-vq-mapping: %s", bad[i].text);
        assert_null(bench_try_device(b, &virtio_blk_pci, "x", &e, "drive", "n1", "num-queues", "2",
                                     "iothread-vq-mapping", bad[i].value, NULL));
        assert_string_equal(error_text(e), want);
        g_clear_pointer(&e, error_free);
    }
    assert_true(blk_close(n1, NULL));
}

/* Two I/O threads for one disk: each has its queue; stops and resets hold on both. */
static void test_vq_mapping(void **state)
{
    Disk *k = disk_new(false, "num-queues", "1");
    IoThread *io[] = { iothread_new("io0", 0, 0, 0, NULL), iothread_new("io1", 0, 0, 0, NULL) };

    refused_mappings(k->b);
    bench_remove(k->b, k->vd->d);
    vd_free(k->vd);
    k->vd = vd_new(k->b, bench_device(k->b, &virtio_blk_pci, "two", "drive", "d0", "num-queues", "2",
                                      "iothread-vq-mapping",
                                      "[{\"iothread\":\"io0\"},{\"iothread\":\"io1\"}]", NULL));
    for (unsigned i = 0; i < 2; i++) {
        assert_ptr_equal(k->vd->v->queues[i].loop, io[i]->loop);
        assert_false(iothread_remove(io[i], NULL));
    }
    for (unsigned round = 0; round < 8; round++) {
        vd_start(k->vd, ALL, 2);
        for (unsigned i = 0; i < 8; i++) {
            put(k, i & 1, VIRTIO_BLK_T_OUT, i * 8, vd_buf(k->vd, i & 1, i), 4096, false);
        }
        put(k, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false);
        vd_kick(k->vd, 0);
        vd_kick(k->vd, 1);
        if (round & 1) {
            bench_quiesce(k->b);
            bench_resume(k->b);
            vd_wait(k->vd, 0, NULL);
            vd_wait(k->vd, 1, NULL);
        }
        vd_reset(k->vd);
    }
    bench_remove(k->b, k->vd->d);
    for (unsigned i = 0; i < 2; i++) {
        blk_forget_loop(io[i]->loop);
        assert_true(iothread_remove(io[i], NULL));
    }
    vd_free(k->vd);
    bench_free(k->b);
    blk_forget_loop(iothread_default()->loop);
    assert_true(blk_close(k->node, NULL));
    unlink(k->path);
    g_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_error_policies),
        cmocka_unit_test(test_stop_and_retry),
        cmocka_unit_test(test_reset_of_kept),
        cmocka_unit_test(test_bad_props),
        cmocka_unit_test(test_vq_mapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
