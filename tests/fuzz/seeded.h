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
/* Before the program ends. */
void fuzz_end(void);

#endif
