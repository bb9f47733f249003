/* drive-node.c: the words of a -drive as options of block nodes, see drive-node.h.
 *
 * 1. What is not a word of -drive itself is an option of the node: "file.X" is X of the node below,
 *    "backing.X" of the one behind.  A node without a driver is what its file name says.
 *    keyval.c bounds a name, and so how deep nodes are inside of one another.
 * 2. The schema reads what a node has beyond its driver, its file name and the nodes below it. */
#include "system/drive-node.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "qapi/keyval.h"
#include "system/blockdev.h"
#include "util/fdset.h"

const char *drive_probe_format(const char *path)
{
    uint8_t head[8] = { 0 };
    int fd = fdset_open(path, O_RDONLY | O_NONBLOCK, 0);
    ssize_t n = fd >= 0 ? pread(fd, head, sizeof(head), 0) : 0;

    if (fd >= 0) {
        close(fd);
    }
    return n == sizeof(head) && memcmp(head, "QFI\xfb", 4) == 0 ? "qcow2"
           : n == sizeof(head) && memcmp(head, "LUKS\xba\xbe\0\1", 8) == 0 ? "luks" : "raw";
}

static json_t *object_in(json_t *level, const char *name)
{
    json_t *o = json_object_get(level, name);

    return json_is_object(o) ? o : NULL;
}

static const char *text_in(json_t *level, const char *name)
{
    return json_string_value(json_object_get(level, name));
}

static const char *driver_of(json_t *level, Error **errp)
{
    const char *driver = text_in(level, "driver"), *path = text_in(level, "filename");
    json_t *file = object_in(level, "file");

    if (driver != NULL) {
        return driver;
    }
    if (path != NULL) {
        return blk_protocol_of(path);
    }
    if (file != NULL && text_in(file, "filename") != NULL) {
        return drive_probe_format(text_in(file, "filename"));
    }
    if (file != NULL) {
        error_set(errp, "'format' is missing: it is guessed of files only");
    } else {
        error_set(errp, "Must specify either driver or file");
    }
    return NULL;
}

/* Puts into @o what @level says beyond the driver, the file name and the nodes below. */
static bool read_own(DriveNode *d, json_t *level, BlkOptions *o, Error **errp)
{
    g_autoptr(json_t) own = json_copy(level);
    bool has_file = object_in(level, "file") != NULL;

    json_object_del(own, "driver");
    json_object_del(own, "filename");
    if (has_file) {
        json_object_del(own, "file");
    }
    if (object_in(level, "backing") != NULL) {
        json_object_del(own, "backing");
    }
    if (json_object_size(own) == 0 || !g_strv_contains(blk_driver_names(), o->driver)) {
        return true;                         /* opening says what is wrong with the driver */
    }
    json_object_set_new(own, "driver", json_string(o->driver));
    if (o->filename != NULL) {
        json_object_set_new(own, "filename", json_string(o->filename));
    }
    if (has_file) {
        json_object_set_new(own, "file", json_string("below"));
    }
    BlockdevConfig *c;
    if (!qapi_visit_blockdev_config(own, QAPI_KEYVAL, &c, errp)) {
        return false;
    }
    g_ptr_array_add(d->configs, c);
    const BlkOptions *read = blockdev_options(c, d->options, errp);
    if (read == NULL) {
        return false;
    }
    *o = *read;
    if (has_file) {
        o->child_ref = NULL;
    }
    return true;
}

static BlkOptions *read_level(DriveNode *d, json_t *level, Error **errp);

/* "backing.file.locking" alone is about the file that the image names. */
static bool read_backing(DriveNode *d, json_t *backing, BlkOptions *o, Error **errp)
{
    json_t *file = object_in(backing, "file");
    const char *locking = file != NULL ? text_in(file, "locking") : NULL;

    if (locking != NULL && json_object_size(backing) == 1 && json_object_size(file) == 1) {
        bool off = strcmp(locking, "off") == 0;

        o->backing_locking = off ? BLK_LOCKING_OFF : BLK_LOCKING_ON;
        return off || strcmp(locking, "on") == 0 ||
               error_set(errp, "Parameter 'backing.file.locking' does not accept value '%s'", locking);
    }
    o->backing = read_level(d, backing, errp);
    return o->backing != NULL || error_context(errp, "backing");
}

static BlkOptions *read_level(DriveNode *d, json_t *level, Error **errp)
{
    json_t *file = object_in(level, "file"), *backing = object_in(level, "backing");
    const char *driver = driver_of(level, errp);

    if (driver == NULL) {
        return NULL;
    }
    BlkOptions *o = g_new(BlkOptions, 1);
    g_ptr_array_add(d->options, o);
    *o = (BlkOptions){ .driver = driver, .filename = text_in(level, "filename") };
    if (!read_own(d, level, o, errp) ||
        (backing != NULL && !read_backing(d, backing, o, errp))) {
        return NULL;
    }
    d->bottom = o;
    if (file != NULL) {
        o->child = read_level(d, file, errp);
        if (o->child == NULL) {
            error_context(errp, "file");
            return NULL;
        }
    }
    return o;
}

/* The words of -drive that are about its nodes, among the nodes' own. */
static bool add_words(json_t *tree, const DriveConfig *c, Error **errp)
{
    const char *driver = c->driver != NULL ? c->driver : c->format;
    json_t *file = json_object_get(tree, "file");

    if (c->driver != NULL && c->format != NULL) {
        return error_set(errp, "Cannot specify both 'driver' and 'format'");
    }
    if (driver != NULL) {
        json_object_set_new(tree, "driver", json_string(driver));
    }
    if (c->file == NULL) {
        return true;
    }
    if (driver != NULL && (strcmp(driver, "file") == 0 || strcmp(driver, "host_device") == 0)) {
        file = tree;
    } else if (file == NULL) {
        file = json_object();
        json_object_set_new(tree, "file", file);
    }
    if (json_object_get(file, "filename") != NULL) {
        return error_set(errp, "Can't specify 'file' and 'filename' options at the same time");
    }
    json_object_set_new(file, "filename", json_string(c->file));
    return true;
}

static void add_name(const char *name, const char *kind, void *arg)
{
    (void)kind;
    g_ptr_array_add(arg, (gpointer)name);
}

/* A word with a slip in it was taken for an option of the node. */
static void suggest_word(const DriveConfig *c, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *key;
    json_t *v;

    qapi_each_member(QAPI_T_DRIVE_CONFIG, -1, add_name, names);
    g_ptr_array_add(names, NULL);
    json_object_foreach(c->node, key, v) {
        error_suggest(errp, key, (const char *const *)names->pdata);
    }
}

BlkOptions *drive_node_options(DriveNode *d, const DriveConfig *c, Error **errp)
{
    d->options = g_ptr_array_new_with_free_func(g_free);
    d->configs = g_ptr_array_new_with_free_func((GDestroyNotify)qapi_free_blockdev_config);
    d->tree = c->node != NULL ? keyval_nest(c->node, errp) : json_object();
    BlkOptions *o = d->tree != NULL && add_words(d->tree, c, errp) ? read_level(d, d->tree, errp) : NULL;
    if (o == NULL && c->node != NULL) {
        suggest_word(c, errp);
    }
    return o;
}

void drive_node_clear(DriveNode *d)
{
    if (d->tree != NULL) {
        json_decref(d->tree);
    }
    g_clear_pointer(&d->options, g_ptr_array_unref);
    g_clear_pointer(&d->configs, g_ptr_array_unref);
}
