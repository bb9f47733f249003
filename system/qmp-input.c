/* qmp-input.c: QMP commands that stand in for a person at the guest's keyboard and mouse. */
#include "system/qmp-input.h"

#include <inttypes.h>
#include "qapi/commands.h"
#include "system/runstate.h"
#include "ui/input.h"

enum { POINTER = 1 << INPUT_EVENT_KIND_REL | 1 << INPUT_EVENT_KIND_ABS };

bool qmp_query_mice(MouseInfoList *ret, Error **errp)
{
    for (InputDevice *d = input_next(NULL); d != NULL; d = input_next(d)) {
        if (input_ops(d)->kinds & POINTER) {
            MouseInfo *m = qapi_new_mouse_info();

            m->name = g_strdup(input_ops(d)->name);
            m->index = input_index(d);
            m->current = ret->n == 0;
            m->absolute = input_ops(d)->kinds & 1 << INPUT_EVENT_KIND_ABS;
            qapi_append(ret, m);
        }
    }
    return true;
}

bool input_mouse_set(int64_t index, Error **errp)
{
    for (InputDevice *d = input_next(NULL); d != NULL; d = input_next(d)) {
        if (input_index(d) == index) {
            if (!(input_ops(d)->kinds & POINTER)) {
                return error_set(errp, "Input device '%s' is not a mouse", input_ops(d)->name);
            }
            input_activate(d);
            return true;
        }
    }
    return error_set(errp, "Mouse at index '%" PRId64 "' not found", index);
}

/* What is typed while the guest stands still is lost. */
bool qmp_send_key(const KeyValueList *keys, int64_t hold_time, Error **errp)
{
    g_autofree QKeyCode *codes = g_new(QKeyCode, keys->n);

    for (size_t i = 0; i < keys->n; i++) {
        codes[i] = input_key_of(keys->at[i]);
    }
    return !runstate_running() || input_type_keys(codes, keys->n, (unsigned)hold_time, errp);
}

static Input event_of(const InputEvent *e)
{
    Input in = { .kind = e->type };

    switch (e->type) {
    case INPUT_EVENT_KIND_KEY:
        in.code = input_key_of(e->u.key.data->key);
        in.value = e->u.key.data->down;
        break;
    case INPUT_EVENT_KIND_BTN:
        in.code = e->u.btn.data->button;
        in.value = e->u.btn.data->down;
        break;
    default: {
        const InputMoveEvent *m =
            e->type == INPUT_EVENT_KIND_REL ? e->u.rel.data : e->u.abs.data;
        in.code = m->axis;
        in.value = (int)m->value;
        break;
    }
    }
    return in;
}

bool qmp_input_send_event(const InputEventList *events, Error **errp)
{
    g_autofree Input *all = g_new(Input, events->n);

    if (!runstate_running()) {
        return error_set(errp, "VM not running");
    }
    for (size_t i = 0; i < events->n; i++) {
        all[i] = event_of(events->at[i]);
        if (!input_takes(all[i].kind)) {
            return error_set(errp, "Input handler not found for event type %s",
                             input_event_kind_name(all[i].kind));
        }
    }
    input_send(all, (unsigned)events->n);
    return true;
}
