/* authz.c: the authz objects, see authz.h. */
#include "util/authz.h"

#include <string.h>
#include "util/lock.h"
#include "util/thread.h"

typedef struct Authz Authz;
struct Authz {
    char *id;
    bool allow;
    AuthzRule *rules;
    unsigned n;
    Authz *next;
};

/* Ids are one name space of the process. */
static Lock authz_lock = LOCK_INIT(RANK_LEAF, "authz");
static Authz *objects GUARDED_BY(authz_lock);

void authz_add(const char *id, bool allow, const AuthzRule *rules, unsigned n)
{
    Authz *a = g_new0(Authz, 1);

    assert_control();
    *a = (Authz){ .id = g_strdup(id), .allow = allow, .rules = g_new0(AuthzRule, n), .n = n };
    for (unsigned i = 0; i < n; i++) {
        a->rules[i] = rules[i];
        a->rules[i].match = g_strdup(rules[i].match);
    }
    lock_take(&authz_lock);
    a->next = objects;
    objects = a;
    lock_drop(&authz_lock);
}

void authz_remove(const char *id)
{
    assert_control();
    lock_take(&authz_lock);
    Authz **at = &objects;
    while (*at && strcmp((*at)->id, id) != 0) {
        at = &(*at)->next;
    }
    Authz *a = *at;
    if (a) {
        *at = a->next;
    }
    lock_drop(&authz_lock);
    for (unsigned i = 0; a && i < a->n; i++) {
        g_free((char *)(uintptr_t)a->rules[i].match);
    }
    if (a) {
        g_free(a->rules);
        g_free(a->id);
        g_free(a);
    }
}

static const Authz *find_locked(const char *id) LOCK_UNCHECKED
{
    const Authz *a = objects;

    while (a && strcmp(a->id, id) != 0) {
        a = a->next;
    }
    return a;
}

bool authz_exists(const char *id)
{
    lock_take(&authz_lock);
    bool there = find_locked(id) != NULL;
    lock_drop(&authz_lock);
    return there;
}

bool authz_allows(const char *id, const char *name)
{
    lock_take(&authz_lock);
    const Authz *a = find_locked(id);
    bool allow = a && a->allow;
    for (unsigned i = 0; a && i < a->n; i++) {
        const AuthzRule *r = &a->rules[i];

        if (r->glob ? g_pattern_match_simple(r->match, name) : !strcmp(r->match, name)) {
            allow = r->allow;
            break;
        }
    }
    lock_drop(&authz_lock);
    return allow;
}
