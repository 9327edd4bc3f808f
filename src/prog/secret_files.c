#include "prog/secret_files.h"

#include "base/mem.h"
#include "crypto/digest.h"
#include "io/secret_file.h"

#include <limits.h>
#include <sys/random.h>

struct files {
    struct io_world *w;
    struct file_watch *watch; /* NULL: none could be had */
    void (*changed)(void *arg);
    void *changed_arg;
};

static enum err read_secret(void *arg, struct str path, struct buf *out, bool *is_open)
{
    char name[PATH_MAX];
    UNUSED(arg);
    return str_to_c(path, name, sizeof name) ? secret_file_read(name, out, is_open) : ERR_TOO_BIG;
}

static void on_changed(void *arg)
{
    struct files *f = arg;
    if (f->changed != NULL)
        f->changed(f->changed_arg);
}

/* Without a watch a reload is what brings a new certificate in; the log says so. */
static void watch_secrets(void *arg, const struct str *paths, size_t n, void (*changed)(void *changed_arg),
                          void *changed_arg)
{
    struct files *f = arg;
    const struct log *log = world_log(io_world_base(f->w));
    enum err e = ERR_OK;
    f->changed = changed;
    f->changed_arg = changed_arg;
    if (n > 0 && f->watch == NULL)
        f->watch = file_watch_new(f->w, on_changed, f);
    else if (f->watch != NULL)
        e = file_watch_clear(f->watch);
    if (n > 0 && (f->watch == NULL || e != ERR_OK))
        log_warn(log, "secret.unwatched",
                 LC("why", "the kernel has no watch left: SIGHUP has the files read"));
    for (size_t i = 0; i < n && f->watch != NULL && e == ERR_OK; i++) {
        char name[PATH_MAX];
        enum err added = str_to_c(paths[i], name, sizeof name) ? file_watch_add(f->watch, name) : ERR_TOO_BIG;
        if (added != ERR_OK)
            log_warn(log, "secret.unwatched", LS("file", paths[i]), LERR(added));
    }
}

bool secret_files_of(struct io_world *w, struct secret_files *out)
{
    struct files *f = mem_new(struct files);
    if (f == NULL)
        return false;
    f->w = w;
    *out = (struct secret_files){.arg = f, .read = read_secret, .watch = watch_secrets};
    return true;
}

/* machine-id(5): it is to be kept, and to be used as a key of a hash only. */
void secret_seed(uint8_t out[SECRETS_SEED])
{
    static const struct str what = STR_INIT("waxwing: salts of users that are not there");
    uint8_t hash[DIGEST_MAX];
    struct crypto *c = NULL;
    struct buf id;
    bool is_open;
    buf_init(&id, 4096);
    bool ok = secret_file_read("/etc/machine-id", &id, &is_open) == ERR_OK && id.n >= 32 &&
              crypto_new(&c) == ERR_OK &&
              digest_hmac(c, DIGEST_SHA256, str_trim(buf_str(&id)), &what, 1, hash) == ERR_OK;
    for (size_t i = 0; i < SECRETS_SEED && ok; i++)
        out[i] = hash[i];
    if (!ok)
        must(getrandom(out, SECRETS_SEED, 0) == SECRETS_SEED);
    crypto_del(&c);
    buf_fini(&id);
}
