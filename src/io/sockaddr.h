/* io/sockaddr.h: struct netaddr <-> the kernel's socket addresses. */
#pragma once
#include "base/netaddr.h"

#include <sys/socket.h>

/* The socket family, AF_UNSPEC for NETADDR_NONE. */
int sockaddr_family(const struct netaddr *a);
/* The length, or 0 for NETADDR_NONE. */
socklen_t sockaddr_of(const struct netaddr *a, struct sockaddr_storage *out);
/* Families we don't know and unnamed unix sockets: NETADDR_NONE and NETADDR_UNIX with an empty path. */
void sockaddr_to_netaddr(const struct sockaddr_storage *ss, socklen_t n, struct netaddr *out);
