/* ps2.h: the PS/2 keyboard and mouse behind an i8042, and how input reaches them.
 *
 * 1. The devices are parts of the i8042: they live under its domain and send bytes through @link.
 * 2. A full queue drops new input, as the hardware does, and never a byte of a half-queued report. */
#ifndef HW_ISA_PS2_H
#define HW_ISA_PS2_H

#include "core/device.h"
#include "core/state.h"

/* --- for display front ends: @d is the i8042 (machine's "i8042" device) --- */
enum {
    PS2_BUTTON_LEFT = 1,
    PS2_BUTTON_RIGHT = 2,
    PS2_BUTTON_MIDDLE = 4,
    PS2_BUTTON_SIDE = 8,
    PS2_BUTTON_EXTRA = 16,
};
/* A key went down or up.  @code is the key's set 1 make code, with bit 7 set for keys that the set
 * prefixes with E0 (the numbering of the RFB extended key event); Pause is 0xc6, Print Screen 0xb7 and,
 * by its other name, SysRq 0x54.
 * Takes the domain. */
CTX_ANY void ps2_key(Device *d, uint8_t code, bool down);
/* The mouse moved by (@dx, @dy), right and down positive, the wheel by @dz clicks towards the user;
 * @buttons is a set of PS2_BUTTON_*.  Takes the domain. */
CTX_ANY void ps2_mouse(Device *d, int dx, int dy, int dz, unsigned buttons);
/* The lock lights as the guest set them: bit 0 scroll, 1 num, 2 caps.  Takes the domain. */
CTX_ANY unsigned ps2_leds(Device *d);

/* --- private to hw/isa from here --- */
#define PS2_QUEUE 256

/* Bytes on their way to the controller; a reply to a command drops the input before it. */
typedef struct Ps2Queue {
    uint8_t data[PS2_QUEUE];
    uint32_t head, count;      /* next byte out, bytes held */
} Ps2Queue;

/* What a PS/2 device tells its controller: it has bytes now. */
typedef void Ps2Ready(void *controller);

typedef struct Ps2Kbd {
    Ps2Queue queue;
    bool scanning;
    uint8_t set;               /* 1, 2, 3 */
    uint8_t leds, rate;
    uint8_t pending;           /* command that waits for its argument; 0: none */
    uint8_t last;              /* last byte sent, for Resend */
    bool key_down[256];        /* what is held, to make breaks once; by key code */
    uint8_t key_mode[32];      /* set 3: a bit per make code: it sends no break code */
    Ps2Ready *ready;
    void *controller;
} Ps2Kbd;

typedef struct Ps2Mouse {
    Ps2Queue queue;
    bool reporting, remote, wrap, scale21;
    uint8_t id;                /* 0 plain, 3 IntelliMouse, 4 Explorer */
    uint8_t resolution, rate;
    uint8_t pending;
    uint8_t knock[2];          /* the last two sample rates: the magic sequence to a wheel */
    uint8_t last;
    uint8_t buttons, buttons_sent;
    int32_t dx, dy, dz;        /* not yet reported */
    Ps2Ready *ready;
    void *controller;
} Ps2Mouse;

extern const StateDesc ps2_kbd_state, ps2_mouse_state;

CTX_DOMAIN void ps2_queue_put(Ps2Queue *q, uint8_t byte);
CTX_DOMAIN bool ps2_queue_room(const Ps2Queue *q, unsigned n);
/* Takes the oldest byte; the queue is not empty. */
CTX_DOMAIN uint8_t ps2_queue_take(Ps2Queue *q);
CTX_ANY bool ps2_queue_check(const Ps2Queue *q, Error **errp);

CTX_DOMAIN void ps2_kbd_reset(Ps2Kbd *k);
/* A byte from the controller. */
CTX_DOMAIN void ps2_kbd_write(Ps2Kbd *k, uint8_t val);
CTX_DOMAIN bool ps2_kbd_has(const Ps2Kbd *k);
CTX_DOMAIN uint8_t ps2_kbd_take(Ps2Kbd *k);
CTX_DOMAIN void ps2_kbd_key(Ps2Kbd *k, uint8_t code, bool down);

CTX_DOMAIN void ps2_mouse_reset(Ps2Mouse *m);
CTX_DOMAIN void ps2_mouse_write(Ps2Mouse *m, uint8_t val);
CTX_DOMAIN bool ps2_mouse_has(const Ps2Mouse *m);
CTX_DOMAIN uint8_t ps2_mouse_take(Ps2Mouse *m);
CTX_DOMAIN void ps2_mouse_move(Ps2Mouse *m, int dx, int dy, int dz, unsigned buttons);

#endif
