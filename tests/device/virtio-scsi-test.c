/* virtio-scsi-test.c: the host adapter, "scsi-hd" and "scsi-cd" behind it: addressing, commands, sense,
 * trays, task management, events, errors that stop, hot-plug, hostile requests. */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_scsi.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/front.h"
#include "core/iothread.h"
#include "hw/scsi/scsi.h"
#include "tests/device/bench-virtio.h"
#include "tests/device/device-test.h"
#include "util/fault.h"

#define V1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define ALL (V1 | 0xffffff | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define DISK (1u << 20)
#define RESP 108
#define RQ 2
#define QUEUES 4

extern const DeviceType virtio_scsi_pci;

static void *find_node(const char *id, Error **errp)
{
    BlkNode *n = blk_find(id);

    return n != NULL ? n : (error_set(errp, "no node '%s'", id), NULL);
}

static const char *node_name(void *n)
{
    return blk_name(n);
}

static const LinkClass blockdev = { .name = "blockdev", .find = find_node, .id_of = node_name };

static Bench *b;
static Vd *vd;
static Device *disk, *cd;
static BlkNode *node, *iso;
static char path[32];
static unsigned turn;

static int setup(void **state)
{
    static bool registered;
    BlkOptions o = { .driver = "file", .node_name = "d0", .filename = path, .discard_unmap = true };
    BlkOptions c = { .driver = "null-co", .node_name = "c0", .has_size = true, .size = 1 << 20,
                     .read_zeroes = true, .read_only = true };

    b = bench_new();
    if (!registered) {
        link_class_register(&blockdev);
        registered = true;
    }
    strcpy(path, "/tmp/virtio-scsi-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < DISK / 512; i++) {
        uint8_t sector[512];
        memset(sector, (int)i & 0xff, sizeof(sector));
        assert_int_equal(write(fd, sector, 512), 512);
    }
    close(fd);
    b->m->cfg.smp.cpus = 2;
    node = blk_open(&o, NULL);
    iso = blk_open(&c, NULL);
    assert_true(node && iso);
    vd = vd_new(b, bench_device(b, &virtio_scsi_pci, "hba", "packed", "on", NULL));
    disk = bench_device(b, &scsi_hd_type, "disk", "drive", "d0", "serial", "S-1", "wwn", "0x5000c50015ea71aa",
                        "scsi-id", "3", "lun", "1", "werror", "stop", "removable", "off", NULL);
    cd = bench_device(b, &scsi_cd_type, "cd", "drive", "c0", "scsi-id", "4", NULL);
    turn = 0;
    return 0;
}

static int teardown(void **state)
{
    Loop *worker = vd->v->worker->loop;

    vd_free(vd);
    bench_free(b);
    blk_forget_loop(worker);
    assert_true(blk_close(node, NULL));
    assert_true(blk_close(iso, NULL));
    unlink(path);
    return 0;
}

/* --- requests --- */

typedef struct Cdb {
    uint8_t b[16];
} Cdb;
#define CDB(...) ((Cdb){ { __VA_ARGS__ } })

typedef struct Answer {
    uint8_t response, status, key, asc, ascq;
    uint32_t residual, len;
} Answer;

static uint8_t *data(void)
{
    return bench_ram(b, vd_buf(vd, RQ, 0), 4096);
}

/* Puts a request for a unit into queue @q; returns the address of its response. */
static Gpa put(unsigned q, unsigned target, unsigned lun, Cdb cdb, uint32_t in, uint32_t out, uint64_t tag)
{
    Gpa head = vd_buf(vd, q, 8) + 256 * (turn++ % 16), at = vd_buf(vd, q, 0);
    uint8_t *h = bench_ram(b, head, 256);
    VdSeg segs[4] = { { head, 51, false } };
    unsigned n = 1;

    memset(h, 0, 256);
    h[0] = 1;
    h[1] = (uint8_t)target;
    h[2] = (uint8_t)(0x40 | lun >> 8);
    h[3] = lun & 0xff;
    st64(h + 8, tag);
    memcpy(h + 19, cdb.b, 16);
    memset(h + 64, 0xee, RESP);
    if (out > 0) {
        segs[n++] = (VdSeg){ at, out, false };
    }
    segs[n++] = (VdSeg){ head + 64, RESP, true };
    if (in > 0) {
        segs[n++] = (VdSeg){ at, in, true };
    }
    vd_add(vd, q, segs, n, false);
    return head + 64;
}

static Answer answer_at(Gpa at, uint32_t len)
{
    const uint8_t *r = bench_ram(b, at, RESP);
    Answer a = { .response = r[11], .status = r[10], .residual = ld32(r + 4), .len = len };

    if (ld32(r) > 0) {
        assert_int_equal(ld32(r), 18);
        assert_int_equal(r[12], 0x70);
        a.key = r[14];
        a.asc = r[24];
        a.ascq = r[25];
    }
    return a;
}

static Answer run(unsigned target, unsigned lun, Cdb cdb, uint32_t in, uint32_t out)
{
    Gpa at = put(RQ, target, lun, cdb, in, out, 1);

    vd_kick(vd, RQ);
    return answer_at(at, vd_wait(vd, RQ, NULL));
}

static void good(unsigned target, unsigned lun, Cdb cdb, uint32_t in, uint32_t out)
{
    Answer a = run(target, lun, cdb, in, out);

    assert_int_equal(a.response, VIRTIO_SCSI_S_OK);
    assert_int_equal(a.status, 0);
}

static void sense(unsigned target, unsigned lun, Cdb cdb, uint32_t in, uint32_t out, uint8_t key, uint8_t asc,
                  uint8_t ascq)
{
    Answer a = run(target, lun, cdb, in, out);

    assert_int_equal(a.response, VIRTIO_SCSI_S_OK);
    assert_int_equal(a.status, 2);
    assert_int_equal(a.key, key);
    assert_int_equal(a.asc, asc);
    assert_int_equal(a.ascq, ascq);
}

#define READY CDB(0)

/* Starts the driver and hears of the power-on. */
static void start(void)
{
    vd_start(vd, ALL, QUEUES);
    sense(3, 1, READY, 0, 0, 6, 0x29, 0);
    sense(4, 0, READY, 0, 0, 6, 0x29, 0);
    good(3, 1, READY, 0, 0);
}

/* --- addressing, INQUIRY, REPORT LUNS --- */

static void test_addresses(void **state)
{
    start();
    assert_int_equal(run(9, 0, READY, 0, 0).response, VIRTIO_SCSI_S_BAD_TARGET);
    sense(3, 2, READY, 0, 0, 5, 0x25, 0);
    good(3, 0, CDB(0x12, 0, 0, 0, 36), 36, 0);
    assert_int_equal(data()[0], 0x7f);
    good(3, 1, CDB(0x12, 0, 0, 0, 36), 36, 0);
    assert_int_equal(data()[0], 0);
    assert_memory_equal(data() + 8, "QEMU    QEMU HARDDISK   2.5+", 28);
    good(4, 0, CDB(0x12, 0, 0, 0, 36), 36, 0);
    assert_int_equal(data()[0], 5);
    assert_int_equal(data()[1], 0x80);
    /* LUN 0 is listed, and LUN 1 that is there. */
    Answer a = run(3, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0), 256, 0);
    assert_int_equal(a.residual, 256 - 24);
    assert_int_equal(a.len, RESP + 24);
    assert_int_equal(data()[3], 16);
    assert_int_equal(data()[9], 0);
    assert_int_equal(data()[17], 1);
    sense(3, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 8), 8, 0, 5, 0x24, 0);
    /* Both directions; more data than there is room for. */
    assert_int_equal(run(3, 1, READY, 512, 512).response, VIRTIO_SCSI_S_FAILURE);
    assert_int_equal(run(3, 1, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2), 512, 0).response, VIRTIO_SCSI_S_OVERRUN);
}

static void test_pages(void **state)
{
    start();
    good(3, 1, CDB(0x12, 1, 0, 0, 255), 255, 0);
    assert_memory_equal(data(), "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10);
    good(3, 1, CDB(0x12, 1, 0x80, 0, 255), 255, 0);
    assert_memory_equal(data(), "\0\x80\0\3S-1", 7);
    good(3, 1, CDB(0x12, 1, 0x83, 0, 255), 255, 0);
    assert_memory_equal(data(), "\0\x83\0\x13\2\0\0\3S-1\1\3\0\x08\x50\0\xc5\0\x15\xea\x71\xaa", 23);
    good(3, 1, CDB(0x12, 1, 0xb0, 0, 255), 255, 0);
    assert_memory_equal(data(), "\0\xb0\0\x3c\1\0\0\0\0\x3f\xff\xff", 12);
    sense(3, 1, CDB(0x12, 1, 0xc0, 0, 255), 255, 0, 5, 0x24, 0);
    sense(3, 1, CDB(0x12, 0, 0x80, 0, 255), 255, 0, 5, 0x24, 0);
    sense(4, 0, CDB(0x12, 1, 0xb0, 0, 255), 255, 0, 5, 0x24, 0);
    /* The caching page; what may be changed of it; nothing is saved. */
    good(3, 1, CDB(0x1a, 8, 0x08, 0, 255), 255, 0);
    assert_memory_equal(data(), "\x17\0\0\0\x08\x12\4", 7);
    good(3, 1, CDB(0x1a, 8, 0x48, 0, 255), 255, 0);
    assert_memory_equal(data() + 4, "\x08\x12\4\0", 4);
    sense(3, 1, CDB(0x1a, 8, 0xc8, 0, 255), 255, 0, 5, 0x39, 0);
    sense(3, 1, CDB(0x1a, 8, 0x3e, 0, 255), 255, 0, 5, 0x24, 0);
    memset(data(), 0, 24);
    memcpy(data() + 4, "\x08\x12", 2);
    good(3, 1, CDB(0x15, 0x10, 0, 0, 24), 0, 24);
    good(3, 1, CDB(0x5a, 8, 0x08, 0, 0, 0, 0, 0, 255), 255, 0);
    assert_memory_equal(data() + 8, "\x08\x12\0", 3);
    data()[4 + 3] = 1;
    memset(data(), 0, 4);
    memcpy(data() + 4, "\x08\x12\1", 3);
    sense(3, 1, CDB(0x15, 0x10, 0, 0, 24), 0, 24, 5, 0x26, 0);
    sense(3, 1, CDB(0x15, 0x00, 0, 0, 24), 0, 24, 5, 0x24, 0);
    bench_save_load(b, vd->d);
    good(3, 1, CDB(0x5a, 8, 0x08, 0, 0, 0, 0, 0, 255), 255, 0);
    assert_memory_equal(data() + 8, "\x08\x12\0", 3);
    /* Capacity. */
    good(3, 1, CDB(0x25), 8, 0);
    assert_memory_equal(data(), "\0\0\x07\xff\0\0\2\0", 8);
    good(3, 1, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 32, 0);
    assert_memory_equal(data() + 4, "\0\0\x07\xff\0\0\2\0\0\0\x80", 11);
    sense(3, 1, CDB(0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 32, 0, 5, 0x24, 0);
}

/* --- reads, writes and what is like them --- */

static void test_data(void **state)
{
    uint8_t got[1024];

    start();
    good(3, 1, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 2), 1024, 0);
    assert_int_equal(data()[0], 7);
    assert_int_equal(data()[1023], 8);
    good(3, 1, CDB(0x08, 0, 0, 9, 1), 512, 0);
    assert_int_equal(data()[511], 9);
    memset(data(), 0x5a, 512);
    good(3, 1, CDB(0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1), 0, 512);
    assert_int_equal(blk_pread(node, 20 * 512, got, 512), 0);
    assert_int_equal(got[511], 0x5a);
    /* Compared: the same, and another. */
    good(3, 1, CDB(0x2f, 2, 0, 0, 0, 20, 0, 0, 1), 0, 512);
    data()[300] = 0;
    sense(3, 1, CDB(0x2f, 2, 0, 0, 0, 20, 0, 0, 1), 0, 512, 0x0e, 0x1d, 0);
    /* The same block again and again; zeroes; a range given back. */
    memset(data(), 0x77, 512);
    good(3, 1, CDB(0x41, 0, 0, 0, 0, 30, 0, 0, 2), 0, 512);
    assert_int_equal(blk_pread(node, 30 * 512, got, 1024), 0);
    assert_true(got[0] == 0x77 && got[1023] == 0x77);
    good(3, 1, CDB(0x93, 1, 0, 0, 0, 0, 0, 0, 0, 31, 0, 0, 0, 1), 0, 0);
    assert_int_equal(blk_pread(node, 30 * 512, got, 1024), 0);
    assert_true(got[511] == 0x77 && got[512] == 0 && got[1023] == 0);
    sense(3, 1, CDB(0x41, 0, 0, 0, 0, 30, 0, 0, 0), 0, 512, 5, 0x24, 0);
    memset(data(), 0, 24);
    memcpy(data(), "\0\x16\0\x10\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\x08", 20);
    good(3, 1, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 0, 24);
    data()[12] = 1;
    sense(3, 1, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 0, 24, 5, 0x21, 0);
    data()[3] = 15;
    sense(3, 1, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24), 0, 24, 5, 0x26, 0);
    sense(3, 1, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 4), 0, 4, 5, 0x1a, 0);
    assert_int_equal(blk_front_find("disk")->invalid[BLK_DISCARD], 3);
    good(3, 1, CDB(0x35), 0, 0);
    good(3, 1, CDB(0x91), 0, 0);
    /* Beyond the end; protection information; reservations; a code that is none. */
    sense(3, 1, CDB(0x28, 0, 0, 0, 0x08, 0, 0, 0, 1), 512, 0, 5, 0x21, 0);
    sense(3, 1, CDB(0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2), 1024, 0, 5, 0x21, 0);
    assert_int_equal(blk_front_find("disk")->invalid[BLK_READ], 0);
    sense(3, 1, CDB(0x28, 0x20, 0, 0, 0, 0, 0, 0, 1), 512, 0, 5, 0x24, 0);
    sense(3, 1, CDB(0x5e, 0, 0, 0, 0, 0, 0, 0, 8), 8, 0, 5, 0x20, 0);
    sense(3, 1, CDB(0xff), 0, 0, 5, 0x20, 0);
    sense(4, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1), 0, 2048, 5, 0x20, 0);
}

/* --- CD-ROM --- */

static void test_tray(void **state)
{
    BlkFront *f = blk_front_find("cd");
    Error *e = NULL;

    start();
    good(4, 0, READY, 0, 0);
    good(4, 0, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 255), 255, 0);
    assert_int_equal(data()[1], 18);
    good(4, 0, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 255), 255, 0);
    assert_int_equal(data()[7], 8);
    good(4, 0, CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 1), 2048, 0);
    /* Locked, the host can only ask. */
    good(4, 0, CDB(0x1e, 0, 0, 0, 1), 0, 0);
    assert_true(f->tray->is_locked(f));
    assert_false(f->tray->open(f, false, &e));
    assert_non_null(e);
    g_clear_pointer(&e, error_free);
    good(4, 0, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8, 0);
    assert_int_equal(data()[4], 1);
    sense(4, 0, CDB(0x1b, 0, 0, 0, 2), 0, 0, 5, 0x53, 2);
    good(4, 0, CDB(0x1e, 0, 0, 0, 0), 0, 0);
    /* Opened by the guest, changed, closed by the host: it hears of it once. */
    good(4, 0, CDB(0x1b, 0, 0, 0, 2), 0, 0);
    assert_true(f->tray->is_open(f));
    sense(4, 0, READY, 0, 0, 2, 0x3a, 2);
    assert_true(f->tray->change(f, NULL, NULL));
    assert_true(f->tray->change(f, iso, NULL));
    bench_save_load(b, vd->d);
    f->tray->close(f);
    sense(4, 0, READY, 0, 0, 6, 0x28, 0);
    good(4, 0, READY, 0, 0);
    assert_false(f->tray->change(f, iso, &e));
    error_free(e);
    assert_true(f->tray->open(f, false, NULL));
    assert_true(f->tray->change(f, NULL, NULL));
    f->tray->close(f);
    sense(4, 0, READY, 0, 0, 2, 0x3a, 0);
}

/* --- task management --- */

static uint8_t control(uint32_t type, uint32_t subtype, unsigned target, unsigned lun, uint64_t tag)
{
    Gpa at = vd_buf(vd, 0, 0);
    uint8_t *r = bench_ram(b, at, 64);
    bool tmf = type == VIRTIO_SCSI_T_TMF;
    VdSeg segs[] = { { at, tmf ? 24 : 16, false }, { at + 32, tmf ? 1 : 5, true } };

    memset(r, 0, 64);
    st32(r, type);
    if (tmf) {
        st32(r + 4, subtype);
    }
    uint8_t *to = r + (tmf ? 8 : 4);
    to[0] = 1;
    to[1] = (uint8_t)target;
    to[3] = (uint8_t)lun;
    st64(r + 16, tag);
    r[32] = r[36] = 0xee;
    vd_add(vd, 0, segs, 2, false);
    vd_kick(vd, 0);
    vd_wait(vd, 0, NULL);
    return r[tmf ? 32 : 36];
}

static void test_task_management(void **state)
{
    start();
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_ABORT_TASK, 3, 1, 7), VIRTIO_SCSI_S_OK);
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_QUERY_TASK, 3, 1, 7), VIRTIO_SCSI_S_OK);
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_CLEAR_ACA, 3, 1, 7), VIRTIO_SCSI_S_FUNCTION_REJECTED);
    assert_int_equal(control(0, 99, 3, 1, 7), VIRTIO_SCSI_S_FUNCTION_REJECTED);
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_ABORT_TASK, 9, 1, 7), VIRTIO_SCSI_S_BAD_TARGET);
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_ABORT_TASK, 3, 5, 7), VIRTIO_SCSI_S_INCORRECT_LUN);
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 3, 1, 0), VIRTIO_SCSI_S_OK);
    sense(3, 1, READY, 0, 0, 6, 0x29, 3);
    good(3, 1, READY, 0, 0);
    assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 3, 0, 0), VIRTIO_SCSI_S_OK);
    /* REQUEST SENSE tells it, too. */
    good(3, 1, CDB(0x03, 0, 0, 0, 18), 18, 0);
    assert_int_equal(data()[2], 6);
    assert_int_equal(data()[13], 2);
    good(3, 1, READY, 0, 0);
    good(4, 0, READY, 0, 0);
    assert_int_equal(control(1, 0, 3, 1, 0), VIRTIO_SCSI_S_OK);
    assert_int_equal(control(2, 0, 3, 9, 0), VIRTIO_SCSI_S_BAD_TARGET);
    /* With requests under way: each is answered, aborted or as it ended, before the function is. */
    for (unsigned i = 0; i < 20; i++) {
        Gpa at[2];
        for (unsigned q = 0; q < 2; q++) {
            at[q] = put(RQ + q, 3, 1, CDB(0x2a, 8, 0, 0, 0, 8, 0, 0, 8), 0, 4096, 40 + q);
            vd_kick(vd, RQ + q);
        }
        assert_int_equal(control(0, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 3, 1, 0), VIRTIO_SCSI_S_OK);
        for (unsigned q = 0; q < 2; q++) {
            vd_wait(vd, RQ + q, NULL);
            uint8_t response = bench_ram(b, at[q], RESP)[11];
            assert_true(response == VIRTIO_SCSI_S_OK || response == VIRTIO_SCSI_S_ABORTED);
        }
    }
}

/* The same with two I/O threads, one for each request queue. */
static void test_io_threads(void **state)
{
    IoThread *io[] = { iothread_new("io0", 0, 0, 0, NULL), iothread_new("io1", 0, 0, 0, NULL) };

    bench_remove(b, vd->d);
    vd_free(vd);
    vd = vd_new(b, bench_device(b, &virtio_scsi_pci, "two", "iothread-vq-mapping",
                                "[{\"iothread\":\"io0\"},{\"iothread\":\"io1\"}]", NULL));
    disk = bench_device(b, &scsi_hd_type, "disk", "drive", "d0", "scsi-id", "3", "lun", "1", NULL);
    cd = bench_device(b, &scsi_cd_type, "cd", "drive", "c0", "scsi-id", "4", NULL);
    for (unsigned i = 0; i < QUEUES; i++) {
        assert_ptr_equal(vd->v->queues[i].loop, io[i == 3]->loop);
    }
    test_task_management(state);
    vd_reset(vd);
    bench_remove(b, vd->d);
    vd_free(vd);
    for (unsigned i = 0; i < ARRAY_LEN(io); i++) {
        blk_forget_loop(io[i]->loop);
        assert_true(iothread_remove(io[i], NULL));
    }
    vd = vd_new(b, bench_device(b, &virtio_scsi_pci, "hba", NULL));
}

/* --- events --- */

static void event_buffer(unsigned i)
{
    VdSeg seg = { vd_buf(vd, 1, 0) + 16 * i, 16, true };

    memset(bench_ram(b, seg.addr, 16), 0xee, 16);
    vd_add(vd, 1, &seg, 1, false);
    vd_kick(vd, 1);
    vd_sync(vd);
}

static void event(unsigned i, uint32_t what, unsigned target, unsigned lun, uint32_t reason)
{
    const uint8_t *e = bench_ram(b, vd_buf(vd, 1, 0) + 16 * i, 16);

    assert_int_equal(vd_wait(vd, 1, NULL), 16);
    assert_int_equal(ld32(e), what);
    assert_int_equal(e[5], target);
    assert_int_equal(e[7], lun);
    assert_int_equal(ld32(e + 12), reason);
}

static void test_events(void **state)
{
    BlkOptions o = { .driver = "null-co", .node_name = "n1", .has_size = true, .size = 1 << 20 };
    BlkNode *n1 = blk_open(&o, NULL);
    BlkFront *f = blk_front_find("cd");

    start();
    event_buffer(0);
    Device *d = bench_device(b, &scsi_hd_type, "late", "drive", "n1", "scsi-id", "3", NULL);
    event(0, VIRTIO_SCSI_T_TRANSPORT_RESET, 3, 0, VIRTIO_SCSI_EVT_RESET_RESCAN);
    sense(3, 0, READY, 0, 0, 6, 0x29, 0);
    good(3, 0, READY, 0, 0);
    /* A capacity that changed; one event finds no buffer: that is told. */
    event_buffer(1);
    sense(3, 1, READY, 0, 0, 6, 0x3f, 0x0e);
    good(3, 1, READY, 0, 0);
    assert_true(blk_truncate(node, 2 * DISK, NULL));
    event(1, VIRTIO_SCSI_T_PARAM_CHANGE, 3, 1, 0x092a);
    sense(3, 1, READY, 0, 0, 6, 0x2a, 9);
    good(3, 1, CDB(0x25), 8, 0);
    assert_int_equal(data()[2], 0x0f);
    assert_true(f->tray->open(f, true, NULL));
    f->tray->close(f);
    vd_sync(vd);
    event_buffer(2);
    event(2, VIRTIO_SCSI_T_EVENTS_MISSED, 0, 0, 0);
    event_buffer(3);
    bench_remove(b, d);
    event(3, VIRTIO_SCSI_T_TRANSPORT_RESET, 3, 0, VIRTIO_SCSI_EVT_RESET_REMOVED);
    sense(3, 0, READY, 0, 0, 5, 0x25, 0);
    assert_true(blk_close(n1, NULL));
}

/* --- errors --- */

static bool asked_to_stop(void *arg)
{
    return b->requests[REQUEST_IO_ERROR] != 0;
}

/* A write that fails is kept, saved, and made again. */
static void test_stop_and_retry(void **state)
{
    for (unsigned loaded = 0; loaded < 2; loaded++) {
        uint8_t sector[512];

        if (!loaded) {
            start();
        }
        memset(data(), 0xa1 + (int)loaded, 512);
        fault_arm("file-write", 1);
        Gpa at = put(RQ, 3, 1, CDB(0x2a, 8, 0, 0, 0, 40, 0, 0, 1), 0, 512, 5);
        vd_kick(vd, RQ);
        bench_until(b, asked_to_stop, NULL);
        assert_true(fault_disarm());
        assert_false(vd_used(vd, RQ));
        assert_int_equal(blk_front_io_status(blk_front_find("disk")), BLK_IO_FAILED);
        if (loaded) {
            bench_save_load(b, vd->d);
        } else {
            bench_quiesce(b);
            bench_resume(b);
        }
        Answer a = answer_at(at, vd_wait(vd, RQ, NULL));
        assert_int_equal(a.response, VIRTIO_SCSI_S_OK);
        assert_int_equal(a.status, 0);
        assert_int_equal(blk_pread(node, 40 * 512, sector, 512), 0);
        assert_int_equal(sector[511], 0xa1 + loaded);
        bench_requests(b, REQUEST_IO_ERROR);
        blk_fronts_reset_status();
    }
    /* A read error is reported. */
    fault_arm_run("file-read", 1, 100);
    Answer a = run(3, 1, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 512, 0);
    if (fault_disarm()) {
        assert_int_equal(a.key, 3);
        assert_int_equal(a.asc, 0x11);
    }
}

/* Resets, stops and removal with requests under way. */
static void test_in_flight(void **state)
{
    start();
    for (unsigned round = 0; round < 9; round++) {
        for (unsigned i = 0; i < 8; i++) {
            put(RQ + (i & 1), 3, 1, CDB(0x2a, 8, 0, 0, 0, 8, 0, 0, 8), 0, 4096, i);
        }
        vd_kick(vd, RQ);
        vd_kick(vd, RQ + 1);
        if (round % 2 == 0) {
            bench_quiesce(b);
            bench_resume(b);
        }
        vd_reset(vd);
        vd_start(vd, ALL, QUEUES);
    }
    for (unsigned i = 0; i < 8; i++) {
        put(RQ, 3, 1, CDB(0x28, 0, 0, 0, 0, 8, 0, 0, 8), 4096, 0, i);
    }
    vd_kick(vd, RQ);
    bench_remove(b, disk);
    for (unsigned i = 0; i < 8; i++) {
        vd_wait(vd, RQ, NULL);
    }
    assert_int_equal(run(3, 1, READY, 0, 0).response, VIRTIO_SCSI_S_BAD_TARGET);
}

/* --- configuration, hostile drivers, properties --- */

static void test_config(void **state)
{
    Gpa c = vd->bar + 0x2000;

    vd_start(vd, ALL, QUEUES);
    assert_int_equal(bench_read32(b, c), 2);
    assert_int_equal(bench_read32(b, c + 4), 254);
    assert_int_equal(bench_read32(b, c + 8), 65535);
    assert_int_equal(bench_read32(b, c + 12), 128);
    assert_int_equal(bench_read32(b, c + 16), 16);
    assert_int_equal(bench_read32(b, c + 20), 96);
    assert_int_equal(bench_read32(b, c + 24), 32);
    assert_int_equal(bench_read16(b, c + 30), 255);
    assert_int_equal(bench_read32(b, c + 32), 16383);
    bench_write32(b, c + 20, 8);
    bench_write32(b, c + 24, UINT32_MAX);
    assert_int_equal(bench_read32(b, c + 20), 8);
    assert_int_equal(bench_read32(b, c + 24), 32);
    bench_save_load(b, vd->d);
    assert_int_equal(bench_read32(b, c + 20), 8);
    vd_reset(vd);
    assert_int_equal(bench_read32(b, c + 20), 96);
}

static void test_hostile(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned q = i < 2 ? RQ : i - 2;
        Gpa at = vd_buf(vd, q, 0);
        VdSeg cut[] = { { at, 8, false }, { at + 64, RESP, true } };
        VdSeg no_room[] = { { at, 51, false }, { at + 64, RESP - 1, true } };
        VdSeg no_type[] = { { at, 3, false }, { at + 64, 1, true } };

        vd_start(vd, ALL, QUEUES);
        if (q == 1) {                          /* an event buffer that is too small */
            no_type[1].len = 15;
            vd_add(vd, q, no_type + 1, 1, false);
            vd_kick(vd, q);
            vd_sync(vd);
            assert_true(blk_truncate(node, 2 * DISK, NULL));
        } else {
            vd_add(vd, q, i == 0 ? cut : i == 1 ? no_room : no_type, 2, false);
            vd_kick(vd, q);
        }
        while (!__atomic_load_n(&vd->v->broken, __ATOMIC_SEQ_CST)) {
            vd_sync(vd);
        }
    }
    vd_start(vd, ALL, QUEUES);
    good(3, 1, CDB(0x12, 0, 0, 0, 36), 36, 0);
    /* Data where there is no memory: refused, and only that. */
    Gpa head = vd_buf(vd, RQ, 8);
    VdSeg nowhere[] = { { head, 51, false }, { head + 64, RESP, true }, { UINT64_C(1) << 45, 512, true } };
    memset(bench_ram(b, head, 256), 0, 256);
    memcpy(bench_ram(b, head, 8), "\1\3\0\1", 4);
    memcpy(bench_ram(b, head + 19, 16), "\x28\0\0\0\0\0\0\0\1", 9);
    sense(3, 1, READY, 0, 0, 6, 0x29, 0);
    sense(3, 1, READY, 0, 0, 6, 0x2a, 9);
    memset(bench_ram(b, head, 256), 0, 256);
    memcpy(bench_ram(b, head, 8), "\1\3\0\1", 4);
    memcpy(bench_ram(b, head + 19, 16), "\x28\0\0\0\0\0\0\0\1", 9);
    vd_add(vd, RQ, nowhere, 3, false);
    vd_kick(vd, RQ);
    vd_wait(vd, RQ, NULL);
    assert_int_equal(bench_ram(b, head + 64, RESP)[11], VIRTIO_SCSI_S_FAILURE);
    assert_false(vd->v->broken);
}

static void refused(const DeviceType *t, const char *prop, const char *value, const char *text)
{
    Error *e = NULL;

    assert_null(bench_try_device(b, t, NULL, &e, "drive", "c0", prop, value, NULL));
    assert_string_equal(error_text(e), text);
    error_free(e);
}

static void test_bad_props(void **state)
{
    static const struct { const char *prop, *value, *text; } of_hba[] = {
        { "num_queues", "0", "Invalid number of queues (= 0), must be a positive integer less than 1022." },
        { "virtqueue_size", "2",
          "invalid virtqueue_size property (= 2), must be a power of 2 from 4 to 1024" },
        { "virtqueue_size", "100",
          "invalid virtqueue_size property (= 100), must be a power of 2 from 4 to 1024" },
    };
    Error *e = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(of_hba); i++) {
        assert_null(bench_try_device(b, &virtio_scsi_pci, "x", &e, of_hba[i].prop, of_hba[i].value, NULL));
        assert_string_equal(error_text(e), of_hba[i].text);
        g_clear_pointer(&e, error_free);
    }
    assert_null(bench_try_device(b, &scsi_hd_type, NULL, &e, NULL));
    assert_string_equal(error_text(e), "drive property not set");
    g_clear_pointer(&e, error_free);
    refused(&scsi_hd_type, "scsi-id", "256", "bad scsi device id: 256");
    refused(&scsi_hd_type, "lun", "16384", "bad scsi device lun: 16384");
    refused(&scsi_hd_type, "channel", "1", "bad scsi channel id: 1");
    refused(&scsi_hd_type, "logical_block_size", "1000",
            "logical_block_size must be a power of two from 512 B to 2 MiB");
    refused(&scsi_hd_type, "discard_granularity", "1000",
            "discard_granularity must be a multiple of logical_block_size");
    assert_null(bench_try_device(b, &scsi_cd_type, NULL, &e, "scsi-id", "3", "lun", "1", NULL));
    assert_string_equal(error_text(e), "lun already used by 'disk'");
    error_free(e);
    Device *d = bench_device(b, &scsi_cd_type, "next", "scsi-id", "3", NULL);
    assert_int_equal(((ScsiDev *)d)->lun, 0);
    d = bench_device(b, &scsi_cd_type, "first", NULL);
    assert_int_equal(((ScsiDev *)d)->id, 0);
}

RUN_TESTS(TEST(test_addresses), TEST(test_pages), TEST(test_data), TEST(test_tray),
          TEST(test_task_management), TEST(test_io_threads), TEST(test_events), TEST(test_stop_and_retry),
          TEST(test_in_flight), TEST(test_config), TEST(test_hostile), TEST(test_bad_props))
