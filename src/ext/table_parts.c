#include "ext/table_parts.h"

#include "base/err.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

uint64_t table_now_ms(void)
{
    struct timespec t;
    must(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int table_left(uint64_t due_ms)
{
    uint64_t now = table_now_ms();
    return due_ms <= now ? 0 : due_ms - now > INT32_MAX ? INT32_MAX : (int)(due_ms - now);
}

void table_quote(struct buf *why, const char *text)
{
    struct str s = str_trim(str_from_c(text == NULL ? "" : text));
    while (s.n > 0 && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    for (size_t i = 0; i < s.n; i++)
        buf_putc(why, (unsigned char)s.p[i] < ' ' ? ' ' : s.p[i]);
}

bool table_symbol(void *library, const char *name, void *out, size_t n)
{
    void *symbol = dlsym(library, name);
    must(n == sizeof symbol);
    memcpy(out, &symbol, sizeof symbol);
    return symbol != NULL;
}

static socklen_t address_of(const struct netaddr *a, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memset(out, 0, sizeof *out);
    if (a->kind == NETADDR_UNIX) {
        must(str_to_c(str_from_c(a->path), un.sun_path, sizeof un.sun_path));
        memcpy(out, &un, sizeof un);
        return sizeof un;
    }
    if (a->kind == NETADDR_IP4) {
        memcpy(&in.sin_addr, a->ip, sizeof in.sin_addr);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    memcpy(&in6.sin6_addr, a->ip, sizeof in6.sin6_addr);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

/* 0, or errno. */
static int finish(int fd, uint64_t due_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0, n = 0;
    socklen_t size = sizeof error;
    do
        n = poll(&p, 1, table_left(due_ms));
    while (n == -1 && errno == EINTR);
    if (n == 0)
        return ETIMEDOUT;
    return n == -1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1 ? errno : error;
}

static bool be_blocking(int fd, uint64_t due_ms)
{
    int left = table_left(due_ms), flags = fcntl(fd, F_GETFL);
    struct timeval t = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 + 1};
    return flags != -1 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) == 0;
}

int table_connect(const struct netaddr *to, uint64_t due_ms, struct buf *why)
{
    struct sockaddr_storage at;
    socklen_t size = address_of(to, &at);
    int error = 0, fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1 || (connect(fd, (const struct sockaddr *)&at, size) == -1 && (error = errno) == EINPROGRESS))
        error = fd == -1 ? errno : finish(fd, due_ms);
    if (error == 0 && !be_blocking(fd, due_ms))
        error = errno;
    if (error == 0)
        return fd;
    buf_puts(why, "can't connect to ");
    netaddr_format(to, why);
    buf_printf(why, ": %s", err_str(err_from_errno(error)));
    if (fd != -1)
        (void)close(fd);
    return -1;
}
