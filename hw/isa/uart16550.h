/* uart16550.h: a 16550A as a part of a device: isa-serial is one of them. */
#ifndef HW_ISA_UART16550_H
#define HW_ISA_UART16550_H

#include "chardev/char.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"
#include "core/region.h"
#include "core/state.h"

#define UART_FIFO 16

typedef struct Uart {
    Device *owner;
    IrqLine *irq;
    CharPort port;
    bool wakeup;               /* a received byte wakes the machine */
    DevTimer timeout;          /* four characters without traffic */
    uint32_t baudbase;
    /* state */
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint16_t divisor;
    bool overrun, thre_pending, timeout_pending;
    uint8_t rx[UART_FIFO], rx_err[UART_FIFO], tx[UART_FIFO];
    uint8_t rx_head, rx_count, tx_count;
} Uart;

extern const StateDesc uart_state;
/* Eight byte-wide registers; the region's argument is the Uart. */
extern const RegionOps uart_ops;

/* In the owner's realize; @chr may be NULL. */
CTX_CONTROL bool uart_init(Uart *u, Device *owner, IrqLine *irq, Chardev *chr, Error **errp);
CTX_CONTROL void uart_free(Uart *u);
CTX_DOMAIN void uart_reset(Uart *u);
CTX_DOMAIN void uart_settle(Uart *u);

/* The UART of an "isa-serial". */
CTX_ANY Uart *isa_serial_uart(Device *d);
extern const DeviceType isa_serial_type;

#endif
