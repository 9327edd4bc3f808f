/* The PROXY protocol: whatever comes, the answer is the same however much of the client's octets is behind
 * the header, and a header is never longer than its bound. */
#include "base/mem.h"
#include "wire/proxy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h, again;
    size_t used, used_again;
    char *copy = mem_must_alloc(size + 1);
    if (size > 0)
        memcpy(copy, data, size);
    enum proxy_status status = proxy_parse(str_of(copy, size), &h, &used);
    must(used <= size && (status == PROXY_OK) == (used > 0));
    must(status != PROXY_MORE || size < PROXY_V2_MAX);
    if (status == PROXY_OK) {
        must(used <= (h.version == 1 ? (size_t)PROXY_V1_MAX : (size_t)PROXY_V2_MAX));
        must(h.is_local == (h.source.kind == NETADDR_NONE));
        must(proxy_parse(str_of(copy, used), &again, &used_again) == PROXY_OK && used_again == used);
        must(netaddr_eq(&h.source, &again.source) && netaddr_eq(&h.dest, &again.dest));
        must(proxy_parse(str_of(copy, used - 1), &again, &used_again) == PROXY_MORE);
    }
    mem_free(copy);
    return 0;
}
