/* accel.c: which accelerator this process uses.
 *
 * 1. Set once, before the machine is built; NULL in tests that need none. */
#include "core/accel.h"

#include "util/thread.h"

static const AccelOps *current;

void accel_set(const AccelOps *ops)
{
    assert_control();
    __atomic_store_n(&current, ops, __ATOMIC_RELEASE);
}

const AccelOps *accel(void)
{
    return __atomic_load_n(&current, __ATOMIC_ACQUIRE);
}
