/* monitor-host.c: what human commands ask of the program that no QMP command does. */
#include "system/monitor-host.h"

#include "monitor/hmp.h"
#include "system/qmp-input.h"

static const HmpHost host = {
    .mouse_set = input_mouse_set,
};

void monitor_host_init(void)
{
    hmp_set_host(&host);
}
