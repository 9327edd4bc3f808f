/* Requests for policies: whatever comes, one reply of bounded length, and nothing of the request in it. */
#include "base/mem.h"
#include "proto/sts_server.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sts_page list[] = {{STR_INIT("a.example"), STR_INIT("policy\r\n")},
                                           {STR_INIT("b.example"), STR_INIT("policy\r\n")}};
    char mem[HTTP_SAID_MAX + 16], *copy = mem_must_alloc(size + 1);
    struct buf out;
    size_t n = 0;
    if (size > 0)
        memcpy(copy, data, size);
    while (n <= size && !http_is_whole(str_of(copy, n)))
        n++;
    must(n <= size || size < HTTP_HEAD_MAX);
    if (n <= size) {
        buf_init_fixed(&out, mem, sizeof mem);
        unsigned status = sts_reply(str_of(copy, size), list, ARRAY_LEN(list), &out);
        must(!out.failed && str_starts(buf_str(&out), STR("HTTP/1.1 ")));
        must(status == 200 || status == 400 || status == 404 || status == 405 || status == 431);
        must(status != 200 || str_find(str_of(copy, size), STR("/.well-known/mta-sts.txt")) != STR_NPOS);
    }
    mem_free(copy);
    return 0;
}
