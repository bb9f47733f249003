/* input.c: the list of devices that take input. */
#include "ui/input.h"

#include "util/thread.h"

struct InputDevice {
    const InputOps *ops;
    void *dev;
    unsigned index;
    bool touched;                          /* by the events that are being sent */
    InputDevice *next;
};

static InputDevice *devices;
static unsigned last_index;

InputDevice *input_attach(const InputOps *ops, void *dev)
{
    InputDevice **end = &devices, *d = g_new0(InputDevice, 1);

    while (*end != NULL) {
        end = &(*end)->next;
    }
    d->ops = ops;
    d->dev = dev;
    d->index = ++last_index;
    *end = d;
    return d;
}

static void unlink_device(InputDevice *d)
{
    InputDevice **at = &devices;

    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
}

void input_detach(InputDevice *d)
{
    unlink_device(d);
    g_free(d);
}

void input_activate(InputDevice *d)
{
    unlink_device(d);
    d->next = devices;
    devices = d;
}

static InputDevice *taker(InputEventKind kind)
{
    InputDevice *d = devices;

    while (d != NULL && !(d->ops->kinds & 1u << kind)) {
        d = d->next;
    }
    return d;
}

bool input_takes(InputEventKind kind)
{
    return taker(kind) != NULL;
}

void input_send(const Input *events, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        InputDevice *d = taker(events[i].kind);

        if (d != NULL) {
            d->ops->event(d->dev, &events[i]);
            d->touched = true;
        }
    }
    for (InputDevice *d = devices; d != NULL; d = d->next) {
        if (d->touched && d->ops->sync != NULL) {
            d->ops->sync(d->dev);
        }
        d->touched = false;
    }
}

InputDevice *input_next(const InputDevice *d)
{
    return d == NULL ? devices : d->next;
}

unsigned input_index(const InputDevice *d)
{
    return d->index;
}

const InputOps *input_ops(const InputDevice *d)
{
    return d->ops;
}
