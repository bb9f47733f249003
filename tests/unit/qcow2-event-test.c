/* qcow2-event-test.c: a qcow2 image tells the blkdebug node below it what it is about to do: an error that
 * waits for that event fails what caused it, once, and the image is sound afterwards. */
#include "tests/unit/mem-disk.h"
#include "qapi/json.h"
#include "qapi/types.h"

#define SIZE (4 * MiB)

static Loop *worker;

static BlkNode *open_debugged(const char *event)
{
    g_autofree char *text = g_strdup_printf("{\"inject-error\": [{\"event\": \"%s\", \"once\": true}]}",
                                            event);
    g_autoptr(json_t) tree = json_parse(text, NULL);
    g_autoptr(BlkdebugOwn) own = NULL;
    BlkOptions base = { .driver = "mem", .filename = "top" };
    Error *err = NULL;

    if (!qapi_visit_blkdebug_own(tree, QAPI_JSON, &own, &err)) {
        fail_msg("%s", error_text(err));
    }
    BlkOptions file = { .driver = "blkdebug", .own = own, .child = &base };
    return open_ok(&(BlkOptions){ .driver = "qcow2", .child = &file, .backing_none = true,
                                  .discard_unmap = true });
}

/* All that an image does of itself; how many requests failed. */
static unsigned exercise(BlkNode *n)
{
    uint8_t *buf = aligned(64 * KiB);
    Error *err = NULL;
    unsigned failed = 0;

    memset(buf, 7, 64 * KiB);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t at = 512; at < SIZE; at += SIZE / 8) {
            failed += io_run(n, worker, BLK_WRITE, 0, at, buf, 3000) < 0;
        }
        failed += io_run(n, worker, BLK_FLUSH, 0, 0, NULL, 0) < 0;
        char name[] = { (char)('a' + (int)round), 0 };
        if (!blk_snapshot_create(n, &(BlkSnapshot){ .name = name }, &err)) {
            error_free(err);
            err = NULL;
            failed++;
        }
        failed += io_run(n, worker, BLK_DISCARD, 0, 0, NULL, MiB) < 0;
        failed += io_run(n, worker, BLK_FLUSH, 0, 0, NULL, 0) < 0;
        failed += io_run(n, worker, BLK_FLUSH, 0, 0, NULL, 0) < 0;
        failed += io_run(n, worker, BLK_READ, 0, 2 * MiB, buf, 512) < 0;
    }
    if (!blk_truncate(n, 64 * SIZE, &err)) {
        error_free(err);
        failed++;
    }
    free(buf);
    return failed;
}

static void test_events(void **state)
{
    static const char *const events[] = {
        "l1_update", "l2_update", "l2_load", "l2_alloc_write", "l2_alloc_cow_read", "refblock_load",
        "refblock_update_part", "refblock_alloc", "cluster_alloc", "l1_grow_alloc_table",
        "l1_grow_write_table", "l1_grow_activate_table", "cow_read", "cow_write", "flush_to_disk",
        "write_aio",
    };

    for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
        mem_format(2, &(BlkCreate){ .driver = "qcow2", .size = SIZE, .cluster_size = 512 });
        BlkNode *n = open_debugged(events[i]);

        if (!exercise(n)) {
            fail_msg("the event %s did not come", events[i]);
        }
        assert_int_equal(io_run(n, worker, BLK_FLUSH, 0, 0, NULL, 0), 0);
        close_ok(n);
        n = mem_image(2, NULL, NULL, true);
        mem_check(n, events[i]);
        close_ok(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
    };

    thread_become_control();
    mem_begin();
    worker = worker_new("w0");
    int failed = cmocka_run_group_tests_name("qcow2-event", tests, NULL, NULL);
    worker_free(worker);
    mem_end();
    return failed;
}
