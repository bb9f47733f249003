/* qmp-amend.c: x-blockdev-amend, the job that changes the key slots of encrypted images.
 *
 * 1. What control alone may do is done before the job's thread starts; what fails there is the job's error
 *    like any other. */
#include "block/job.h"
#include "qapi/commands.h"
#include "system/qmp-graph.h"

typedef struct Amending {
    QCryptoBlockAmendOptionsLUKS *words;       /* what @o points to */
    BlkLuksAmend o;
    BlkKeys *keys;             /* NULL: nothing is to be done, or @err */
    Error *err;
} Amending;

static bool change(void *arg, Error **errp)
{
    Amending *a = arg;

    if (a->err != NULL) {
        *errp = g_steal_pointer(&a->err);
        return false;
    }
    return a->keys == NULL || blk_keys_change(a->keys, errp);
}

static void drop(void *arg)
{
    Amending *a = arg;

    if (a->keys != NULL) {
        blk_keys_end(a->keys);
    }
    error_free(a->err);
    qapi_free_q_crypto_block_amend_options_luks(a->words);
    g_free(a);
}

static void prepare(Amending *a, BlkNode *n, const char *id, const QCryptoBlockAmendOptionsLUKS *l,
                    bool force)
{
    g_autofree char *who = g_strdup_printf("job '%s'", id);

    a->words = qapi_new_q_crypto_block_amend_options_luks();
    a->words->new_secret = g_strdup(l->new_secret);
    a->words->old_secret = g_strdup(l->old_secret);
    a->words->secret = g_strdup(l->secret);
    a->o = (BlkLuksAmend){
        .state = q_crypto_block_luks_keyslot_state_name(l->state), .new_secret = a->words->new_secret,
        .old_secret = a->words->old_secret, .secret = a->words->secret, .has_keyslot = l->has_keyslot,
        .keyslot = l->keyslot < 0 || l->keyslot > UINT32_MAX ? UINT32_MAX : (uint64_t)l->keyslot,
        .has_iter_time = l->has_iter_time, .iter_time = l->iter_time,
    };
    a->keys = blk_keys_begin(n, who, &a->o, force, &a->err);
}

bool qmp_x_blockdev_amend(const char *job_id, const char *node_name, const BlockdevAmendOptions *options,
                          bool force, Error **errp)
{
    const QCryptoBlockAmendOptionsLUKS *l = &options->u.luks;
    BlkNode *n = qmp_find_node(NULL, node_name, errp);

    if (n == NULL || !job_id_free(job_id, errp)) {
        return false;
    }
    if (strcmp(blk_driver_name(n), blockdev_amend_options_driver_name(options->driver)) != 0) {
        return error_set(errp, "x-blockdev-amend doesn't support changing the block driver");
    }
    if (options->driver == BLOCKDEV_AMEND_OPTIONS_DRIVER_QCOW2) {
        const QCryptoBlockAmendOptions *e = options->u.qcow2.encrypt;

        l = e != NULL ? &e->u.luks : NULL;
    }
    Amending *a = g_new0(Amending, 1);
    if (l != NULL) {
        prepare(a, n, job_id, l, force);
    }
    if (!job_create(JOB_AMEND, job_id, change, drop, a, errp)) {
        drop(a);
        return false;
    }
    return true;
}
