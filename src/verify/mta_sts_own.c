#include "verify/mta_sts_own.h"

#include "base/siphash.h"

void mta_sts_own_policy(const struct mta_sts_own *p, struct buf *out)
{
    buf_printf(out, "version: STSv1\r\nmode: %s\r\n", mta_sts_mode_word(p->mode));
    for (size_t i = 0; p->mode != MTA_STS_NONE && i < p->n_mx; i++)
        buf_printf(out, "mx: %.*s\r\n", STR_FMT(p->mx[i]));
    buf_printf(out, "max_age: %lu\r\n", (unsigned long)p->max_age_s);
}

void mta_sts_own_id(struct str policy, struct buf *out)
{
    static const unsigned char key[SIPHASH_KEY] = "MTA-STS policies"; /* no secret: equal texts, equal ids */
    unsigned char hash[SIPHASH_SIZE];
    siphash(key, policy, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        buf_printf(out, "%02x", (unsigned)hash[i]);
}
