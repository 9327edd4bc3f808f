/* io/handle.c: what travels with a message: channels, connections, listeners and sealed memory.
 *
 * Security: a received descriptor comes from a process that may be taken over, so each take checks that it is
 * what the message said, and a blob is mapped only when its seals forbid any change.
 */
#include "base/mem.h"
#include "io/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOB_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

struct blob_owner {
    struct world_object object; /* first */
    void *mapped;               /* NULL for the empty blob */
    size_t n;
};

static struct handle *handle_new(struct io_world *w, enum handle_kind kind, int fd, struct source *source)
{
    struct handle *h = mem_new(struct handle);
    if (h != NULL)
        *h = (struct handle){
            .object = {&io_world_ops}, .w = w, .kind = (uint8_t)kind, .fd = fd, .source = source};
    return h;
}

static void handle_free(struct handle *h)
{
    h->fd = -1;
    h->source = NULL;
    h->kind = HANDLE_NONE;
    if (!h->is_given)
        mem_free(h);
}

struct handle *io_handle_of_channel(struct channel *c)
{
    struct handle *h = handle_new(c->source.w, HANDLE_CHANNEL, -1, &c->source);
    if (h != NULL)
        io_channel_settle(c);
    return h;
}

struct handle *io_handle_of_conn(struct conn *c)
{
    must(c->tls == NULL); /* keys of a session don't travel */
    struct handle *h = handle_new(c->source.w, HANDLE_CONN, -1, &c->source);
    if (h != NULL) {
        io_conn_set_user(c, NULL, NULL);
        io_conn_want(c, 0);
        (void)source_arm(&c->source, 0);
    }
    return h;
}

struct handle *io_handle_of_listener(struct listener *l)
{
    int fd = fcntl(l->source.fd, F_DUPFD_CLOEXEC, 3);
    struct handle *h = fd == -1 ? NULL : handle_new(l->source.w, HANDLE_LISTENER, fd, NULL);
    if (h == NULL && fd != -1)
        (void)close(fd);
    return h;
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n == -1 && errno != EINTR)
            return false;
        bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
    }
    return true;
}

struct handle *io_handle_of_blob(struct world *base, struct str bytes)
{
    must(bytes.n <= IO_BLOB_SIZE_MAX);
    int fd = memfd_create("waxwing", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1)
        return NULL;
    struct handle *h = NULL;
    if (write_all(fd, bytes) && fcntl(fd, F_ADD_SEALS, BLOB_SEALS) == 0)
        h = handle_new(io_of(base), HANDLE_BLOB, fd, NULL);
    if (h == NULL)
        (void)close(fd);
    return h;
}

struct handle *io_handle_again(struct world *base, const struct handle *h)
{
    must(h->kind == HANDLE_BLOB && h->fd != -1);
    int fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 3);
    struct handle *copy = fd == -1 ? NULL : handle_new(io_of(base), HANDLE_BLOB, fd, NULL);
    if (copy == NULL && fd != -1)
        (void)close(fd);
    return copy;
}

int io_handle_give(struct handle *h, enum handle_kind *out_kind)
{
    int fd = h->fd;
    *out_kind = (enum handle_kind)h->kind;
    if (h->source != NULL) {
        fd = h->source->fd;
        h->source->fd = -1;
        source_close(h->source);
    }
    handle_free(h);
    return fd;
}

void io_handle_drop(struct handle *h)
{
    enum handle_kind kind;
    int fd = io_handle_give(h, &kind);
    if (fd != -1)
        (void)close(fd);
}

/* The wrapped object of a handle made here, which is gone then; NULL when h came in a message. */
static struct source *unwrap(struct handle *h)
{
    struct source *s = h->source;
    if (s != NULL)
        handle_free(h);
    return s;
}

struct channel *io_handle_take_channel(struct world *base, struct handle *h)
{
    if (h->kind != HANDLE_CHANNEL)
        return NULL;
    struct source *s = unwrap(h);
    if (s != NULL)
        return container_of(s, struct channel, source);
    struct channel *c = io_adopt_channel(io_of(base), h->fd);
    if (c != NULL)
        handle_free(h);
    return c;
}

struct conn *io_handle_take_conn(struct world *base, struct handle *h)
{
    if (h->kind != HANDLE_CONN)
        return NULL;
    struct source *s = unwrap(h);
    if (s != NULL)
        return container_of(s, struct conn, source);
    struct conn *c = io_adopt_conn(io_of(base), h->fd);
    if (c != NULL)
        handle_free(h);
    return c;
}

struct listener *io_handle_take_listener(struct world *base, struct handle *h)
{
    if (h->kind != HANDLE_LISTENER)
        return NULL;
    struct listener *l = io_adopt_listener(io_of(base), h->fd);
    if (l != NULL)
        handle_free(h);
    return l;
}

bool io_handle_take_blob(struct world *base, struct handle *h, struct blob *out)
{
    UNUSED(base);
    struct stat st;
    if (h->kind != HANDLE_BLOB)
        return false;
    int seals = fcntl(h->fd, F_GET_SEALS);
    if (seals == -1 || (seals & BLOB_SEALS) != BLOB_SEALS || fstat(h->fd, &st) == -1 || st.st_size < 0 ||
        st.st_size > IO_BLOB_SIZE_MAX)
        return false;
    struct blob_owner *o = mem_new(struct blob_owner);
    if (o == NULL)
        return false;
    *o = (struct blob_owner){.object = {&io_world_ops}, .n = (size_t)st.st_size};
    if (o->n > 0) {
        o->mapped = mmap(NULL, o->n, PROT_READ, MAP_SHARED, h->fd, 0);
        if (o->mapped == MAP_FAILED) {
            mem_free(o);
            return false;
        }
    }
    *out = (struct blob){str_of(o->mapped, o->n), o};
    (void)close(h->fd);
    handle_free(h);
    return true;
}

void io_blob_free(struct blob *b)
{
    struct blob_owner *o = b->owner;
    if (o->mapped != NULL)
        (void)munmap(o->mapped, o->n);
    mem_free(o);
}
