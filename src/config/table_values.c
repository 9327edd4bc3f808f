#include "config/table_values.h"

#include "base/limits.h"
#include "config/values.h"

enum { LDAP_PORT = 389, LDAPS_PORT = 636, POSTGRESQL_PORT = 5432 };

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* A path within a URL, its '/' written as %2F (RFC 3986 2.1). */
static bool take_socket(struct str s, struct netaddr *out)
{
    struct buf path;
    *out = (struct netaddr){.kind = NETADDR_UNIX};
    buf_init_fixed(&path, out->path, sizeof out->path - 1);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            buf_putc(&path, s.p[i]);
            continue;
        }
        int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1, low = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
        if (high < 0 || low < 0)
            return false;
        buf_putc(&path, (char)(high * 16 + low));
        i += 2;
    }
    return !path.failed && path.n > 1 && path.p[0] == '/' && !str_has_ctl(buf_str(&path));
}

static const char *take_host(struct str s, uint16_t port, struct auth_table *out)
{
    struct value_host host;
    const char *error = value_host(s, port, false, &host);
    if (error != NULL)
        return error;
    out->host = host.name;
    out->at = host.addr;
    if (str_ieq(host.name, STR("localhost"))) { /* RFC 6761 6.3: nobody is asked what that is */
        out->host = STR_NIL;
        must(netaddr_parse_ip(STR("127.0.0.1"), host.addr.port, &out->at));
    }
    return NULL;
}

/* What is said to it stays on this machine. */
static bool is_near(const struct auth_table *t)
{
    return t->host.n == 0 && (t->at.kind == NETADDR_UNIX || netaddr_is_loopback(&t->at));
}

const char *table_ldap_server(struct str s, struct auth_table *out)
{
    bool is_tls = str_istarts(s, STR("ldaps://")), is_socket = str_istarts(s, STR("ldapi://"));
    out->server = s;
    if (!is_tls && !is_socket && !str_istarts(s, STR("ldap://")))
        return "must be \"ldaps://HOST\", \"ldap://HOST\" or \"ldapi://%2FPATH\"";
    s = str_skip(s, is_tls || is_socket ? 8 : 7);
    if (str_ends(s, STR("/")))
        s.n--;
    if (is_socket) {
        out->tls = TABLE_CLEAR;
        return take_socket(s, &out->at) ? NULL
                                        : "names no socket: its absolute path, with %2F for each '/': "
                                          "\"ldapi://%2Frun%2Fslapd%2Fldapi\"";
    }
    if (str_chr(s, '/') != STR_NPOS || str_chr(s, '?') != STR_NPOS)
        return "names more than a server: where people are and what they are searched by is said by base and "
               "filter";
    const char *error = take_host(s, is_tls ? LDAPS_PORT : LDAP_PORT, out);
    out->tls = is_tls ? TABLE_TLS : is_near(out) ? TABLE_CLEAR : TABLE_STARTTLS;
    return error;
}

static const char *take_postgresql(struct str s, struct auth_table *out)
{
    size_t slash = str_rchr(s, '/');
    if (str_chr(s, '?') != STR_NPOS)
        return "has options: none are taken";
    if (slash == STR_NPOS || slash + 1 == s.n)
        return "names no database: \"postgresql://USER@HOST/DATABASE\"";
    out->place = str_skip(s, slash + 1);
    s = str_slice(s, 0, slash);
    size_t at = str_chr(s, '@');
    if (at == STR_NPOS || at == 0)
        return "names no user: \"postgresql://USER@HOST/DATABASE\"";
    out->user = str_slice(s, 0, at);
    s = str_skip(s, at + 1);
    if (str_chr(out->user, ':') != STR_NPOS)
        return "holds a password: it is given by password = secret \"FILE\"";
    if (str_chr(out->user, '%') != STR_NPOS || str_chr(out->place, '%') != STR_NPOS)
        return "has a '%' in the name of its user or database";
    if (!str_starts(s, STR("/")) && !str_istarts(s, STR("%2F"))) {
        const char *error = take_host(s, POSTGRESQL_PORT, out);
        out->tls = is_near(out) ? TABLE_CLEAR : TABLE_TLS;
        return error;
    }
    out->tls = TABLE_CLEAR;
    return take_socket(s, &out->at) ? NULL
                                    : "names no folder of a socket: \"postgresql://USER@/run/postgresql/DB\"";
}

const char *table_sql_database(struct str s, enum auth_by *kind, struct auth_table *out)
{
    out->server = s;
    if (str_istarts(s, STR("postgresql://")) || str_istarts(s, STR("postgres://"))) {
        *kind = AUTH_BY_POSTGRESQL;
        return take_postgresql(str_skip(s, str_chr(s, '/') + 2), out);
    }
    *kind = AUTH_BY_SQLITE;
    if (!str_istarts(s, STR("sqlite:")))
        return "must be \"postgresql://USER@HOST/DATABASE\" or \"sqlite:/PATH\"";
    out->place = str_skip(s, 7);
    return value_path_error(out->place);
}

struct str table_folder(const struct auth_table *t)
{
    size_t slash = str_rchr(t->place, '/');
    return str_slice(t->place, 0, slash == STR_NPOS || slash == 0 ? 1 : slash);
}

/* ---- whole ------------------------------------------------------------------------------------- */

static bool is_text(struct str s, size_t max)
{
    return s.n <= max && !str_has_ctl(s);
}

/* As far as can be seen without an LDAP library: parentheses and what is filled in (RFC 4515 3). */
static const char *filter_error(struct str s)
{
    size_t depth = 0;
    bool asks = false;
    if (!is_text(s, TABLE_TEXT_MAX))
        return "has a filter that is longer than 1024 octets, or holds a control character";
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '(') {
            depth++;
        } else if (s.p[i] == ')' && depth-- == 0) {
            return "has a filter with a ')' too many";
        } else if (s.p[i] == '%' && i + 1 < s.n &&
                   (s.p[i + 1] == 'u' || s.p[i + 1] == '%' || s.p[i + 1] == 'd')) {
            i++;
            asks = asks || s.p[i] == 'u';
        } else if (s.p[i] == '%') {
            return "has a filter with a '%' that is none of %u, %d and %%";
        }
        if (depth == 0 && i + 1 < s.n)
            return "has a filter that is not one pair of parentheses: \"(mail=%u@%d)\"";
    }
    if (depth > 0 || s.n == 0 || s.p[0] != '(')
        return "has a filter that is not one pair of parentheses: \"(mail=%u@%d)\"";
    return asks ? NULL : "has a filter without %u: it asks about nobody";
}

static const char *query_error(struct str s)
{
    if (s.n == 0 || s.n > TABLE_QUERY_MAX)
        return "has a query that has not 1 to 4096 octets";
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0')
            return "has a query with a NUL in it";
    }
    for (size_t i = 0; i + 1 < s.n; i++) {
        if ((s.p[i] == '$' || s.p[i] == '?') && s.p[i + 1] >= '1' && s.p[i + 1] <= '3')
            return NULL;
    }
    return "has a query that asks about nobody: $1 stands for the address, $2 for the user, $3 for the "
           "domain";
}

static const char *ldap_error(const struct auth_table *t)
{
    if (t->place.n == 0 || !is_text(t->place, TABLE_TEXT_MAX))
        return "needs base = \"DN\": where its people are (at most 1024 octets)";
    if (!is_text(t->user, TABLE_TEXT_MAX))
        return "has a bind that is longer than 1024 octets, or holds a control character";
    if (t->user.n > 0 && t->secret.n == 0)
        return "has bind and no password = secret \"FILE\"";
    if (t->user.n == 0 && t->secret.n > 0)
        return "has a password and no bind = \"DN\" whose it is";
    return filter_error(t->question);
}

const char *table_error(const struct auth_backend *b)
{
    const struct auth_table *t = &b->table;
    if (t->server.n > TABLE_TEXT_MAX)
        return "has a place that is longer than 1024 octets";
    if (b->kind == AUTH_BY_LDAP)
        return ldap_error(t);
    if (b->kind == AUTH_BY_SQLITE && t->secret.n > 0)
        return "has a password, which SQLite does not know";
    if (!is_text(t->user, TABLE_TEXT_MAX) || !is_text(t->place, TABLE_TEXT_MAX))
        return "has a user or a database with a control character";
    return query_error(t->question);
}
