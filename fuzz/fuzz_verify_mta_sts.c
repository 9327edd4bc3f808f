/* MTA-STS: the octets as a TXT record, and as a policy. */
#include "base/mem.h"
#include "verify/mta_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(struct str in)
{
    char *mem = mem_must_alloc(DNS_TXT_MAX);
    struct buf b;
    struct str id, set[2] = {in, in};
    buf_init_fixed(&b, mem, DNS_TXT_MAX);
    if (mta_sts_record(set, 1, &b, &id)) {
        must(id.n > 0 && id.n <= MTA_STS_ID_MAX && id.p >= b.p && id.p + id.n <= b.p + b.n);
        for (size_t i = 0; i < id.n; i++)
            must(ascii_is_alnum(id.p[i]));
        buf_reset(&b);
        must(!mta_sts_record(set, 2, &b, &id)); /* two are none */
    }
    mem_free(mem);
}

static void check_policy(struct str in)
{
    struct mta_sts_policy *p = mem_must_new(struct mta_sts_policy);
    const char *why = mta_sts_policy(in, p);
    must(why == NULL || why[0] != '\0');
    must(p->n_mx <= MTA_STS_MX_MAX);
    if (why == NULL) {
        must(p->max_age_s <= MTA_STS_MAX_AGE_S && (p->n_mx > 0 || p->mode == MTA_STS_NONE));
        for (size_t i = 0; i < p->n_mx; i++) {
            bool is_any = str_starts(p->mx[i], STR("*."));
            must(mta_sts_matches(p, p->mx[i]));
            must(!str_has_ctl(p->mx[i]) && str_is_ascii(p->mx[i]) &&
                 str_chr(str_skip(p->mx[i], is_any), '*') == STR_NPOS);
        }
        (void)mta_sts_matches(p, str_slice(in, 0, 20));
    }
    mem_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_record(str_of(data, size));
    check_policy(str_of(data, size));
    return 0;
}
