/* check.c: rhea-img check. */
#include <inttypes.h>
#include <jansson.h>
#include "img/img.h"
#include "util/bytes.h"

static void say(const char *text, void *arg)
{
    const Args *a = arg;

    if (!a->quiet) {
        fprintf(stderr, "%s\n", text);
    }
}

static void print_json(const char *name, const char *format, const BlkCheck *c, const BlkCheck *fixed)
{
    const struct { const char *name; uint64_t v; } optional[] = {
        { "corruptions", c->corruptions }, { "leaks", c->leaks },
        { "corruptions-fixed", fixed->corruptions_fixed }, { "leaks-fixed", fixed->leaks_fixed },
        { "total-clusters", c->total }, { "allocated-clusters", c->allocated },
        { "fragmented-clusters", c->fragmented }, { "compressed-clusters", c->compressed },
    };
    json_t *out = json_pack("{sI si}", "image-end-offset", (json_int_t)c->image_end, "check-errors", 0);

    for (unsigned i = 0; i < ARRAY_LEN(optional); i++) {
        if (optional[i].v) {
            json_object_set_new(out, optional[i].name, json_integer((json_int_t)optional[i].v));
        }
    }
    json_object_set_new(out, "filename", json_string(name));
    json_object_set_new(out, "format", json_string(format));
    g_autofree char *text = json_dumps(out, JSON_INDENT(4));
    printf("%s\n", text);
    json_decref(out);
}

static void print_human(const BlkCheck *c)
{
    if (!c->corruptions && !c->leaks) {
        printf("No errors were found on the image.\n");
    }
    if (c->corruptions) {
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n", c->corruptions);
    }
    if (c->leaks) {
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n", c->leaks);
    }
    if (c->total && c->allocated) {
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed "
               "clusters\n",
               c->allocated, c->total, 100.0 * (double)c->allocated / (double)c->total,
               100.0 * (double)c->fragmented / (double)c->allocated,
               100.0 * (double)c->compressed / (double)c->allocated);
    }
    if (c->image_end) {
        printf("Image end offset: %" PRIu64 "\n", c->image_end);
    }
}

/* 63: the format has no checks. */
static int check(Args *a, BlkNode *n, unsigned fix)
{
    BlkCheck c = { .say = say, .arg = a }, fixed = { 0 };
    Error *err = NULL;

    if (strcmp(blk_driver_name(n), "qcow2") != 0) {
        error_set(&err, "This image format does not support checks");
        return fail(63, err);
    }
    if (!blk_check(n, fix, &c, &err)) {
        return fail(1, err);
    }
    if (c.corruptions_fixed || c.leaks_fixed) {
        fixed = c;
        if (!a->json && !a->quiet) {
            printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64 " leaked "
                   "clusters\n    %"
                   PRIu64 " corruptions\n\nDouble checking the fixed image now...\n", c.leaks_fixed,
                   c.corruptions_fixed);
        }
        c = (BlkCheck){ .say = say, .arg = a };
        if (!blk_check(n, 0, &c, &err)) {
            return fail(1, err);
        }
    }
    if (a->json) {
        print_json(a->rest[0], blk_driver_name(n), &c, &fixed);
    } else if (!a->quiet) {
        print_human(&c);
    }
    return c.corruptions ? 2 : c.leaks ? 3 : 0;
}

int cmd_check(Args *a)
{
    unsigned fix = !a->repair ? 0 : !strcmp(a->repair, "leaks") ? BLK_FIX_LEAKS
                   : !strcmp(a->repair, "all") ? BLK_FIX_LEAKS | BLK_FIX_ERRORS : UINT_MAX;
    unsigned flags = OPEN_NO_BACKING | OPEN_REPAIR | (fix ? OPEN_WRITE : 0) | (a->share ? OPEN_SHARE : 0) |
                     (a->image_opts ? OPEN_OPTS : 0);
    Error *err = NULL;
    Image image;

    if (fix == UINT_MAX) {
        error_set(&err, "-r is followed by 'leaks' or 'all', not '%s'", a->repair);
        return fail(1, err);
    }
    if (!image_open(&image, a->rest[0], a->format, a->src_cache, flags, &err)) {
        return fail(1, err);
    }
    int status = check(a, image.node, fix);
    return !image_close(&image) && status == 0 ? 1 : status;
}
