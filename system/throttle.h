/* throttle.h: limits of disks in the schema's words. */
#ifndef SYSTEM_THROTTLE_H
#define SYSTEM_THROTTLE_H

#include "block/front.h"
#include "block/throttle.h"
#include "qapi/types.h"

/* Devices that come to rest are not held back; once. */
CTX_CONTROL void throttle_init(void);
/* Makes the group of object @id; @c is filled in with all that holds. */
CTX_CONTROL bool throttle_object_create(const char *id, ThrottleGroupConfig *c, Error **errp);
/* Changes property @prop of the object. */
CTX_CONTROL bool throttle_object_set(const char *id, const char *prop, json_t *value, Error **errp);
/* Brings @c up to date with the group. */
CTX_CONTROL void throttle_object_get(const char *id, ThrottleGroupConfig *c);
/* What a -drive limits; false: *errp is set. */
CTX_ANY bool throttle_of_drive(const DriveThrottling *d, ThrottleRates *out, const char **group,
                               Error **errp);
/* Fills in what is said of the limits of @f. */
CTX_CONTROL void throttle_tell(const BlkFront *f, BlockDeviceInfo *i);

#endif
