#include "service/queue/queue_filter.h"

#include "base/queue_id.h"
#include "service/queue/queue_class.h"

enum filter_state { STATE_DEFERRED = 0, STATE_HELD, STATE_ACTIVE };

/* clang-format off */
static const struct {
    const char *word;
    enum filter_key key;
    const char *ops;
    bool needs_envelope;
} keys[] = {
    {"id",       FILTER_ID,       "=",  false},
    {"state",    FILTER_STATE,    "=",  false},
    {"kind",     FILTER_KIND,     "=",  false},
    {"site",     FILTER_SITE,     "=",  false},
    {"age",      FILTER_AGE,      "<>", false},
    {"attempts", FILTER_ATTEMPTS, "<>=", false},
    {"sender",   FILTER_SENDER,   "=",  true},
    {"rcpt",     FILTER_RCPT,     "=",  true},
    {"domain",   FILTER_DOMAIN,   "=",  true},
    {"source",   FILTER_SOURCE,   "=",  false},
    {"tag",      FILTER_TAG,      "=",  true},
    {"size",     FILTER_SIZE,     "<>", true},
    {"priority", FILTER_PRIORITY, "<>=", true},
    {"reason",   FILTER_REASON,   "~",  true},
    {"class",    FILTER_CLASS,    "=",  true},
};
static const struct {
    const char *word;
    enum filter_key key;
    uint64_t number;
} words[] = {
    {"deferred", FILTER_STATE, STATE_DEFERRED},
    {"held",     FILTER_STATE, STATE_HELD},
    {"active",   FILTER_STATE, STATE_ACTIVE},
    {"mail",     FILTER_KIND,  ENVELOPE_MAIL},
    {"bounce",   FILTER_KIND,  ENVELOPE_BOUNCE},
};
/* clang-format on */

bool filter_glob(struct str p, struct str t)
{
    size_t i = 0, k = 0, star = STR_NPOS, mark = 0;
    while (k < t.n) {
        if (i < p.n && p.p[i] == '*') {
            star = i++;
            mark = k;
        } else if (i < p.n && ascii_lower(p.p[i]) == ascii_lower(t.p[k])) {
            i++;
            k++;
        } else if (star != STR_NPOS) {
            i = star + 1;
            k = ++mark;
        } else {
            return false;
        }
    }
    while (i < p.n && p.p[i] == '*')
        i++;
    return i == p.n;
}

static bool parse_age(struct str s, uint64_t *out)
{
    static const struct {
        char unit;
        uint64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    for (size_t i = 0; s.n > 0 && i < ARRAY_LEN(units); i++) {
        if (ascii_lower(s.p[s.n - 1]) != units[i].unit)
            continue;
        if (!str_to_u64(str_slice(s, 0, s.n - 1), 1000000, out))
            return false;
        *out *= units[i].s;
        return true;
    }
    return false;
}

static bool parse_size(struct str s, uint64_t *out)
{
    static const struct {
        char unit;
        unsigned shift;
    } units[] = {{'k', 10}, {'m', 20}, {'g', 30}};
    unsigned shift = 0;
    for (size_t i = 0; s.n > 0 && shift == 0 && i < ARRAY_LEN(units); i++) {
        if (ascii_lower(s.p[s.n - 1]) == units[i].unit)
            shift = units[i].shift;
    }
    if (!str_to_u64(str_slice(s, 0, s.n - (shift > 0)), UINT32_MAX, out))
        return false;
    *out <<= shift;
    return true;
}

static bool parse_priority(struct str s, uint64_t *out)
{
    bool is_negative = s.n > 0 && s.p[0] == '-';
    if (!str_to_u64(str_skip(s, is_negative), MT_PRIORITY_MAX, out))
        return false;
    int64_t v = is_negative ? -(int64_t)*out : (int64_t)*out;
    *out = (uint64_t)(v - MT_PRIORITY_MIN);
    return true;
}

static bool parse_word(enum filter_key key, struct str value, uint64_t *out)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (words[i].key == key && str_ieq(value, str_from_c(words[i].word))) {
            *out = words[i].number;
            return true;
        }
    }
    return false;
}

static bool parse_class(struct str value, uint64_t *out)
{
    enum code_class c;
    if (!code_class_parse(value, &c))
        return false;
    *out = c;
    return true;
}

static bool complain(struct buf *error, const char *what, struct str term, const char *hint)
{
    buf_puts(error, what);
    buf_putc(error, ' ');
    log_quote(error, str_slice(term, 0, 100));
    buf_puts(error, ": ");
    buf_puts(error, hint);
    return false;
}

static bool parse_value(struct filter_term *t, struct str term, struct buf *error)
{
    switch (t->key) {
    case FILTER_ID:
        return queue_id_parse(t->value, &t->number) ||
               complain(error, "not a queue id in", term, "it has 13 characters");
    case FILTER_STATE:
        return parse_word(t->key, t->value, &t->number) ||
               complain(error, "unknown state in", term, "deferred, held or active");
    case FILTER_KIND:
        return parse_word(t->key, t->value, &t->number) ||
               complain(error, "unknown kind in", term, "mail or bounce");
    case FILTER_AGE:
        return parse_age(t->value, &t->number) ||
               complain(error, "not an age in", term, "a number and s, m, h or d, such as age>2h");
    case FILTER_ATTEMPTS:
        return str_to_u64(t->value, 100000, &t->number) ||
               complain(error, "not a number in", term, "such as attempts>3");
    case FILTER_SIZE:
        return parse_size(t->value, &t->number) ||
               complain(error, "not a size in", term, "octets, or a number and k, M or G, such as size>1M");
    case FILTER_PRIORITY:
        return parse_priority(t->value, &t->number) ||
               complain(error, "not a priority in", term, "-9 to 9, such as priority>0");
    case FILTER_CLASS:
        return parse_class(t->value, &t->number) ||
               complain(error, "unknown class in", term, "docs/codes.md has them, such as mailbox-full");
    case FILTER_SOURCE:
    case FILTER_TAG:
    case FILTER_REASON:
    case FILTER_SITE:
    case FILTER_SENDER:
    case FILTER_RCPT:
    case FILTER_DOMAIN:
        return t->value.n > 0 || complain(error, "nothing to compare with in", term, "* stands for anything");
    }
    must_not_reach();
}

static bool parse_term(struct str term, struct filter *f, struct buf *error)
{
    size_t at = 0;
    while (at < term.n && str_chr(STR("=<>~"), term.p[at]) == STR_NPOS)
        at++;
    if (at == term.n)
        return complain(error, "not a condition:", term, "write key=value, such as domain=example.com");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (!str_ieq(str_slice(term, 0, at), str_from_c(keys[i].word)))
            continue;
        if (str_chr(str_from_c(keys[i].ops), term.p[at]) == STR_NPOS)
            return complain(error, "wrong comparison in", term,
                            keys[i].ops[0] == '<'   ? "write > or <, such as age>2h or size<1M"
                            : keys[i].ops[0] == '~' ? "write reason~text"
                                                    : "write key=value");
        if (f->n == FILTER_TERMS_MAX)
            return complain(error, "too many conditions at", term, "16 at most");
        f->terms[f->n] =
            (struct filter_term){.key = keys[i].key, .op = term.p[at], .value = str_skip(term, at + 1)};
        f->needs_envelope = f->needs_envelope || keys[i].needs_envelope;
        return parse_value(&f->terms[f->n++], term, error);
    }
    return complain(error, "unknown key in", term,
                    "id, state, kind, site, source, tag, age, attempts, size, priority, sender, rcpt, "
                    "domain, reason or class");
}

bool filter_parse(struct str text, struct filter *out, struct buf *error)
{
    *out = (struct filter){.n = 0};
    if (text.n > FILTER_TEXT_MAX)
        return complain(error, "the filter is too long at", str_slice(text, 0, 20),
                        "4096 characters at most");
    while (text.n > 0) {
        struct str term = str_trim(str_cut(&text, ' '));
        if (term.n > 0 && !parse_term(term, out, error))
            return false;
    }
    return true;
}

void filter_for_domain(struct filter *out, struct str domain, bool with_subdomains)
{
    *out = (struct filter){.n = 2, .needs_envelope = true};
    out->terms[0] = (struct filter_term){.key = FILTER_STATE, .op = '=', .number = STATE_DEFERRED};
    out->terms[1] =
        (struct filter_term){.key = FILTER_DOMAIN, .op = with_subdomains ? '@' : '=', .value = domain};
}

/* "mx:a.example from POOL": the pool. */
static struct str source_of(const struct schedule_entry *e)
{
    struct str site = e->site == NULL ? STR_NIL : schedule_site_name(e->site);
    size_t at = str_find(site, STR(" from "));
    return at == STR_NPOS ? STR_NIL : str_skip(site, at + 6);
}

static bool compare(const struct filter_term *t, uint64_t value)
{
    return t->op == '=' ? value == t->number : t->op == '<' ? value < t->number : value > t->number;
}

static uint64_t state_of(const struct schedule_entry *e)
{
    if (e->state == ENTRY_HELD)
        return STATE_HELD;
    return e->state == ENTRY_WAITING ? STATE_DEFERRED : STATE_ACTIVE;
}

bool filter_matches_entry(const struct filter *f, const struct schedule_entry *e, bool is_bounce,
                          int64_t wall_ms)
{
    int64_t age_s = wall_ms / 1000 - (int64_t)e->created_s;
    for (size_t i = 0; i < f->n; i++) {
        const struct filter_term *t = &f->terms[i];
        bool ok = true;
        if (t->key == FILTER_ID)
            ok = e->id == t->number;
        else if (t->key == FILTER_STATE)
            ok = state_of(e) == t->number;
        else if (t->key == FILTER_KIND)
            ok = (t->number == ENVELOPE_BOUNCE) == is_bounce;
        else if (t->key == FILTER_AGE)
            ok = compare(t, age_s < 0 ? 0 : (uint64_t)age_s);
        else if (t->key == FILTER_ATTEMPTS)
            ok = compare(t, e->n_attempts);
        else if (t->key == FILTER_SITE)
            ok = filter_glob(t->value, e->site == NULL ? STR_NIL : schedule_site_name(e->site));
        else if (t->key == FILTER_SOURCE)
            ok = filter_glob(t->value, source_of(e));
        if (!ok)
            return false;
    }
    return true;
}

static bool is_below(struct str domain, struct str name)
{
    return str_ieq(domain, name) ||
           (name.n > domain.n && name.p[name.n - domain.n - 1] == '.' && str_iends(name, domain));
}

static bool glob_anywhere(struct str pattern, struct str text)
{
    for (size_t i = 0; i <= text.n; i++) { /* texts are short: ENVELOPE_TEXT_MAX */
        char mem[FILTER_TEXT_MAX + 1];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        buf_put(&b, pattern);
        buf_putc(&b, '*');
        if (!b.failed && filter_glob(buf_str(&b), str_skip(text, i)))
            return true;
    }
    return false;
}

static bool any_rcpt(const struct filter_term *t, const struct envelope_state *st)
{
    for (uint32_t i = 0; i < st->n_rcpts; i++) {
        struct str a = st->rcpts[i].rcpt.address;
        if (!envelope_is_open(&st->rcpts[i]))
            continue;
        if (t->key == FILTER_CLASS) {
            if (st->rcpts[i].state == ENVELOPE_DEFERRED && class_of(&st->rcpts[i]).class == t->number)
                return true;
            continue;
        }
        if (t->key == FILTER_DOMAIN) {
            size_t at = str_rchr(a, '@');
            a = at == STR_NPOS ? STR_NIL : str_skip(a, at + 1);
        }
        if (t->key == FILTER_REASON ? glob_anywhere(t->value, st->rcpts[i].text)
            : t->op == '@'          ? is_below(t->value, a)
                                    : filter_glob(t->value, a))
            return true;
    }
    return false;
}

bool filter_matches_envelope(const struct filter *f, const struct envelope *e,
                             const struct envelope_state *st)
{
    struct mail_params p;
    if (!mail_params_get(e->params, &p))
        p = (struct mail_params){.priority = 0};
    for (size_t i = 0; i < f->n; i++) {
        const struct filter_term *t = &f->terms[i];
        bool ok = true;
        if (t->key == FILTER_TAG)
            ok = filter_glob(t->value, p.tag);
        else if (t->key == FILTER_SIZE)
            ok = compare(t, e->body_size);
        else if (t->key == FILTER_PRIORITY)
            ok = compare(t, (uint64_t)(p.priority - MT_PRIORITY_MIN));
        else if (t->key == FILTER_SENDER)
            ok = str_eq(t->value, STR("<>")) ? e->sender.n == 0 : filter_glob(t->value, e->sender);
        else if (t->key == FILTER_RCPT || t->key == FILTER_DOMAIN || t->key == FILTER_REASON ||
                 t->key == FILTER_CLASS)
            ok = any_rcpt(t, st);
        if (!ok)
            return false;
    }
    return true;
}
