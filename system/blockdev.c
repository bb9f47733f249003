/* blockdev.c: the schema's words for block nodes as block/'s options, see blockdev.h.
 *
 * 1. Options point at one another as the definitions contain one another; an arena owns them. */
#include "system/blockdev.h"

#include "system/objects.h"

static const BlkOptions *options_of(const BlockdevConfig *c, GPtrArray *arena);

static void set_file(BlkOptions *o, const BlockdevFile *f)
{
    o->filename = f->filename;
    o->aio = (BlkAio)f->aio;
    o->locking = f->locking == ON_OFF_AUTO_ON ? BLK_LOCKING_ON
                 : f->locking == ON_OFF_AUTO_OFF ? BLK_LOCKING_OFF : BLK_LOCKING_AUTO;
}

static void set_child(BlkOptions *o, const BlockdevRef *ref, GPtrArray *arena)
{
    if (ref->is == BLOCKDEV_REF_REFERENCE) {
        o->child_ref = ref->u.reference;
    } else {
        o->child = options_of(ref->u.definition, arena);
    }
}

static void set_backing(BlkOptions *o, const BlockdevRefOrNull *ref, GPtrArray *arena)
{
    if (ref == NULL) {
        return;
    }
    o->backing_none = ref->is == BLOCKDEV_REF_OR_NULL_NULL;
    if (ref->is == BLOCKDEV_REF_OR_NULL_REFERENCE) {
        o->backing_ref = ref->u.reference;
    } else if (ref->is == BLOCKDEV_REF_OR_NULL_DEFINITION) {
        o->backing = options_of(ref->u.definition, arena);
    }
}

static void set_nbd(BlkOptions *o, const BlockdevNbd *n, GPtrArray *arena)
{
    BlkNbdOptions *nbd = g_new(BlkNbdOptions, 1);
    const SocketAddress *a = n->server;

    g_ptr_array_add(arena, nbd);
    *nbd = (BlkNbdOptions){
        .path = a->type == SOCKET_ADDRESS_TYPE_UNIX ? a->u.unix_.path : NULL,
        .host = a->type == SOCKET_ADDRESS_TYPE_INET ? a->u.inet.host : NULL,
        .port = a->type == SOCKET_ADDRESS_TYPE_INET ? a->u.inet.port : NULL,
        .fd_name = a->type == SOCKET_ADDRESS_TYPE_FD ? a->u.fd.str : NULL,
        .export_name = n->export, .tls_hostname = n->tls_hostname, .bitmap = n->x_dirty_bitmap,
        .tls = n->tls_creds != NULL ? objects_tls(n->tls_creds, false, NULL) : NULL,
        .reconnect_delay = n->reconnect_delay, .open_timeout = n->open_timeout,
    };
    o->nbd = nbd;
}

/* The second node below, or NULL. */
static const BlockdevRef *other_of(const BlockdevConfig *c)
{
    return c->driver == BLOCKDEV_CONFIG_DRIVER_BLKVERIFY ? c->u.blkverify.raw
           : c->driver == BLOCKDEV_CONFIG_DRIVER_BLKLOGWRITES ? c->u.blklogwrites.log
           : c->driver == BLOCKDEV_CONFIG_DRIVER_COPY_BEFORE_WRITE ? c->u.copy_before_write.target : NULL;
}

static void set_qcow2(BlkOptions *o, const BlockdevQcow2 *q, GPtrArray *arena)
{
    if (q->encrypt != NULL) {
        const BlockdevQcow2Encryption *e = q->encrypt;

        o->encrypt_format = blockdev_qcow2_encryption_format_name(e->format);
        o->key_secret = e->u.luks.key_secret;
    }
    o->pass_discard[BLK_FREED_REQUEST] =
        blk_on_off(q->has_pass_discard_request, q->pass_discard_request);
    o->pass_discard[BLK_FREED_SNAPSHOT] =
        blk_on_off(q->has_pass_discard_snapshot, q->pass_discard_snapshot);
    o->pass_discard[BLK_FREED_OTHER] =
        blk_on_off(q->has_pass_discard_other, q->pass_discard_other);
    set_child(o, q->file, arena);
    set_backing(o, q->backing, arena);
}

static void set_raw(BlkOptions *o, const BlockdevRaw *r, GPtrArray *arena)
{
    o->offset = r->offset;
    o->has_size = r->has_size;
    o->size = r->size;
    set_child(o, r->file, arena);
}

/* What only its driver has. */
static void set_own(BlkOptions *o, const BlockdevConfig *c, GPtrArray *arena)
{
    switch (c->driver) {
    case BLOCKDEV_CONFIG_DRIVER_FILE:
        set_file(o, &c->u.file);
        break;
    case BLOCKDEV_CONFIG_DRIVER_HOST_DEVICE:
        set_file(o, (const BlockdevFile *)&c->u.host_device);
        break;
    case BLOCKDEV_CONFIG_DRIVER_NBD:
        set_nbd(o, &c->u.nbd, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_RAW:
        set_raw(o, &c->u.raw, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_BLKDEBUG:
        o->own = &c->u.blkdebug;
        set_child(o, c->u.blkdebug.image, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_BLKVERIFY:
        set_child(o, c->u.blkverify.test, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_BLKLOGWRITES:
        o->own = &c->u.blklogwrites;
        set_child(o, c->u.blklogwrites.file, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_COPY_ON_READ:
        o->own = &c->u.copy_on_read;
        set_child(o, c->u.copy_on_read.file, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_COPY_BEFORE_WRITE:
        o->own = &c->u.copy_before_write;
        set_child(o, c->u.copy_before_write.file, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_COMPRESS:
    case BLOCKDEV_CONFIG_DRIVER_SNAPSHOT_ACCESS:
        set_child(o, blockdev_file(c), arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_PREALLOCATE:
        o->own = &c->u.preallocate;
        set_child(o, c->u.preallocate.file, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_THROTTLE:
        o->throttle_group = c->u.throttle.throttle_group;
        set_child(o, c->u.throttle.file, arena);
        break;
    case BLOCKDEV_CONFIG_DRIVER_LUKS:
        set_child(o, c->u.luks.file, arena);
        o->key_secret = c->u.luks.key_secret;
        break;
    case BLOCKDEV_CONFIG_DRIVER_QCOW2:
        set_qcow2(o, &c->u.qcow2, arena);
        break;
    default:
        o->has_size = true;
        o->size = c->u.null_co.size;
        o->latency_ns = c->u.null_co.latency_ns;
        o->read_zeroes = c->u.null_co.read_zeroes;
        break;
    }
}

static const BlkOptions *options_of(const BlockdevConfig *c, GPtrArray *arena)
{
    BlkOptions *o = g_new(BlkOptions, 1);

    g_ptr_array_add(arena, o);
    *o = (BlkOptions){
        .driver = blockdev_config_driver_name(c->driver), .node_name = c->node_name,
        .read_only = c->read_only, .auto_read_only = c->auto_read_only,
        .detect_zeroes = (BlkDetect)c->detect_zeroes,
        .discard_unmap = c->discard == BLOCKDEV_DISCARD_UNMAP,
        .cache_direct = c->cache != NULL && c->cache->direct,
        .cache_no_flush = c->cache != NULL && c->cache->no_flush,
    };
    const BlockdevRef *other = other_of(c);
    if (other != NULL && other->is == BLOCKDEV_REF_REFERENCE) {
        o->other_ref = other->u.reference;
    } else if (other != NULL) {
        o->other = options_of(other->u.definition, arena);
    }
    set_own(o, c, arena);
    return o;
}

static bool check_nbd(const BlockdevNbd *n, Error **errp)
{
    const SocketAddress *a = n->server;

    if (a->type == SOCKET_ADDRESS_TYPE_UNIX && a->u.unix_.abstract) {
        return error_set(errp, "Parameter 'server.abstract' is not supported here");
    }
    if (a->type == SOCKET_ADDRESS_TYPE_INET && (a->u.inet.ipv4 || a->u.inet.ipv6 || a->u.inet.to)) {
        return error_set(errp, "Parameter 'server.%s' is not supported here",
                         a->u.inet.ipv4 ? "ipv4" : a->u.inet.ipv6 ? "ipv6" : "to");
    }
    return n->tls_creds == NULL || objects_tls(n->tls_creds, false, errp) != NULL;
}

const BlockdevRef *blockdev_file(const BlockdevConfig *c)
{
    switch (c->driver) {
    case BLOCKDEV_CONFIG_DRIVER_RAW:
        return c->u.raw.file;
    case BLOCKDEV_CONFIG_DRIVER_QCOW2:
        return c->u.qcow2.file;
    case BLOCKDEV_CONFIG_DRIVER_THROTTLE:
        return c->u.throttle.file;
    case BLOCKDEV_CONFIG_DRIVER_LUKS:
        return c->u.luks.file;
    case BLOCKDEV_CONFIG_DRIVER_BLKDEBUG:
        return c->u.blkdebug.image;
    case BLOCKDEV_CONFIG_DRIVER_BLKVERIFY:
        return c->u.blkverify.test;
    case BLOCKDEV_CONFIG_DRIVER_BLKLOGWRITES:
        return c->u.blklogwrites.file;
    case BLOCKDEV_CONFIG_DRIVER_COPY_ON_READ:
        return c->u.copy_on_read.file;
    case BLOCKDEV_CONFIG_DRIVER_COPY_BEFORE_WRITE:
        return c->u.copy_before_write.file;
    case BLOCKDEV_CONFIG_DRIVER_SNAPSHOT_ACCESS:
        return c->u.snapshot_access.file;
    case BLOCKDEV_CONFIG_DRIVER_COMPRESS:
        return c->u.compress.file;
    case BLOCKDEV_CONFIG_DRIVER_PREALLOCATE:
        return c->u.preallocate.file;
    default:
        return NULL;
    }
}

/* What the schema knows and no node does yet is refused, not ignored. */
static bool check_absent(const BlockdevConfig *c, Error **errp)
{
    const BlockdevRef *file = blockdev_file(c);
    const BlockdevRefOrNull *backing = c->driver == BLOCKDEV_CONFIG_DRIVER_QCOW2 ? c->u.qcow2.backing : NULL;

    if (c->driver == BLOCKDEV_CONFIG_DRIVER_NBD && !check_nbd(&c->u.nbd, errp)) {
        return false;
    }
    if (c->detect_zeroes == BLOCKDEV_DETECT_ZEROES_UNMAP && c->discard != BLOCKDEV_DISCARD_UNMAP) {
        return error_set(errp, "setting detect-zeroes to unmap is not allowed without setting discard "
                         "operation to unmap");
    }
    if (c->force_share) {
        return error_set(errp, "Parameter 'force-share' does not accept value 'on' yet");
    }
    if (file != NULL && file->is == BLOCKDEV_REF_DEFINITION && !check_absent(file->u.definition, errp)) {
        return false;
    }
    file = other_of(c);
    if (file != NULL && file->is == BLOCKDEV_REF_DEFINITION && !check_absent(file->u.definition, errp)) {
        return false;
    }
    return backing == NULL || backing->is != BLOCKDEV_REF_OR_NULL_DEFINITION ||
           check_absent(backing->u.definition, errp);
}

const BlkOptions *blockdev_options(const BlockdevConfig *c, GPtrArray *arena, Error **errp)
{
    return check_absent(c, errp) ? options_of(c, arena) : NULL;
}

BlkNode *blockdev_open(const BlockdevConfig *c, Error **errp)
{
    g_autoptr(GPtrArray) arena = g_ptr_array_new_with_free_func(g_free);
    const BlkOptions *o = blockdev_options(c, arena, errp);

    return o != NULL ? blk_open(o, errp) : NULL;
}
