#include "service/super/hop_passwords.h"

#include "base/limits.h"
#include "crypto/secret.h"

static bool was_before(const struct policy_conf *p, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (str_eq(p->routes[k].auth.secret, p->routes[i].auth.secret))
            return true;
    }
    return false;
}

size_t hop_passwords_list(const struct config *c, struct str *out)
{
    const struct policy_conf *p = &c->policy;
    size_t n = 0;
    for (size_t i = 0; i < p->n_routes; i++) {
        if (p->routes[i].auth.secret.n > 0 && !was_before(p, i))
            out[n++] = p->routes[i].auth.secret;
    }
    return n;
}

static bool send_one(struct world *w, struct str path, struct str octets, struct channel *relay)
{
    struct handle *blob = handle_of_blob(w, octets);
    struct ipc_sup_secret m = {.name = path};
    if (blob == NULL)
        return false;
    if (ipc_send_sup_secret(relay, &m, blob) == ERR_OK)
        return true;
    handle_drop(blob);
    return false;
}

bool hop_passwords_send(struct world *w, const struct secret_files *files, const struct config *c,
                        struct channel *relay)
{
    const struct policy_conf *p = &c->policy;
    bool ok = true;
    for (size_t i = 0; i < p->n_routes && ok; i++) {
        struct str path = p->routes[i].auth.secret;
        struct buf octets;
        bool is_open = false;
        if (path.n == 0 || was_before(p, i))
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
            log_error(w->log, "secret.refused", LC("what", "password of a next hop"), LS("file", path),
                      LC("why", config_file_problem(e)), LC("kept", "the one before, if there was one"));
        else
            ok = send_one(w, path, buf_str(&octets), relay);
        secret_wipe_buf(&octets);
        buf_fini(&octets);
    }
    return ok;
}
