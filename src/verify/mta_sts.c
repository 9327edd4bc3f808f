#include "verify/mta_sts.h"

void mta_sts_record_name(struct str domain, struct buf *out)
{
    buf_puts(out, "_mta-sts.");
    buf_put(out, domain);
}

void mta_sts_policy_host(struct str domain, struct buf *out)
{
    buf_puts(out, "mta-sts.");
    buf_put(out, domain);
}

void mta_sts_policy_url(struct str domain, struct buf *out)
{
    buf_puts(out, "https://");
    mta_sts_policy_host(domain, out);
    buf_puts(out, "/.well-known/mta-sts.txt");
}

/* 3.1: 1*32(ALPHA / DIGIT) */
static bool is_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]))
            return false;
    }
    return s.n > 0 && s.n <= MTA_STS_ID_MAX;
}

bool mta_sts_record(const struct str *rdata, size_t n, struct buf *mem, struct str *out_id)
{
    struct str fields, name, value, id = STR_NIL;
    if (txt_pick(rdata, n, STR("v=STSv1"), mem, &fields) != TXT_ONE)
        return false;
    enum txt_next next;
    while ((next = txt_next(&fields, &name, &value)) == TXT_FIELD) {
        if (str_eq(name, STR("id")) && id.n == 0) {
            if (!is_id(value))
                return false;
            id = value;
        }
    }
    if (next == TXT_BAD || id.n == 0)
        return false;
    *out_id = id;
    return true;
}

/* ---- the policy ---------------------------------------------------------------------------------------- */

enum { SEEN_VERSION = 1, SEEN_MODE = 2, SEEN_MAX_AGE = 4, LABEL_MAX = 63, NAME_MAX_DOTTED = 253 };

bool mta_sts_is_pattern(struct str s)
{
    if (str_starts(s, STR("*.")))
        s = str_skip(s, 2);
    if (s.n == 0 || s.n > NAME_MAX_DOTTED)
        return false;
    bool more = true;
    while (more) {
        more = str_chr(s, '.') != STR_NPOS;
        struct str label = str_cut(&s, '.');
        if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++) {
            if (!ascii_is_alnum(label.p[i]) && label.p[i] != '-')
                return false;
        }
    }
    return true;
}

static const char *take_mode(struct str value, struct mta_sts_policy *out)
{
    for (enum mta_sts_mode m = MTA_STS_NONE; m <= MTA_STS_ENFORCE; m++) {
        if (str_eq(value, str_from_c(mta_sts_mode_word(m)))) {
            out->mode = m;
            return NULL;
        }
    }
    return "its mode is unknown";
}

static const char *take_max_age(struct str value, struct mta_sts_policy *out)
{
    uint64_t n;
    if (value.n > 10 || !str_to_u64(value, MTA_STS_MAX_AGE_S, &n))
        return "its max_age is no number of seconds up to a year";
    out->max_age_s = (uint32_t)n;
    return NULL;
}

static const char *take_mx(struct str value, struct mta_sts_policy *out)
{
    if (!mta_sts_is_pattern(value))
        return "one of its mx is no host name";
    if (out->n_mx == MTA_STS_MX_MAX)
        return "it has too many mx";
    out->mx[out->n_mx++] = value;
    return NULL;
}

static const char *take_line(struct str line, unsigned *seen, struct mta_sts_policy *out)
{
    size_t colon = str_chr(line, ':');
    if (colon == STR_NPOS || colon == 0)
        return "a line is no key and value";
    struct str key = str_slice(line, 0, colon), value = str_trim(str_skip(line, colon + 1));
    if (str_has_ctl(value) || str_trim(key).n != key.n)
        return "a line is no key and value";
    unsigned bit = str_eq(key, STR("version"))   ? SEEN_VERSION
                   : str_eq(key, STR("mode"))    ? SEEN_MODE
                   : str_eq(key, STR("max_age")) ? SEEN_MAX_AGE
                                                 : 0;
    if ((*seen & bit) != 0) /* 3.2: all but the first are ignored */
        return NULL;
    *seen |= bit;
    switch (bit) {
    case SEEN_VERSION:
        return str_eq(value, STR("STSv1")) ? NULL : "its version is unknown";
    case SEEN_MODE:
        return take_mode(value, out);
    case SEEN_MAX_AGE:
        return take_max_age(value, out);
    default:
        return str_eq(key, STR("mx")) ? take_mx(value, out) : NULL;
    }
}

const char *mta_sts_policy(struct str body, struct mta_sts_policy *out)
{
    unsigned seen = 0;
    out->mode = MTA_STS_NONE;
    out->max_age_s = 0;
    out->n_mx = 0;
    if (body.n > MTA_STS_POLICY_MAX)
        return "it is too long";
    while (body.n > 0) {
        struct str line = str_cut(&body, '\n');
        if (str_ends(line, STR("\r")))
            line.n--;
        while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
            line.n--;
        const char *why = line.n > 0 ? take_line(line, &seen, out) : NULL;
        if (why != NULL)
            return why;
    }
    if ((seen & SEEN_VERSION) == 0)
        return "it has no version";
    if ((seen & SEEN_MODE) == 0)
        return "it has no mode";
    if ((seen & SEEN_MAX_AGE) == 0)
        return "it has no max_age";
    return out->mode == MTA_STS_NONE || out->n_mx > 0 ? NULL : "it has no mx";
}

bool mta_sts_matches(const struct mta_sts_policy *p, struct str host)
{
    if (str_ends(host, STR(".")))
        host.n--;
    struct str parent = host;
    struct str first = str_cut(&parent, '.');
    for (size_t i = 0; i < p->n_mx; i++) {
        struct str mx = p->mx[i];
        if (!str_starts(mx, STR("*.")) ? str_ieq(mx, host) : first.n > 0 && str_ieq(str_skip(mx, 2), parent))
            return true;
    }
    return false;
}

const char *mta_sts_mode_word(enum mta_sts_mode m)
{
    switch (m) {
    case MTA_STS_NONE:
        return "none";
    case MTA_STS_TESTING:
        return "testing";
    case MTA_STS_ENFORCE:
        return "enforce";
    }
    return "?";
}

/* ---- cache --------------------------------------------------------------------------------------------- */

/* A clock that was set back makes an age of 0: a policy is not thrown away for that. */
static int64_t age(int64_t now_s, int64_t then_s)
{
    return now_s > then_s ? now_s - then_s : 0;
}

struct mta_sts_plan mta_sts_plan(const struct mta_sts_facts *f)
{
    bool is_live = f->has_cached && age(f->now_s, f->cached_at_s) < (int64_t)f->cached_max_age_s;
    if (f->dns != MTA_STS_DNS_RECORD) {
        if (is_live)
            return (struct mta_sts_plan){true, false, false, "a cached policy is still in force"};
        return (struct mta_sts_plan){false, false, false,
                                     f->dns == MTA_STS_DNS_NONE
                                         ? "the domain has no MTA-STS record"
                                         : "the MTA-STS record could not be looked up"};
    }
    bool is_held = f->has_failed && str_eq(f->failed_id, f->id) && f->now_s >= f->failed_at_s &&
                   f->now_s - f->failed_at_s < MTA_STS_RETRY_S;
    if (!is_live) {
        if (is_held)
            return (struct mta_sts_plan){false, false, false, "the policy could not be fetched a while ago"};
        return (struct mta_sts_plan){false, true, true, "the policy is not known yet"};
    }
    if (!str_eq(f->cached_id, f->id)) {
        if (is_held)
            return (struct mta_sts_plan){true, false, false,
                                         "the new policy could not be fetched a while ago"};
        return (struct mta_sts_plan){true, true, true, "the policy has changed"};
    }
    bool is_old = age(f->now_s, f->cached_at_s) >= MTA_STS_REFRESH_S ||
                  age(f->now_s, f->cached_at_s) >= (int64_t)f->cached_max_age_s / 2;
    return (struct mta_sts_plan){true, is_old && !is_held, false,
                                 is_old ? "a cached policy is in force and is fetched anew"
                                        : "a cached policy is in force"};
}
