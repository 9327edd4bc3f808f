/* .forward: what is found is an address that is no program and no file, the own mailbox is among them at most
 * once, and a file of what was found gives the same. */
#include "base/limits.h"
#include "wire/address.h"
#include "wire/forward.h"
#include "wire/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 32 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct forward_whose joe = {.user = STR_INIT("joe"), .rcpt = STR_INIT("joe+x@a.example")};
    static char mem[2][OUT_MAX];
    struct buf first, second, text;
    struct forward_found found;
    struct rcpt one;
    uint32_t n = 0, n_own = 0;
    buf_init_fixed(&first, mem[0], sizeof mem[0]);
    buf_init_fixed(&second, mem[1], sizeof mem[1]);
    enum forward_status status = forward_read(str_of(data, size), &joe, &first, &found);
    must(!first.failed && (status == FORWARD_TARGETS) == (first.n > 0));
    must((status == FORWARD_BAD) == (found.why != NULL));
    if (status != FORWARD_TARGETS)
        return 0;
    buf_init(&text, FORWARD_OCTETS_MAX);
    struct reader r = reader_of(buf_str(&first));
    while (rcpt_next(&r, &one)) {
        struct address a;
        must(address_parse(one.address, true, &a) == NULL && a.kind != DOMAIN_NONE);
        must(a.local.p[0] != '|' && a.local.p[0] != '/');
        n_own += str_ieq(one.address, joe.rcpt);
        n++;
        (void)(buf_putc(&text, ',') &&
               buf_put(&text, one.address)); /* a line that begins with # would be none */
    }
    must(!r.failed && n == found.n && n <= SMTP_RCPT_MAX && n_own <= 1);
    if (!text.failed) {
        must(forward_read(buf_str(&text), &joe, &second, &found) == FORWARD_TARGETS);
        must(str_eq(buf_str(&first), buf_str(&second)));
    }
    buf_fini(&text);
    return 0;
}
