/* luks.c: the format luks: a disk encrypted after a LUKS1 header.
 *
 * 1. Sector 0 of the disk, for the initial vectors too, is at the payload; what is read and written is
 *    encrypted and decrypted on the pool (walk.c).
 * 2. Zeroes are written, encrypted: no hole of the file reads as zeroes.  Discards do nothing. */
#include <errno.h>
#include <inttypes.h>
#include "block/luks.h"
#include "util/bytes.h"

#define ZEROES MiB

typedef struct LuksDisk {
    Luks l;
    char *secret;              /* the id of what opened it, or NULL */
} LuksDisk;

static int luks_probe(const uint8_t *head, size_t n)
{
    return n >= 8 && memcmp(head, "LUKS\xba\xbe\0\1", 8) == 0 ? 100 : 0;
}

static bool luks_disk_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    LuksDisk *d = n->state;
    uint64_t room = blk_size(n->child);

    if (!o->key_secret && !o->no_data) {
        return error_set(errp, "Parameter 'key-secret' is required for cipher");
    }
    if (!luks_read(n->child, 0, room, &d->l, errp)) {
        return false;
    }
    if (o->key_secret) {
        n->crypt = luks_open(n->child, 0, &d->l, o->key_secret, errp);
        if (!n->crypt) {
            return false;
        }
        d->secret = g_strdup(o->key_secret);
    }
    n->size = ALIGN_DOWN(room - d->l.payload, 512);
    n->limits = n->child->limits;
    n->limits.align = MAX(n->limits.align, CRYPT_SECTOR);
    n->limits.discard_align = 0;
    n->limits.can_zero = false;
    n->limits.can_grow = false;
    return true;
}

static void luks_close(BlkNode *n)
{
    LuksDisk *d = n->state;

    crypt_free(n->crypt);
    n->crypt = NULL;
    g_free(d->secret);
}

static bool luks_disk_amend(BlkNode *n, const BlkAmend *o, bool force, Error **errp)
{
    LuksDisk *d = n->state;

    if (o->has_lazy_refcounts) {
        return error_set(errp, "Invalid parameter 'lazy_refcounts'");
    }
    return luks_amend(n->child, 0, &d->l, d->secret, &o->luks, force, errp);
}

static bool luks_disk_keys(BlkNode *n, LuksPlace *out, Error **errp)
{
    LuksDisk *d = n->state;

    *out = (LuksPlace){ &d->l, 0, d->secret };
    return true;
}

static bool luks_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    return blk_change_rights(&n->child_use, need, share, errp);
}

static void luks_child_resized(BlkNode *n)
{
    const LuksDisk *d = n->state;
    uint64_t below = blk_size(n->child);

    blk_set_size(n, below > d->l.payload ? ALIGN_DOWN(below - d->l.payload, 512) : 0);
}

static bool luks_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    const LuksDisk *d = n->state;

    return size <= (uint64_t)INT64_MAX - d->l.payload
        ? blk_truncate(n->child, size + d->l.payload, errp)
        : error_set(errp, "The requested file size is too large");
}

static int luks_resolve(BlkNode *n, const BlkReq *r, Extent *e)
{
    const LuksDisk *d = n->state;

    if (r->op == BLK_DISCARD) {
        *e = (Extent){ .is = EXT_ZERO, .len = r->left };
        return 0;
    }
    if (!n->crypt) {
        return -EACCES;        /* opened to be looked at */
    }
    uint64_t in = r->pos % CRYPT_SECTOR, len = r->left;
    if (r->op == BLK_ZERO) {
        if (in == 0 && r->left >= CRYPT_SECTOR) {
            return -EAGAIN;
        }
        len = MIN(r->left, CRYPT_SECTOR - in);
    }
    *e = (Extent){ .is = EXT_DATA, .node = n->child, .off = r->pos + d->l.payload, .len = len, .crypt = true,
                   .iv = r->pos };
    return 0;
}

/* Whole sectors are to be zeroes. */
static int luks_resolve_slow(BlkNode *n, const BlkReq *r, Extent *e)
{
    uint64_t len = ALIGN_DOWN(r->left, CRYPT_SECTOR);
    g_autofree uint8_t *zeroes = g_try_malloc0(MIN(len, ZEROES));
    int ret = r->flags & BLK_NO_FALLBACK ? -ENOTSUP : zeroes ? 0 : -ENOMEM;

    for (uint64_t done = 0; ret == 0 && done < len; done += ZEROES) {
        ret = blk_pwrite(n, r->pos + done, zeroes, MIN(len - done, ZEROES));
    }
    *e = (Extent){ .is = EXT_ZERO, .len = len };
    return ret;
}

static void luks_disk_info(BlkNode *n, BlkImageInfo *out)
{
    const LuksDisk *d = n->state;

    out->encrypted = out->luks = true;
    luks_info(&d->l, &out->luks_info);
}

const BlkDriver blk_luks = {
    .name = "luks",
    .size = sizeof(LuksDisk),
    .options = BLK_OPT_CHILD | BLK_OPT_KEY,
    .probe = luks_probe,
    .open = luks_disk_open,
    .close = luks_close,
    .rights = luks_rights,
    .truncate = luks_truncate,
    .child_resized = luks_child_resized,
    .amend = luks_disk_amend,
    .keys = luks_disk_keys,
    .info = luks_disk_info,
    .resolve = luks_resolve,
    .resolve_slow = luks_resolve_slow,
};
