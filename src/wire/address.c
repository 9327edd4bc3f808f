#include "wire/address.h"

#include "base/limits.h"

#include <string.h>

enum {
    LABEL_MAX = 63,  /* RFC 1035 2.3.4 */
    ULABEL_MAX = 59, /* code points: "xn--" and at least one octet for each of them must fit into LABEL_MAX */
    GROUPS_BESIDE_GAP_MAX = 6,
};

static bool is_atext(char c)
{
    return ascii_is_alnum(c) || (c != '\0' && memchr("!#$%&'*+-/=?^_`{|}~", c, 19) != NULL);
}

static bool is_high(char c)
{
    return (unsigned char)c > 0x7f;
}

/* Steps over the character outside ASCII at *i. The phrase, or NULL. */
static const char *take_high(struct str s, bool utf8, size_t *i)
{
    if (!utf8)
        return "an address outside ASCII needs SMTPUTF8";
    uint32_t code;
    size_t n = utf8_next(str_skip(s, *i), &code);
    if (n == 0)
        return "the address is not well-formed UTF-8";
    if (utf8_is_control(code))
        return "a control character stands in the address";
    *i += n;
    return NULL;
}

static const char *wrong_octet(char c)
{
    unsigned char u = (unsigned char)c;
    if (u < 0x20 || u == 0x7f)
        return "a control character stands in the address";
    if (c == ' ')
        return "a space stands in the address outside quotes";
    if (c == '@')
        return "the address has more than one @";
    if (c == '"')
        return "a quote stands within the address";
    return "the address has a character that can't stand there";
}

/* Quoted-string of RFC 5321 4.1.2 at the start of s; *out_n octets with both quotes. */
static const char *scan_quoted(struct str s, bool utf8, size_t *out_n)
{
    size_t i = 1;
    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];
        const char *wrong = NULL;
        if (c == '"') {
            *out_n = i + 1;
            return NULL;
        }
        if (is_high((char)c)) {
            wrong = take_high(s, utf8, &i);
        } else if (c < 0x20 || c == 0x7f) {
            wrong = wrong_octet((char)c);
        } else if (c != '\\') {
            i++;
        } else if (i + 1 < s.n && (unsigned char)s.p[i + 1] >= 0x20 && (unsigned char)s.p[i + 1] < 0x7f) {
            i += 2; /* quoted-pairSMTP is ASCII even with SMTPUTF8 (RFC 6531 3.3) */
        } else {
            wrong = "a backslash in the local part quotes nothing";
        }
        if (wrong != NULL)
            return wrong;
    }
    return "the quoted local part has no end";
}

static const char *scan_dot_string(struct str s, bool utf8, size_t *out_n)
{
    size_t i = 0;
    bool after_dot = true;
    while (i < s.n) {
        char c = s.p[i];
        if (c == '.') {
            if (after_dot)
                return i == 0 ? "the local part begins with a dot" : "the local part has two dots in a row";
            after_dot = true;
            i++;
            continue;
        }
        if (is_high(c)) {
            const char *wrong = take_high(s, utf8, &i);
            if (wrong != NULL)
                return wrong;
        } else if (is_atext(c)) {
            i++;
        } else {
            break;
        }
        after_dot = false;
    }
    if (i > 0 && after_dot)
        return "the local part ends in a dot";
    *out_n = i;
    return NULL;
}

static bool is_dot_string(struct str s)
{
    size_t n;
    return s.n > 0 && scan_dot_string(s, true, &n) == NULL && n == s.n;
}

/* One label. What IDNA takes for a dot (RFC 3490 3.1) would make labels that nobody checked. */
static const char *check_label(struct str label, bool utf8)
{
    if (label.n == 0)
        return "the domain has an empty label";
    if (label.p[0] == '-' || label.p[label.n - 1] == '-')
        return "a label of the domain begins or ends with a hyphen";
    bool has_high = false;
    size_t n_codes = 0;
    for (size_t i = 0; i < label.n; n_codes++) {
        char c = label.p[i];
        if (is_high(c)) {
            uint32_t code;
            if (utf8 && utf8_next(str_skip(label, i), &code) > 0 &&
                (code == 0x3002 || code == 0xff0e || code == 0xff61))
                return "the domain has a dot that is not ASCII";
            const char *wrong = take_high(label, utf8, &i);
            if (wrong != NULL)
                return wrong;
            has_high = true;
        } else if (ascii_is_alnum(c) || c == '-' || c == '_') {
            i++;
        } else {
            return wrong_octet(c);
        }
    }
    if (has_high ? n_codes > ULABEL_MAX : label.n > LABEL_MAX)
        return "a label of the domain is too long";
    return NULL;
}

static const char *check_domain(struct str s, bool utf8)
{
    if (s.n == 0)
        return "the domain is missing";
    if (s.n > SMTP_DOMAIN_MAX)
        return "the domain is too long";
    bool more = true;
    while (more) {
        more = str_chr(s, '.') != STR_NPOS;
        const char *wrong = check_label(str_cut(&s, '.'), utf8);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

bool domain_is_valid(struct str s, bool utf8)
{
    return check_domain(s, utf8) == NULL;
}

/* RFC 5321 4.1.3 is narrower than RFC 4291: "::" replaces at least two groups. */
static bool gap_is_wide(struct str s)
{
    if (str_find(s, STR("::")) == STR_NPOS)
        return true;
    size_t n_groups = str_chr(s, '.') == STR_NPOS ? 0 : 1;
    while (s.n > 0)
        n_groups += str_cut(&s, ':').n > 0;
    return n_groups <= GROUPS_BESIDE_GAP_MAX;
}

/* Between the brackets. *out stays NETADDR_NONE for a General-address-literal. */
static const char *check_literal(struct str s, struct netaddr *out)
{
    *out = (struct netaddr){0};
    if (str_istarts(s, STR("IPv6:"))) {
        s = str_skip(s, 5);
        if (str_chr(s, ':') != STR_NPOS && gap_is_wide(s) && netaddr_parse_ip(s, 0, out))
            return NULL;
        return "the IPv6 address of the literal is malformed";
    }
    size_t colon = str_chr(s, ':');
    if (colon == STR_NPOS)
        return netaddr_parse_ip(s, 0, out) ? NULL : "the IPv4 address of the literal is malformed";
    struct netaddr untagged;
    if (netaddr_parse_ip(s, 0, &untagged))
        return "an IPv6 address as a literal is written [IPv6:...]";
    for (size_t i = 0; i < colon; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-')
            return "the address literal is malformed";
    }
    if (colon == 0 || s.p[colon - 1] == '-' || colon + 1 == s.n)
        return "the address literal is malformed";
    return NULL;
}

/* A literal at the start of s; *out_n octets with both brackets. */
static const char *scan_literal(struct str s, struct netaddr *out, size_t *out_n)
{
    for (size_t i = 1; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == ']') {
            *out_n = i + 1;
            if (i + 1 > SMTP_DOMAIN_MAX)
                return "the domain is too long";
            return check_literal(str_slice(s, 1, i), out);
        }
        if (c < 0x21 || c > 0x7e || c == '[' || c == '\\')
            return "the address literal has a character that can't stand there";
    }
    return "the address literal has no closing bracket";
}

bool domain_literal_parse(struct str s, struct netaddr *out)
{
    size_t n;
    struct netaddr a;
    if (s.n == 0 || s.p[0] != '[' || scan_literal(s, &a, &n) != NULL || n != s.n || a.kind == NETADDR_NONE)
        return false;
    *out = a;
    return true;
}

/* Octets that look like a name, right or wrong. */
static size_t name_octets(struct str s)
{
    size_t i = 0;
    while (i < s.n &&
           (ascii_is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.' || is_high(s.p[i])))
        i++;
    return i;
}

/* local-part [ "@" domain ] at the start of s; *rest begins with the first octet that can't belong to it. */
static const char *scan_mailbox(struct str s, bool utf8, struct address *a, struct str *rest)
{
    size_t n_local = 0;
    a->is_quoted = s.n > 0 && s.p[0] == '"';
    const char *wrong = a->is_quoted ? scan_quoted(s, utf8, &n_local) : scan_dot_string(s, utf8, &n_local);
    if (wrong != NULL)
        return wrong;
    a->local = str_slice(s, 0, n_local);
    *rest = str_skip(s, n_local);
    bool has_at = rest->n > 0 && rest->p[0] == '@';
    if (n_local == 0) {
        if (rest->n == 0 || has_at || rest->p[0] == '>')
            return "the local part is missing";
        return wrong_octet(rest->p[0]);
    }
    if (n_local > SMTP_LOCAL_PART_TAKEN_MAX)
        return "the local part is too long";
    size_t n_domain = 0;
    if (has_at) {
        struct str d = str_skip(*rest, 1);
        bool is_literal = d.n > 0 && d.p[0] == '[';
        a->kind = is_literal ? DOMAIN_LITERAL : DOMAIN_NAME;
        if (is_literal) {
            wrong = scan_literal(d, &a->literal, &n_domain);
        } else {
            n_domain = name_octets(d);
            if (n_domain == 0 && d.n > 0 && d.p[0] != '>')
                return wrong_octet(d.p[0]);
            wrong = check_domain(str_slice(d, 0, n_domain), utf8);
        }
        if (wrong != NULL)
            return wrong;
        a->domain = str_slice(d, 0, n_domain);
        *rest = str_skip(d, n_domain);
    }
    a->text = str_slice(s, 0, n_local + (has_at ? 1 + n_domain : 0));
    a->is_utf8 = !str_is_ascii(a->text);
    return a->text.n + 2 > SMTP_PATH_MAX ? "the address is too long" : NULL;
}

/* "@a,@b:" at the start of s is taken off (RFC 5321 4.1.2, appendix C). */
static const char *take_route(struct str *s, bool utf8)
{
    for (;;) {
        struct str d = str_skip(*s, 1);
        size_t n = name_octets(d);
        if (s->n == 0 || s->p[0] != '@' || !domain_is_valid(str_slice(d, 0, n), utf8) || n == d.n)
            return "the source route is malformed";
        *s = str_skip(d, n + 1);
        if (d.p[n] == ':')
            return NULL;
        if (d.p[n] != ',')
            return "the source route is malformed";
    }
}

static const char *parse_path(struct str s, bool utf8, struct address *a, bool *had_route, struct str *rest)
{
    if (s.n == 0 || s.p[0] != '<')
        return "the path must stand in angle brackets";
    s = str_skip(s, 1);
    if (s.n > 0 && s.p[0] == '>') {
        *rest = str_skip(s, 1);
        return NULL;
    }
    if (s.n > 0 && s.p[0] == '@') {
        const char *wrong = take_route(&s, utf8);
        if (wrong != NULL)
            return wrong;
        *had_route = true;
    }
    struct str after = s;
    const char *wrong = scan_mailbox(s, utf8, a, &after);
    if (wrong != NULL)
        return wrong;
    if (after.n == 0)
        return "the path has no closing angle bracket";
    if (after.p[0] != '>')
        return wrong_octet(after.p[0]);
    *rest = str_skip(after, 1);
    return NULL;
}

const char *address_parse_path(struct str s, bool utf8, struct address *out, bool *had_route,
                               struct str *rest)
{
    struct address a = {0};
    *had_route = false;
    *rest = s;
    const char *wrong = parse_path(s, utf8, &a, had_route, rest);
    *out = wrong == NULL ? a : (struct address){0};
    return wrong;
}

const char *address_parse(struct str s, bool utf8, struct address *out)
{
    struct address a = {0};
    struct str rest = STR_NIL;
    const char *wrong = scan_mailbox(s, utf8, &a, &rest);
    if (wrong == NULL && rest.n > 0)
        wrong = wrong_octet(rest.p[0]);
    *out = wrong == NULL ? a : (struct address){0};
    return wrong;
}

void local_part_unquote(struct str local, struct buf *out, bool *needs_quotes)
{
    if (local.n >= 2 && local.p[0] == '"' && local.p[local.n - 1] == '"')
        local = str_slice(local, 1, local.n - 1);
    else if (local.n > 0 && local.p[0] != '"') {
        *needs_quotes = !is_dot_string(local);
        buf_put(out, local);
        return;
    }
    size_t start = out->n;
    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] == '\\' && i + 1 < local.n)
            i++;
        buf_putc(out, local.p[i]);
    }
    *needs_quotes = !is_dot_string(str_skip(buf_str(out), start));
}

void address_format(struct str local_unquoted, struct str domain, struct buf *out)
{
    if (str_has_ctl(local_unquoted) || str_has_ctl(domain)) {
        out->failed = true;
        return;
    }
    if (is_dot_string(local_unquoted)) {
        buf_put(out, local_unquoted);
    } else {
        buf_putc(out, '"');
        for (size_t i = 0; i < local_unquoted.n; i++) {
            char c = local_unquoted.p[i];
            if (c == '"' || c == '\\')
                buf_putc(out, '\\');
            buf_putc(out, c);
        }
        buf_putc(out, '"');
    }
    if (domain.n > 0) {
        buf_putc(out, '@');
        buf_put(out, domain);
    }
}

/* xchar: printable without "+" and "=". */
static bool is_xchar(char c)
{
    return c >= '!' && c <= '~' && c != '+' && c != '=';
}

static bool upper_hex(char c, unsigned *out)
{
    if (ascii_is_digit(c))
        *out = (unsigned)(c - '0');
    else if (c >= 'A' && c <= 'F')
        *out = (unsigned)(c - 'A') + 10;
    else
        return false;
    return true;
}

bool xtext_decode(struct str s, struct buf *out)
{
    size_t start = out->n;
    for (size_t i = 0; i < s.n; i++) {
        unsigned high, low;
        bool ok;
        if (is_xchar(s.p[i])) {
            ok = buf_putc(out, s.p[i]);
        } else {
            ok = s.p[i] == '+' && s.n - i > 2 && upper_hex(s.p[i + 1], &high) &&
                 upper_hex(s.p[i + 2], &low) && buf_putc(out, (char)(high << 4 | low));
            i += 2;
        }
        if (!ok) {
            out->n = start;
            return false;
        }
    }
    return true;
}

void xtext_encode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        if (is_xchar(s.p[i]))
            buf_putc(out, s.p[i]);
        else
            buf_printf(out, "+%02X", (unsigned)(unsigned char)s.p[i]);
    }
}

void utf8_xtext_encode(struct str s, bool keeps_utf8, struct buf *out)
{
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t code = 0;
        n = utf8_next(str_skip(s, i), &code);
        bool is_plain = code > 0x20 && code < 0x7f && code != '+' && code != '=' && code != '\\';
        if (n == 0) {
            buf_putc(out, '?');
            n = 1;
        } else if (is_plain || (keeps_utf8 && code > 0x7f)) {
            buf_put(out, str_slice(s, i, i + n));
        } else {
            buf_printf(out, "\\x{%02X}", (unsigned)code);
        }
    }
}

size_t utf8_xtext_point(struct str s, uint32_t *out_code)
{
    enum { HEX_MIN = 2, HEX_MAX = 6 };
    size_t end = str_starts(s, STR("\\x{")) ? str_chr(str_slice(s, 0, 4 + HEX_MAX), '}') : STR_NPOS;
    if (end == STR_NPOS || end < 3 + HEX_MIN)
        return 0;
    uint32_t v = 0;
    for (size_t i = 3; i < end; i++) {
        char c = ascii_lower(s.p[i]);
        if (!ascii_is_digit(c) && (c < 'a' || c > 'f'))
            return 0;
        v = v << 4 | (uint32_t)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    *out_code = v;
    return end + 1;
}
