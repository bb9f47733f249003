/* seeded.h: a fuzz target that also runs without libFuzzer: its samples, broken by a seed's choice.
 *
 *     TARGET-seeded [-s SEED] [-n RUNS] [FILE...]       each file once, or RUNS broken samples */
#ifndef TESTS_FUZZ_SEEDED_H
#define TESTS_FUZZ_SEEDED_H

#include <glib.h>
#include <stdint.h>

/* The target; libFuzzer's names. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Good inputs of the target, one of them owned by the caller; NULL: there are no more. */
GByteArray *fuzz_sample(unsigned i);
/* For targets to which any bytes are good: number @i of @samples samples of @size random bytes (a multiple of
 * 4), owned by the caller; NULL: there are no more. */
static inline GByteArray *fuzz_random_sample(unsigned i, unsigned samples, unsigned size)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(i);
    GByteArray *a = i < samples ? g_byte_array_new() : NULL;

    for (unsigned n = 0; a && n < size; n += 4) {
        uint32_t word = g_rand_int(rand);

        g_byte_array_append(a, (const uint8_t *)&word, 4);
    }
    return a;
}

/* Before the program ends. */
void fuzz_end(void);

#endif
