/* node.c: the graph of nodes: opening, finding, users and their rights, sizes.
 *
 * 1. Everything here runs on the control thread; only facts a request needs are read elsewhere.
 * 2. A node's rights are the sum over its users: what any needs, and what all share.  The driver
 *    gets the sum (raw hands it to its child, file turns it into locks), so a conflict with another
 *    process and one with another device are found by the same change.
 * 3. A child outlives its parent's use of it; an inline child is closed with its parent. */
#include <ctype.h>
#include <inttypes.h>
#include <sys/stat.h>
#include "block/block-int.h"
#include "block/graph.h"
#include "block/job-int.h"
#include "block/throttle.h"
#include "util/bytes.h"

/* The graph belongs to the process and its control thread: node names are one name space. */
static BlkNode *nodes;
static unsigned anonymous;

static const BlkDriver *drivers[32] = {
    &blk_file, &blk_host_device, &blk_raw, &blk_qcow2, &blk_null_co, &blk_null_aio, &blk_nbd,
    &blk_throttle, &blk_luks,
    &blk_blkdebug, &blk_blkverify, &blk_blklogwrites, &blk_copy_on_read, &blk_compress,
    &blk_copy_before_write, &blk_snapshot_access, &blk_preallocate,
};
/* Made by jobs, and when a device loses its medium. */
static const BlkDriver *const internal[] = {
    &blk_mirror_top, &blk_commit_top, &blk_backup_top, &blk_copy_on_stream, &blk_snapshot_reader,
    &blk_gone,
};
static const char *driver_names[ARRAY_LEN(drivers) + 1] = {
    "file", "host_device", "raw", "qcow2", "null-co", "null-aio", "nbd", "throttle", "luks",
    "blkdebug", "blkverify", "blklogwrites", "copy-on-read", "compress", "copy-before-write",
    "snapshot-access", "preallocate",
};

void blk_add_driver(const BlkDriver *d)
{
    unsigned i = 0;

    while (drivers[i] && drivers[i] != d) {
        i++;
    }
    g_assert(i + 1 < ARRAY_LEN(drivers));
    drivers[i] = d;
    driver_names[i] = d->name;
}

const char *const *blk_driver_names(void)
{
    return driver_names;
}

/* --- facts --- */

const char *blk_name(const BlkNode *n)
{
    return n->name;
}

const char *blk_driver_name(const BlkNode *n)
{
    return n->drv->name;
}

const char *blk_filename(const BlkNode *n)
{
    while (!n->filename && n->child) {
        n = n->child;
    }
    return n->filename ? n->filename : "";
}

uint64_t blk_size(const BlkNode *n)
{
    return __atomic_load_n(&n->size, __ATOMIC_RELAXED);
}

bool blk_read_only(const BlkNode *n)
{
    return n->read_only;
}

const BlkLimits *blk_limits(const BlkNode *n)
{
    return &n->limits;
}

bool blk_cache_direct(const BlkNode *n)
{
    return n->direct;
}

BlkDetect blk_detect_zeroes(const BlkNode *n)
{
    return n->detect_zeroes;
}

bool blk_cache_no_flush(const BlkNode *n)
{
    return n->no_flush;
}

bool blk_encrypted(const BlkNode *n)
{
    return n->crypt != NULL;
}

BlkNode *blk_child(const BlkNode *n, unsigned i)
{
    return i == 0 ? n->child : i == 1 ? blk_past_reader(n->backing) : NULL;
}

BlkNode *blk_find(const char *name)
{
    for (BlkNode *n = nodes; n; n = n->next) {
        if (!strcmp(n->name, name)) {
            return n;
        }
    }
    return NULL;
}

BlkNode *blk_find_drive(const char *id)
{
    for (BlkNode *n = nodes; n; n = n->next) {
        if (n->drive_id && !strcmp(n->drive_id, id)) {
            return n;
        }
    }
    return NULL;
}

BlkNode *blk_next(const BlkNode *n)
{
    return n ? n->next : nodes;
}

/* --- rights --- */

static const char *right_name(unsigned rights)
{
    return rights & BLK_PERM_WRITE ? "write" : rights & BLK_PERM_RESIZE ? "resize" : "read";
}

static bool rights_conflict(const BlkNode *n, const BlkUser *u, unsigned need, unsigned share,
                            Error **errp)
{
    for (const BlkUser *v = n->users; v; v = v->next) {
        if (v == u) {
            continue;
        }
        unsigned refused = need & ~v->share, disturbs = v->need & ~share;
        if (!refused && !disturbs) {
            continue;
        }
        if (refused) {
            error_set(errp, "Node '%s' is already used by %s, which does not let others %s it",
                      n->name, v->who, right_name(refused));
        } else {
            error_set(errp, "Node '%s' is already used by %s, which may %s it", n->name, v->who,
                      right_name(disturbs));
        }
        if ((refused | disturbs) & BLK_PERM_WRITE) {
            error_hint(errp, "share-rw=on on both devices lets several write.");
        }
        return true;
    }
    return false;
}

/* An image that is used reads what is behind it. */
static bool backing_rights(BlkNode *n, unsigned need, Error **errp)
{
    unsigned share = need && !n->backing_written ? BLK_PERM_READ | BLK_PERM_RESIZE : BLK_PERM_ALL;

    return !n->backing || !n->backing_use.node ||
           blk_change_rights(&n->backing_use, need ? BLK_PERM_READ : 0, share, errp);
}

/* Hands the sum of rights to the driver, with @u at @need and @share (0 and ALL: not there). */
static bool rights_apply(BlkNode *n, const BlkUser *u, unsigned need, unsigned share, Error **errp)
{
    if (n->aside) {
        need |= n->aside_need;
        share &= n->aside_share;
    }
    for (const BlkUser *v = n->users; v; v = v->next) {
        if (v != u) {
            need |= v->need;
            share &= v->share;
        }
    }
    return (!n->drv->rights || n->drv->rights(n, need, share, errp)) && backing_rights(n, need, errp);
}

void blk_backing_written(BlkNode *n, BlkNode *base, bool on)
{
    for (; n && n != base; n = n->backing ? n->backing : n->child) {
        if (n->backing) {
            n->backing_written = on;
            rights_apply(n, NULL, 0, BLK_PERM_ALL, NULL);
        }
    }
}

bool blk_change_rights(BlkUser *u, unsigned need, unsigned share, Error **errp)
{
    BlkNode *n = u->node;

    assert_control();
    if ((need & (BLK_PERM_WRITE | BLK_PERM_RESIZE)) && n->read_only) {
        return error_set(errp, "Block node '%s' is read-only", n->name);
    }
    if (rights_conflict(n, u, need, share, errp) || !rights_apply(n, u, need, share, errp)) {
        return false;
    }
    u->need = need;
    u->share = share;
    return true;
}

bool blk_attach(BlkNode *n, BlkUser *u, const char *who, unsigned need, unsigned share,
                Error **errp)
{
    assert_control();
    u->node = n;
    if (!blk_change_rights(u, need, share, errp)) {
        u->node = NULL;
        return false;
    }
    u->who = g_strdup(who);
    u->next = n->users;
    n->users = u;
    return true;
}

static void user_unlist(BlkUser *u)
{
    BlkUser **at = &u->node->users;

    while (*at != u) {
        at = &(*at)->next;
    }
    *at = u->next;
}

/* Nobody who made @n's file longer (blk_grow()) is left: what the file has now is its size. */
static void grown(BlkNode *n)
{
    for (const BlkUser *u = n->users; u; u = u->next) {
        if (u->need & BLK_PERM_WRITE) {
            return;
        }
    }
    __atomic_store_n(&n->room, 0, __ATOMIC_RELAXED);
    if (n->child) {
        grown(n->child);
    } else if (n->drv->follow_size) {
        n->drv->follow_size(n);
    }
}

void blk_detach(BlkUser *u)
{
    BlkNode *n = u->node;

    assert_control();
    if (!n) {
        return;
    }
    user_unlist(u);
    rights_apply(n, NULL, 0, BLK_PERM_ALL, NULL);   /* giving up cannot fail */
    g_free(u->who);
    u->who = NULL;
    u->node = u->parent = NULL;
    if (__atomic_load_n(&n->room, __ATOMIC_RELAXED) > blk_size(n)) {
        grown(n);
    }
    if (blk_is_gone(n)) {
        blk_close_unused(n);
    }
}

/* --- moving users --- */

/* True if @u is one of those that are to be moved. */
static bool picked(const BlkUser *u, const BlkNode *above, const BlkNode *only)
{
    return only ? u->parent == only : !u->stays && (!above || u->parent != above);
}

static bool can_move(const BlkUser *u, Error **errp)
{
    return u->moved || error_set(errp, "Node '%s' is used by %s, which cannot be given another node while it "
                                 "runs", u->node->name, u->who);
}

static void aside_begin(BlkNode *from)
{
    from->aside = true;
    from->aside_need = 0;
    from->aside_share = BLK_PERM_ALL;
}

static void put_aside(BlkUser *u, GPtrArray *users)
{
    u->node->aside_need |= u->need;
    u->node->aside_share &= u->share;
    user_unlist(u);
    g_ptr_array_add(users, u);
}

bool blk_user_take(BlkUser *u, GPtrArray *users, Error **errp)
{
    if (!can_move(u, errp)) {
        return false;
    }
    aside_begin(u->node);
    put_aside(u, users);
    return true;
}

bool blk_users_take(BlkNode *from, const BlkNode *above, const BlkNode *only, GPtrArray *users, Error **errp)
{
    for (const BlkUser *u = from->users; u; u = u->next) {
        if (picked(u, above, only) && !can_move(u, errp)) {
            return false;
        }
    }
    aside_begin(from);
    for (BlkUser *u = from->users, *next; u; u = next) {
        next = u->next;
        if (picked(u, above, only)) {
            put_aside(u, users);
        }
    }
    return true;
}

bool blk_users_give(GPtrArray *users, BlkNode *to, Error **errp)
{
    for (unsigned i = 0; i < users->len; i++) {
        BlkUser *u = users->pdata[i];
        BlkNode *from = u->node;

        __atomic_store_n(&u->node, to, __ATOMIC_RELAXED);
        if (blk_change_rights(u, u->need, u->share, errp)) {
            u->next = to->users;
            to->users = u;
            continue;
        }
        u->node = from;
        while (i-- > 0) {
            u = users->pdata[i];
            user_unlist(u);
            __atomic_store_n(&u->node, from, __ATOMIC_RELAXED);
        }
        rights_apply(to, NULL, 0, BLK_PERM_ALL, NULL);
        return false;
    }
    for (unsigned i = 0; i < users->len; i++) {
        BlkUser *u = users->pdata[i];

        u->moved(u);
    }
    return true;
}

void blk_users_settle(BlkNode *from)
{
    from->aside = false;
    rights_apply(from, NULL, 0, BLK_PERM_ALL, NULL);
}

static void node_moved(BlkUser *u)
{
    BlkNode *n = u->parent;

    if (u == &n->child_use) {
        n->child = u->node;
    } else if (u == &n->backing_use) {
        n->backing = u->node;
    }
    if (n->drv->relinked) {
        n->drv->relinked(n);
    }
}

bool blk_link(BlkNode *n, BlkUser *u, BlkNode *child, unsigned need, unsigned share, Error **errp)
{
    g_autofree char *who = g_strdup_printf("node '%s'", n->name);

    if (!blk_attach(child, u, who, need, share, errp)) {
        if (!child->kept && !child->users) {
            blk_close(child, NULL);
        }
        return false;
    }
    u->moved = node_moved;
    u->parent = n;
    node_moved(u);
    if (u == &n->backing_use && !rights_apply(n, NULL, 0, BLK_PERM_ALL, errp)) {
        blk_unlink(u);
        return false;
    }
    return true;
}

void blk_unlink(BlkUser *u)
{
    BlkNode *child = u->node, *n = u->parent;

    if (!child) {
        return;
    }
    blk_detach(u);
    if (u == &n->child_use) {
        n->child = NULL;
    } else if (u == &n->backing_use) {
        n->backing = NULL;
    }
    if (n->drv->relinked) {
        n->drv->relinked(n);
    }
    if (!child->kept && !child->users) {
        blk_close(child, NULL);
    }
}

bool blk_set_read_only(BlkNode *n, bool read_only, Error **errp)
{
    if (n->read_only == read_only) {
        return true;
    }
    if (read_only) {
        for (const BlkUser *u = n->users; u; u = u->next) {
            if (u->need & BLK_PERM_WRITE) {
                return error_set(errp, "Node '%s' is written by %s", n->name, u->who);
            }
        }
        if (n->drv->set_read_only && !n->drv->set_read_only(n, true, errp)) {
            return false;
        }
        n->read_only = true;
        return true;
    }
    if (n->child && !blk_set_read_only(n->child, false, errp)) {
        return false;
    }
    n->read_only = false;
    if (n->drv->set_read_only && !n->drv->set_read_only(n, false, errp)) {
        n->read_only = true;
        return false;
    }
    return true;
}

void blk_each_user(BlkNode *n, void (*fn)(const char *who, unsigned need, void *arg), void *arg)
{
    for (BlkUser *u = n->users; u; u = u->next) {
        fn(u->who, u->need, arg);
    }
}

/* --- sizes --- */

void blk_set_size(BlkNode *n, uint64_t size)
{
    if (size == blk_size(n)) {
        return;
    }
    blk_bitmaps_resize(n, size);
    __atomic_store_n(&n->size, size, __ATOMIC_RELAXED);
    for (BlkUser *u = n->users, *next; u; u = next) {
        next = u->next;
        if (u->resized) {
            u->resized(u);
        }
    }
}

void blk_grow(BlkNode *n, uint64_t to)
{
    for (; n && n->limits.can_grow; n = n->child) {
        uint64_t room = __atomic_load_n(&n->room, __ATOMIC_RELAXED);

        while (room < to && !__atomic_compare_exchange_n(&n->room, &room, to, true, __ATOMIC_RELAXED,
                                                         __ATOMIC_RELAXED)) {
        }
    }
}

static void child_resized(BlkUser *u)
{
    BlkNode *n = container_of(u, BlkNode, child_use);

    if (n->drv->child_resized) {
        n->drv->child_resized(n);
    }
}

bool blk_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    assert_control();
    if (n->read_only) {
        return error_set(errp, "Block node '%s' is read-only", n->name);
    }
    if (size > INT64_MAX - 511) {
        return error_set(errp, "Required too big image size, it must be not greater than %" PRId64,
                         (int64_t)INT64_MAX - 511);
    }
    size = ALIGN_UP(size, 512);
    if (!n->drv->truncate) {
        return error_set(errp, "Image format driver '%s' does not support resize", n->drv->name);
    }
    for (BlkUser *u = n->users; u; u = u->next) {
        if (!(u->share & BLK_PERM_RESIZE)) {
            return error_set(errp, "Node '%s' is used by %s, which does not let others resize it",
                             n->name, u->who);
        }
    }
    return n->drv->truncate(n, size, errp);
}

int blk_premap(BlkNode *n, uint64_t from, uint64_t to)
{
    assert_control();
    return n->read_only ? -EACCES : !n->drv->premap ? -ENOTSUP : n->drv->premap(n, from, to);
}

bool blk_amend(BlkNode *n, const BlkAmend *o, bool force, Error **errp)
{
    assert_control();
    if (!n->drv->amend) {
        return error_set(errp, "Format driver '%s' does not support option amendment", n->drv->name);
    }
    return n->read_only ? error_set(errp, "Block node '%s' is read-only", n->name)
                        : n->drv->amend(n, o, force, errp);
}

bool blk_check(BlkNode *n, unsigned fix, BlkCheck *out, Error **errp)
{
    assert_control();
    if (!n->drv->check) {
        return error_set(errp, "This image format does not support checks");
    }
    if (fix && n->read_only) {
        return error_set(errp, "Block node '%s' is read-only", n->name);
    }
    return n->drv->check(n, fix, out, errp);
}

/* --- images --- */

void blk_image_info(BlkNode *n, BlkImageInfo *out)
{
    struct stat st;

    assert_control();
    *out = (BlkImageInfo){ 0 };
    if (n->child) {
        blk_image_info(n->child, out);
    }
    if (n->fd >= 0 && fstat(n->fd, &st) == 0) {
        out->allocated = (uint64_t)st.st_blocks * 512;
    }
    if (n->drv->info) {
        n->drv->info(n, out);
    }
}

const char *blk_probe(BlkNode *file, Error **errp)
{
    uint8_t head[2048] = { 0 };
    size_t len = MIN(sizeof(head), blk_size(file));
    int ret = blk_pread(file, 0, head, len), best = 0;
    const char *found = "raw";

    assert_control();
    if (ret < 0) {
        error_set_errno(errp, -ret, "Could not read image for determining its format");
        return NULL;
    }
    for (unsigned i = 0; drivers[i]; i++) {
        int score = drivers[i]->probe ? drivers[i]->probe(head, len) : 0;

        if (score > best) {
            best = score;
            found = drivers[i]->name;
        }
    }
    return found;
}

/* --- options --- */

bool blk_parse_aio(const char *text, BlkAio *out, Error **errp)
{
    static const char *const names[] = { "threads", "native", "io_uring", NULL };

    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(text, names[i])) {
            *out = (BlkAio)i;
            return true;
        }
    }
    error_set(errp, "Parameter 'aio' does not accept value '%s'", text);
    return error_suggest(errp, text, names);
}

bool blk_parse_locking(const char *text, BlkLocking *out, Error **errp)
{
    static const char *const names[] = { "auto", "on", "off", NULL };

    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(text, names[i])) {
            *out = (BlkLocking)i;
            return true;
        }
    }
    error_set(errp, "Parameter 'locking' does not accept value '%s'", text);
    return error_suggest(errp, text, names);
}

static const BlkDriver *find_driver(const char *name, bool for_job, Error **errp)
{
    if (!name) {
        error_set(errp, "Must specify a block driver: 'driver'");
        return NULL;
    }
    for (unsigned i = 0; !for_job && drivers[i]; i++) {
        if (!strcmp(drivers[i]->name, name)) {
            return drivers[i];
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(internal); i++) {
        if (!strcmp(internal[i]->name, name)) {
            return internal[i];
        }
    }
    error_set(errp, "Unknown driver '%s'", name);
    error_suggest(errp, name, driver_names);
    return NULL;
}

const char *blk_protocol_of(const char *filename)
{
    static const char *const nbd[] = { "nbd:", "nbd+unix:", "nbd+tcp:", "nbds:", "nbds+unix:", "nbds+tcp:",
                                       NULL };
    struct stat st;

    for (unsigned i = 0; nbd[i]; i++) {
        if (g_str_has_prefix(filename, nbd[i])) {
            return "nbd";
        }
    }
    return stat(filename, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)) ? "host_device" : "file";
}

static bool name_valid(const char *name)
{
    if (!isalpha((unsigned char)*name)) {
        return false;
    }
    while (isalnum((unsigned char)*name) || *name == '-' || *name == '.' || *name == '_') {
        name++;
    }
    return !*name;
}

static bool check_name(const char *name, Error **errp)
{
    if (!name) {
        return true;
    }
    if (!name_valid(name)) {
        error_set(errp, "Invalid node-name: '%s'", name);
        return error_hint(errp, "A letter, then letters, digits, '-', '.' and '_'.");
    }
    if (strlen(name) > 31) {
        return error_set(errp, "Node name '%s' is too long: at most 31 characters", name);
    }
    return !blk_find(name) || error_set(errp, "Duplicate nodes with node-name='%s'", name);
}

/* Every option given is one the driver knows, and what it must have is there. */
static bool check_options(const BlkDriver *d, const BlkOptions *o, Error **errp)
{
    const struct { unsigned opt; bool given; const char *name; } all[] = {
        { BLK_OPT_FILENAME | BLK_OPT_NBD, o->filename, "filename" },
        { BLK_OPT_NBD, o->nbd, "server" },
        { BLK_OPT_AIO, o->aio != BLK_AIO_THREADS, "aio" },
        { BLK_OPT_LOCKING, o->locking != BLK_LOCKING_AUTO, "locking" },
        { BLK_OPT_CHILD, o->child || o->child_ref, "file" },
        { BLK_OPT_OFFSET, o->offset, "offset" },
        { BLK_OPT_SIZE, o->has_size, "size" },
        { BLK_OPT_LATENCY, o->latency_ns, "latency-ns" },
        { BLK_OPT_ZEROES, o->read_zeroes, "read-zeroes" },
        { BLK_OPT_OTHER, o->other || o->other_ref, "raw' or 'log" },
        { BLK_OPT_OWN, o->own, "own" },
        { BLK_OPT_THROTTLE, o->throttle_group, "throttle-group" },
        { BLK_OPT_KEY, o->key_secret, "key-secret" },
        { BLK_OPT_ENCRYPT, o->encrypt_format, "encrypt" },
        { BLK_OPT_PASS_DISCARD, o->pass_discard[BLK_FREED_REQUEST], "pass-discard-request" },
        { BLK_OPT_PASS_DISCARD, o->pass_discard[BLK_FREED_SNAPSHOT], "pass-discard-snapshot" },
        { BLK_OPT_PASS_DISCARD, o->pass_discard[BLK_FREED_OTHER], "pass-discard-other" },
        { BLK_OPT_BACKING, o->backing || o->backing_ref || o->backing_none || o->backing_locking, "backing" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].given && !(d->options & all[i].opt)) {
            return error_set(errp, "Block driver '%s' has no option '%s'", d->name, all[i].name);
        }
    }
    if ((d->options & BLK_OPT_FILENAME) && (!o->filename || !*o->filename)) {
        return error_set(errp, "The '%s' block driver requires a file name", d->name);
    }
    if ((d->options & BLK_OPT_CHILD) && !o->child && !o->child_ref) {
        return error_set(errp, "A block device must be specified for \"file\"");
    }
    if ((d->options & BLK_OPT_OTHER) && !o->other && !o->other_ref) {
        return error_set(errp, "Block driver '%s' needs two nodes", d->name);
    }
    if ((d->options & BLK_OPT_THROTTLE) && !o->throttle_group) {
        return error_set(errp, "Parameter 'throttle-group' is missing");
    }
    if (o->child && o->child_ref) {
        return error_set(errp, "\"file\" is either a node's name or a node's options, not both");
    }
    return true;
}

/* --- opening and closing --- */

/* The node called @ref, or a new one by @own, which inherits from @o, the options of @n. */
static BlkNode *open_child(const BlkNode *n, const BlkOptions *o, const BlkOptions *own, const char *ref,
                           Error **errp)
{
    if (ref) {
        BlkNode *child = blk_find(ref);

        if (!child) {
            error_set(errp, "Cannot find device='' nor node-name='%s'", ref);
        }
        return child;
    }
    BlkOptions inline_child = *own;
    inline_child.read_only |= o->read_only;
    inline_child.auto_read_only |= o->auto_read_only;
    inline_child.cache_direct |= o->cache_direct;
    inline_child.cache_no_flush |= o->cache_no_flush;
    inline_child.discard_unmap |= o->discard_unmap || n->drv->options & BLK_OPT_PASS_DISCARD;
    return blk_open_inner(&inline_child, errp);
}

bool blk_link_other(BlkNode *n, BlkUser *u, const BlkOptions *o, Error **errp)
{
    BlkNode *other = open_child(n, o, o->other, o->other_ref, errp);

    return other && blk_link(n, u, other, 0, BLK_PERM_ALL, errp);
}

static bool link_child(BlkNode *n, const BlkOptions *o, Error **errp)
{
    if (!(n->drv->options & BLK_OPT_CHILD)) {
        return true;
    }
    BlkNode *child = open_child(n, o, o->child, o->child_ref, errp);
    if (!child) {
        return false;
    }
    if (child->limits.can_grow && !child->users) {
        grown(child);          /* what was above it until now may have written past its end */
    }
    n->child_use.resized = child_resized;
    if (!blk_link(n, &n->child_use, child, 0, BLK_PERM_ALL, errp)) {
        return false;
    }
    if (child->read_only && !n->read_only) {
        if (!n->auto_read_only) {
            return error_set(errp, "Block node '%s' is read-only", child->name);
        }
        n->read_only = true;
    }
    return true;
}

static void node_free(BlkNode *n)
{
    blk_unlink(&n->backing_use);
    blk_unlink(&n->child_use);
    blk_lanes_drop(n, NULL);
    blk_bitmaps_free(n);
    lock_destroy(&n->lanes_lock);
    lock_destroy(&n->wait_lock);
    g_free(n->name);
    g_free(n->filename);
    blk_drive_clear(n);
    g_free(n->state);
    g_free(n);
}

static BlkNode *node_new(const BlkDriver *d, const BlkOptions *o)
{
    BlkNode *n = g_new0(BlkNode, 1);

    n->drv = d;
    n->state = g_malloc0(d->size ? d->size : 1);
    n->name = o->node_name ? g_strdup(o->node_name) : g_strdup_printf("#block%03u", anonymous++);
    n->filename = g_strdup(o->filename);
    blk_drive_set(n, o->drive_id, &o->words);
    n->read_only = o->read_only;
    n->auto_read_only = o->auto_read_only;
    n->direct = o->cache_direct;
    n->no_flush = o->cache_no_flush;
    n->unmap = o->discard_unmap;
    n->detect_zeroes = o->detect_zeroes;
    n->aio = o->aio;
    n->fd = -1;
    n->limits = (BlkLimits){ .align = 1, .logical = 512, .physical = 512 };
    lock_init(&n->lanes_lock, RANK_NODE, "blk-lanes");
    lock_init(&n->wait_lock, RANK_LEAF, "blk-wait");
    return n;
}

BlkNode *blk_open_inner(const BlkOptions *o, Error **errp)
{
    assert_control();
    const BlkDriver *d = find_driver(o->driver, o->for_job, errp);

    if (!d || !check_name(o->node_name, errp) || !check_options(d, o, errp)) {
        return NULL;
    }
    if (d->intercept && !blk_bridge_open(errp)) {
        return NULL;
    }
    BlkNode *n = node_new(d, o);
    if (!link_child(n, o, errp) || !d->open(n, o, errp)) {
        node_free(n);
        return NULL;
    }
    BlkNode **at = &nodes;
    while (*at) {
        if (!strcmp((*at)->name, n->name)) {
            /* An inline child took the name meanwhile. */
            error_set(errp, "Duplicate nodes with node-name='%s'", n->name);
            if (d->close) {
                d->close(n);
            }
            node_free(n);
            return NULL;
        }
        at = &(*at)->next;
    }
    *at = n;
    return n;
}

BlkNode *blk_open(const BlkOptions *o, Error **errp)
{
    BlkNode *n = blk_open_inner(o, errp);

    if (n) {
        n->kept = true;
    }
    return n;
}

static bool idle(BlkNode *n)
{
    bool is_idle = __atomic_load_n(&n->graces, __ATOMIC_ACQUIRE) == 0;

    epoch_enter();
    for (BlkLane *l = epoch_load(n->lanes); l; l = epoch_load(l->next)) {
        is_idle &= __atomic_load_n(&l->in_flight, __ATOMIC_RELAXED) == 0;
    }
    epoch_leave();
    return is_idle;
}

static void pass_by(void *arg)
{
}

/* A request leaves its lanes after its done(), from which whoever waited for it may have come here: lets the
 * loops end what they are at. */
static bool idle_soon(BlkNode *n)
{
    for (BlkLane *l = n->lanes; l && !idle(n); l = l->next) {  /* only control takes lanes away */
        loop_call_wait(l->loop, pass_by, NULL);
    }
    return idle(n);
}

bool blk_close(BlkNode *n, Error **errp)
{
    assert_control();
    if (n->users) {
        return error_set(errp, "Node '%s' is in use by %s", n->name, n->users->who);
    }
    if (n->pins) {
        return error_set(errp, "Node '%s' is in use by a change of the graph", n->name);
    }
    if (!idle_soon(n)) {
        return error_set(errp, "Node '%s' has requests in flight", n->name);
    }
    BlkNode **at = &nodes;
    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    blk_hold_forget(n);
    if (n->drv->close) {
        n->drv->close(n);
    }
    node_free(n);
    return true;
}

void blk_forget_loop(Loop *l)
{
    assert_control();
    for (BlkNode *n = nodes; n; n = n->next) {
        blk_lanes_drop(n, l);
    }
    blk_loop_drop(l);
}
