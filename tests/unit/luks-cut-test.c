/* luks-cut-test.c: the power goes while a guest writes to an encrypted disk, and while its key slots change.
 *
 * luks, and qcow2 with LUKS inside, lie in memory (mem-disk.h).  After each cut the disk opens with a
 * password that is meant to open it, and holds what was flushed; a slot that was erased opens no more.
 * Each request of a change of slots fails once, too; and reading a slot, which keeps no other from opening.
 *
 * CUTS=N: about so many cuts of each case (default 12). */
#include "tests/unit/job-guest.h"

#include <stdlib.h>
#include "util/secret.h"

typedef struct Format {
    const char *driver, *encrypt;
} Format;

static const Format formats[] = { { "luks", NULL }, { "qcow2", "luks" } };

/* NULL if @key does not open it. */
static BlkNode *disk_open(const Format *f, const char *key)
{
    BlkOptions file = { .driver = "mem", .filename = "top" };
    BlkOptions o = { .driver = f->driver, .child = &file, .key_secret = key };
    Error *err = NULL;
    BlkNode *n = blk_open(&o, &err);

    if (!n) {
        const char *text = error_text(err);

        if (!strstr(text, "Invalid password, cannot unlock any keyslot")) {
            fail_msg("%s", text);
        }
        error_free(err);
    }
    return n;
}

static void disk_make(const Format *f)
{
    mem_format(TOP, &(BlkCreate){ .driver = f->driver, .size = SIZE, .encrypt_format = f->encrypt,
                                  .cluster_size = f->encrypt ? 4096 : 0,
                                  .luks = { .key_secret = "old", .iter_time = 1, .has_iter_time = true } });
}

static void check_sectors(BlkNode *n, unsigned from, unsigned to, const char *where)
{
    g_autofree uint8_t *got = g_malloc(SIZE);

    assert_int_equal(blk_pread(n, 0, got, SIZE), 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        bool fine = false;

        for (unsigned step = from; step <= to && !fine; step++) {
            fine = t.written[s][step] == ld64(got + s * 512);
        }
        if (!fine) {
            fail_msg("%s: sector %u holds %#" PRIx64, where, s, ld64(got + s * 512));
        }
    }
    if (n->drv == &blk_qcow2) {
        mem_check(n, where);
    }
}

static unsigned cuts_wanted(void)
{
    const char *cuts = g_getenv("CUTS");

    return cuts ? (unsigned)atoi(cuts) : 12;
}

/* Puts data on a new disk; the guest's steps begin there. */
static BlkNode *disk_begin(const Format *f, GRand *rand)
{
    memset(t.written, 0, sizeof(t.written));
    disk_make(f);
    BlkNode *n = disk_open(f, "old");
    g_autofree uint8_t *zeroes = g_malloc0(SIZE);
    assert_int_equal(blk_pwrite(n, 0, zeroes, SIZE), 0);       /* a new disk reads as anything */
    image_fill(n, rand, true);
    return n;
}

static void test_writes(void **state)
{
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        GRand *rand = g_rand_new_with_seed(900 + i);
        BlkNode *n = disk_begin(&formats[i], rand);

        guest_start(n, rand);
        mem_log_start();
        job_and_guest(STEPS);
        guest_verify(formats[i].driver);
        blk_detach(&t.g.user);
        images_close();
        unsigned all = mem.log->len, jump = MAX(all / cuts_wanted(), 1), reached = 0;
        for (unsigned cut = 0; cut <= all; cut += (unsigned)g_rand_int_range(rand, 1, 2 * (int)jump)) {
            while (reached < STEPS && t.g.log_at[reached] < cut) {
                reached++;
            }
            unsigned done = reached && t.g.log_at[reached] > cut ? reached - 1 : reached;
            for (unsigned variant = 0; variant < 2; variant++) {
                g_autofree char *where = g_strdup_printf("%s, cut %u of %u, variant %u", formats[i].driver,
                                                         cut, all, variant);

                mem_cut(cut, variant ? rand : NULL);
                check_sectors(disk_open(&formats[i], "old"), t.g.flush_of[done], reached, where);
                images_close();
            }
        }
        guest_end();
        g_rand_free(rand);
    }
}

/* --- key slots --- */

typedef struct Slots {
    BlkLuksAmend how;
    bool second;               /* "new" opens slot 1 before */
    bool force;
    const char *always, *afterwards, *gone;    /* secrets that open it always, and then, and no more then */
} Slots;

static const Slots slots[] = {
    { { .state = "active", .new_secret = "new", .iter_time = 1, .has_iter_time = true }, false, false,
      "old", "new", NULL },
    { { .state = "inactive", .old_secret = "old" }, true, false, "new", "new", "old" },
    { { .state = "inactive", .has_keyslot = true, .keyslot = 0 }, true, false, "new", "new", "old" },
    /* Another password in the place of one. */
    { { .state = "active", .new_secret = "third", .iter_time = 1, .has_iter_time = true, .has_keyslot = true,
        .keyslot = 0 }, true, true, "new", "third", "old" },
};

static bool opens(const Format *f, const char *key)
{
    BlkNode *n = disk_open(f, key);

    if (n) {
        close_ok(n);
    }
    return n != NULL;
}

static bool amend(BlkNode *n, const BlkLuksAmend *how, bool force, Error **errp)
{
    return blk_amend(n, &(BlkAmend){ .has_luks = true, .luks = *how }, force, errp);
}

static void slots_begin(const Format *f, const Slots *s, GRand *rand)
{
    BlkNode *n = disk_begin(f, rand);

    if (s->second) {
        assert_true(amend(n, &slots[0].how, false, NULL));
    }
    close_ok(n);
}

static void slots_case(const Format *f, const Slots *s, const char *name)
{
    GRand *rand = g_rand_new_with_seed(910);
    Error *err = NULL;

    slots_begin(f, s, rand);
    mem_log_start();
    BlkNode *n = disk_open(f, s->second ? "new" : "old");
    if (!amend(n, &s->how, s->force, &err)) {
        fail_msg("%s", error_text(err));
    }
    unsigned done = mem_log_len();
    close_ok(n);
    unsigned all = mem.log->len, jump = MAX(all / cuts_wanted(), 1);
    for (unsigned cut = 0, last = 0; !last; cut += jump) {
        last = cut >= all;
        cut = MIN(cut, all);
        for (unsigned variant = 0; variant < 3; variant++) {
            g_autofree char *where = g_strdup_printf("%s: %s, cut %u of %u, variant %u", f->driver, name, cut,
                                                     all, variant);

            mem_cut(cut, variant ? rand : NULL);
            n = disk_open(f, s->always);
            if (!n || (cut >= done && (!opens(f, s->afterwards) || (s->gone && opens(f, s->gone))))) {
                fail_msg("%s: the slots are wrong", where);
            }
            check_sectors(n, 0, 0, where);
            close_ok(n);
        }
    }
    g_rand_free(rand);
}

/* Each request fails once: the disk still opens, also in the node that is open. */
static void slots_faults(const Format *f, const Slots *s, const char *name)
{
    static const unsigned kinds[] = { BLK_READ, BLK_WRITE, BLK_FLUSH };
    GRand *rand = g_rand_new_with_seed(911);

    slots_begin(f, s, rand);
    mem_log_start();
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        for (unsigned at = 1, hit = 1; hit; at++) {
            Error *err = NULL;

            mem_cut(0, NULL);          /* as it was */
            BlkNode *n = disk_open(f, s->second ? "new" : "old");
            mem_fail(1u << TOP, 1u << kinds[k], at, 1, -EIO);
            bool ok = amend(n, &s->how, s->force, &err);
            hit = mem_fail_end();
            assert_int_equal(ok, err == NULL);
            if (hit ? ok && !(s->second && kinds[k] == BLK_READ) : !ok) {      /* the other slot may do */
                fail_msg("%s: request %u failed, and the change did not", name, at);
            }
            error_free(err);
            check_sectors(n, 0, 0, name);
            close_ok(n);
            assert_true(opens(f, s->always));
        }
    }
    g_rand_free(rand);
}

static void test_slots(void **state)
{
    static const char *const names[] = { "add", "erase by password", "erase by number", "replace" };

    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        for (unsigned j = i; j < cases_to_run(ARRAY_LEN(slots)); j += 1 + i) {   /* of qcow2 less */
            slots_case(&formats[i], &slots[j], names[j]);
            slots_faults(&formats[i], &slots[j], names[j]);
        }
    }
}

/* What is wrong with opening the disk with @key while the @at-th read of it fails; NULL: nothing. */
static char *opened_with_fault(const Format *f, const char *key, unsigned at)
{
    BlkOptions file = { .driver = "mem", .filename = "top" };
    BlkOptions o = { .driver = f->driver, .child = &file, .key_secret = key };
    Error *err = NULL;

    mem_fail(1u << TOP, 1u << BLK_READ, at, 1, -EIO);
    BlkNode *n = blk_open(&o, &err);
    mem_fail_end();
    if (n) {
        check_sectors(n, 0, 0, key);
        close_ok(n);
        return NULL;
    }
    char *text = g_strdup(error_text(err));
    error_free(err);
    return text;
}

/* The material of slot 0 cannot be read: slot 1 opens all the same, and a password that opens none is told
 * why. */
static void test_unreadable_slot(void **state)
{
    static const char *const why = "Unable to read the key material of keyslot 0: Input/output error";

    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        GRand *rand = g_rand_new_with_seed(920 + i);
        unsigned found = 0;

        slots_begin(&formats[i], &(Slots){ .second = true }, rand);
        for (unsigned at = 1; at < 20; at++) {
            g_autofree char *old = opened_with_fault(&formats[i], "old", at);

            if (old && strstr(old, why)) {
                g_autofree char *third = opened_with_fault(&formats[i], "third", at);

                assert_null(opened_with_fault(&formats[i], "new", at));
                assert_true(third && strstr(third, why));
                found++;
            }
        }
        assert_int_equal(found, 1);
        g_rand_free(rand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes), cmocka_unit_test(test_slots), cmocka_unit_test(test_unreadable_slot),
    };
    static const char *const ids[] = { "old", "new", "third" };

    thread_become_control();
    loop_control();            /* made here: only control may */
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        if (!secret_add(ids[i], &(SecretOptions){ .data = ids[i] }, NULL)) {
            return 1;
        }
    }
    mem_begin();
    int failed = cmocka_run_group_tests_name("luks-cut", tests, NULL, NULL);
    mem_end();
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        secret_remove(ids[i]);
    }
    return failed;
}
