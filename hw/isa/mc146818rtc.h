/* mc146818rtc.h: what boards put into the CMOS memory, and who hears of the alarm. */
#ifndef HW_ISA_MC146818RTC_H
#define HW_ISA_MC146818RTC_H

#include "core/device.h"
#include "core/irq.h"

extern const DeviceType mc146818rtc_type;

#define RTC_CMOS_SIZE 128

/* Sets or reads CMOS byte @index (14..127).  On control while the machine is built or quiesced, or under
 * the domain. */
CTX_ANY void rtc_cmos_set(Device *d, unsigned index, uint8_t val);
CTX_ANY uint8_t rtc_cmos_get(Device *d, unsigned index);
/* fn(arg) runs under the domain when the alarm goes off with its interrupt enabled. */
CTX_CONTROL void rtc_on_alarm(Device *d, void (*fn)(void *arg), void *arg);
/* The interrupt output, for a board that leads it through the HPET. */
CTX_CONTROL IrqLine *rtc_irq(Device *d);

#endif
