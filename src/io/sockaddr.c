#include "io/sockaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

int sockaddr_family(const struct netaddr *a)
{
    switch (a->kind) {
    case NETADDR_NONE:
        return AF_UNSPEC;
    case NETADDR_IP4:
        return AF_INET;
    case NETADDR_IP6:
        return AF_INET6;
    case NETADDR_UNIX:
        return AF_UNIX;
    }
    must_not_reach();
}

socklen_t sockaddr_of(const struct netaddr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    switch (a->kind) {
    case NETADDR_NONE:
        return 0;
    case NETADDR_IP4: {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    case NETADDR_IP6: {
        struct sockaddr_in6 in6 = {
            .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
        memcpy(&in6.sin6_addr, a->ip, 16);
        memcpy(out, &in6, sizeof in6);
        return sizeof in6;
    }
    case NETADDR_UNIX: {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        memcpy(un.sun_path, a->path, sizeof un.sun_path);
        memcpy(out, &un, sizeof un);
        return sizeof un;
    }
    }
    must_not_reach();
}

static void from_ip6(const struct sockaddr_in6 *in6, struct netaddr *out)
{
    *out = (struct netaddr){.port = ntohs(in6->sin6_port)};
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        out->kind = NETADDR_IP4;
        memcpy(out->ip, in6->sin6_addr.s6_addr + 12, 4);
        return;
    }
    out->kind = NETADDR_IP6;
    out->scope = in6->sin6_scope_id;
    memcpy(out->ip, &in6->sin6_addr, 16);
}

void sockaddr_to_netaddr(const struct sockaddr_storage *ss, socklen_t n, struct netaddr *out)
{
    *out = (struct netaddr){0};
    if (n < sizeof(sa_family_t))
        return;
    if (ss->ss_family == AF_INET && n >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, ss, sizeof in);
        out->kind = NETADDR_IP4;
        out->port = ntohs(in.sin_port);
        memcpy(out->ip, &in.sin_addr, 4);
    } else if (ss->ss_family == AF_INET6 && n >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, ss, sizeof in6);
        from_ip6(&in6, out);
    } else if (ss->ss_family == AF_UNIX) {
        struct sockaddr_un un = {0};
        size_t path = n - offsetof(struct sockaddr_un, sun_path);
        memcpy(&un, ss, n < sizeof un ? n : sizeof un);
        out->kind = NETADDR_UNIX;
        if (path > NETADDR_PATH_MAX)
            path = NETADDR_PATH_MAX;
        memcpy(out->path, un.sun_path, path);
        out->path[path] = '\0';
    }
}
