/* qmp-machine.h: device events as QMP events. */
#ifndef SYSTEM_QMP_MACHINE_H
#define SYSTEM_QMP_MACHINE_H

#include "core/machine.h"

extern const MachineListener qmp_machine_listener;

#endif
