/* prog/cmd_relay_plan.c: the arguments of `waxwing relay` as keys of a configuration. */
#include "prog/cmd_relay.h"

#include "base/err.h"
#include "config/values.h"
#include "crypto/secret.h"
#include "prog/folder.h"
#include "prog/prog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUBMISSION_PORT = 587, PLAIN_PORT = 25 };
static const char password_variable[] = "WAXWING_PASSWORD";

static int said(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int said(int status, const char *fmt, ...)
{
    va_list ap;
    (void)fputs("waxwing: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return status;
}

/* ---- the host ---------------- */

/* Its port where it was not said is 587 for who logs in by STARTTLS (RFC 6409 3.1), and not 25. */
static void put_via(struct str url, const struct next_hop *hop, struct str user, struct buf *out)
{
    struct str rest = url, scheme = str_slice(url, 0, str_find(url, STR("://")) + 3);
    bool is_plain = !hop->lmtp && !hop->is_smtps && hop->addr.port == PLAIN_PORT;
    if (user.n > 0) /* the last '@' ends it */
        rest = str_skip(url, str_rchr(url, '@') + 1);
    else
        rest = str_skip(url, scheme.n);
    if (str_ends(rest, STR("/")))
        rest.n--;
    buf_put(out, scheme);
    buf_put(out, rest);
    if (user.n > 0 && is_plain && !str_ends(rest, STR(":25")))
        buf_printf(out, ":%d", (int)SUBMISSION_PORT);
    buf_putc(out, '\0');
}

static int plan_host(const struct relay_args *a, struct relay_plan *p)
{
    struct next_hop hop;
    struct buf via;
    struct str url = str_from_c(a->url);
    const char *error = value_via(url, &hop, &p->conf.user);
    if (error != NULL && str_find(url, STR("://")) != STR_NPOS && str_chr(p->conf.user, ':') != STR_NPOS)
        return said(
            EXIT_USAGE,
            "a password must not stand in the arguments, where everybody on this machine can read it: "
            "--password-file FILE, or the variable %s",
            password_variable);
    if (error != NULL)
        return said(EXIT_USAGE, "%s %s", a->url, error);
    buf_init_fixed(&via, p->via, sizeof p->via);
    put_via(url, &hop, p->conf.user, &via);
    if (via.failed)
        return said(EXIT_USAGE, "the name of the host is too long");
    p->conf.via = str_from_c(p->via);
    p->conf.tls = str_from_c(a->tls == NULL ? "" : a->tls);
    return EXIT_OK;
}

/* ---- the password ---------------- */

/* Into a file that has no name; what /proc shows of our environment has it no longer. */
static int take_variable(char *value, struct relay_plan *p)
{
    size_t n = strlen(value);
    int fd = memfd_create("password", MFD_CLOEXEC);
    bool ok = fd != -1 && fchmod(fd, 0600) == 0 && write(fd, value, n) == (ssize_t)n;
    secret_wipe(value, n);
    (void)unsetenv(password_variable);
    if (!ok)
        return said(EXIT_OS, "can't keep the password: %s", err_str(err_from_errno(errno)));
    (void)snprintf(p->secret, sizeof p->secret, "/proc/self/fd/%d", fd);
    return EXIT_OK;
}

static int plan_password(const struct relay_args *a, struct relay_plan *p)
{
    char *value = getenv(password_variable);
    int status = EXIT_OK;
    p->secret[0] = '\0';
    if (value != NULL && value[0] != '\0' && a->password_file == NULL)
        status = take_variable(value, p);
    else if (value != NULL)
        secret_wipe(value, strlen(value));
    if (status == EXIT_OK && a->password_file != NULL && realpath(a->password_file, p->secret) == NULL)
        return said(errno == EACCES ? EXIT_NOPERM : EXIT_NOINPUT, "can't read the password file %s: %s",
                    a->password_file, err_str(err_from_errno(errno)));
    p->conf.secret = str_from_c(p->secret);
    if (status == EXIT_OK && p->conf.user.n > 0 && p->conf.secret.n == 0)
        return said(EXIT_USAGE, "who logs in has a password: --password-file FILE, or the variable %s",
                    password_variable);
    if (status == EXIT_OK && p->conf.user.n == 0 && a->password_file != NULL)
        return said(EXIT_USAGE, "whose password is it? smtps://USER@HOST");
    if (p->conf.user.n == 0)
        p->conf.secret = STR_NIL;
    return status;
}

/* ---- the folder ---------------- */

static bool choose(const struct relay_args *a, struct relay_plan *p, struct buf *path)
{
    char here[PATH_MAX];
    buf_init_fixed(path, p->dir, sizeof p->dir);
    if (a->dir != NULL) {
        if (a->dir[0] != '/' && getcwd(here, sizeof here) != NULL)
            buf_printf(path, "%s/", here);
        buf_puts(path, a->dir);
        buf_putc(path, '\0');
        return !path->failed && a->dir[0] != '\0' && p->dir[0] == '/';
    }
    if (geteuid() != 0)
        return folder_of_state(RELAY_STATE, path);
    return buf_puts(path, "/var/spool/waxwing-relay") && buf_putc(path, '\0');
}

/* Its sockets stand where commands look: root's for all users of the machine, others' in their own folder. */
static int plan_folder(const struct relay_args *a, struct relay_plan *p)
{
    enum { SOCKET_PATH_MAX = 107, BELOW = 8 }; /* "/control" */
    char mem[1024], whole[PATH_MAX];
    struct buf why, path;
    if (a->is_check) { /* nothing is kept */
        p->conf.dir = p->conf.sockets = STR("/nowhere");
        return EXIT_OK;
    }
    buf_init_fixed(&why, mem, sizeof mem);
    if (!choose(a, p, &path))
        return said(EXIT_USAGE, "no folder to keep the queue in: say --dir DIR");
    (void)umask(geteuid() == 0 ? 022 : 077);
    if (!folder_make(str_from_c(p->dir), UINT32_MAX, UINT32_MAX, &why))
        return said(EXIT_NOPERM, "%.*s", STR_FMT(buf_str(&why)));
    if (realpath(p->dir, whole) == NULL)
        return said(EXIT_OS, "can't use the folder %s: %s", p->dir, err_str(err_from_errno(errno)));
    if (str_has_ctl(str_from_c(whole)))
        return said(EXIT_USAGE, "no usable name for a folder: it holds control characters");
    bool is_roots = geteuid() == 0 && a->dir == NULL;
    if (!is_roots && strlen(whole) + BELOW > SOCKET_PATH_MAX)
        return said(EXIT_USAGE, "the folder's path is too long for a socket in it (99 octets): %s", whole);
    (void)str_to_c(str_from_c(whole), p->dir, sizeof p->dir);
    (void)str_to_c(is_roots ? STR("/run/waxwing") : str_from_c(whole), p->sockets, sizeof p->sockets);
    p->conf.dir = str_from_c(p->dir);
    p->conf.sockets = str_from_c(p->sockets);
    p->is_default = a->dir == NULL;
    return EXIT_OK;
}

/* ---- the rest ---------------- */

/* A name without a domain gets one that is nobody's, as Postfix's default has it: others than the own host
 * see it in EHLO and in Received, and none looks it up. */
static int plan_hostname(const struct relay_args *a, struct relay_plan *p)
{
    char name[SMTP_DOMAIN_MAX + 1] = "";
    if (a->hostname == NULL && gethostname(name, sizeof name - 1) != 0)
        return said(EXIT_OS, "this machine has no name: say --hostname NAME");
    const char *given = a->hostname == NULL ? name : a->hostname;
    bool has_domain = a->hostname != NULL || strchr(given, '.') != NULL;
    (void)snprintf(p->hostname, sizeof p->hostname, "%s%s", given, has_domain ? "" : ".localdomain");
    const char *error = value_hostname_error(str_from_c(p->hostname));
    if (error != NULL)
        return said(EXIT_USAGE, "this machine's name, %s, %s: say --hostname NAME", p->hostname, error);
    p->conf.hostname = str_from_c(p->hostname);
    return EXIT_OK;
}

static int plan_listener(const struct relay_args *a, struct relay_plan *p)
{
    struct netaddr at;
    struct buf text;
    if (a->listen == NULL)
        return EXIT_OK;
    if (!netaddr_parse(str_from_c(a->listen), 0, &at) || (at.kind != NETADDR_IP4 && at.kind != NETADDR_IP6) ||
        at.port == 0)
        return said(EXIT_USAGE, "--listen wants an address of this machine and a port: 127.0.0.1:25");
    if (!netaddr_is_loopback(&at))
        return said(EXIT_USAGE,
                    "--listen is for this machine alone: an address of the loopback, 127.0.0.1 or [::1]; for "
                    "others there is `waxwing serve`");
    buf_init_fixed(&text, p->address, sizeof p->address);
    netaddr_format_ip(&at, &text);
    p->conf.address = buf_str(&text);
    p->conf.port = at.port;
    return EXIT_OK;
}

static int plan_authorities(const struct relay_args *a, struct relay_plan *p)
{
    if (a->authorities != NULL && realpath(a->authorities, p->authorities) == NULL)
        return said(EXIT_NOINPUT, "can't read %s: %s", a->authorities, err_str(err_from_errno(errno)));
    p->conf.authorities = str_from_c(p->authorities);
    return EXIT_OK;
}

/* ---- addresses ---------------- */

static int plan_name(const char *text, struct rewrite_conf *r, struct rewrite_name *list)
{
    struct str to = str_from_c(text), name = STR_NIL;
    size_t at = str_chr(to, '@'), equals = str_chr(to, '=');
    if (equals < at) { /* one behind the '@' can't be, one before it may well */
        name = str_slice(to, 0, equals);
        to = str_skip(to, equals + 1);
    }
    const char *error = value_mailbox_error(to);
    if (error != NULL)
        return said(EXIT_USAGE, "--to %s: \"%.*s\" %s", text, STR_FMT(to), error);
    if (equals < at && value_user_error(name) != NULL)
        return said(EXIT_USAGE, "--to %s: \"%.*s\" %s", text, STR_FMT(name), value_user_error(name));
    for (size_t i = 0; i < r->n_names; i++) {
        if (str_ieq(list[i].name, name))
            return said(EXIT_USAGE, "--to names \"%.*s\" twice", STR_FMT(name));
    }
    if (name.n == 0 && r->to.n > 0)
        return said(EXIT_USAGE, "--to ADDRESS stands twice: only one can get the mail for all names");
    if (name.n == 0)
        r->to = to;
    else
        list[r->n_names++] = (struct rewrite_name){name, to};
    return EXIT_OK;
}

/* For mail to <postmaster>, who has no domain (RFC 5321 4.5.1), where --to says nothing of him. */
static void plan_postmaster(struct relay_plan *p)
{
    const struct rewrite_conf *r = &p->conf.rewrite;
    if (r->from.n == 0)
        (void)snprintf(p->postmaster, sizeof p->postmaster, "postmaster@%.*s",
                       STR_FMT(r->domain.n > 0 ? r->domain : p->conf.hostname));
    p->conf.postmaster = r->from.n > 0 ? r->from : str_from_c(p->postmaster);
}

static int plan_rewrite(const struct relay_args *a, struct relay_plan *p)
{
    struct rewrite_conf *r = &p->conf.rewrite;
    int status = EXIT_OK;
    r->from = str_from_c(a->from == NULL ? "" : a->from);
    r->domain = str_from_c(a->domain == NULL ? "" : a->domain);
    r->names = p->names;
    if (a->from != NULL && value_mailbox_error(r->from) != NULL)
        return said(EXIT_USAGE, "--from %s %s", a->from, value_mailbox_error(r->from));
    if (a->domain != NULL && !domain_is_valid(r->domain, true))
        return said(EXIT_USAGE, "--domain %s is no domain name", a->domain);
    for (size_t i = 0; i < a->n_to && status == EXIT_OK; i++)
        status = plan_name(a->to[i], r, p->names);
    plan_postmaster(p);
    return status;
}

int relay_plan(const struct relay_args *a, struct relay_plan *out)
{
    static int (*const parts[])(const struct relay_args *a, struct relay_plan *p) = {
        plan_host, plan_password, plan_listener, plan_hostname, plan_rewrite, plan_authorities, plan_folder};
    *out = (struct relay_plan){.is_default = a->dir == NULL};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int status = parts[i](a, out);
        if (status != EXIT_OK)
            return status;
    }
    return EXIT_OK;
}
