/* qmp-create.c: blockdev-create, the job that makes images.
 *
 * 1. What control alone may do, opening and using nodes, is done before the job's thread starts; what fails
 *    there is the job's error like any other. */
#include "block/job.h"
#include "qapi/commands.h"
#include "system/blockdev.h"
#include "system/qmp-graph.h"
#include "util/bytes.h"
#include "util/crypt.h"

G_STATIC_ASSERT((int)BLK_PREALLOC_FULL == (int)PREALLOC_MODE_FULL);

typedef struct Making {
    BlkCreate o;
    char *backing_file, *backing_fmt, *data_name, *key_secret;
    BlkUser file, data;
    BlkNode *own[2];           /* opened for it alone, or NULL */
    bool made;                 /* nothing is left to do */
    Error *err;                /* of what came before */
} Making;

static bool make(void *arg, Error **errp)
{
    Making *m = arg;

    if (m->err != NULL) {
        *errp = g_steal_pointer(&m->err);
        return false;
    }
    return m->made || blk_format(m->file.node, m->data.node, &m->o, errp);
}

static void drop(void *arg)
{
    Making *m = arg;

    blk_detach(&m->file);
    blk_detach(&m->data);
    for (unsigned i = 0; i < ARRAY_LEN(m->own); i++) {
        if (m->own[i] != NULL) {
            blk_close(m->own[i], NULL);
        }
    }
    error_free(m->err);
    g_free(m->backing_file);
    g_free(m->backing_fmt);
    g_free(m->data_name);
    g_free(m->key_secret);
    g_free(m);
}

static bool use(BlkUser *u, BlkNode **own, const BlockdevRef *ref, const char *id, unsigned share,
                Error **errp)
{
    g_autofree char *who = g_strdup_printf("job '%s'", id);
    BlkNode *n;

    if (ref->is == BLOCKDEV_REF_DEFINITION) {
        n = *own = blockdev_open(ref->u.definition, errp);
    } else {
        n = qmp_find_node(ref->u.reference, ref->u.reference, errp);
    }
    u->stays = true;
    return n != NULL &&
           blk_attach(n, u, who, BLK_PERM_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE, share, errp);
}

static void take_luks(Making *m, const QCryptoBlockCreateOptionsLUKS *l)
{
    m->key_secret = g_strdup(l->key_secret);
    m->o.luks = (BlkLuksCreate){
        .key_secret = m->key_secret, .iter_time = l->iter_time, .has_iter_time = true,
        .cipher_alg = l->has_cipher_alg ? q_crypto_cipher_algorithm_name(l->cipher_alg) : NULL,
        .cipher_mode = l->has_cipher_mode ? q_crypto_cipher_mode_name(l->cipher_mode) : NULL,
        .ivgen_alg = l->has_ivgen_alg ? q_crypto_iv_gen_algorithm_name(l->ivgen_alg) : NULL,
        .ivgen_hash_alg = l->has_ivgen_hash_alg ? q_crypto_hash_algorithm_name(l->ivgen_hash_alg) : NULL,
        .hash_alg = l->has_hash_alg ? q_crypto_hash_algorithm_name(l->hash_alg) : NULL,
    };
}

static void prepare_luks(Making *m, const BlockdevCreateOptionsLUKS *l, const char *id)
{
    uint64_t room;

    m->o = (BlkCreate){ .driver = "luks", .size = l->size,
                        .prealloc = (BlkPrealloc)l->preallocation };
    take_luks(m, (const QCryptoBlockCreateOptionsLUKS *)l);
    if (!blk_luks_room(&m->o.luks, &room, &m->err) || !crypt_load(&m->err) ||
        !use(&m->file, &m->own[0], l->file, id, BLK_PERM_RESIZE, &m->err)) {
        return;
    }
    if (l->size > INT64_MAX - 511 - room) {
        error_set(&m->err, "The requested file size is too large");
    } else if (blk_limits(m->file.node)->can_grow) {
        blk_truncate(m->file.node, ALIGN_UP(l->size, 512) + room, &m->err);
    }
}

static void take_encryption(Making *m, const QCryptoBlockCreateOptions *e)
{
    if (e->format == Q_CRYPTO_BLOCK_CREATE_OPTIONS_FORMAT_QCOW) {
        error_set(&m->err, "Use of AES-CBC encrypted qcow2 images is no longer supported in system "
                  "emulators");
        return;
    }
    m->o.encrypt_format = "luks";
    take_luks(m, &e->u.luks);
    crypt_load(&m->err);
}

static void prepare_qcow2(Making *m, const BlockdevCreateOptionsQcow2 *q, const char *id)
{
    m->backing_file = g_strdup(q->backing_file);
    m->backing_fmt = g_strdup(q->backing_fmt);
    m->o = (BlkCreate){
        .driver = "qcow2", .size = q->size, .prealloc = (BlkPrealloc)q->preallocation,
        .backing_file = m->backing_file, .backing_fmt = m->backing_fmt, .cluster_size = q->cluster_size,
        .refcount_bits = (unsigned)q->refcount_bits, .v2 = q->version == BLOCKDEV_QCOW2_VERSION_V2,
        .lazy_refcounts = q->lazy_refcounts, .extended_l2 = q->extended_l2,
        .zstd = q->compression_type == QCOW2_COMPRESSION_TYPE_ZSTD, .data_file_raw = q->data_file_raw,
    };
    if (q->encrypt != NULL) {
        take_encryption(m, q->encrypt);
    }
    if (m->err != NULL) {
        return;
    }
    if (q->refcount_bits < 1 || q->refcount_bits > 64) {
        error_set(&m->err, "Refcount width must be a power of two and may not exceed 64 bits");
    } else if (q->cluster_size == 0) {
        error_set(&m->err, "Cluster size must be a power of two between 512 and 2048k");
    } else if (use(&m->file, &m->own[0], q->file, id, 0, &m->err) && q->data_file != NULL &&
               use(&m->data, &m->own[1], q->data_file, id, 0, &m->err)) {
        m->data_name = g_strdup(blk_filename(m->data.node));
        m->o.data_file = m->data_name;
    }
}

static void prepare_file(Making *m, const BlockdevCreateOptionsFile *f)
{
    BlkCreate o = { .driver = "raw", .filename = f->filename, .size = f->size, .nocow = f->nocow,
                    .prealloc = (BlkPrealloc)f->preallocation };

    m->made = blk_create(&o, &m->err);
}

bool qmp_blockdev_create(const char *job_id, const BlockdevCreateOptions *options, Error **errp)
{
    if (!job_id_free(job_id, errp)) {      /* before anything in a file is lost */
        return false;
    }
    Making *m = g_new0(Making, 1);

    if (options->driver == BLOCKDEV_CREATE_OPTIONS_DRIVER_FILE) {
        prepare_file(m, &options->u.file);
    } else if (options->driver == BLOCKDEV_CREATE_OPTIONS_DRIVER_LUKS) {
        prepare_luks(m, &options->u.luks, job_id);
    } else {
        prepare_qcow2(m, &options->u.qcow2, job_id);
    }
    if (!job_create(JOB_CREATE, job_id, make, drop, m, errp)) {
        drop(m);
        return false;
    }
    return true;
}
