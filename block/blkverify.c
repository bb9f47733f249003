/* blkverify.c: two nodes that should hold the same; the first difference ends the program.
 *
 * 1. What is read comes from the node under test; the other is what it is measured by. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/block-int.h"
#include "block/filter.h"
#include "util/bytes.h"

typedef struct Verify {
    BlkUser raw_use;           /* the node it is measured by; the one under test is the child */
} Verify;

typedef struct Pass {
    BlkReq *up;
    BlkReq test, raw;
    struct iovec iov;
    uint8_t *buf;              /* what the other node has */
    unsigned left;
    int test_ret, raw_ret;
} Pass;

static G_NORETURN void differ(const Pass *p, const char *what)
{
    const BlkReq *up = p->up;

    fprintf(stderr, "blkverify: %s offset=%" PRIu64 " bytes=%" PRIu64 " %s\n",
            up->op == BLK_READ ? "read" : "write", up->pos, up->left, what);
    fflush(stderr);
    _exit(1);
}

static void compare(const Pass *p)
{
    const BlkReq *up = p->up;
    g_autofree uint8_t *got = g_malloc(up->left);
    g_autofree char *text = NULL;

    if (p->test_ret != p->raw_ret) {
        text = g_strdup_printf("return value mismatch %d != %d", p->test_ret, p->raw_ret);
        differ(p, text);
    }
    if (up->op != BLK_READ || p->test_ret < 0) {
        return;
    }
    blk_iov_read(up->cur, up->ncur, 0, got, up->left);
    for (uint64_t i = 0; i < up->left; i++) {
        if (got[i] != p->buf[i]) {
            text = g_strdup_printf("contents mismatch at offset %" PRIu64, up->pos + i);
            differ(p, text);
        }
    }
}

static void pass_part(Pass *p)
{
    BlkReq *up = p->up;
    int ret;

    if (--p->left) {
        return;
    }
    compare(p);
    ret = p->test_ret;
    free(p->buf);
    g_free(p);
    blk_complete_later(up, ret);
}

static void test_done(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, test);

    p->test_ret = ret;
    pass_part(p);
}

static void raw_done(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, raw);

    p->raw_ret = ret;
    pass_part(p);
}

static bool verify_intercept(BlkLane *l, BlkReq *r)
{
    Verify *v = l->node->state;

    if (r->op == BLK_FLUSH) {
        return false;          /* it is the one under test that is to last */
    }
    if (r->op == BLK_DISCARD) {
        blk_complete_later(r, 0);      /* the two may read differently afterwards */
        return true;
    }
    Pass *p = g_new0(Pass, 1);
    *p = (Pass){ .up = r, .left = 2 };
    p->test = (BlkReq){ .op = r->op, .flags = r->flags, .off = r->pos, .len = r->left, .iov = r->cur,
                        .niov = r->ncur, .loop = r->loop, .done = test_done };
    p->raw = p->test;
    p->raw.done = raw_done;
    if (r->op == BLK_READ) {
        if (posix_memalign((void **)&p->buf, 4096, r->left) != 0) {
            g_free(p);
            blk_complete_later(r, -ENOMEM);
            return true;
        }
        p->iov = (struct iovec){ p->buf, r->left };
        p->raw.iov = &p->iov;
        p->raw.niov = 1;
    }
    blk_submit_below(v->raw_use.node, &p->raw);
    blk_submit_below(l->node->child, &p->test);
    return true;
}

static bool verify_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Verify *v = n->state;

    return blk_link_other(n, &v->raw_use, o, errp) && blk_filter_open(n);
}

static void verify_close(BlkNode *n)
{
    blk_unlink(&((Verify *)n->state)->raw_use);
}

static bool verify_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    Verify *v = n->state;

    return blk_change_rights(&n->child_use, need, share, errp) &&
           (!v->raw_use.node || blk_change_rights(&v->raw_use, need, share, errp));
}

const BlkDriver blk_blkverify = {
    .name = "blkverify",
    .size = sizeof(Verify),
    .options = BLK_OPT_CHILD | BLK_OPT_OTHER,
    .filter = true,
    .open = verify_open,
    .close = verify_close,
    .relinked = blk_filter_relinked,
    .child_resized = blk_filter_resized,
    .rights = verify_rights,
    .intercept = verify_intercept,
};
