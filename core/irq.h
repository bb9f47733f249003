/* irq.h: interrupt lines and messages.
 *
 * 1. A sink is a leaf: it records a level or injects, takes nothing above rank IRQ, and never calls back
 *    into a device.
 * 2. A line belongs to one device, which alone drives it; wires that several devices share are ORed by
 *    their sink (PCI INTx).
 * 3. irq_set() and msi_send() may be called on any thread with any lock of lower rank held. */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "core/device.h"
#include "util/notifier.h"

struct IrqSink {
    void (*set)(IrqSink *s, unsigned pin, bool level);
    unsigned pins;
    /* A tap (qtest's irq_intercept) is called instead of set. */
    void (*tap)(IrqSink *s, unsigned pin, bool level);
};

struct IrqLine {
    IrqSink *sink;             /* NULL: not connected */
    unsigned pin;
    bool level;                /* atomic */
    const char *name;
    Device *dev;
    IrqLine *next;             /* the device's lines */
};

typedef struct MsiMsg {
    uint64_t addr;
    uint32_t data;
    uint16_t requester;        /* PCI bus, device, function of the sender */
} MsiMsg;

/* Makes @line one of @d's outputs; in realize. */
CTX_CONTROL void irq_line_init(IrqLine *line, Device *d, const char *name);
CTX_CONTROL void irq_connect(IrqLine *line, IrqSink *sink, unsigned pin);
/* Drives the line; an unchanged level costs one atomic exchange. */
CTX_ANY void irq_set(IrqLine *line, bool level);
/* High, then low: an edge. */
CTX_ANY void irq_pulse(IrqLine *line);
/* Tells the sink the present level again (settle). */
CTX_ANY void irq_refresh(IrqLine *line);

/* Sends a message-signalled interrupt. */
CTX_ANY void msi_send(const MsiMsg *m);
/* Gives @m a route (*@route; < 0 asks for a new one) and lets @n, when not NULL, raise it without user
 * space.  A second call with the same route changes the message. */
CTX_ANY bool msi_attach(int *route, const MsiMsg *m, Notifier *n, Error **errp);
/* Ends msi_attach(); *@route becomes -1. */
CTX_ANY void msi_detach(int *route, Notifier *n);

#endif
