/* keys.c: keys by name and by number, and keys that are pressed one after another.
 *
 * 1. Waiting events are a ring; the first one's time is the timer's.  Time is the guest's, so that a guest
 *    that is stopped between down and up gets the up. */
#include "ui/input.h"

#include "util/bytes.h"
#include "util/loop.h"

/* Scan codes of set 1 (IBM PS/2 Technical Reference, Keyboards; Microsoft Keyboard Scan Code
 * Specification for those of multimedia keys). */
#define K(name) Q_KEY_CODE_##name
static const uint8_t numbers[Q_KEY_CODE_COUNT] = {
    [K(SHIFT)] = 0x2a, [K(SHIFT_R)] = 0x36, [K(ALT)] = 0x38, [K(ALT_R)] = 0xb8, [K(CTRL)] = 0x1d,
    [K(CTRL_R)] = 0x9d, [K(ESC)] = 0x01, [K(1)] = 0x02, [K(2)] = 0x03, [K(3)] = 0x04, [K(4)] = 0x05,
    [K(5)] = 0x06, [K(6)] = 0x07, [K(7)] = 0x08, [K(8)] = 0x09, [K(9)] = 0x0a, [K(0)] = 0x0b,
    [K(MINUS)] = 0x0c, [K(EQUAL)] = 0x0d, [K(BACKSPACE)] = 0x0e, [K(TAB)] = 0x0f, [K(Q)] = 0x10,
    [K(W)] = 0x11, [K(E)] = 0x12, [K(R)] = 0x13, [K(T)] = 0x14, [K(Y)] = 0x15, [K(U)] = 0x16, [K(I)] = 0x17,
    [K(O)] = 0x18, [K(P)] = 0x19, [K(BRACKET_LEFT)] = 0x1a, [K(BRACKET_RIGHT)] = 0x1b, [K(RET)] = 0x1c,
    [K(A)] = 0x1e, [K(S)] = 0x1f, [K(D)] = 0x20, [K(F)] = 0x21, [K(G)] = 0x22, [K(H)] = 0x23, [K(J)] = 0x24,
    [K(K)] = 0x25, [K(L)] = 0x26, [K(SEMICOLON)] = 0x27, [K(APOSTROPHE)] = 0x28, [K(GRAVE_ACCENT)] = 0x29,
    [K(BACKSLASH)] = 0x2b, [K(Z)] = 0x2c, [K(X)] = 0x2d, [K(C)] = 0x2e, [K(V)] = 0x2f, [K(B)] = 0x30,
    [K(N)] = 0x31, [K(M)] = 0x32, [K(COMMA)] = 0x33, [K(DOT)] = 0x34, [K(SLASH)] = 0x35,
    [K(ASTERISK)] = 0x37, [K(SPC)] = 0x39, [K(CAPS_LOCK)] = 0x3a, [K(F1)] = 0x3b, [K(F2)] = 0x3c,
    [K(F3)] = 0x3d, [K(F4)] = 0x3e, [K(F5)] = 0x3f, [K(F6)] = 0x40, [K(F7)] = 0x41, [K(F8)] = 0x42,
    [K(F9)] = 0x43, [K(F10)] = 0x44, [K(NUM_LOCK)] = 0x45, [K(SCROLL_LOCK)] = 0x46, [K(KP_DIVIDE)] = 0xb5,
    [K(KP_MULTIPLY)] = 0x37, [K(KP_SUBTRACT)] = 0x4a, [K(KP_ADD)] = 0x4e, [K(KP_ENTER)] = 0x9c,
    [K(KP_DECIMAL)] = 0x53, [K(SYSRQ)] = 0x54, [K(KP_0)] = 0x52, [K(KP_1)] = 0x4f, [K(KP_2)] = 0x50,
    [K(KP_3)] = 0x51, [K(KP_4)] = 0x4b, [K(KP_5)] = 0x4c, [K(KP_6)] = 0x4d, [K(KP_7)] = 0x47,
    [K(KP_8)] = 0x48, [K(KP_9)] = 0x49, [K(LESS)] = 0x56, [K(F11)] = 0x57, [K(F12)] = 0x58,
    [K(PRINT)] = 0xb7, [K(HOME)] = 0xc7, [K(PGUP)] = 0xc9, [K(PGDN)] = 0xd1, [K(END)] = 0xcf,
    [K(LEFT)] = 0xcb, [K(UP)] = 0xc8, [K(DOWN)] = 0xd0, [K(RIGHT)] = 0xcd, [K(INSERT)] = 0xd2,
    [K(DELETE)] = 0xd3, [K(STOP)] = 0xe8, [K(META_L)] = 0xdb, [K(META_R)] = 0xdc, [K(COMPOSE)] = 0xdd,
    [K(PAUSE)] = 0xc6, [K(RO)] = 0x73, [K(HIRAGANA)] = 0x77, [K(HENKAN)] = 0x79, [K(YEN)] = 0x7d,
    [K(MUHENKAN)] = 0x7b, [K(KATAKANAHIRAGANA)] = 0x70, [K(KP_COMMA)] = 0x7e, [K(KP_EQUALS)] = 0x59,
    [K(POWER)] = 0xde, [K(SLEEP)] = 0xdf, [K(WAKE)] = 0xe3, [K(AUDIONEXT)] = 0x99, [K(AUDIOPREV)] = 0x90,
    [K(AUDIOSTOP)] = 0xa4, [K(AUDIOPLAY)] = 0xa2, [K(AUDIOMUTE)] = 0xa0, [K(VOLUMEUP)] = 0xb0,
    [K(VOLUMEDOWN)] = 0xae, [K(MEDIASELECT)] = 0xed, [K(MAIL)] = 0xec, [K(CALCULATOR)] = 0xa1,
    [K(COMPUTER)] = 0xeb, [K(AC_HOME)] = 0xb2, [K(AC_BACK)] = 0xea, [K(AC_FORWARD)] = 0xe9,
    [K(AC_REFRESH)] = 0xe7, [K(AC_BOOKMARKS)] = 0xe6,
};
#undef K

uint8_t input_key_number(QKeyCode key)
{
    return numbers[key];
}

QKeyCode input_key_of_number(int64_t number)
{
    for (unsigned k = 0; number > 0 && k < Q_KEY_CODE_COUNT; k++) {
        if (numbers[k] == number) {
            return k;
        }
    }
    return Q_KEY_CODE_UNMAPPED;
}

QKeyCode input_key_of(const KeyValue *v)
{
    return v->type == KEY_VALUE_KIND_QCODE ? v->u.qcode.data : input_key_of_number(v->u.number.data);
}

/* --- one after another --- */

typedef struct Waiting {
    QKeyCode key;
    bool down;
    unsigned after_ms;                     /* how long the next one waits after this */
} Waiting;

static struct {
    Waiting ring[INPUT_KEYS_WAITING];
    unsigned first, count;
    Timer timer;
    bool ready;                            /* the timer is */
} waiting;

static void send_first(Timer *t)
{
    const Waiting *w = &waiting.ring[waiting.first];
    Input e = { .kind = INPUT_EVENT_KIND_KEY, .code = w->key, .value = w->down };

    waiting.first = (waiting.first + 1) % INPUT_KEYS_WAITING;
    waiting.count--;
    if (waiting.count > 0 || w->after_ms > 0) {
        timer_set(t, clock_now(CLOCK_VM) + (int64_t)w->after_ms * 1000000);
    }
    input_send(&e, 1);
}

static void fire(Timer *t)
{
    if (waiting.count > 0) {
        send_first(t);
    }
}

static void put(QKeyCode key, bool down, unsigned after_ms)
{
    waiting.ring[(waiting.first + waiting.count++) % INPUT_KEYS_WAITING] =
        (Waiting){ .key = key, .down = down, .after_ms = after_ms };
}

bool input_type_keys(const QKeyCode *keys, size_t n, unsigned hold_ms, Error **errp)
{
    if (n > (INPUT_KEYS_WAITING - waiting.count) / 2) {
        return error_set(errp, "too many keys: %u events wait for their turn, the most is %u",
                         waiting.count, INPUT_KEYS_WAITING);
    }
    if (!waiting.ready) {
        timer_init(&waiting.timer, loop_control(), CLOCK_VM, fire);
        waiting.ready = true;
    }
    for (size_t i = 0; i < n; i++) {
        put(keys[i], true, hold_ms);
    }
    for (size_t i = n; i > 0; i--) {
        put(keys[i - 1], false, hold_ms);
    }
    if (!timer_armed(&waiting.timer) && waiting.count > 0) {
        send_first(&waiting.timer);
    }
    return true;
}
