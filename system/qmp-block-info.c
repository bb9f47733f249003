/* qmp-block-info.c: QMP commands that tell of disks, block nodes and their images. */
#include <string.h>
#include <sys/stat.h>
#include "block/front.h"
#include "block/graph.h"
#include "qapi/commands.h"
#include "system/qmp-bitmap.h"
#include "system/qmp-times.h"
#include "system/throttle.h"
#include "util/clock.h"

/* --- what there is --- */

/* The value of an enum that has all names the block layer knows. */
static int value(unsigned type, const char *name)
{
    int v = 0;

    qapi_enum_value(type, name, "", &v, NULL);
    return v;
}

static void tell_luks(const BlkLuksInfo *l, QCryptoBlockInfoLUKS *out)
{
    out->cipher_alg = (QCryptoCipherAlgorithm)value(QAPI_T_Q_CRYPTO_CIPHER_ALGORITHM, l->cipher_alg);
    out->cipher_mode = (QCryptoCipherMode)value(QAPI_T_Q_CRYPTO_CIPHER_MODE, l->cipher_mode);
    out->ivgen_alg = (QCryptoIVGenAlgorithm)value(QAPI_T_Q_CRYPTO_IV_GEN_ALGORITHM, l->ivgen_alg);
    out->hash_alg = (QCryptoHashAlgorithm)value(QAPI_T_Q_CRYPTO_HASH_ALGORITHM, l->hash_alg);
    out->has_ivgen_hash_alg = l->ivgen_hash_alg != NULL;
    if (l->ivgen_hash_alg != NULL) {
        out->ivgen_hash_alg = (QCryptoHashAlgorithm)value(QAPI_T_Q_CRYPTO_HASH_ALGORITHM, l->ivgen_hash_alg);
    }
    out->payload_offset = (int64_t)l->payload_offset;
    out->master_key_iters = l->iterations;
    out->uuid = g_strdup(l->uuid);
    for (unsigned i = 0; i < G_N_ELEMENTS(l->slots); i++) {
        QCryptoBlockInfoLUKSSlot *s = qapi_new_q_crypto_block_info_luks_slot();

        s->active = s->has_iters = s->has_stripes = l->slots[i].active;
        s->iters = l->slots[i].iterations;
        s->stripes = l->slots[i].stripes;
        s->key_offset = (int64_t)l->slots[i].key_offset;
        qapi_append(&out->slots, s);
    }
}

static ImageInfoSpecificQCow2Encryption *encryption(const BlkImageInfo *about)
{
    ImageInfoSpecificQCow2Encryption *e = qapi_new_image_info_specific_q_cow2_encryption();

    if (about->luks) {
        e->format = IMAGE_INFO_SPECIFIC_Q_COW2_ENCRYPTION_FORMAT_LUKS;
        tell_luks(&about->luks_info, &e->u.luks);
    } else {
        e->format = IMAGE_INFO_SPECIFIC_Q_COW2_ENCRYPTION_FORMAT_AES;
    }
    return e;
}

static ImageInfoSpecific *luks_specific(const BlkImageInfo *about)
{
    ImageInfoSpecific *s = qapi_new_image_info_specific();

    s->type = IMAGE_INFO_SPECIFIC_TYPE_LUKS;
    s->u.luks.data = qapi_new_q_crypto_block_info_luks();
    tell_luks(&about->luks_info, s->u.luks.data);
    return s;
}

static ImageInfoSpecific *qcow2_specific(const BlkImageInfo *about)
{
    ImageInfoSpecific *s = qapi_new_image_info_specific();
    ImageInfoSpecificQCow2 *q = qapi_new_image_info_specific_q_cow2();

    s->type = IMAGE_INFO_SPECIFIC_TYPE_QCOW2;
    s->u.qcow2.data = q;
    q->encrypt = about->encrypted ? encryption(about) : NULL;
    q->compat = g_strdup(about->version >= 3 ? "1.1" : "0.10");
    q->compression_type = about->zstd ? QCOW2_COMPRESSION_TYPE_ZSTD : QCOW2_COMPRESSION_TYPE_ZLIB;
    q->refcount_bits = about->refcount_bits;
    q->has_lazy_refcounts = q->has_corrupt = q->has_extended_l2 = about->version >= 3;
    q->lazy_refcounts = about->lazy_refcounts;
    q->corrupt = about->corrupt;
    q->extended_l2 = about->extended_l2;
    q->data_file = g_strdup(about->data_file);
    q->has_data_file_raw = about->data_file != NULL;
    q->data_file_raw = about->data_file_raw;
    return s;
}

/* What an image of a format says of itself. */
static void tell_image(BlkNode *n, ImageInfo *i)
{
    const BlkNode *backing = blk_child(n, 1);
    BlkImageInfo about;

    blk_image_info(n, &about);
    i->has_cluster_size = about.cluster_size != 0;
    i->cluster_size = (int64_t)about.cluster_size;
    i->dirty_flag = about.dirty;
    i->backing_filename = g_strdup(about.backing_file);
    i->backing_filename_format = g_strdup(about.backing_format);
    i->full_backing_filename = about.backing_file != NULL && backing != NULL ? g_strdup(blk_filename(backing))
                                                                            : NULL;
    if (about.qcow2) {
        i->format_specific = qcow2_specific(&about);
    } else if (about.luks) {
        i->format_specific = luks_specific(&about);
    }
    qmp_tell_snapshots(n, &i->snapshots);
    i->has_snapshots = i->snapshots.n > 0;
}

/* @chain: with the images behind it. */
static ImageInfo *image_info(BlkNode *n, bool chain)
{
    ImageInfo *i = qapi_new_image_info();
    BlkNode *backing = blk_child(n, 1);
    struct stat st;

    i->filename = g_strdup(blk_filename(n));
    i->format = g_strdup(blk_driver_name(n));
    i->virtual_size = blk_size(n);
    i->has_actual_size = *i->filename != '\0' && stat(i->filename, &st) == 0;
    i->actual_size = i->has_actual_size ? st.st_blocks * INT64_C(512) : 0;
    i->has_dirty_flag = true;
    if (strcmp(i->format, "qcow2") == 0 || strcmp(i->format, "luks") == 0) {
        tell_image(n, i);
    }
    i->backing_image = chain && backing != NULL ? image_info(backing, true) : NULL;
    return i;
}

/* @chain: with the images behind it. */
static BlockDeviceInfo *node_info(BlkNode *n, bool chain)
{
    BlockDeviceInfo *i = qapi_new_block_device_info();
    BlkNode *backing = blk_child(n, 1);

    i->node_name = g_strdup(blk_name(n));
    i->file = g_strdup(blk_filename(n));
    i->drv = g_strdup(blk_driver_name(n));
    i->encrypted = blk_encrypted(n);
    i->ro = blk_read_only(n);
    i->detect_zeroes = (BlockdevDetectZeroes)blk_detect_zeroes(n);
    i->write_threshold = (int64_t)blk_threshold(n);
    i->image = image_info(n, chain);
    i->backing_file = backing != NULL ? g_strdup(blk_filename(backing)) : NULL;
    for (; chain && backing != NULL; backing = blk_child(backing, 1)) {
        i->backing_file_depth++;
    }
    i->cache = qapi_new_blockdev_cache_info();
    i->cache->writeback = true;
    i->cache->direct = blk_cache_direct(n);
    i->cache->no_flush = blk_cache_no_flush(n);
    qmp_tell_bitmaps(n, &i->dirty_bitmaps);
    i->has_dirty_bitmaps = i->dirty_bitmaps.n > 0;
    return i;
}

static BlockInfo *front_info(BlkFront *f)
{
    static const BlockDeviceIoStatus states[] = {
        [BLK_IO_OK] = BLOCK_DEVICE_IO_STATUS_OK, [BLK_IO_FAILED] = BLOCK_DEVICE_IO_STATUS_FAILED,
        [BLK_IO_NOSPACE] = BLOCK_DEVICE_IO_STATUS_NOSPACE,
    };
    BlockInfo *i = qapi_new_block_info();
    BlkNode *n = __atomic_load_n(&f->node, __ATOMIC_RELAXED);

    i->device = g_strdup(f->drive);
    i->qdev = g_strdup(f->qdev);
    i->type = g_strdup("unknown");
    i->removable = f->removable;
    i->has_tray_open = f->tray != NULL && f->tray->is_open != NULL;
    i->tray_open = i->has_tray_open && f->tray->is_open(f);
    i->locked = i->has_tray_open && f->tray->is_locked(f);
    i->has_io_status = blk_front_may_stop(f);
    i->io_status = states[blk_front_io_status(f)];
    if (n != NULL && blk_is_gone(n)) {
        n = NULL;
        i->has_io_status = false;
    }
    i->inserted = n != NULL ? node_info(n, true) : NULL;
    if (n != NULL) {
        throttle_tell(f, i->inserted);
    }
    return i;
}

/* A -drive that no device has. */
static bool is_spare(const BlkNode *n)
{
    return blk_is_drive(n) && *blk_drive_id(n) != '\0' && blk_front_of_drive(blk_drive_id(n)) == NULL;
}

static BlockInfo *spare_info(BlkNode *n)
{
    BlockInfo *i = qapi_new_block_info();

    i->device = g_strdup(blk_drive_id(n));
    i->type = g_strdup("unknown");
    i->removable = true;
    i->inserted = blk_is_empty(n) ? NULL : node_info(n, true);
    return i;
}

bool qmp_query_block(BlockInfoList *ret, Error **errp)
{
    for (BlkNode *n = blk_next(NULL); n != NULL; n = blk_next(n)) {
        if (is_spare(n)) {
            qapi_append(ret, spare_info(n));
        }
    }
    for (BlkFront *f = blk_front_next(NULL); f != NULL; f = blk_front_next(f)) {
        qapi_append(ret, front_info(f));
    }
    return true;
}

static BlkNode *next_shown(BlkNode *n)
{
    do {
        n = blk_next(n);
    } while (n != NULL && blk_is_gone(n));
    return n;
}

bool qmp_query_named_block_nodes(bool flat, BlockDeviceInfoList *ret, Error **errp)
{
    for (BlkNode *n = next_shown(NULL); n != NULL; n = next_shown(n)) {
        qapi_append(ret, node_info(n, !flat));
    }
    return true;
}

/* --- statistics --- */

static BlockDeviceStats *stats_info(BlkNode *n, uint64_t *highest)
{
    BlockDeviceStats *s = qapi_new_block_device_stats();
    BlkStats b = { 0 };

    if (n != NULL) {
        blk_stats(n, &b);
    }
    s->rd_bytes = b.bytes[BLK_READ];
    s->wr_bytes = b.bytes[BLK_WRITE] + b.bytes[BLK_ZERO];
    s->unmap_bytes = b.bytes[BLK_DISCARD];
    s->rd_operations = b.ops[BLK_READ];
    s->wr_operations = b.ops[BLK_WRITE] + b.ops[BLK_ZERO];
    s->flush_operations = b.ops[BLK_FLUSH];
    s->unmap_operations = b.ops[BLK_DISCARD];
    s->rd_total_time_ns = b.ns[BLK_READ];
    s->wr_total_time_ns = b.ns[BLK_WRITE] + b.ns[BLK_ZERO];
    s->flush_total_time_ns = b.ns[BLK_FLUSH];
    s->unmap_total_time_ns = b.ns[BLK_DISCARD];
    s->failed_rd_operations = b.failed[BLK_READ];
    s->failed_wr_operations = b.failed[BLK_WRITE] + b.failed[BLK_ZERO];
    s->failed_flush_operations = b.failed[BLK_FLUSH];
    s->failed_unmap_operations = b.failed[BLK_DISCARD];
    *highest = MAX(*highest, b.wr_highest);
    s->wr_highest_offset = *highest;
    return s;
}

/* What only a disk has. */
static void tell_front(const BlkFront *f, BlockDeviceStats *s)
{
    int64_t idle = blk_front_idle(f, clock_now(CLOCK_HOST));

    s->account_failed = f->account_failed != BLK_ACCOUNT_OFF;
    s->account_invalid = f->account_invalid != BLK_ACCOUNT_OFF;
    s->has_idle_time_ns = idle >= 0;
    s->idle_time_ns = MAX(idle, 0);
    s->invalid_rd_operations = __atomic_load_n(&f->invalid[BLK_READ], __ATOMIC_RELAXED);
    s->invalid_wr_operations = __atomic_load_n(&f->invalid[BLK_WRITE], __ATOMIC_RELAXED) +
                               __atomic_load_n(&f->invalid[BLK_ZERO], __ATOMIC_RELAXED);
    s->invalid_flush_operations = __atomic_load_n(&f->invalid[BLK_FLUSH], __ATOMIC_RELAXED);
    s->invalid_unmap_operations = __atomic_load_n(&f->invalid[BLK_DISCARD], __ATOMIC_RELAXED);
}

static BlockStatsSpecific *specific_stats(const BlkNode *n)
{
    BlockStatsSpecific *s;
    BlkDiscards d;

    if (n == NULL || !blk_discards(n, &d)) {
        return NULL;
    }
    s = qapi_new_block_stats_specific();
    s->driver = strcmp(blk_driver_name(n), "file") == 0 ? BLOCK_STATS_SPECIFIC_DRIVER_FILE
                : BLOCK_STATS_SPECIFIC_DRIVER_HOST_DEVICE;
    s->u.file = (BlockStatsSpecificFile){ .discard_nb_ok = d.ok, .discard_nb_failed = d.failed,
                                          .discard_bytes_ok = d.bytes };
    return s;
}

/* Requests are counted where they enter; @highest is carried down, to where the bytes land. */
static BlockStats *node_stats(BlkNode *n, uint64_t highest)
{
    BlockStats *s = qapi_new_block_stats();
    BlkNode *child = n != NULL ? blk_child(n, 0) : NULL, *backing = n != NULL ? blk_child(n, 1) : NULL;

    s->node_name = n != NULL ? g_strdup(blk_name(n)) : NULL;
    s->stats = stats_info(n, &highest);
    s->driver_specific = specific_stats(n);
    s->parent = child != NULL ? node_stats(child, highest) : NULL;
    s->backing = backing != NULL ? node_stats(backing, 0) : NULL;
    return s;
}

bool qmp_query_blockstats(bool query_nodes, BlockStatsList *ret, Error **errp)
{
    for (BlkNode *n = query_nodes ? next_shown(NULL) : NULL; n != NULL; n = next_shown(n)) {
        qapi_append(ret, node_stats(n, 0));
    }
    for (BlkNode *n = query_nodes ? NULL : blk_next(NULL); n != NULL; n = blk_next(n)) {
        if (is_spare(n)) {
            BlockStats *s = node_stats(n, 0);

            s->device = g_strdup(blk_drive_id(n));
            qmp_tell_no_times(blk_drive_words(n), s->stats);
            qapi_append(ret, s);
        }
    }
    for (BlkFront *f = query_nodes ? NULL : blk_front_next(NULL); f != NULL; f = blk_front_next(f)) {
        BlkNode *n = __atomic_load_n(&f->node, __ATOMIC_RELAXED);
        n = n != NULL && blk_is_gone(n) ? NULL : n;
        BlockStats *s = node_stats(n, 0);

        s->device = g_strdup(f->drive);
        s->qdev = g_strdup(f->qdev);
        tell_front(f, s->stats);
        qmp_tell_times(f, s->stats);
        qapi_append(ret, s);
    }
    return true;
}
