/* qmp-create.c: blockdev-create, the job that makes images.
 *
 * 1. What control alone may do, opening and using nodes, is done before the job's thread starts; what fails
 *    there is the job's error like any other. */
#include "block/job.h"
#include "qapi/commands.h"

G_STATIC_ASSERT((int)BLK_PREALLOC_FULL == (int)PREALLOC_MODE_FULL);

typedef struct Making {
    BlkCreate o;
    char *backing_file, *backing_fmt, *data_name;
    BlkUser file, data;
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
    error_free(m->err);
    g_free(m->backing_file);
    g_free(m->backing_fmt);
    g_free(m->data_name);
    g_free(m);
}

static bool use(BlkUser *u, const BlockdevRef *ref, const char *id, Error **errp)
{
    g_autofree char *who = g_strdup_printf("job '%s'", id);

    if (ref->is == BLOCKDEV_REF_DEFINITION) {
        return error_set(errp, "An image is made in a node that is there: name it");
    }
    BlkNode *n = blk_find(ref->u.reference);
    if (n == NULL) {
        return error_set(errp, "Cannot find device='%s' nor node-name='%s'", ref->u.reference,
                         ref->u.reference);
    }
    u->stays = true;
    return blk_attach(n, u, who, BLK_PERM_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE, 0, errp);
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
    if (q->refcount_bits < 1 || q->refcount_bits > 64) {
        error_set(&m->err, "Refcount width must be a power of two and may not exceed 64 bits");
    } else if (q->cluster_size == 0) {
        error_set(&m->err, "Cluster size must be a power of two between 512 and 2048k");
    } else if (use(&m->file, q->file, id, &m->err) && q->data_file != NULL &&
               use(&m->data, q->data_file, id, &m->err)) {
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
    } else {
        prepare_qcow2(m, &options->u.qcow2, job_id);
    }
    if (!job_create(job_id, make, drop, m, errp)) {
        drop(m);
        return false;
    }
    return true;
}
