/* carriers.h: what a device without a bus on the fake board plugs into. */
#ifndef TESTS_CONFORM_CARRIERS_H
#define TESTS_CONFORM_CARRIERS_H

#include "tests/device/bench.h"

/* Puts what @t needs on the board, if it needs anything, before the bench's first picture of it. */
void carriers_make(Bench *b, const DeviceType *t);

#endif
