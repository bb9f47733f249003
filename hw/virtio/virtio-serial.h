/* virtio-serial.h: the bus of a virtio-serial device, for its ports. */
#ifndef HW_VIRTIO_VIRTIO_SERIAL_H
#define HW_VIRTIO_VIRTIO_SERIAL_H

#include "chardev/char.h"
#include "hw/virtio/virtio.h"

#define SERIAL_PORTS_MAX 31

typedef struct VirtioSerial VirtioSerial;

/* A port; the types virtconsole and virtserialport. */
typedef struct SerialPort {
    Device dev;
    CharPort chr;              /* callbacks on the worker */
    VirtioSerial *serial;
    /* worker */
    bool host_open;            /* somebody is at the chardev's other end */
    bool guest_open;           /* a program in the guest has it open */
    bool announced;            /* the guest said PORT_READY */
    bool tx_busy, rx_held;     /* chains taken from the rings and not given back */
    VirtChain tx, rx;
    uint64_t tx_done;          /* bytes of the oldest chain that were sent */
    /* properties */
    void *chardev;
    char *name;
    uint32_t nr;
} SerialPort;

extern const SlotType virtser_slot;

#endif
