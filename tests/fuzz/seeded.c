/* seeded.c: mutates a target's samples, see seeded.h.
 *
 * 1. The same seed makes the same inputs on any host.
 * 2. An input under way is kept in the file that RHEA_FUZZ_KEEP names, so a crash leaves it behind. */
#include "tests/fuzz/seeded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX (1u << 20)

static void put_number(GByteArray *a, GRand *r)
{
    static const uint64_t odd[] = {
        0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
        UINT64_C(1) << 32, INT64_MAX, UINT64_MAX,
    };
    uint64_t v = odd[g_rand_int_range(r, 0, G_N_ELEMENTS(odd))];
    unsigned size = 1u << g_rand_int_range(r, 0, 4);

    if (a->len >= size) {
        v = GUINT64_TO_LE(v);
        memcpy(a->data + g_rand_int_range(r, 0, (gint32)(a->len - size + 1)), &v, size);
    }
}

static void move_run(GByteArray *a, const GByteArray *from, GRand *r)
{
    unsigned n = (unsigned)g_rand_int_range(r, 1, 64), at = (unsigned)g_rand_int_range(r, 0, (gint32)a->len);

    switch (g_rand_int_range(r, 0, 3)) {
    case 0:
        g_byte_array_remove_range(a, at, MIN(n, a->len - at));
        break;
    case 1:
        g_byte_array_set_size(a, at);
        break;
    default:
        n = MIN(n, from->len);
        if (n > 0 && a->len + n < INPUT_MAX) {
            unsigned src = (unsigned)g_rand_int_range(r, 0, (gint32)(from->len - n + 1)), tail = a->len - at;
            g_byte_array_set_size(a, a->len + n);
            memmove(a->data + at + n, a->data + at, tail);
            memcpy(a->data + at, from->data + src, n);
        }
    }
}

static void break_it(GByteArray *a, const GByteArray *other, GRand *r)
{
    for (int i = g_rand_int_range(r, 0, 6); i >= 0 && a->len > 0; i--) {
        unsigned at = (unsigned)g_rand_int_range(r, 0, (gint32)a->len);

        switch (g_rand_int_range(r, 0, 8)) {
        case 0:
        case 1:
        case 2:
            a->data[at] ^= 1u << g_rand_int_range(r, 0, 8);
            break;
        case 3:
            a->data[at] = (uint8_t)g_rand_int(r);
            break;
        case 4:
        case 5:
        case 6:
            put_number(a, r);
            break;
        default:
            move_run(a, other, r);
        }
    }
}

static void keep(const GByteArray *a)
{
    const char *path = getenv("RHEA_FUZZ_KEEP");

    if (path != NULL) {
        g_file_set_contents(path, (const char *)a->data, a->len, NULL);
    }
}

static void run_seeded(unsigned seed, unsigned runs)
{
    g_autoptr(GPtrArray) samples = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    g_autoptr(GRand) r = g_rand_new_with_seed(seed);
    GByteArray *sample;

    for (unsigned i = 0; (sample = fuzz_sample(i)) != NULL; i++) {
        g_ptr_array_add(samples, sample);
        LLVMFuzzerTestOneInput(sample->data, sample->len);
    }
    for (unsigned i = 0; i < runs; i++) {
        const GByteArray *from = samples->pdata[i % samples->len];
        const GByteArray *other = samples->pdata[g_rand_int_range(r, 0, (gint32)samples->len)];
        g_autoptr(GByteArray) a = g_byte_array_new();

        g_byte_array_append(a, from->data, from->len);
        break_it(a, other, r);
        keep(a);
        LLVMFuzzerTestOneInput(a->data, a->len);
    }
}

int main(int argc, char **argv)
{
    unsigned seed = 1, runs = 1000;
    int opt;

    while ((opt = getopt(argc, argv, "s:n:")) != -1) {
        if (opt == 's') {
            seed = (unsigned)strtoul(optarg, NULL, 0);
        } else if (opt == 'n') {
            runs = (unsigned)strtoul(optarg, NULL, 0);
        } else {
            fprintf(stderr, "usage: %s [-s SEED] [-n RUNS] [FILE...]\n", argv[0]);
            return 2;
        }
    }
    LLVMFuzzerInitialize(&argc, &argv);
    if (optind == argc) {
        run_seeded(seed, runs);
    }
    for (int i = optind; i < argc; i++) {
        g_autofree char *data = NULL;
        gsize n;

        if (!g_file_get_contents(argv[i], &data, &n, NULL)) {
            fprintf(stderr, "%s: cannot read\n", argv[i]);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, n);
    }
    fuzz_end();
    return 0;
}
