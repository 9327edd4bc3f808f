/* config/codec_domain.c: the domains of a configuration as octets, and back. */
#include "config/codec.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/shared.h"
#include "config/values.h"

/* ---- encode ------------------------------------------------------------------------------------ */

static void put_owner(struct buf *b, const struct deliver *d)
{
    buf_put_lstr(b, d->user_name);
    buf_put_u32(b, d->uid);
    buf_put_u32(b, d->gid);
}

static void put_deliver(struct buf *b, const struct deliver *d)
{
    buf_put_u8(b, (uint8_t)d->kind);
    buf_put_u8(b, d->forward);
    switch (d->kind) {
    case DELIVER_NONE:
        break;
    case DELIVER_MAILDIR:
        buf_put_lstr(b, d->maildir);
        put_owner(b, d);
        break;
    case DELIVER_LMTP:
        codec_put_addr(b, &d->lmtp);
        buf_put_lstr(b, d->lmtp_host);
        break;
    case DELIVER_PIPE:
        buf_put_u32(b, (uint32_t)d->n_argv);
        for (size_t i = 0; i < d->n_argv; i++)
            buf_put_lstr(b, d->argv[i]);
        buf_put_u32(b, d->time_limit_s);
        put_owner(b, d);
        break;
    }
}

static void put_alias(struct buf *b, const struct alias *a)
{
    buf_put_lstr(b, a->name);
    buf_put_lstr(b, a->owner);
    buf_put_u32(b, (uint32_t)a->n_targets);
    for (size_t i = 0; i < a->n_targets; i++) {
        const struct alias_target *t = &a->targets[i];
        buf_put_u8(b, (uint8_t)t->kind);
        buf_put_lstr(b, t->text);
        if (t->kind == ALIAS_PIPE)
            put_deliver(b, t->pipe);
    }
}

static void put_domain(struct buf *b, const struct local_domain *d)
{
    buf_put_lstr(b, d->name);
    buf_put_lstr(b, d->shown);
    buf_put_lstr(b, d->same_as);
    if (d->same_as.n > 0)
        return; /* the rest is the other domain's */
    buf_put_u8(b, d->any_user);
    buf_put_u8(b, d->callout);
    buf_put_u8(b, (uint8_t)d->relay);
    if (d->relay == DOMAIN_RELAY_HOST)
        codec_put_hop(b, &d->via);
    buf_put_u32(b, d->passwords);
    buf_put_u32(b, d->auth);
    buf_put_u8(b, d->tokens);
    buf_put_lstr(b, d->plus);
    buf_put_u32(b, (uint32_t)d->n_users);
    for (size_t i = 0; i < d->n_users; i++)
        buf_put_lstr(b, d->users[i]);
    buf_put_u32(b, (uint32_t)d->n_system_users);
    for (size_t i = 0; i < d->n_system_users; i++) {
        const struct system_user *u = &d->system_users[i];
        buf_put_lstr(b, u->name);
        buf_put_lstr(b, u->home);
        buf_put_u32(b, u->uid);
        buf_put_u32(b, u->gid);
    }
    buf_put_u32(b, (uint32_t)d->n_aliases);
    for (size_t i = 0; i < d->n_aliases; i++)
        put_alias(b, &d->aliases[i]);
    buf_put_lstr(b, d->catchall);
    put_deliver(b, &d->deliver);
}

void codec_put_domains(struct buf *b, const struct policy_conf *p)
{
    buf_put_u32(b, (uint32_t)p->n_domains);
    for (size_t i = 0; i < p->n_domains; i++)
        put_domain(b, &p->domains[i]);
}

/* ---- decode ------------------------------------------------------------------------------------ */

struct totals { /* of all domains */
    size_t n_users, n_targets;
};

static const char *domain_error(struct str s)
{
    return str_eq(s, STR("*")) ? NULL : codec_lower_domain_error(s);
}

static const char *shown_error(struct str s)
{
    return s.n == 0 || (!str_is_ascii(s) && domain_is_valid(s, true)) ? NULL : "";
}

static const char *catchall_error(struct str s)
{
    return str_chr(s, '@') == STR_NPOS && s.n > 0 ? codec_lower_user_error(s)
                                                  : codec_mailbox_or_nothing_error(s);
}

static const char *home_error(struct str s)
{
    return str_starts(s, STR("/")) ? value_path_error(s) : "";
}

static void get_owner(struct decoder *d, struct deliver *out)
{
    out->user_name = codec_get_str(d, codec_no_ctl_error);
    out->uid = read_u32(&d->in);
    out->gid = read_u32(&d->in);
    codec_want(d, out->uid != 0 && (out->uid == UINT32_MAX) == (out->gid == UINT32_MAX));
}

static void get_argv(struct decoder *d, struct deliver *out)
{
    struct str *argv = codec_get_list(d, PIPE_WORDS_MAX, 4, sizeof *argv, &out->n_argv);
    codec_want(d, out->n_argv > 0);
    for (size_t i = 0; i < out->n_argv && d->ok; i++)
        argv[i] = codec_get_str(d, i == 0 ? value_program_error : value_word_error);
    out->argv = argv;
}

static struct deliver get_deliver(struct decoder *d)
{
    struct deliver out = {.uid = UINT32_MAX, .gid = UINT32_MAX};
    uint8_t kind = read_u8(&d->in);
    out.forward = codec_get_bool(d);
    codec_want(d, kind <= DELIVER_PIPE);
    if (!d->ok)
        return out;
    out.kind = (enum deliver_kind)kind;
    switch (out.kind) {
    case DELIVER_NONE:
        break;
    case DELIVER_MAILDIR:
        out.maildir = codec_get_str(d, value_maildir_error);
        get_owner(d, &out);
        break;
    case DELIVER_LMTP:
        out.lmtp = codec_get_addr(d);
        out.lmtp_host = read_lstr(&d->in);
        if (out.lmtp_host.n > 0)
            codec_want(d, out.lmtp.kind == NETADDR_NONE && out.lmtp.port != 0 &&
                              domain_is_valid(out.lmtp_host, false));
        else
            codec_want(d, (codec_is_ip(&out.lmtp) && out.lmtp.port != 0) || out.lmtp.kind == NETADDR_UNIX);
        break;
    case DELIVER_PIPE:
        get_argv(d, &out);
        out.time_limit_s = read_u32(&d->in);
        codec_want(d, schema_in_range(schema_find(STR("pipe"), STR("timeout")), out.time_limit_s));
        get_owner(d, &out);
        break;
    }
    return out;
}

static void get_users(struct decoder *d, struct local_domain *out, struct totals *totals)
{
    struct str *users =
        codec_get_list(d, CONFIG_USERS_MAX - totals->n_users, 5, sizeof *users, &out->n_users);
    for (size_t i = 0; i < out->n_users && d->ok; i++) {
        users[i] = codec_get_str(d, codec_lower_user_error);
        codec_want(d, i == 0 || str_icmp(users[i - 1], users[i]) < 0);
    }
    totals->n_users += out->n_users;
    out->users = users;
}

static void get_system_users(struct decoder *d, struct local_domain *out)
{
    struct system_user *list = codec_get_list(d, CONFIG_USERS_MAX, 18, sizeof *list, &out->n_system_users);
    for (size_t i = 0; i < out->n_system_users && d->ok; i++) {
        list[i].name = codec_get_str(d, codec_lower_user_error);
        list[i].home = codec_get_str(d, home_error);
        list[i].uid = read_u32(&d->in);
        list[i].gid = read_u32(&d->in);
        codec_want(d, list[i].uid != 0 && (list[i].uid == UINT32_MAX) == (list[i].gid == UINT32_MAX) &&
                          (i == 0 || str_icmp(list[i - 1].name, list[i].name) < 0));
    }
    out->system_users = list;
}

static void get_target(struct decoder *d, struct alias_target *t, unsigned *n_pipes)
{
    struct address a;
    uint8_t kind = read_u8(&d->in);
    t->text = codec_get_str(d, codec_no_ctl_error);
    codec_want(d, kind <= ALIAS_PIPE);
    if (!d->ok)
        return;
    t->kind = (enum alias_target_kind)kind;
    if (t->kind != ALIAS_PIPE) {
        codec_want(d, address_parse(t->text, true, &a) == NULL &&
                          (a.kind == DOMAIN_NAME || a.literal.kind != NETADDR_NONE));
        return;
    }
    struct deliver *pipe = arena_new(d->arena, struct deliver);
    codec_want(d, pipe != NULL && ++*n_pipes <= ALIAS_PIPES_MAX);
    if (!d->ok)
        return;
    *pipe = get_deliver(d);
    codec_want(d, pipe->kind == DELIVER_PIPE && !pipe->forward);
    t->pipe = pipe;
}

static void get_aliases(struct decoder *d, struct local_domain *out, struct totals *totals)
{
    struct alias *list = codec_get_list(d, CONFIG_ALIASES_MAX, 18, sizeof *list, &out->n_aliases);
    for (size_t i = 0; i < out->n_aliases && d->ok; i++) {
        struct alias *a = &list[i];
        unsigned n_pipes = 0;
        a->name = codec_get_str(d, codec_lower_user_error);
        a->owner = codec_get_str(d, codec_mailbox_or_nothing_error);
        struct alias_target *targets =
            codec_get_list(d, CONFIG_ALIASES_MAX - totals->n_targets, 5, sizeof *targets, &a->n_targets);
        codec_want(d, a->n_targets > 0 && (i == 0 || str_icmp(list[i - 1].name, a->name) < 0));
        for (size_t k = 0; k < a->n_targets && d->ok; k++)
            get_target(d, &targets[k], &n_pipes);
        totals->n_targets += a->n_targets;
        a->targets = targets;
    }
    out->aliases = list;
}

/* Keys that exclude each other. */
static bool is_sound(const struct local_domain *d)
{
    bool is_relayed = d->relay != DOMAIN_ENDS_HERE, is_system = d->n_system_users > 0;
    if (is_relayed != (d->deliver.kind == DELIVER_NONE) || (d->callout && !is_relayed))
        return false;
    if (is_relayed && (d->catchall.n > 0 || is_system || d->deliver.forward))
        return false;
    if (d->deliver.forward && d->deliver.kind != DELIVER_MAILDIR)
        return false;
    bool needs_homes = d->deliver.forward || str_starts(d->deliver.maildir, STR("%h"));
    if (needs_homes && (d->any_user || d->n_users > 0))
        return false;
    if ((d->any_user || d->callout) && (d->n_users > 0 || is_system || d->catchall.n > 0))
        return false;
    if (str_eq(d->name, STR("*")) &&
        (d->n_aliases > 0 || (!d->any_user && !is_relayed) || d->relay == DOMAIN_RELAY_MX))
        return false;
    return !(d->any_user && d->callout);
}

static struct local_domain get_domain(struct decoder *d, struct totals *totals)
{
    struct local_domain out = {.name = codec_get_str(d, domain_error)};
    out.shown = codec_get_str(d, shown_error);
    out.same_as = read_lstr(&d->in);
    if (out.same_as.n > 0) {
        codec_want(d, codec_lower_domain_error(out.same_as) == NULL && !str_eq(out.name, STR("*")));
        return out;
    }
    out.any_user = codec_get_bool(d);
    out.callout = codec_get_bool(d);
    uint8_t relay = read_u8(&d->in);
    codec_want(d, relay <= DOMAIN_RELAY_HOST);
    out.relay = d->ok ? (enum domain_relay)relay : DOMAIN_ENDS_HERE;
    if (out.relay == DOMAIN_RELAY_HOST)
        out.via = codec_get_hop(d);
    out.passwords = read_u32(&d->in);
    out.auth = read_u32(&d->in);
    out.tokens = codec_get_bool(d);
    codec_want(d, !out.tokens ||
                      (d->has_tokens && out.relay == DOMAIN_ENDS_HERE && !str_eq(out.name, STR("*"))));
    codec_want(d, out.passwords <= d->n_password_files && out.auth <= d->n_auths &&
                      (out.passwords == 0 || out.auth == 0));
    out.plus = codec_get_str(d, value_plus_error);
    get_users(d, &out, totals);
    get_system_users(d, &out);
    get_aliases(d, &out, totals);
    out.catchall = codec_get_str(d, catchall_error);
    if (d->ok)
        out.deliver = get_deliver(d);
    codec_want(d, is_sound(&out));
    return out;
}

static void resolve_same_as(struct decoder *d, const struct policy_conf *p, struct local_domain *list)
{
    for (size_t i = 0; i < p->n_domains && d->ok; i++) {
        if (list[i].same_as.n == 0)
            continue;
        const struct local_domain *other = policy_domain(p, list[i].same_as);
        codec_want(d, other != NULL && other->same_as.n == 0 && str_eq(other->name, list[i].same_as));
        if (d->ok)
            config_share(&list[i], other);
    }
}

void codec_get_domains(struct decoder *d, struct policy_conf *p)
{
    struct totals totals = {0};
    struct local_domain *list = codec_get_list(d, CONFIG_DOMAINS_MAX, 13, sizeof *list, &p->n_domains);
    for (size_t i = 0; i < p->n_domains && d->ok; i++) {
        list[i] = get_domain(d, &totals);
        codec_want(d, i == 0 || str_icmp(list[i - 1].name, list[i].name) < 0);
    }
    p->domains = list;
    if (d->ok)
        resolve_same_as(d, p, list);
}
