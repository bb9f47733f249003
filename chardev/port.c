/* port.c: pairs of ports.
 *
 * 1. @peer is the only shared field; it is loaded once for each operation.  Whoever it points to
 *    stays valid until the caller's epoch section ends. */
#include "chardev/char.h"

void char_port_init(CharPort *p, const CharPortOps *ops)
{
    *p = (CharPort){ .ops = ops };
}

static CharPort *peer_of(CharPort *p)
{
    return __atomic_load_n(&p->peer, __ATOMIC_ACQUIRE);
}

void char_join(CharPort *a, CharPort *b)
{
    __atomic_store_n(&a->peer, b, __ATOMIC_RELEASE);
    __atomic_store_n(&b->peer, a, __ATOMIC_RELEASE);
}

void char_part(CharPort *p)
{
    CharPort *other = peer_of(p);

    __atomic_store_n(&p->peer, NULL, __ATOMIC_RELEASE);
    if (other) {
        __atomic_store_n(&other->peer, NULL, __ATOMIC_RELEASE);
    }
}

size_t char_space(CharPort *from)
{
    CharPort *to = peer_of(from);

    if (!to) {
        return SIZE_MAX;
    }
    return to->ops->space ? to->ops->space(to) : 0;
}

size_t char_send(CharPort *from, const uint8_t *buf, size_t n)
{
    CharPort *to = peer_of(from);

    if (!to || n == 0) {
        return n;
    }
    if (to->ops->take) {
        return to->ops->take(to, buf, n);
    }
    size_t room = to->ops->space ? to->ops->space(to) : 0;
    n = MIN(n, room);
    if (n) {
        to->ops->bytes(to, buf, n);
    }
    return n;
}

void char_event(CharPort *from, CharEvent what)
{
    CharPort *to = peer_of(from);

    if (to && to->ops->event) {
        to->ops->event(to, what);
    }
}

void char_room(CharPort *from)
{
    char_event(from, CHAR_ROOM);
}
