#include "wire/params.h"

#include "base/limits.h"

enum mail_item {
    ITEM_RET = 1,
    ITEM_ENVID,
    ITEM_BY,
    ITEM_PRIORITY,
    ITEM_HOLD,
    ITEM_REQUIRETLS,
    ITEM_TAG,
    ITEM_FEEDBACK,
    ITEM_TLS_OPTIONAL,
    ITEM_END,
};

/* ---- of MAIL ----------------------------------------------------------------------------------- */

bool mail_params_put(const struct mail_params *p, struct buf *out)
{
    must(p->envid.n <= DSN_ENVID_MAX && p->tag.n <= MAIL_TAG_MAX && p->feedback.n <= FEEDBACK_MAX);
    if (p->ret != DSN_RET_NONE)
        (void)(buf_put_u8(out, ITEM_RET) && buf_put_u8(out, (uint8_t)p->ret));
    if (p->envid.n > 0)
        (void)(buf_put_u8(out, ITEM_ENVID) && buf_put_lstr(out, p->envid));
    if (p->by_mode != BY_NONE)
        (void)(buf_put_u8(out, ITEM_BY) && buf_put_u8(out, (uint8_t)p->by_mode) &&
               buf_put_u8(out, p->by_trace) && buf_put_u64(out, (uint64_t)p->by_ms));
    if (p->has_priority)
        (void)(buf_put_u8(out, ITEM_PRIORITY) && buf_put_u8(out, (uint8_t)p->priority));
    if (p->hold_until_ms > 0)
        (void)(buf_put_u8(out, ITEM_HOLD) && buf_put_u64(out, (uint64_t)p->hold_until_ms));
    if (p->requiretls)
        buf_put_u8(out, ITEM_REQUIRETLS);
    if (p->tag.n > 0)
        (void)(buf_put_u8(out, ITEM_TAG) && buf_put_lstr(out, p->tag));
    if (p->feedback.n > 0)
        (void)(buf_put_u8(out, ITEM_FEEDBACK) && buf_put_lstr(out, p->feedback));
    if (p->tls_optional)
        buf_put_u8(out, ITEM_TLS_OPTIONAL);
    return !out->failed;
}

static bool get_by(struct reader *r, struct mail_params *p)
{
    uint8_t mode = read_u8(r), trace = read_u8(r);
    p->by_ms = (int64_t)read_u64(r);
    p->by_mode = mode == BY_RETURN ? BY_RETURN : BY_NOTIFY;
    p->by_trace = trace == 1;
    return (mode == BY_RETURN || mode == BY_NOTIFY) && trace <= 1 && p->by_ms >= 0;
}

static bool get_text(struct reader *r, size_t max, struct str *out)
{
    *out = read_lstr(r);
    return out->n > 0 && out->n <= max && !str_has_ctl(*out);
}

static bool get_item(struct reader *r, uint8_t item, struct mail_params *p)
{
    uint8_t octet;
    struct feedback f;
    switch ((enum mail_item)item) {
    case ITEM_RET:
        octet = read_u8(r);
        p->ret = octet == DSN_RET_FULL ? DSN_RET_FULL : DSN_RET_HDRS;
        return octet == DSN_RET_FULL || octet == DSN_RET_HDRS;
    case ITEM_ENVID:
        return get_text(r, DSN_ENVID_MAX, &p->envid);
    case ITEM_BY:
        return get_by(r, p);
    case ITEM_PRIORITY:
        p->priority = (int8_t)read_u8(r);
        p->has_priority = true;
        return p->priority >= MT_PRIORITY_MIN && p->priority <= MT_PRIORITY_MAX;
    case ITEM_HOLD:
        p->hold_until_ms = (int64_t)read_u64(r);
        return p->hold_until_ms > 0;
    case ITEM_REQUIRETLS:
        p->requiretls = true;
        return true;
    case ITEM_TLS_OPTIONAL:
        p->tls_optional = true;
        return true;
    case ITEM_TAG:
        return get_text(r, MAIL_TAG_MAX, &p->tag);
    case ITEM_FEEDBACK:
        p->feedback = read_lstr(r);
        return p->feedback.n <= FEEDBACK_MAX && feedback_get(p->feedback, &f);
    case ITEM_END:
        break;
    }
    return false;
}

bool mail_params_get(struct str octets, struct mail_params *out)
{
    struct mail_params p = {0};
    struct reader r = reader_of(octets);
    uint8_t last = 0;
    while (r.rest.n > 0) {
        uint8_t item = read_u8(&r);
        if (item <= last || item >= ITEM_END || !get_item(&r, item, &p))
            return false;
        last = item; /* in order, so that none comes twice and equal params are equal octets */
    }
    if (r.failed)
        return false;
    *out = p;
    return true;
}

/* ---- of RCPT ----------------------------------------------------------------------------------- */

enum { HAS_NOTIFY = 1 << 0, HAS_FLAGS = 1 << 1, HAS_TARGET = 1 << 2, HAS_ORCPT = 1 << 3, HAS_SHOWN = 1 << 4 };

bool rcpt_put(const struct rcpt *r, struct buf *out)
{
    must(r->orcpt.n <= DSN_ORCPT_MAX && r->shown.n <= SMTP_PATH_MAX);
    unsigned has = (r->notify != 0 ? HAS_NOTIFY : 0u) | (r->flags != 0 ? HAS_FLAGS : 0u) |
                   (r->target != 0 ? HAS_TARGET : 0u) | (r->orcpt.n > 0 ? HAS_ORCPT : 0u) |
                   (r->shown.n > 0 ? HAS_SHOWN : 0u);
    size_t start = out->n;
    bool ok = buf_put_lstr(out, r->address) && buf_put_u8(out, (uint8_t)has) &&
              ((has & HAS_NOTIFY) == 0 || buf_put_u8(out, r->notify)) &&
              ((has & HAS_FLAGS) == 0 || buf_put_u8(out, r->flags)) &&
              ((has & HAS_TARGET) == 0 || buf_put_u8(out, r->target)) &&
              ((has & HAS_ORCPT) == 0 || buf_put_lstr(out, r->orcpt)) &&
              ((has & HAS_SHOWN) == 0 || buf_put_lstr(out, r->shown));
    if (!ok)
        out->n = start; /* a record goes in whole or not at all */
    return ok;
}

static bool is_text(struct str s, size_t max)
{
    return s.n > 0 && s.n <= max && !str_has_ctl(s);
}

static bool is_notify(uint8_t n)
{
    return n <= NOTIFY_ALL && ((n & NOTIFY_NEVER) == 0 || n == NOTIFY_NEVER);
}

bool rcpt_next(struct reader *r, struct rcpt *out)
{
    if (r->rest.n == 0 || r->failed)
        return false;
    struct rcpt one = {.address = read_lstr(r)};
    uint8_t has = read_u8(r);
    if ((has & HAS_NOTIFY) != 0)
        one.notify = read_u8(r);
    if ((has & HAS_FLAGS) != 0)
        one.flags = read_u8(r);
    if ((has & HAS_TARGET) != 0)
        one.target = read_u8(r);
    if ((has & HAS_ORCPT) != 0)
        one.orcpt = read_lstr(r);
    if ((has & HAS_SHOWN) != 0)
        one.shown = read_lstr(r);
    bool ok = !r->failed && has < HAS_SHOWN * 2 && is_text(one.address, SMTP_PATH_MAX) &&
              is_notify(one.notify) && one.flags <= RCPT_FLAGS_ALL &&
              ((has & HAS_ORCPT) == 0 || is_text(one.orcpt, DSN_ORCPT_MAX)) &&
              ((has & HAS_SHOWN) == 0 || is_text(one.shown, SMTP_PATH_MAX));
    r->failed = !ok;
    if (ok)
        *out = one;
    return ok;
}

uint32_t rcpt_count(struct str list)
{
    struct reader r = reader_of(list);
    struct rcpt one;
    uint32_t n = 0;
    while (rcpt_next(&r, &one)) {
        if (++n > SMTP_RCPT_MAX)
            return 0;
    }
    return r.failed ? 0 : n;
}

/* ---- NOTIFY ------------------------------------------------------------------------------------ */

static const struct {
    struct str word;
    uint8_t bit;
} notify_words[] = {
    {STR_INIT("NEVER"), NOTIFY_NEVER},
    {STR_INIT("SUCCESS"), NOTIFY_SUCCESS},
    {STR_INIT("FAILURE"), NOTIFY_FAILURE},
    {STR_INIT("DELAY"), NOTIFY_DELAY},
};

void notify_put(uint8_t notify, struct buf *out)
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(notify_words); i++) {
        if ((notify & notify_words[i].bit) == 0)
            continue;
        if (any)
            buf_putc(out, ',');
        buf_put(out, notify_words[i].word);
        any = true;
    }
}

uint8_t notify_bit(struct str word)
{
    for (size_t i = 0; i < ARRAY_LEN(notify_words); i++) {
        if (str_ieq(word, notify_words[i].word))
            return notify_words[i].bit;
    }
    return 0;
}
