/* backends.h: a back end of each class for devices under test. */
#ifndef TESTS_CONFORM_BACKENDS_H
#define TESTS_CONFORM_BACKENDS_H

#include "core/device.h"

/* Registers the classes and opens one back end of each.  Once a process, on control. */
void backends_open(void);
/* Gives @d, not yet realized, what it cannot be realized without. */
bool backends_set(Device *d, Error **errp);

#endif
