#include "config/values.h"

#include "base/limits.h"
#include "config/config.h"

#include <string.h>

enum {
    USER_MAX = 64,
    PATH_LENGTH_MAX = 4095,
    FIELD_NAME_MAX = 64,
    PLUS_MAX = 4,
    DNS_PORT = 53,
    SMTP_PORT = 25,
    LMTP_PORT = 24,
    SMTPS_PORT = 465, /* RFC 8314 7.3 */
};

struct unit {
    char letter;
    uint64_t factor;
};

static const struct unit durations[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
static const struct unit sizes[] = {{'G', UINT64_C(1) << 30}, {'M', 1 << 20}, {'K', 1 << 10}};

static bool with_unit(struct str s, const struct unit *units, size_t n, uint64_t *out)
{
    if (s.n == 0)
        return false;
    if (ascii_is_digit(s.p[s.n - 1]))
        return str_to_u64(s, UINT64_MAX, out);
    for (size_t i = 0; i < n; i++) {
        uint64_t v;
        if (ascii_lower(s.p[s.n - 1]) == ascii_lower(units[i].letter))
            return str_to_u64(str_slice(s, 0, s.n - 1), UINT64_MAX, &v) &&
                   !__builtin_mul_overflow(v, units[i].factor, out);
    }
    return false;
}

bool value_duration(struct str s, uint64_t *out_s)
{
    return with_unit(s, durations, ARRAY_LEN(durations), out_s);
}

bool value_size(struct str s, uint64_t *out)
{
    if (str_iends(s, STR("ib")))
        s.n -= 2;
    else if (str_iends(s, STR("b")))
        s.n--;
    return with_unit(s, sizes, ARRAY_LEN(sizes), out);
}

static void put_with_unit(uint64_t v, const struct unit *units, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n && v > 0; i++) {
        if (v % units[i].factor == 0) {
            buf_printf(out, "%llu%c", (unsigned long long)(v / units[i].factor), units[i].letter);
            return;
        }
    }
    buf_printf(out, "%llu", (unsigned long long)v);
}

void value_put_duration(uint64_t seconds, struct buf *out)
{
    put_with_unit(seconds, durations, ARRAY_LEN(durations), out);
}

void value_put_size(uint64_t octets, struct buf *out)
{
    put_with_unit(octets, sizes, ARRAY_LEN(sizes), out);
}

static bool is_all_digits(struct str s)
{
    uint64_t v;
    return str_to_u64(s, UINT64_MAX, &v);
}

const char *value_hostname_error(struct str s)
{
    size_t dot = str_rchr(s, '.');
    if (!domain_is_valid(s, false))
        return "is no host name (letters, digits and hyphens between dots)";
    if (dot == STR_NPOS)
        return "must be a full name with a dot in it, such as \"mail.example.org\"";
    if (is_all_digits(str_skip(s, dot + 1)))
        return "must be a name and not an address";
    return NULL;
}

static bool is_user_octet(char c)
{
    /* atext of RFC 5322 3.2.3 without '/', which no path of ours may hold; octets over 0x7f: RFC 6531 */
    return ascii_is_alnum(c) || ((unsigned char)c & 0x80) != 0 ||
           (c != '\0' && strchr("!#$%&'*+-=?^_`{|}~.", c) != NULL);
}

const char *value_app_error(struct str s)
{
    if (s.n == 0 || s.n > LOGIN_APP_MAX)
        return "must have 1 to 32 characters";
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return "may have letters, digits, '-', '_' and '.' only";
    }
    return NULL;
}

const char *value_user_error(struct str s)
{
    if (s.n == 0)
        return "is empty";
    if (s.n > USER_MAX)
        return "is longer than 64 octets";
    if (str_chr(s, '@') != STR_NPOS)
        return "must be the part before the '@' only";
    uint32_t code;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_user_octet(s.p[i]) || (utf8_next(str_skip(s, i), &code) > 0 && utf8_is_control(code)))
            return "has a character that no user name may have";
    }
    if (s.p[0] == '.' || s.p[s.n - 1] == '.' || str_find(s, STR("..")) != STR_NPOS)
        return "has a dot at its start, its end or beside another dot";
    return utf8_is_valid(s) ? NULL : "is not UTF-8";
}

const char *value_path_error(struct str s)
{
    if (s.n == 0)
        return "is empty";
    if (s.n > PATH_LENGTH_MAX)
        return "is longer than a path may be";
    return str_has_ctl(s) ? "holds a control character" : NULL;
}

const char *value_service_error(struct str s)
{
    if (s.n == 0 || s.n > PAM_SERVICE_MAX)
        return "is no name of a service: 1 to 64 octets";
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && (s.p[i] != '.' || i == 0))
            return "is no name of a service: letters, digits, '-', '_' and '.'";
    }
    return NULL;
}

/* Each folder of a Maildir's template becomes one that local makes and opens: docs of deliver.c. */
static const char *maildir_parts_error(struct str s)
{
    unsigned depth = 0;
    for (struct str rest = str_skip(s, str_starts(s, STR("%h/")) ? 3 : 1); rest.n > 0; depth++) {
        struct str part = str_cut(&rest, '/');
        if (str_eq(part, STR("..")))
            return "must not hold '..'";
        if (str_eq(part, STR(".")) || (part.n == 0 && rest.n > 0))
            return "must not hold '/./' or '//'";
        if (part.n > MAILDIR_PART_MAX)
            return "has a part between two '/' that is longer than 100 octets";
    }
    return depth > MAILDIR_DEPTH_MAX ? "has more than 16 folders inside each other" : NULL;
}

const char *value_maildir_error(struct str s)
{
    const char *error = value_path_error(s);
    if (error != NULL)
        return error;
    bool has_home = str_starts(s, STR("%h/"));
    if (s.p[0] != '/' && !has_home)
        return "must begin with '/'";
    if (s.n > MAILDIR_TEMPLATE_MAX)
        return "is longer than 400 octets";
    bool has_user = has_home;
    for (size_t i = has_home ? 2 : 0; i < s.n; i++) {
        if (s.p[i] != '%')
            continue;
        char letter = ++i < s.n ? s.p[i] : '\0';
        if (letter == 'h')
            return "has %h (the home) not at its front";
        if (letter != 'u' && letter != 'd' && letter != '%')
            return "has a '%' that is neither %u (the user), %d (the domain) nor %% (a percent sign)";
        has_user = has_user || letter == 'u';
    }
    error = maildir_parts_error(s);
    if (error != NULL)
        return error;
    return has_user ? NULL : "must hold %u (the user), or all users would share one Maildir";
}

const char *value_https_error(struct str s)
{
    static const struct str scheme = STR_INIT("https://");
    if (!str_starts(s, scheme) || s.n == scheme.n || s.p[scheme.n] == '/')
        return "must be an address of the web that begins with https://";
    if (!str_is_ascii(s) || str_has_ctl(s) || str_chr(s, ' ') != STR_NPOS)
        return "must be written in ASCII, without spaces";
    return s.n > ACME_URL_MAX ? "is too long" : NULL;
}

const char *value_https_host(struct str s, struct str *out, uint16_t *out_port)
{
    const char *error = value_https_error(s);
    uint64_t port = 0;
    if (error != NULL)
        return error;
    struct str rest = str_skip(s, 8);
    size_t end = 0;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?' && rest.p[end] != '#')
        end++;
    struct str host = str_slice(rest, 0, end);
    size_t colon = str_rchr(host, ':');
    if (str_chr(s, '#') != STR_NPOS || str_chr(host, '@') != STR_NPOS)
        return "must have neither a user nor a '#' in it";
    if (colon != STR_NPOS && !str_starts(host, STR("["))) {
        if (!str_to_u64(str_skip(host, colon + 1), UINT16_MAX, &port) || port == 0)
            return "has no port behind the ':'";
        host = str_slice(host, 0, colon);
    }
    struct netaddr literal;
    if (!domain_is_valid(host, false) || netaddr_parse_ip(host, 0, &literal))
        return "must have the name of a host: its certificate is for that";
    for (size_t i = 0; i < host.n; i++) {
        if (host.p[i] != ascii_lower(host.p[i]))
            return "must have the name of its host in lower case";
    }
    *out = host;
    *out_port = (uint16_t)port;
    return NULL;
}

const char *value_mailbox_error(struct str s)
{
    struct address a;
    if (str_chr(s, '@') == STR_NPOS)
        return "must be a full address, such as \"admin@example.org\"";
    const char *error = address_parse(s, true, &a);
    if (error != NULL || a.is_quoted)
        return "is no mail address";
    return a.kind == DOMAIN_NAME ? NULL : "must have a domain name behind the '@'";
}

const char *value_ascii_mailbox_error(struct str s)
{
    return str_is_ascii(s) ? value_mailbox_error(s) : "holds a character outside ASCII";
}

const char *value_contact_error(struct str s)
{
    if (s.n == 0 || s.n > TLS_RPT_CONTACT_MAX)
        return "has not 1 to 200 octets";
    return utf8_is_valid(s) && !str_has_ctl(s) ? NULL : "is no UTF-8 text";
}

const char *value_netblock(struct str s, struct netblock *out)
{
    if (netblock_parse(s, out))
        return NULL;
    size_t slash = str_chr(s, '/');
    struct netaddr addr;
    uint64_t bits;
    if (slash == STR_NPOS || !netaddr_parse_ip(str_slice(s, 0, slash), 0, &addr))
        return "is no address or block of addresses";
    uint64_t bits_max = addr.kind == NETADDR_IP4 ? 32 : 128;
    struct str number = str_skip(s, slash + 1);
    if (!str_to_u64(number, bits_max, &bits) || (number.n > 1 && number.p[0] == '0'))
        return "has no number of bits from 0 to 32 (IPv6: to 128) behind the '/'";
    for (uint64_t i = bits; i < bits_max; i++)
        addr.ip[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
    *out = (struct netblock){addr, (uint8_t)bits};
    return "has bits set behind the prefix";
}

const char *value_host(struct str s, uint16_t default_port, bool may_be_unix, struct value_host *out)
{
    *out = (struct value_host){.name = STR_NIL};
    if (netaddr_parse(s, default_port, &out->addr)) {
        if (out->addr.kind == NETADDR_UNIX)
            return may_be_unix ? NULL : "must not be a unix socket";
        return out->addr.port != 0 ? NULL : "has port 0";
    }
    if (str_starts(s, STR("unix:")) || str_starts(s, STR("/")))
        return "is no path of a socket (absolute, at most 107 octets)";
    uint64_t port = default_port;
    struct str name = s;
    size_t colon = str_rchr(s, ':');
    if (colon != STR_NPOS) {
        name = str_slice(s, 0, colon);
        if (!str_to_u64(str_skip(s, colon + 1), UINT16_MAX, &port) || port == 0)
            return "has no port from 1 to 65535 behind the ':'";
    }
    size_t dot = str_rchr(name, '.');
    if (!domain_is_valid(name, false) || is_all_digits(dot == STR_NPOS ? name : str_skip(name, dot + 1)))
        return "is neither a host name nor an address (an IPv6 address stands in brackets)";
    out->name = name;
    out->addr = (struct netaddr){.port = (uint16_t)port};
    return NULL;
}

const char *value_login_error(struct str s)
{
    if (s.n == 0 || s.n > ROUTE_USER_MAX)
        return "has not 1 to 255 octets";
    return str_has_ctl(s) ? "holds a control character" : NULL;
}

const char *value_via(struct str s, struct next_hop *out, struct str *out_user)
{
    struct value_host host;
    bool lmtp = str_istarts(s, STR("lmtp://")), smtps = str_istarts(s, STR("smtps://"));
    *out_user = STR_NIL;
    if (!lmtp && !smtps && !str_istarts(s, STR("smtp://")))
        return "must be \"smtp://HOST:PORT\", \"smtps://HOST:PORT\" or \"lmtp://HOST:PORT\"";
    s = str_skip(s, smtps ? 8 : 7);
    if (str_ends(s, STR("/")))
        s.n--;
    size_t at = str_rchr(s, '@');
    if (at != STR_NPOS && !str_starts(s, STR("/")) && !str_starts(s, STR("unix:"))) {
        *out_user = str_slice(s, 0, at);
        s = str_skip(s, at + 1);
        if (str_chr(*out_user, ':') != STR_NPOS)
            return "holds a password, or a user with a ':' in it: the one is given by password = secret "
                   "\"FILE\", the "
                   "other by user = \"NAME\"";
        if (value_login_error(*out_user) != NULL)
            return "names a user that has not 1 to 255 octets without control characters";
    }
    const char *error = value_host(s, lmtp ? LMTP_PORT : smtps ? SMTPS_PORT : SMTP_PORT, !smtps, &host);
    *out = (struct next_hop){.host = host.name, .addr = host.addr, .lmtp = lmtp, .is_smtps = smtps};
    return error;
}

const char *value_route_error(const struct route_rule *r)
{
    bool has_login = r->auth.user.n > 0, is_weak = hop_tls_is_weak(r->tls);
    bool by_certificate = has_login && r->auth.secret.n == 0;
    if (by_certificate && r->certificate.cert.n == 0 && r->certificate.key.n == 0)
        return "has a user and neither a password nor a certificate to log in with: password = secret "
               "\"FILE\", or cert and key";
    if (!has_login && r->auth.secret.n > 0)
        return "has a password and no user";
    if (has_login && r->is_mx)
        return "has a login and no host to log in to: via";
    if ((r->certificate.cert.n > 0) != (r->certificate.key.n > 0))
        return "needs both of a certificate: cert = \"FILE\", key = \"FILE\"";
    if (r->certificate.cert.n > 0 && r->tls == HOP_TLS_NONE)
        return "has a certificate and no TLS to show it in";
    if (by_certificate && is_weak && r->via.addr.kind != NETADDR_UNIX)
        return "logs in by its certificate, and the way there may be without TLS: tls is \"verify\" or "
               "\"encrypt\"";
    if (!r->is_mx && r->via.addr.kind == NETADDR_UNIX && r->tls != HOP_TLS_NONE)
        return "asks for TLS on a unix socket, where there is none";
    if (!r->is_mx && r->via.is_smtps && is_weak)
        return "has no use for this tls: on smtps:// it is \"encrypt\", \"verify\" or \"dane\"";
    if (!r->is_mx && r->via.host.n == 0 && r->tls == HOP_TLS_VERIFY)
        return "names the host by its address, and certificates are for names: give the name, or tls = "
               "\"encrypt\"";
    if (!r->is_mx && r->via.host.n == 0 && r->tls == HOP_TLS_DANE)
        return "names the host by its address, and TLSA records are for names: give the name, or another tls";
    if (has_login && is_weak && !policy_is_near(&r->via))
        return "would let the password go in the clear: with a login tls is \"verify\" (without saying it) "
               "or "
               "\"encrypt\"";
    return NULL;
}

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '!' || s.p[i] > '~')
            return false;
    }
    return true;
}

const char *value_tag_error(struct str s)
{
    if (s.n == 0 || s.n > MAIL_TAG_MAX)
        return "has not 1 to 64 characters";
    return is_visible(s) ? NULL : "holds a space or a character outside ASCII";
}

const char *value_field_error(struct str s)
{
    if (s.n == 0 || s.n > FIELD_NAME_MAX)
        return "has not 1 to 64 characters";
    return is_visible(s) && str_chr(s, ':') == STR_NPOS ? NULL : "is no name of a header field";
}

const char *value_program_error(struct str s)
{
    const char *error = value_path_error(s);
    if (error != NULL)
        return error;
    return s.p[0] == '/' ? NULL : "must be an absolute path: no shell looks for it";
}

const char *value_word_error(struct str s)
{
    if (s.n > PATH_LENGTH_MAX)
        return "is longer than 4095 octets";
    if (str_has_ctl(s))
        return "holds a control character";
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '%' && (++i == s.n || str_chr(STR("udsrt%"), s.p[i]) == STR_NPOS))
            return "has a '%' that is none of %u (user), %d (domain), %t (detail), %s (sender), %r "
                   "(recipient) and "
                   "%% (a percent sign)";
    }
    return NULL;
}

const char *value_plus_error(struct str s)
{
    if (s.n > PLUS_MAX)
        return "has more than 4 characters";
    for (size_t i = 0; i < s.n; i++) {
        if (str_chr(STR("+-_=#~^*$"), s.p[i]) == STR_NPOS)
            return "has a character that can't part a name (these can: + - _ = # ~ ^ * $)";
    }
    return NULL;
}

bool value_next_line(struct str *rest, struct str *out)
{
    if (rest->n == 0)
        return false;
    *out = str_cut(rest, '\n');
    if (out->n > 0 && out->p[out->n - 1] == '\r')
        out->n--;
    return true;
}

size_t value_resolv_conf(struct str text, struct netaddr *out, size_t max)
{
    size_t n = 0;
    struct str line;
    while (n < max && value_next_line(&text, &line)) {
        line = str_trim(line);
        if (!str_starts(line, STR("nameserver")))
            continue;
        struct str rest = str_skip(line, 10);
        struct str address = str_trim(rest);
        for (size_t i = 0; i < address.n; i++) {
            if (address.p[i] == ' ' || address.p[i] == '\t')
                address.n = i;
        }
        bool is_word = rest.n > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t');
        if (is_word && netaddr_parse_ip(address, DNS_PORT, &out[n]))
            n++;
    }
    return n;
}
