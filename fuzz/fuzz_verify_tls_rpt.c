/* TLS reports: the octets as the TXT record that asks for them, and as texts in a report that we write. */
#include "base/mem.h"
#include "verify/tls_rpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(struct str in)
{
    char *mem = mem_must_alloc(DNS_TXT_MAX), address_mem[DNS_TXT_MAX];
    struct buf b, address;
    struct tls_rpt_record r;
    buf_init_fixed(&b, mem, DNS_TXT_MAX);
    if (tls_rpt_record(&in, 1, &b, &r)) {
        must(r.n_rua > 0 && r.n_rua <= TLS_RPT_RUA_MAX);
        for (size_t i = 0; i < r.n_rua; i++) {
            must(r.rua[i].uri.n > 7 && !str_has_ctl(r.rua[i].uri) && str_chr(r.rua[i].uri, ' ') == STR_NPOS);
            buf_init_fixed(&address, address_mem, sizeof address_mem);
            if (tls_rpt_mailto(r.rua[i].uri, &address))
                must(address.n > 0 && address.n < r.rua[i].uri.n && !str_has_ctl(buf_str(&address)));
            else
                must(address.n == 0);
        }
    }
    mem_free(mem);
}

/* Whatever the texts are, the report has no line end, control or quote of theirs in it. */
static void check_report(struct str in)
{
    struct str one = str_slice(in, 0, 40), rest = str_skip(in, 40);
    struct tls_rpt_policy p = {
        .type = TLS_RPT_STS, .domain = one, .lines = &rest, .n_lines = 1, .mx = &one, .n_mx = 1};
    struct tls_rpt_failure f = {.result = TLS_RPT_VALIDATION_FAILURE, .mx = one, .info = rest, .reason = one};
    struct chunk_pool pool;
    struct arena a;
    struct tls_rpt_tally t;
    chunk_pool_init(&pool, 4096, 100);
    arena_init(&a, &pool, 16384);
    tls_rpt_tally_init(&t, &a);
    tls_rpt_tally_add(&t, &p, &f);
    tls_rpt_tally_add(&t, &p, NULL);
    must(t.n_policies <= 1);
    struct tls_rpt_report r = {one, rest, one, 0, 86399, t.policies, t.n_policies};
    struct buf out;
    buf_init(&out, 1 << 20);
    if (tls_rpt_write(&r, &out)) {
        bool in_text = false;
        for (size_t i = 0; i + 1 < out.n; i++) { /* the last octet is the line end */
            must((unsigned char)out.p[i] >= 0x20);
            if (in_text && out.p[i] == '\\')
                i++;
            else if (out.p[i] == '"')
                in_text = !in_text;
        }
        must(!in_text);
    }
    buf_fini(&out);
    arena_reset(&a);
    chunk_pool_fini(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_record(str_of(data, size));
    check_report(str_of(data, size));
    return 0;
}
