/* qmp-input.h: input for the human monitor. */
#ifndef SYSTEM_QMP_INPUT_H
#define SYSTEM_QMP_INPUT_H

#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

/* Pointer events go to the pointing device number @index first. */
CTX_CONTROL bool input_mouse_set(int64_t index, Error **errp);

#endif
