/* ide-helper.h: what the tests of drives and their controllers share: media on files, and a small
 * AHCI driver. */
#ifndef TESTS_DEVICE_IDE_HELPER_H
#define TESTS_DEVICE_IDE_HELPER_H

#include "tests/device/device-test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "block/front.h"
#include "hw/storage/ide.h"
#include "tests/device/bench-pci.h"
#include "util/fault.h"

extern const DeviceType ich9_ahci_type, piix3_ide_type;

/* --- media --- */

static inline void *helper_find_node(const char *id, Error **errp)
{
    BlkNode *n = blk_find(id);

    if (!n) {
        error_set(errp, "no node '%s'", id);
    }
    return n;
}

static inline const char *helper_node_name(void *n)
{
    return blk_name(n);
}

typedef struct TestMedium {
    BlkNode *node;
    char path[32];
} TestMedium;

/* A file of @size bytes as node @name; 32-bit word i of it is i. */
static inline TestMedium medium_new(const char *name, uint64_t size, bool read_only)
{
    static const LinkClass cls = { "blockdev", helper_find_node, helper_node_name };
    static bool registered;
    TestMedium m = { .path = "/tmp/ide-XXXXXX" };
    int fd = mkstemp(m.path);
    g_autofree uint32_t *words = g_malloc(size);
    Error *e = NULL;

    if (!registered) {
        link_class_register(&cls);
        registered = true;
    }
    for (uint64_t i = 0; i < size / 4; i++) {
        words[i] = htole32((uint32_t)i);
    }
    assert_true(fd >= 0 && write(fd, words, size) == (ssize_t)size);
    close(fd);
    BlkOptions o = { .driver = "file",
                     .node_name = name,
                     .filename = m.path,
                     .read_only = read_only,
                     .discard_unmap = true };
    m.node = blk_open(&o, &e);
    assert_non_null(m.node);
    return m;
}

/* A node whose requests take @ns. */
static inline BlkNode *slow_node(const char *name, uint64_t ns)
{
    BlkOptions o = { .driver = "null-co", .node_name = name, .size = 16 << 20, .latency_ns = ns,
                     .read_zeroes = true };
    TestMedium m = medium_new("unused", 512, true);        /* for the link class */
    BlkNode *n;

    assert_true(blk_close(m.node, NULL));
    unlink(m.path);
    n = blk_open(&o, NULL);
    assert_non_null(n);
    return n;
}

static inline void medium_free(TestMedium *m)
{
    assert_true(blk_close(m->node, NULL));
    unlink(m->path);
}

static inline uint32_t medium_word(TestMedium *m, uint64_t off)
{
    uint32_t raw = 0;

    assert_int_equal(blk_pread(m->node, off, &raw, 4), 0);
    return le32toh(raw);
}

static inline bool helper_io_error(void *arg)
{
    return ((Bench *)arg)->requests[REQUEST_IO_ERROR] != 0;
}

/* Waits until a request failed by the fault that is armed and the machine was asked to stop. */
static inline void wait_io_error(Bench *b)
{
    bench_until(b, helper_io_error, b);
    b->requests[REQUEST_IO_ERROR] = 0;
    assert_true(fault_disarm());
}

/* --- AHCI --- */

enum {
    A_GHC = 4,
    A_IS = 8,
    P_CLB = 0,
    P_FB = 8,
    P_IS = 0x10,
    P_IE = 0x14,
    P_CMD = 0x18,
    P_TFD = 0x20,
    P_SIG = 0x24,
    P_SSTS = 0x28,
    P_SCTL = 0x2c,
    P_SERR = 0x30,
    P_SACT = 0x34,
    P_CI = 0x38
};

typedef struct AhciBench {
    Bench *b;
    Device *d;
    Gpa abar;
} AhciBench;

#define AHCI_LIST(port) (0x10000 + 0x10000 * (Gpa)(port))
#define AHCI_RX(port) (AHCI_LIST(port) + 0x400)
#define AHCI_TABLE(port, slot) (AHCI_LIST(port) + 0x1000 + 0x400 * (Gpa)(slot))

static inline AhciBench ahci_new(Bench *b)
{
    AhciBench a = { .b = b };

    a.d = bench_device(b, &ich9_ahci_type, "sata", NULL);
    a.abar = bench_bar(b, a.d, 5);
    return a;
}

static inline uint32_t px(AhciBench *a, unsigned port, unsigned reg)
{
    return bench_read32(a->b, a->abar + 0x100 + 0x80 * port + reg);
}

static inline void px_set(AhciBench *a, unsigned port, unsigned reg, uint32_t val)
{
    bench_write32(a->b, a->abar + 0x100 + 0x80 * port + reg, val);
}

static inline void ahci_start(AhciBench *a, unsigned port)
{
    px_set(a, port, P_CLB, (uint32_t)AHCI_LIST(port));
    px_set(a, port, P_FB, (uint32_t)AHCI_RX(port));
    px_set(a, port, P_CMD, 0x10);
    px_set(a, port, P_SERR, UINT32_MAX);
    px_set(a, port, P_IS, UINT32_MAX);
    px_set(a, port, P_IE, 0x7dc000ff);
    px_set(a, port, P_CMD, 0x11);
}

typedef struct AhciCommand {
    uint8_t command, device;
    uint16_t feature, count;
    uint64_t lba;
    const uint8_t *cdb;
    Gpa data;                  /* one PRD entry of @len bytes; 0: none */
    uint32_t len;
} AhciCommand;

/* Writes the command into slot @slot without issuing it. */
static inline void ahci_prepare(AhciBench *a, unsigned port, unsigned slot, const AhciCommand *c)
{
    uint8_t *head = bench_ram(a->b, AHCI_LIST(port) + 32 * slot, 32);
    uint8_t *table = bench_ram(a->b, AHCI_TABLE(port, slot), 0x400);

    memset(head, 0, 32);
    memset(table, 0, 0x90);
    st32(head, 5 | (c->len ? 1 << 16 : 0));
    st64(head + 8, AHCI_TABLE(port, slot));
    table[0] = 0x27;
    table[1] = 0x80;
    table[2] = c->command;
    table[3] = c->feature & 0xff;
    table[11] = c->feature >> 8;
    for (unsigned i = 0; i < 3; i++) {
        table[4 + i] = c->lba >> (8 * i) & 0xff;
        table[8 + i] = c->lba >> (24 + 8 * i) & 0xff;
    }
    table[7] = c->device | 0x40;
    st16(table + 12, c->count);
    if (c->cdb) {
        memcpy(table + 0x40, c->cdb, 12);
    }
    st64(table + 0x80, c->data);
    st32(table + 0x8c, c->len ? c->len - 1 : 0);
}

typedef struct AhciWait {
    AhciBench *a;
    unsigned port;
    uint32_t ci, sact;
} AhciWait;

static inline bool ahci_over(void *arg)
{
    AhciWait *w = arg;

    return !(px(w->a, w->port, P_CI) & w->ci && !(px(w->a, w->port, P_TFD) & 1)) &&
           !(px(w->a, w->port, P_SACT) & w->sact && !(px(w->a, w->port, P_TFD) & 1)) &&
           !(px(w->a, w->port, P_TFD) & 0x80);
}

static inline void ahci_wait(AhciBench *a, unsigned port, uint32_t ci, uint32_t sact)
{
    AhciWait w = { a, port, ci, sact };

    bench_until(a->b, ahci_over, &w);
}

/* Runs @c in slot 0; returns PxTFD (error << 8 | status).  After an error the port is started
 * again. */
static inline uint32_t ahci_run(AhciBench *a, unsigned port, const AhciCommand *c)
{
    uint32_t tfd;

    ahci_prepare(a, port, 0, c);
    px_set(a, port, P_CI, 1);
    ahci_wait(a, port, 1, 0);
    tfd = px(a, port, P_TFD) & 0xffff;
    if (tfd & 1) {
        px_set(a, port, P_CMD, 0x10);
        px_set(a, port, P_IS, UINT32_MAX);
        px_set(a, port, P_CMD, 0x11);
    }
    return tfd;
}

/* Runs packet @cdb for up to @len bytes to @data; returns PxTFD. */
static inline uint32_t ahci_packet(AhciBench *a, unsigned port, const uint8_t *cdb, Gpa data,
                                   uint32_t len)
{
    AhciCommand c = { .command = 0xa0, .feature = 1, .cdb = cdb, .data = data, .len = len };

    return ahci_run(a, port, &c);
}

#endif
