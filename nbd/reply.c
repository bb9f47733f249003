/* reply.c: what a request's end looks like on the wire (NBD protocol, "Simple reply message", "Structured
 * reply chunk message").
 *
 * 1. Structured replies are used where they say more: for reads and block status.  A read that may be cut in
 *    pieces tells runs of zeroes as holes, found by looking at the data. */
#include <errno.h>
#include <string.h>
#include "nbd/conn-int.h"

#define HOLE_BYTES (32u * 1024)    /* zeroes are told apart in steps of this */

static uint32_t wire_error(int err)
{
    switch (err) {
    case 0:
    case EPERM:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
    case EOVERFLOW:
        return err;
    case EACCES:
    case EROFS:
        return NBD_EPERM;
    case EDQUOT:
    case EFBIG:
        return NBD_ENOSPC;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

static NbdPart *add_part(NbdRequest *r)
{
    NbdPart *p = &r->parts[r->part_count++];

    *p = (NbdPart){ 0 };
    return p;
}

static void put(NbdPart *p, const void *bytes, unsigned n)
{
    memcpy(p->head + p->head_len, bytes, n);
    p->head_len += n;
}

/* A chunk with @len bytes after its header. */
static NbdPart *add_chunk(NbdRequest *r, uint16_t type, uint32_t len)
{
    NbdPart *p = add_part(r);
    NbdChunk h = { to_be32(NBD_STRUCTURED_REPLY_MAGIC), to_be16(0), to_be16(type), r->handle, to_be32(len) };

    put(p, &h, sizeof(h));
    return p;
}

static void last_chunk(NbdRequest *r)
{
    Be16 flags = to_be16(NBD_REPLY_FLAG_DONE);

    memcpy(r->parts[r->part_count - 1].head + offsetof(NbdChunk, flags), &flags, sizeof(flags));
}

static void add_data(NbdRequest *r, uint32_t from, uint32_t n)
{
    NbdPart *p = add_chunk(r, NBD_REPLY_OFFSET_DATA, 8 + n);
    Be64 off = to_be64(r->off + from);

    put(p, &off, sizeof(off));
    p->body = r->buf + from;
    p->body_len = n;
}

static void add_hole(NbdRequest *r, uint32_t from, uint32_t n)
{
    NbdPart *p = add_chunk(r, NBD_REPLY_OFFSET_HOLE, 12);
    Be64 off = to_be64(r->off + from);
    Be32 len = to_be32(n);

    put(p, &off, sizeof(off));
    put(p, &len, sizeof(len));
}

static bool is_zero(const uint8_t *p, uint32_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Data and holes in turn; where they alternate too often for the parts there are, the rest is data. */
static void add_pieces(NbdRequest *r)
{
    uint32_t at = 0;

    while (at < r->len) {
        uint32_t end = at;
        bool hole = false;

        while (end < r->len) {
            uint32_t n = MIN(r->len - end, HOLE_BYTES - (r->off + end) % HOLE_BYTES);
            bool zero = is_zero(r->buf + end, n);

            if (end > at && zero != hole) {
                break;
            }
            hole = zero;
            end += n;
        }
        if (r->part_count == PARTS - 1) {
            end = r->len;
            hole = false;
        }
        if (hole) {
            add_hole(r, at, end - at);
        } else {
            add_data(r, at, end - at);
        }
        at = end;
    }
}

static void structured_read(NbdRequest *r)
{
    if (r->len == 0) {
        add_chunk(r, NBD_REPLY_NONE, 0);
    } else if (r->flags & NBD_CMD_FLAG_DF) {
        add_data(r, 0, r->len);
    } else {
        add_pieces(r);
    }
    last_chunk(r);
}

static void structured_error(NbdRequest *r)
{
    const char *text = errno_text(r->error);
    NbdPart *p = add_chunk(r, NBD_REPLY_ERROR, (uint32_t)(6 + strlen(text)));
    Be32 code = to_be32(wire_error(r->error));
    Be16 len = to_be16((uint16_t)strlen(text));

    put(p, &code, sizeof(code));
    put(p, &len, sizeof(len));
    p->body = text;
    p->body_len = strlen(text);
    last_chunk(r);
}

static void simple(NbdRequest *r)
{
    NbdPart *p = add_part(r);
    NbdSimpleReply h = { to_be32(NBD_SIMPLE_REPLY_MAGIC), to_be32(wire_error(r->error)), r->handle };

    put(p, &h, sizeof(h));
    if (r->type == NBD_CMD_READ && !r->error) {
        p->body = r->buf;
        p->body_len = r->len;
    }
}

/* The chunks are in the buffer, r->len bytes of them: see status.c. */
static void status(NbdRequest *r)
{
    NbdPart *p = add_part(r);

    p->body = r->buf;
    p->body_len = r->len;
}

void nbd_reply_make(NbdRequest *r)
{
    bool says_more = r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS;

    if (!r->conn->structured || !says_more) {
        simple(r);
    } else if (r->error) {
        structured_error(r);
    } else if (r->type == NBD_CMD_BLOCK_STATUS) {
        status(r);
    } else {
        structured_read(r);
    }
}
