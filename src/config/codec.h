/* config/codec.h: between codec.c and codec_domain.c only: the parts of a configuration as octets. */
#pragma once
#include "config/config.h"

void codec_put_addr(struct buf *b, const struct netaddr *a);
void codec_put_hop(struct buf *b, const struct next_hop *h);
void codec_put_domains(struct buf *b, const struct policy_conf *p);

struct decoder {
    struct reader in;
    struct arena *arena;
    size_t n_password_files, n_auths;
    bool has_tokens;
    bool ok; /* what was read so far makes sense; the reader's own failure counts too */
};
static inline void codec_want(struct decoder *d, bool cond)
{
    d->ok = d->ok && cond && !d->in.failed;
}
bool codec_get_bool(struct decoder *d);
struct str codec_get_str(struct decoder *d, const char *(*error_of)(struct str));
/* A list of n elements of which each takes at least size_min octets; NULL when that can't be. */
void *codec_get_list(struct decoder *d, size_t max, size_t size_min, size_t size, size_t *out_n);
struct netaddr codec_get_addr(struct decoder *d);
struct next_hop codec_get_hop(struct decoder *d);
bool codec_is_ip(const struct netaddr *a);
void codec_get_domains(struct decoder *d, struct policy_conf *p);

/* What a text must be; an error_of for codec_get_str(). */
const char *codec_lower_domain_error(struct str s); /* A-labels */
const char *codec_lower_user_error(struct str s);
const char *codec_mailbox_or_nothing_error(struct str s);
const char *codec_no_ctl_error(struct str s);
