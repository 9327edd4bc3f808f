/* Parameters of MAIL and lists of recipients as records: what can be read is written again to the same facts.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "wire/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mail(struct str octets)
{
    struct mail_params p, again;
    if (!mail_params_get(octets, &p))
        return;
    must(p.ret <= DSN_RET_HDRS && p.by_mode <= BY_NOTIFY && (p.by_mode != BY_NONE || p.by_ms == 0));
    must(p.priority >= MT_PRIORITY_MIN && p.priority <= MT_PRIORITY_MAX);
    must(p.envid.n <= DSN_ENVID_MAX && p.tag.n <= MAIL_TAG_MAX);
    struct buf out;
    buf_init(&out, octets.n + 256);
    must(mail_params_put(&p, &out) && mail_params_get(buf_str(&out), &again));
    must(again.ret == p.ret && again.by_mode == p.by_mode && again.by_trace == p.by_trace &&
         again.by_ms == p.by_ms && again.priority == p.priority && again.has_priority == p.has_priority &&
         again.hold_until_ms == p.hold_until_ms && again.requiretls == p.requiretls &&
         str_eq(again.envid, p.envid) && str_eq(again.tag, p.tag));
    buf_fini(&out);
}

static void check_rcpts(struct str octets)
{
    struct reader r = reader_of(octets);
    struct rcpt one, again;
    uint32_t n = 0;
    struct buf out;
    buf_init(&out, RCPT_RECORD_MAX);
    while (rcpt_next(&r, &one)) {
        n++;
        must(one.notify <= NOTIFY_ALL && one.flags <= RCPT_FLAGS_ALL && one.address.n <= SMTP_PATH_MAX &&
             one.orcpt.n <= DSN_ORCPT_MAX && one.shown.n <= SMTP_PATH_MAX);
        buf_reset(&out);
        must(rcpt_put(&one, &out));
        struct reader back = reader_of(buf_str(&out));
        must(rcpt_next(&back, &again) && str_eq(one.address, again.address) &&
             str_eq(one.orcpt, again.orcpt) && str_eq(one.shown, again.shown) && one.notify == again.notify &&
             one.flags == again.flags && one.target == again.target);
    }
    uint32_t counted = rcpt_count(octets);
    must(counted == 0 || (counted == n && !r.failed));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_mail(str_of(data, size));
    check_rcpts(str_of(data, size));
    must(notify_bit(str_of(data, size)) <= NOTIFY_ALL);
    return 0;
}
