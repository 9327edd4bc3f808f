/* Octets as a message between two roles: the first says which. Refused, or encoded again to just these
 * octets; and as each of the lists that travel in one field. */
#include "ipc/lists.h"
#include "ipc/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { OUT_MAX = 64 * 1024 };

static void check(bool is_message, bool is_encoded, struct str in, const struct buf *out)
{
    must(!is_message || (is_encoded && str_eq(buf_str(out), in)));
}

static void messages(unsigned which, struct str in, struct buf *out)
{
    static const unsigned n_types = 0
#define M(type, name) +1
        IPC_MESSAGES(M)
#undef M
        ;
    unsigned i = 0;
    which %= n_types;
#define M(type, name)                                                                                        \
    if (i++ == which) {                                                                                      \
        struct ipc_##name m;                                                                                 \
        bool ok = ipc_decode_##name(in, &m);                                                                 \
        check(ok, ok &&ipc_encode_##name(&m, out), in, out);                                                 \
    }
    IPC_MESSAGES(M)
#undef M
}

static void lists(struct str in, struct buf *out)
{
    struct reader r = reader_of(in);
    struct str text;
    size_t n = 0;
    while (list_next_str(&r, &text))
        n++;
    must(list_count_str(in) == (r.failed ? STR_NPOS : n));
    struct hop hop;
    r = reader_of(in);
    while (list_next_hop(&r, &hop))
        (void)list_put_hop(out, &hop);
    struct netaddr addr;
    r = reader_of(in);
    while (list_next_addr(&r, &addr))
        (void)list_put_addr(out, &addr);
    struct job_result result;
    r = reader_of(in);
    while (list_next_result(&r, &result))
        (void)list_put_result(out, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf out;
    if (n == 0)
        return 0;
    buf_init(&out, OUT_MAX);
    messages(data[0], str_of(data + 1, n - 1), &out);
    lists(str_of(data + 1, n - 1), &out);
    buf_fini(&out);
    return 0;
}
