/* input.h: what a person does, on its way from a front end to a device.
 *
 * 1. An event goes to the first device of the list that takes its kind; input_activate() makes a device
 *    the first.
 * 2. Events that belong together are sent in one call; each device that took one is then told so once
 *    (sync), and may act on them together.
 * 3. All on control.  A device enters its own domain. */
#ifndef UI_INPUT_H
#define UI_INPUT_H

#include "qapi/types.h"
#include "util/context.h"

/* One event.  @code: a QKeyCode, an InputButton or an InputAxis; @value: 1 down, 0 up; a movement (right
 * and down are positive); a place, 0 to 32767 from the left or the top. */
typedef struct Input {
    InputEventKind kind;
    unsigned code;
    int value;
} Input;

typedef struct InputOps {
    const char *name;                      /* what people see, such as "QEMU PS/2 Mouse" */
    unsigned kinds;                        /* a bit (1 << InputEventKind) for each that it takes */
    void (*event)(void *dev, const Input *e);
    void (*sync)(void *dev);               /* may be NULL */
} InputOps;

typedef struct InputDevice InputDevice;

/* The device @dev takes input from now on, behind those that are there. */
CTX_CONTROL InputDevice *input_attach(const InputOps *ops, void *dev);
CTX_CONTROL void input_detach(InputDevice *d);
/* False: no device takes events of @kind. */
CTX_CONTROL bool input_takes(InputEventKind kind);
/* Those of which no device takes the kind are dropped. */
CTX_CONTROL void input_send(const Input *events, unsigned n);

/* Each device in order; @d NULL: the first.  NULL at the end. */
CTX_CONTROL InputDevice *input_next(const InputDevice *d);
/* Its number, which it keeps, from 1. */
CTX_CONTROL unsigned input_index(const InputDevice *d);
CTX_CONTROL const InputOps *input_ops(const InputDevice *d);
CTX_CONTROL void input_activate(InputDevice *d);

/* --- keys: keys.c --- */

#define INPUT_KEYS_WAITING 1024u           /* key events that wait for their turn, at most */

/* The key's scan code of set 1, with bit 7 for the prefix E0 (Pause is 0xc6, Print Screen 0xb7, SysRq 0x54);
 * 0: it has none. */
CTX_ANY uint8_t input_key_number(QKeyCode key);
/* The key of a number; unmapped: there is none. */
CTX_ANY QKeyCode input_key_of_number(int64_t number);
CTX_ANY QKeyCode input_key_of(const KeyValue *v);
/* Presses @keys in order and lets go in the opposite one, with @hold_ms of the guest's time between two
 * events, behind those that still wait.  Fails, with nothing done, when they do not fit. */
CTX_CONTROL bool input_type_keys(const QKeyCode *keys, size_t n, unsigned hold_ms, Error **errp);

#endif
