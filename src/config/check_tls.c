/* config/check_tls.c: certificates, passwords and logins together with the listeners that use them. */
#include "config/check.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/table_values.h"

#include <stdlib.h>
#include <string.h>

/* ---- password files ---------------------------------------------------------------------------- */

static uint32_t number_of(struct loader *ld, struct str *list, const struct domain_fact *f)
{
    struct config *c = ld->conf;
    for (size_t i = 0; i < c->n_password_files; i++) {
        if (str_eq(list[i], f->passwords))
            return (uint32_t)i + 1;
    }
    if (c->n_password_files == CONFIG_PASSWORD_FILES_MAX) {
        report_error(ld->report, f->at, "more than %d files of passwords", (int)CONFIG_PASSWORD_FILES_MAX);
        return 0;
    }
    list[c->n_password_files++] = f->passwords;
    return (uint32_t)c->n_password_files;
}

static bool is_same_auth(const struct auth_backend *a, const struct auth_backend *b)
{
    const struct auth_table *t = &a->table, *u = &b->table;
    return a->kind == b->kind && netaddr_eq(&a->at, &b->at) && str_eq(a->service, b->service) &&
           str_eq(t->server, u->server) && str_eq(t->user, u->user) && str_eq(t->secret, u->secret) &&
           str_eq(t->place, u->place) && str_eq(t->question, u->question);
}

/* One process asks them all, and may read one folder. */
static bool check_table(struct loader *ld, const struct auth_backend *list, const struct domain_fact *f)
{
    const struct config *c = ld->conf;
    size_t n = 0;
    for (size_t i = 0; i < c->n_auths; i++) {
        n += config_is_table(list[i].kind);
        if (f->auth.kind != AUTH_BY_SQLITE || list[i].kind != AUTH_BY_SQLITE ||
            str_eq(table_folder(&list[i].table), table_folder(&f->auth.table)))
            continue;
        report_error(
            ld->report, f->at,
            "auth: SQLite databases in two folders (%.*s, %.*s): the process that reads them may read one",
            STR_FMT(report_brief(table_folder(&list[i].table))),
            STR_FMT(report_brief(table_folder(&f->auth.table))));
        return false;
    }
    if (config_is_table(f->auth.kind) && n == CONFIG_TABLES_MAX) {
        report_error(ld->report, f->at, "more than %d different directories and databases",
                     (int)CONFIG_TABLES_MAX);
        return false;
    }
    return true;
}

static uint32_t auth_number_of(struct loader *ld, struct auth_backend *list, const struct domain_fact *f)
{
    struct config *c = ld->conf;
    for (size_t i = 0; i < c->n_auths; i++) {
        if (is_same_auth(&list[i], &f->auth))
            return (uint32_t)i + 1;
    }
    if (c->n_auths == CONFIG_AUTHS_MAX) {
        report_error(ld->report, f->at, "more than %d different auth", (int)CONFIG_AUTHS_MAX);
        return 0;
    }
    if (!check_table(ld, list, f))
        return 0;
    list[c->n_auths++] = f->auth;
    return (uint32_t)c->n_auths;
}

void check_passwords(struct loader *ld)
{
    size_t n = 0, n_auths = 0;
    for (const struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        n += f->passwords.n > 0;
        n_auths += f->has_auth;
    }
    struct str *list = loader_alloc(ld, n + 1, sizeof *list);
    struct auth_backend *auths = loader_alloc(ld, n_auths + 1, sizeof *auths);
    for (struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        if (f->has_auth && !f->is_bad)
            f->d.auth = auth_number_of(ld, auths, f);
        else if (f->passwords.n > 0 && !f->is_bad)
            f->d.passwords = number_of(ld, list, f);
    }
    ld->conf->password_files = list;
    ld->conf->auths = auths;
}

/* ---- certificates and logins ------------------------------------------------------------------- */

/* FOLDER/NAME, and what comes behind it. */
static struct str file_of(struct loader *ld, struct str folder, struct str name, const char *ending)
{
    size_t n = strlen(ending);
    char *p = loader_alloc(ld, folder.n + 1 + name.n + n, 1);
    memcpy(p, folder.p, folder.n);
    p[folder.n] = '/';
    memcpy(p + folder.n + 1, name.p, name.n);
    memcpy(p + folder.n + 1 + name.n, ending, n);
    return str_of(p, folder.n + 1 + name.n + n);
}

void check_acme_files(struct loader *ld, struct certificate_conf *c)
{
    c->cert = file_of(ld, ld->conf->acme.folder, c->names[0], ".crt");
    c->key = file_of(ld, ld->conf->acme.folder, c->names[0], ".key");
}

/* A certificate of an authority: for whom it is, and its files. */
static void complete_acme(struct loader *ld, const struct certificate_fact *f, struct certificate_conf *out)
{
    struct config *c = ld->conf;
    if (out->n_names == 0) {
        struct str *name = loader_alloc(ld, 1, sizeof *name);
        *name = loader_lower(ld, c->policy.hostname);
        out->names = name;
        out->n_names = name->n > 0; /* else it is an error that it is missing */
    }
    if (out->n_names == 0)
        return;
    check_acme_files(ld, out);
    for (const struct certificate_conf *other = c->certificates; other < out; other++) {
        if (other->n_names > 0 && str_eq(other->names[0], out->names[0]))
            report_error(ld->report, f->at, "two certificates are for \"%.*s\" first",
                         STR_FMT(report_brief(out->names[0])));
    }
}

/* Port 80 of all addresses, where none is given. */
static void complete_addresses(struct acme_conf *acme)
{
    enum { HTTP_PORT = 80 };
    if (acme->n_addrs > 0)
        return;
    acme->addrs[0] = (struct netaddr){.kind = NETADDR_IP4, .port = HTTP_PORT};
    acme->addrs[1] = (struct netaddr){.kind = NETADDR_IP6, .port = HTTP_PORT};
    acme->n_addrs = 2;
}

static void list_certificates(struct loader *ld)
{
    struct config *c = ld->conf;
    struct certificate_conf *list = loader_alloc(ld, ld->n_certificates + ld->n_domains + 1, sizeof *list);
    c->certificates = list;
    c->acme.folder = check_path_or(ld, "tls", "acme_folder", c->acme.folder);
    c->acme.directory = check_path_or(ld, "tls", "acme_directory", c->acme.directory);
    for (const struct certificate_fact *f = ld->certificates; f != NULL; f = f->next) {
        list[c->n_certificates] = f->conf;
        if (f->is_acme)
            complete_acme(ld, f, &list[c->n_certificates]);
        c->n_certificates++;
    }
    if (c->acme.contact.n == 0) {
        c->acme = (struct acme_conf){.n_addrs = 0};
        return;
    }
    if (c->acme.n_addrs > 0 && c->acme.challenge != ACME_HTTP_01)
        report_warning(ld->report, ld->certificates->at,
                       "acme_address is of no use with acme_challenge = \"tls-alpn-01\": that is https { "
                       "address = ... }");
    complete_addresses(&c->acme);
    check_sts_certificates(ld, list);
}

static int compare_senders(const void *pa, const void *pb)
{
    const struct sender_right *a = pa, *b = pb;
    return str_icmp(a->login, b->login);
}

static void list_senders(struct loader *ld)
{
    struct policy_conf *p = &ld->conf->policy;
    struct sender_right *list = loader_alloc(ld, ld->n_senders + 1, sizeof *list);
    for (const struct sender_fact *f = ld->senders; f != NULL; f = f->next)
        list[p->n_senders++] = f->right;
    if (p->n_senders > 0)
        qsort(list, p->n_senders, sizeof *list, compare_senders);
    for (size_t i = 1; i < p->n_senders; i++) {
        if (str_ieq(list[i - 1].login, list[i].login))
            report_error(ld->report, ld->senders->at, "senders names \"%.*s\" twice",
                         STR_FMT(report_brief(list[i].login)));
    }
    p->senders = list;
}

static bool has_logins(const struct config *c)
{
    return c->n_password_files > 0 || c->n_auths > 0 || c->client_ca.n > 0 || c->oauth.by != OAUTH_NONE;
}

/* A login without a secure line, or where none is known, is of no use to anybody but a thief. */
static void check_auth(struct loader *ld, const struct listener_fact *l)
{
    const struct listener_conf *conf = &l->conf;
    const char *problem = NULL;
    if (conf->auth == LISTEN_NO_AUTH)
        return;
    if (conf->addr.port == 25)
        problem = "nobody logs in at port 25, which is for servers: use 465 or 587";
    else if (conf->tls == LISTEN_PLAIN && ld->conf->n_certificates == 0)
        problem =
            "passwords go over TLS only, and there is no certificate: give tls { cert = ..., key = ... }";
    else if (conf->tls == LISTEN_PLAIN)
        problem = "passwords go over TLS only, and tls is off here";
    else if (!has_logins(ld->conf))
        problem =
            "no domain has users with passwords: users = passwd \"FILE\", or auth = ..., or oauth { ... }";
    if (problem != NULL)
        report_error(ld->report, l->at, "auth: %s", problem);
}

void check_security(struct loader *ld)
{
    struct config *c = ld->conf;
    list_certificates(ld);
    list_senders(ld);
    for (struct listener_fact *l = ld->listeners; l != NULL; l = l->next) {
        struct listener_conf *conf = &l->conf;
        bool has_tls = c->n_certificates > 0;
        if (conf->is_submit)
            continue;
        if (l->has_tls && conf->tls != LISTEN_PLAIN && !has_tls)
            report_error(ld->report, l->at,
                         "tls: there is no certificate: give tls { cert = ..., key = ... }");
        if (!l->has_tls && has_tls)
            conf->tls = conf->addr.port == 465 ? LISTEN_IMPLICIT : LISTEN_STARTTLS;
        if (!l->has_auth && conf->submission && conf->tls != LISTEN_PLAIN && has_logins(c))
            conf->auth = LISTEN_MUST_AUTH;
        check_auth(ld, l);
        if (l->at.line > 0 && !conf->lmtp && conf->auth == LISTEN_NO_AUTH &&
            (conf->addr.port == 465 || conf->addr.port == 587))
            report_warning(
                ld->report, l->at,
                "port %u is where users log in, and nobody can here: that takes submission = true, a "
                "certificate (tls) and passwords (users = passwd \"FILE\", or auth) or oauth",
                (unsigned)conf->addr.port);
    }
}
