/* authz.c: authz objects in the schema's words, see authz.h. */
#include "qapi/authz.h"

#include "util/authz.h"

void qapi_authz_add(const ObjectConfig *c)
{
    const AuthZListProperties *list = &c->u.authz_list;
    const AuthzRule one = { .match = c->u.authz_simple.identity, .allow = true };

    if (c->qom_type == OBJECT_CONFIG_QOM_TYPE_AUTHZ_SIMPLE) {
        authz_add(c->id, false, &one, 1);
        return;
    }
    size_t n = list->has_rules ? list->rules.n : 0;
    g_autofree AuthzRule *rules = g_new0(AuthzRule, n);
    for (size_t i = 0; i < n; i++) {
        const QAuthZListRule *r = list->rules.at[i];

        rules[i] = (AuthzRule){ .match = r->match, .allow = r->policy == Q_AUTH_Z_LIST_POLICY_ALLOW,
                                .glob = r->format == Q_AUTH_Z_LIST_FORMAT_GLOB };
    }
    authz_add(c->id, list->policy == Q_AUTH_Z_LIST_POLICY_ALLOW, rules, (unsigned)n);
}
