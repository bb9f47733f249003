/* front-errors-test.c: what a failed request of the host does, in every disk's front end by every policy.
 *
 * 1. One table of fronts: begin() gives the device a request for sector LBA, poll() tells how it ended.
 * 2. A blkdebug node below makes exactly the requests fail that a case is about; the image's file is looked
 *    at by itself when all is over. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_scsi.h>
#include "qapi/json.h"
#include "qapi/types.h"
#include "tests/device/bench-virtio.h"
#include "tests/device/nvme-helper.h"

#define V1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define ALL (V1 | 0xffffff | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define DISK (1 * MiB)
#define LBA 9u
#define FILL 0x5c
#define DATA 0x300000

extern const DeviceType virtio_blk_pci, virtio_scsi_pci, scsi_hd_type;

typedef enum Ended { PENDING, GOOD, BAD } Ended;

typedef struct Case {
    Bench *b;
    const char *policy;        /* of reads and of the rest */
    Vd *vd;
    Nv nv;
    AhciBench ahci;
    Device *top;               /* what is saved */
    Gpa status;
    BlkOp op;
} Case;

typedef struct Front {
    const char *name;
    void (*make)(Case *c);
    void (*begin)(Case *c);
    Ended (*poll)(Case *c);
    uint8_t *(*data)(Case *c);
    void (*sync)(Case *c);     /* lets it work on */
    Loop *(*worker)(Case *c);  /* NULL: the control thread */
} Front;

static Device *disk_on(Case *c, const DeviceType *t, const char *unit)
{
    return bench_device(c->b, t, "disk", "drive", "d0", "rerror", c->policy, "werror", c->policy,
                        unit ? "unit" : NULL, unit, NULL);
}

/* --- virtio --- */

static uint8_t *virtio_data(Case *c)
{
    return bench_ram(c->b, vd_buf(c->vd, 0, 0), 512);
}

static void virtio_sync(Case *c)
{
    vd_sync(c->vd);
}

static Loop *virtio_worker(Case *c)
{
    return c->vd->v->worker->loop;
}

static void blk_make(Case *c)
{
    c->top = disk_on(c, &virtio_blk_pci, NULL);
    c->vd = vd_new(c->b, c->top);
    vd_start(c->vd, ALL, 1);
}

static void blk_begin(Case *c)
{
    static const uint32_t types[] = { [BLK_READ] = VIRTIO_BLK_T_IN, [BLK_WRITE] = VIRTIO_BLK_T_OUT,
                                      [BLK_FLUSH] = VIRTIO_BLK_T_FLUSH };
    Gpa head = vd_buf(c->vd, 0, 8);
    uint8_t *h = bench_ram(c->b, head, 32);
    VdSeg segs[] = { { head, 16, false }, { vd_buf(c->vd, 0, 0), 512, c->op == BLK_READ },
                     { head + 16, 1, true } };

    st32(h, types[c->op]);
    st64(h + 8, c->op == BLK_FLUSH ? 0 : LBA);
    h[16] = 0xee;
    if (c->op == BLK_FLUSH) {
        segs[1] = segs[2];
    }
    vd_add(c->vd, 0, segs, c->op == BLK_FLUSH ? 2 : 3, false);
    c->status = head + 16;
    vd_kick(c->vd, 0);
}

static Ended blk_poll(Case *c)
{
    if (!vd_used(c->vd, 0)) {
        return PENDING;
    }
    vd_wait(c->vd, 0, NULL);
    uint8_t status = *bench_ram(c->b, c->status, 1);
    assert_in_range(status, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_IOERR);
    return status == VIRTIO_BLK_S_OK ? GOOD : BAD;
}

static void scsi_command(Case *c, uint8_t opcode, bool in, bool out)
{
    Gpa head = vd_buf(c->vd, 2, 8), at = vd_buf(c->vd, 0, 0);
    uint8_t *h = bench_ram(c->b, head, 256);
    VdSeg segs[3] = { { head, 51, false } };
    unsigned n = 1;

    memset(h, 0, 256);
    h[0] = 1;
    h[2] = 0x40;
    h[19] = opcode;
    if (in || out) {
        h[24] = LBA;
        h[27] = 1;
    }
    if (out) {
        segs[n++] = (VdSeg){ at, 512, false };
    }
    segs[n++] = (VdSeg){ head + 64, 108, true };
    if (in) {
        segs[n++] = (VdSeg){ at, 512, true };
    }
    vd_add(c->vd, 2, segs, n, false);
    c->status = head + 64;
    vd_kick(c->vd, 2);
}

static Ended scsi_poll(Case *c)
{
    if (!vd_used(c->vd, 2)) {
        return PENDING;
    }
    vd_wait(c->vd, 2, NULL);
    const uint8_t *r = bench_ram(c->b, c->status, 108);
    assert_int_equal(r[11], VIRTIO_SCSI_S_OK);
    assert_true(r[10] == 0 || r[10] == 2);
    return r[10] == 0 ? GOOD : BAD;
}

static void scsi_make(Case *c)
{
    c->top = bench_device(c->b, &virtio_scsi_pci, "hba", NULL);
    disk_on(c, &scsi_hd_type, NULL);
    c->vd = vd_new(c->b, c->top);
    vd_start(c->vd, ALL, 3);
    scsi_command(c, 0, false, false);          /* hears of the power-on */
    while (scsi_poll(c) == PENDING) {
        vd_sync(c->vd);
    }
}

static void scsi_begin(Case *c)
{
    static const uint8_t opcodes[] = { [BLK_READ] = 0x28, [BLK_WRITE] = 0x2a, [BLK_FLUSH] = 0x35 };

    scsi_command(c, opcodes[c->op], c->op == BLK_READ, c->op == BLK_WRITE);
}

/* --- NVMe --- */

static void nvme_make(Case *c)
{
    c->top = bench_device(c->b, &nvme_type, "disk", "serial", "S", "drive", "d0", "rerror", c->policy,
                          "werror", c->policy, NULL);
    c->nv = nv_new(c->b, c->top);
    nv_enable(&c->nv);
    nv_create_queue(&c->nv, 1, NV_SIZE, 1);
}

static void nvme_begin(Case *c)
{
    NvCommand cmd = nv_rw(c->op == BLK_READ ? NVME_READ : NVME_WRITE, LBA, 1, 0, 0);

    if (c->op == BLK_FLUSH) {
        cmd = (NvCommand){ .opcode = NVME_FLUSH, .nsid = 1 };
    }
    nv_put(&c->nv, 1, &cmd);
    nv_ring(&c->nv, 1);
}

static Ended nvme_poll(Case *c)
{
    uint16_t status;

    return !nv_take(&c->nv, 1, &status) ? PENDING : status == 0 ? GOOD : BAD;
}

static uint8_t *nvme_data(Case *c)
{
    return bench_ram(c->b, NV_DATA, 512);
}

static void nvme_sync(Case *c)
{
    nv_sync(&c->nv);
}

static Loop *nvme_worker(Case *c)
{
    return c->nv.n->worker->loop;
}

/* --- IDE --- */

static uint8_t *ide_data(Case *c)
{
    return bench_ram(c->b, DATA, 512);
}

static void ide_sync(Case *c)
{
    loop_control_iterate(true);
}

static void ahci_make(Case *c)
{
    c->ahci = ahci_new(c->b);
    c->top = c->ahci.d;
    disk_on(c, &ide_hd_type, NULL);
    ahci_start(&c->ahci, 0);
}

static void ahci_begin(Case *c)
{
    static const uint8_t commands[] = { [BLK_READ] = 0x25, [BLK_WRITE] = 0x35, [BLK_FLUSH] = 0xea };
    AhciCommand cmd = { .command = commands[c->op], .count = 1, .lba = LBA, .data = DATA, .len = 512 };

    if (c->op == BLK_FLUSH) {
        cmd = (AhciCommand){ .command = commands[c->op] };
    }
    ahci_prepare(&c->ahci, 0, 0, &cmd);
    px_set(&c->ahci, 0, P_CI, 1);
}

static Ended ahci_poll(Case *c)
{
    uint32_t tfd = px(&c->ahci, 0, P_TFD);

    if (tfd & 1) {
        return BAD;
    }
    return tfd & 0x80 || px(&c->ahci, 0, P_CI) & 1 ? PENDING : GOOD;
}

static void piix3_make(Case *c)
{
    c->top = bench_device(c->b, &piix3_ide_type, "ide", NULL);
    disk_on(c, &ide_hd_type, "0");
}

static void piix3_begin(Case *c)
{
    static const uint8_t commands[] = { [BLK_READ] = 0x20, [BLK_WRITE] = 0x30, [BLK_FLUSH] = 0xe7 };
    const uint8_t *data = ide_data(c);

    bench_out8(c->b, 0x1f6, 0xe0);
    bench_out8(c->b, 0x1f2, 1);
    bench_out8(c->b, 0x1f3, LBA);
    bench_out8(c->b, 0x1f4, 0);
    bench_out8(c->b, 0x1f5, 0);
    bench_out8(c->b, 0x1f7, commands[c->op]);
    for (unsigned i = 0; c->op == BLK_WRITE && i < 512; i += 2) {
        bench_out16(c->b, 0x1f0, ld16(data + i));
    }
}

static Ended piix3_poll(Case *c)
{
    uint8_t status = bench_in8(c->b, 0x3f6), *data = ide_data(c);

    if (status & 0x80) {
        return PENDING;
    }
    if (status & 1) {
        return BAD;
    }
    assert_int_equal(status & 8, c->op == BLK_READ ? 8 : 0);
    for (unsigned i = 0; c->op == BLK_READ && i < 512; i += 2) {
        st16(data + i, bench_in16(c->b, 0x1f0));
    }
    return GOOD;
}

static const Front fronts[] = {
    { "virtio-blk", blk_make, blk_begin, blk_poll, virtio_data, virtio_sync, virtio_worker },
    { "scsi-hd", scsi_make, scsi_begin, scsi_poll, virtio_data, virtio_sync, virtio_worker },
    { "nvme", nvme_make, nvme_begin, nvme_poll, nvme_data, nvme_sync, nvme_worker },
    { "ide-hd on ahci", ahci_make, ahci_begin, ahci_poll, ide_data, ide_sync, NULL },
    { "ide-hd on piix3", piix3_make, piix3_begin, piix3_poll, ide_data, ide_sync, NULL },
};

/* --- what is told --- */

static unsigned told;          /* atomic */
static BlkErrorAction told_action;
static int told_error;
static bool told_read;
static const BlkFront *told_front;
static const BlkNode *told_node;

static void listener(const BlkFront *f, const BlkNode *n, bool read, BlkErrorAction action, int err)
{
    told_action = action;
    told_error = err;
    told_read = read;
    told_front = f;
    told_node = n;
    __atomic_add_fetch(&told, 1, __ATOMIC_SEQ_CST);
}

/* --- the cases --- */

static const char *const op_names[] = { [BLK_READ] = "read", [BLK_WRITE] = "write", [BLK_FLUSH] = "flush" };

/* The medium with a blkdebug node named d0 on top of it, by which @op fails twice. */
static BlkNode *failing_node(const char *path, BlkOp op, int error)
{
    const char *where = op == BLK_FLUSH ? "" : ", \"sector\": 9";
    g_autofree char *rule =
        g_strdup_printf("{\"event\": \"none\", \"once\": true, \"errno\": %d, \"iotype\": \"%s\"%s}", error,
                        op_names[op], where);
    g_autofree char *text = g_strdup_printf("{\"inject-error\":[%s,%s]}", rule, rule);
    g_autoptr(json_t) tree = json_parse(text, NULL);
    g_autoptr(BlkdebugOwn) own = NULL;
    Error *e = NULL;

    if (!qapi_visit_blkdebug_own(tree, QAPI_JSON, &own, &e)) {
        fail_msg("%s", error_text(e));
    }
    BlkOptions child = { .driver = "file", .filename = path };
    BlkOptions o = { .driver = "blkdebug", .node_name = "d0", .own = own, .child = &child };
    BlkNode *n = blk_open(&o, &e);
    if (!n) {
        fail_msg("%s", error_text(e));
    }
    return n;
}

/* Runs until the request has ended or the machine is to stop. */
static Ended await(const Front *f, Case *c)
{
    Ended ended;

    while ((ended = f->poll(c)) == PENDING && !c->b->requests[REQUEST_IO_ERROR]) {
        f->sync(c);
    }
    return ended;
}

static void check_told(unsigned times, BlkErrorAction action, BlkOp op, int error)
{
    assert_int_equal(__atomic_load_n(&told, __ATOMIC_SEQ_CST), times);
    assert_int_equal(told_action, action);
    assert_int_equal(told_error, -error);
    assert_int_equal(told_read, op == BLK_READ);
    assert_ptr_equal(told_front, blk_front_find("disk"));
    assert_ptr_equal(told_node, blk_find("d0"));
}

/* The machine stops, goes on, stops, is saved and loaded, goes on: the request was never lost. */
static void check_stop(const Front *f, Case *c, int error)
{
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(await(f, c), PENDING);
        check_told(i + 1, BLK_ERROR_STOP, c->op, error);
        assert_int_equal(bench_requests(c->b, REQUEST_IO_ERROR), 1);
        assert_int_equal(blk_front_io_status(blk_front_find("disk")),
                         error == ENOSPC ? BLK_IO_NOSPACE : BLK_IO_FAILED);
        blk_fronts_reset_status();
        if (i == 0) {
            bench_quiesce(c->b);
            bench_resume(c->b);
        } else {
            bench_save_load(c->b, c->top);
        }
    }
    assert_int_equal(await(f, c), GOOD);
    assert_int_equal(__atomic_load_n(&told, __ATOMIC_SEQ_CST), 2);
}

static void check_data(const Front *f, Case *c, const char *path, bool done)
{
    g_autofree char *text = NULL;
    bool written = c->op == BLK_FLUSH || (c->op == BLK_WRITE && done);

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (unsigned i = 0; i < 512; i += 4) {
        uint32_t word = (LBA * 512 + i) / 4, want = written ? FILL * 0x01010101u : word;

        assert_int_equal(ld32((uint8_t *)text + LBA * 512 + i), want);
        if (c->op == BLK_READ && done) {
            assert_int_equal(ld32(f->data(c) + i), word);
        }
    }
}

static void run_case(const Front *f, BlkOp op, const char *policy, int error)
{
    Case c = { .b = bench_new(), .policy = policy, .op = op };
    TestMedium m = medium_new("unused", DISK, false);
    bool when_full = !strcmp(policy, "enospc") || (!strcmp(policy, "auto") && op != BLK_READ);
    bool stops = !strcmp(policy, "stop") || (error == ENOSPC && when_full);
    bool ignored = !strcmp(policy, "ignore");

    print_message("%s: %s fails with %s under %s\n", f->name, op_names[op], errno_text(error), policy);
    assert_true(blk_close(m.node, NULL));
    m.node = failing_node(m.path, op, error);
    c.b->m->cfg.smp.cpus = 1;
    f->make(&c);
    memset(f->data(&c), FILL, 512);
    if (op == BLK_FLUSH) {
        c.op = BLK_WRITE;                      /* something to flush */
        f->begin(&c);
        assert_int_equal(await(f, &c), GOOD);
        c.op = op;
    }
    blk_set_error_listener(listener);
    __atomic_store_n(&told, 0, __ATOMIC_SEQ_CST);
    f->begin(&c);
    if (stops) {
        check_stop(f, &c, error);
    } else {
        assert_int_equal(await(f, &c), ignored ? GOOD : BAD);
        check_told(1, ignored ? BLK_ERROR_IGNORE : BLK_ERROR_REPORT, op, error);
        assert_int_equal(bench_requests(c.b, REQUEST_IO_ERROR), 0);
        assert_int_equal(blk_front_io_status(blk_front_find("disk")), BLK_IO_OK);
    }
    blk_set_error_listener(NULL);
    check_data(f, &c, m.path, stops);
    Loop *worker = f->worker ? f->worker(&c) : NULL;
    if (c.vd) {
        vd_free(c.vd);
    }
    bench_free(c.b);
    if (worker) {
        blk_forget_loop(worker);
    }
    medium_free(&m);
}

static void run_front(const Front *f)
{
    static const char *const policies[] = { "report", "ignore", "stop", "enospc", "auto" };
    static const BlkOp ops[] = { BLK_READ, BLK_WRITE, BLK_FLUSH };

    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
        for (unsigned j = 0; j < ARRAY_LEN(policies); j++) {
            run_case(f, ops[i], policies[j], EIO);
            run_case(f, ops[i], policies[j], ENOSPC);
        }
    }
}

static void test_virtio_blk(void **state)
{
    run_front(&fronts[0]);
}

static void test_scsi_hd(void **state)
{
    run_front(&fronts[1]);
}

static void test_nvme(void **state)
{
    run_front(&fronts[2]);
}

static void test_ahci(void **state)
{
    run_front(&fronts[3]);
}

static void test_piix3(void **state)
{
    run_front(&fronts[4]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtio_blk), cmocka_unit_test(test_scsi_hd), cmocka_unit_test(test_nvme),
        cmocka_unit_test(test_ahci),       cmocka_unit_test(test_piix3),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
