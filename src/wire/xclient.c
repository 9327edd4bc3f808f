#include "wire/xclient.h"

#include "base/limits.h"
#include "wire/address.h"

static const char *take_text(struct str v, struct str *out)
{
    if (v.n == 0 || v.n > SMTP_DOMAIN_MAX || str_has_ctl(v) || !str_is_ascii(v))
        return "NAME, HELO and LOGIN take 1 to 255 printable characters";
    *out = v;
    return NULL;
}

static const char *take_name(struct str v, struct xclient *x)
{
    return take_text(v, &x->name);
}

static const char *take_helo(struct str v, struct xclient *x)
{
    return take_text(v, &x->helo);
}

static const char *take_login(struct str v, struct xclient *x)
{
    return take_text(v, &x->login);
}

static const char *take_ip(struct str v, struct netaddr *out)
{
    uint16_t port = out->port;
    bool is_tagged = str_istarts(v, STR("IPV6:"));
    if (!netaddr_parse_ip(is_tagged ? str_skip(v, 5) : v, port, out))
        return "ADDR and DESTADDR take an address such as 192.0.2.1 or IPV6:2001:db8::1";
    return NULL;
}

static const char *take_addr(struct str v, struct xclient *x)
{
    return take_ip(v, &x->addr);
}

static const char *take_dest_addr(struct str v, struct xclient *x)
{
    return take_ip(v, &x->dest_addr);
}

static const char *take_number(struct str v, struct netaddr *out)
{
    uint64_t n;
    if (!str_to_u64(v, UINT16_MAX, &n))
        return "PORT and DESTPORT take a number up to 65535";
    out->port = (uint16_t)n;
    return NULL;
}

static const char *take_port(struct str v, struct xclient *x)
{
    return take_number(v, &x->addr);
}

static const char *take_dest_port(struct str v, struct xclient *x)
{
    return take_number(v, &x->dest_addr);
}

static const char *take_proto(struct str v, struct xclient *x)
{
    x->is_esmtp = str_ieq(v, STR("ESMTP"));
    return x->is_esmtp || str_ieq(v, STR("SMTP")) ? NULL : "PROTO is SMTP or ESMTP";
}

struct attribute {
    struct str name;
    unsigned flag;
    const char *(*take)(struct str v, struct xclient *x);
};

static const struct attribute *find(struct str name)
{
    static const struct attribute attributes[] = {
        {STR_INIT("NAME"), XCLIENT_NAME, take_name},
        {STR_INIT("ADDR"), XCLIENT_ADDR, take_addr},
        {STR_INIT("PORT"), XCLIENT_PORT, take_port},
        {STR_INIT("PROTO"), XCLIENT_PROTO, take_proto},
        {STR_INIT("HELO"), XCLIENT_HELO, take_helo},
        {STR_INIT("LOGIN"), XCLIENT_LOGIN, take_login},
        {STR_INIT("DESTADDR"), XCLIENT_DESTADDR, take_dest_addr},
        {STR_INIT("DESTPORT"), XCLIENT_DESTPORT, take_dest_port},
    };
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        if (str_ieq(name, attributes[i].name))
            return &attributes[i];
    }
    return NULL;
}

static const char *take_attribute(struct str word, struct buf *mem, struct xclient *out)
{
    struct str value = word;
    struct str name = str_cut(&value, '=');
    const struct attribute *a = find(name);
    if (a == NULL || str_chr(word, '=') == STR_NPOS)
        return "the attributes are " XCLIENT_ATTRIBUTES ", each with =value";
    if ((out->has & a->flag) != 0)
        return "an attribute stands there twice";
    out->has |= a->flag;
    if (str_ieq(value, STR("[UNAVAILABLE]"))) {
        out->unavailable |= a->flag;
        return NULL;
    }
    if (str_ieq(value, STR("[TEMPUNAVAIL]"))) {
        out->tempunavail |= a->flag;
        return NULL;
    }
    size_t start = mem->n;
    if (!xtext_decode(value, mem))
        return "a value is no xtext of RFC 3461 4";
    return a->take(str_skip(buf_str(mem), start), out);
}

const char *xclient_parse(struct str arg, struct buf *mem, struct xclient *out)
{
    const char *why = arg.n == 0 ? "XCLIENT needs attributes: " XCLIENT_ATTRIBUTES : NULL;
    *out = (struct xclient){0};
    while (arg.n > 0 && why == NULL) {
        struct str word = str_cut(&arg, ' ');
        if (word.n > 0)
            why = take_attribute(word, mem, out);
    }
    return why;
}
