/* service/boot/role_testing.h: what boot.c does about a role's peers, in tests of one role without boot.c: a
 * channel that must not be used any more says so. Included behind the test's own struct channel, whose
 * is_closed it sets.
 */
#pragma once
#include "ipc/rights.h"
#include "service/boot/role.h"

void role_peer_closed(struct role_env *env, struct channel *c)
{
    UNUSED(env);
    c->is_closed = true;
}

bool role_message_allowed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    bool ok = ipc_may_send(from, env->role, type);
    c->is_closed = c->is_closed || !ok;
    return ok;
}

void role_message_malformed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    UNUSED(env);
    UNUSED(from);
    UNUSED(type);
    c->is_closed = true;
}
