/* qmp-balloon.c: QMP commands about the balloon. */
#include "core/machine.h"
#include "qapi/commands.h"

static Device *need_balloon(Error **errp)
{
    Device *d = machine()->balloon;

    if (d == NULL) {
        error_set_class(errp, ERROR_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
    }
    return d;
}

bool qmp_query_balloon(BalloonInfo **ret, Error **errp)
{
    Device *d = need_balloon(errp);

    if (d == NULL) {
        return false;
    }
    *ret = qapi_new_balloon_info();
    (*ret)->actual = (int64_t)machine()->balloon_ops->actual(d);
    return true;
}

bool qmp_balloon(int64_t value, Error **errp)
{
    Device *d = need_balloon(errp);

    if (d == NULL) {
        return false;
    }
    if (value <= 0) {
        return error_set(errp, "Parameter 'target' expects a size");
    }
    machine()->balloon_ops->target(d, (uint64_t)value);
    return true;
}
