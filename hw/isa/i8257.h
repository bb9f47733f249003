/* i8257.h: the ISA DMA controllers, as a device that is served by them sees them. */
#ifndef HW_ISA_I8257_H
#define HW_ISA_I8257_H

#include "core/device.h"

extern const DeviceType i8257_type;        /* "i8257" */

/* Moves up to @n bytes between @buf and channel @ch's (0..7, not 4) memory, as its mode register says, and
 * counts; @*done tells that the terminal count was reached.  Returns how many bytes were moved: 0 while
 * the channel is masked or the controller off.  @d and the caller share a domain. */
CTX_DOMAIN size_t i8257_move(Device *d, unsigned ch, uint8_t *buf, size_t n, bool *done);

#endif
