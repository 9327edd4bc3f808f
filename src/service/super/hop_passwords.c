#include "service/super/hop_passwords.h"

#include "base/limits.h"
#include "crypto/secret.h"

/* Places where c may name one for a process of this role, and the i-th of them: a path, or empty. */
static size_t count_of(const struct config *c, enum role role)
{
    return role == ROLE_RELAY ? c->policy.n_routes : role == ROLE_TABLES ? c->n_auths + 1 : 0;
}

static struct str path_of(const struct config *c, enum role role, size_t i)
{
    return role == ROLE_RELAY ? c->policy.routes[i].auth.secret
           : i < c->n_auths   ? c->auths[i].table.secret
                              : c->oauth.secret;
}

static bool was_before(const struct config *c, enum role role, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (str_eq(path_of(c, role, k), path_of(c, role, i)))
            return true;
    }
    return false;
}

size_t hop_passwords_list(const struct config *c, struct str *out)
{
    static const enum role roles[] = {ROLE_RELAY, ROLE_TABLES};
    size_t n = 0;
    for (size_t r = 0; r < ARRAY_LEN(roles); r++) {
        for (size_t i = 0; i < count_of(c, roles[r]); i++) {
            struct str path = path_of(c, roles[r], i);
            bool is_known = path.n == 0;
            for (size_t k = 0; k < n && !is_known; k++)
                is_known = str_eq(out[k], path);
            if (!is_known)
                out[n++] = path;
        }
    }
    return n;
}

static bool send_one(struct world *w, struct str path, struct str octets, struct channel *to)
{
    struct handle *blob = handle_of_blob(w, octets);
    struct ipc_sup_secret m = {.name = path};
    if (blob == NULL)
        return false;
    if (ipc_send_sup_secret(to, &m, blob) == ERR_OK)
        return true;
    handle_drop(blob);
    return false;
}

bool hop_passwords_send(struct world *w, const struct secret_files *files, const struct config *c,
                        enum role role, struct channel *to)
{
    const char *what = role == ROLE_RELAY ? "password of a next hop"
                                          : "password of a directory, a database or an issuer of tokens";
    bool ok = true;
    for (size_t i = 0; i < count_of(c, role) && ok; i++) {
        struct str path = path_of(c, role, i);
        struct buf octets;
        bool is_open = false;
        if (path.n == 0 || was_before(c, role, i))
            continue;
        buf_init(&octets, SECRET_FILE_MAX + 1);
        enum err e = files->read == NULL ? ERR_NOTFOUND : files->read(files->arg, path, &octets, &is_open);
        if (e == ERR_OK && is_open)
            log_warn(
                w->log, "secret.open", LS("file", path),
                LC("why", "all users of this machine can read it: take that right from them (chmod o-r)"));
        if (e == ERR_OK && octets.n > SECRET_FILE_MAX)
            e = ERR_TOO_BIG;
        if (e != ERR_OK)
            log_error(w->log, "secret.refused", LC("what", what), LS("file", path),
                      LC("why", config_file_problem(e)), LC("kept", "the one before, if there was one"));
        else
            ok = send_one(w, path, buf_str(&octets), to);
        secret_wipe_buf(&octets);
        buf_fini(&octets);
    }
    return ok;
}
