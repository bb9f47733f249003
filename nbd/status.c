/* status.c: NBD_CMD_BLOCK_STATUS (NBD protocol, "Metadata querying").
 *
 * 1. Looking up where data is may wait for the host, so it is done on the pool; the chunks are written into
 *    the request's buffer there.
 * 2. An answer has at most EXTENTS extents for each context; a client that wants to know more asks again from
 *    where it ends. */
#include <errno.h>
#include <string.h>
#include "block/bitmap.h"
#include "block/pool.h"
#include "nbd/conn-int.h"

#define EXTENTS 512

typedef struct StatusJob {
    PoolJob job;
    NbdRequest *r;
    BlkNode *node;
    GByteArray *chunks;
    int ret;
} StatusJob;

/* The state of @off in context @id in *@flags, and for how many bytes, up to @len, it is the same; or
 * -errno. */
static int64_t look(const StatusJob *j, unsigned id, uint64_t off, uint64_t len, uint32_t *flags)
{
    const NbdExport *e = j->r->conn->exp;
    BlkStatus s;

    if (id >= CONTEXT_BITMAPS) {
        uint64_t at = off, n = blk_bitmap_dirty(e->bitmaps->pdata[id - CONTEXT_BITMAPS], &at, len);

        *flags = n > 0 && at <= off;       /* a granule may begin before @off */
        return (int64_t)MIN(n == 0 ? len : at > off ? at - off : at + n - off, len);
    }
    int ret = blk_status(j->node, off, len, NULL, &s);
    if (ret < 0) {
        return ret;
    }
    if (id == CONTEXT_DEPTH) {
        *flags = s.flags & BLK_STATUS_HERE ? s.depth + 1 : 0;
    } else {
        *flags = (s.flags & BLK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
                 (s.flags & BLK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
    }
    return (int64_t)MIN(s.len, len);
}

static void put32(GByteArray *b, uint32_t v)
{
    Be32 be = to_be32(v);

    g_byte_array_append(b, (const guint8 *)&be, sizeof(be));
}

/* One chunk: the extents of context @id. */
static int add_context(StatusJob *j, unsigned id, bool last)
{
    const NbdRequest *r = j->r;
    guint head = j->chunks->len;
    NbdChunk h = { to_be32(NBD_STRUCTURED_REPLY_MAGIC), to_be16(last ? NBD_REPLY_FLAG_DONE : 0),
                   to_be16(NBD_REPLY_BLOCK_STATUS), r->handle, to_be32(0) };
    uint64_t at = 0, run = 0;
    uint32_t was = 0;
    unsigned limit = r->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS;

    g_byte_array_append(j->chunks, (const guint8 *)&h, sizeof(h));
    put32(j->chunks, id);
    for (unsigned count = 0; at < r->len && count < limit;) {
        uint32_t flags = 0;
        int64_t n = look(j, id, r->off + at, r->len - at, &flags);

        if (n <= 0) {
            return n < 0 ? (int)n : -EIO;
        }
        if (run && flags != was) {
            put32(j->chunks, (uint32_t)run);
            put32(j->chunks, was);
            run = 0;
            if (++count == limit) {
                break;
            }
        }
        was = flags;
        run += n;
        at += n;
    }
    if (run) {
        put32(j->chunks, (uint32_t)run);
        put32(j->chunks, was);
    }
    h.len = to_be32(j->chunks->len - head - (uint32_t)sizeof(h));
    memcpy(j->chunks->data + head, &h, sizeof(h));
    return 0;
}

static void status_run(PoolJob *job)
{
    StatusJob *j = container_of(job, StatusJob, job);
    uint64_t left = j->r->conn->contexts;

    for (unsigned id = 0; left && j->ret == 0; id++, left >>= 1) {
        if (left & 1) {
            j->ret = add_context(j, id, left == 1);
        }
    }
}

static void status_over(Post *p)
{
    StatusJob *j = container_of(p, StatusJob, job.post);
    NbdRequest *r = j->r;
    int ret = j->ret;

    if (ret == 0 && !nbd_request_buffer(r, j->chunks->len)) {
        ret = -ENOMEM;
    }
    if (ret == 0) {
        memcpy(r->buf, j->chunks->data, j->chunks->len);
        r->len = j->chunks->len;
    }
    g_byte_array_unref(j->chunks);
    g_free(j);
    blk_visit_end(&r->blk, ret);
}

/* The graph stays as it is while the pool looks at it. */
static void visit(BlkReq *blk, BlkNode *n)
{
    NbdRequest *r = container_of(blk, NbdRequest, blk);
    StatusJob *j = g_new0(StatusJob, 1);

    *j = (StatusJob){ .job = { .run = status_run, .loop = r->conn->loop, .post.run = status_over }, .r = r,
                      .node = n, .chunks = g_byte_array_new() };
    pool_add(&j->job, 1);
}

static void visited(BlkReq *blk, int ret)
{
    nbd_request_done(container_of(blk, NbdRequest, blk), ret);
}

void nbd_status_start(NbdRequest *r)
{
    r->blk.loop = r->conn->loop;
    r->blk.done = visited;
    blk_user_visit(&r->conn->exp->use, &r->blk, visit);
}
