/* device-int.h: what the files of core/ know of one another's devices. */
#ifndef CORE_DEVICE_INT_H
#define CORE_DEVICE_INT_H

#include "core/device.h"

/* clock.c: arms the timers that came due while @d was quiesced.  Under its domain. */
CTX_DOMAIN void dev_timers_resume(Device *d);
/* region.c: takes every region of @d that lies in a box of someone else out of the maps. */
CTX_CONTROL void dev_regions_withdraw(Device *d);
/* region.c: frees what the regions of @d still own. */
CTX_ANY void dev_regions_free(Device *d);
/* machine.c: forgets the deferred calls and the boot index of a device that goes. */
CTX_CONTROL void machine_forget_device(Device *d);
/* machine.c: true once machine_reset() has run: realize settles then. */
CTX_CONTROL bool machine_was_reset(void);
/* device.c: makes the machine's root or one of its containers. */
CTX_CONTROL Device *device_make_container(const DeviceType *t, Device *parent, Machine *m,
                                          const char *id);

#endif
